"""What comes from outside is bounded, whether it is msgpack or JSON."""

import json

import pytest

from flowcore.bus.envelope import MAX_ENVELOPE, Malformed, json_foreign, pack


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('{"payload": 18446744073709551616}', "64 bits"),
        ('{"payload": ' + "[" * 100 + "]" * 100 + "}", "nested deeper"),
        ("[" * 15_000, "not JSON"),
        ('{"payload": [' + "[]," * 30_000 + "0]}", "elements"),
        (json.dumps({"payload": "x" * MAX_ENVELOPE}), "the limit is"),
        ('{"payload": ', "not JSON"),
    ],
)
def test_json_that_the_bus_could_not_carry_is_refused(text, why):
    """It would fail in a node, or in its error."""
    with pytest.raises(Malformed, match=why):
        json_foreign(text.encode())


def test_json_that_fits():
    """Negative and large numbers, floats, text."""
    value = json_foreign(b'{"payload": [-9223372036854775808, 18446744073709551615, 1.5, "x"]}')
    assert value["payload"] == [-(1 << 63), (1 << 64) - 1, 1.5, "x"]
    assert pack(value)
