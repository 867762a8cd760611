"""`core/range`: numbers from one range to another, as Node-RED's range does it."""

import math

import pytest
from flowcore_nodes.core.range import Range
from pydantic import ValidationError

from flowcore.node.testing import drive

TEN = {"from_low": 0, "from_high": 10, "to_low": 0, "to_high": 100}


@pytest.mark.parametrize(
    ("config", "given", "expected"),
    [
        ({"action": "scale"}, [0, 5, 10, 12, -1], [0, 50, 100, 120, -10]),
        ({"action": "clamp"}, [-5, 5, 15], [0, 50, 100]),
        ({"action": "wrap"}, [12, -1, 10, 25], [20, 90, 0, 50]),
        ({"action": "drop"}, [-1, 5, 11, 10], [50, 100]),
        ({"to_low": 100, "to_high": 0}, [0, 2.5], [100, 75]),
        ({"from_low": 10, "from_high": 0}, [10, 0, 4], [0, 100, 60]),
        ({"to_high": 5, "round": True}, [1, 3, 5, -1], [1, 2, 3, 0]),
        ({"to_low": 0.5, "to_high": 9.9, "round": True}, [0, 10], [1, 9]),
        ({}, ["5", " 1e1 ", "0x0A", True], [50, 100, 100, 10]),
    ],
)
async def test_range_maps_numbers(config, given, expected):
    async with drive(Range, **(TEN | config)) as node:
        await node.put(*given)
        assert await node.sent() == expected
        assert node.errors == []


async def test_range_reads_one_part_and_writes_another():
    async with drive(Range, **TEN, path="payload.raw", to="payload.percent") as node:
        await node.put({"raw": 2.5}, {"other": 1})
        assert await node.sent() == [{"raw": 2.5, "percent": 25}, {"other": 1}]


@pytest.mark.parametrize("wrong", ["warm", "", None, [1], {}, math.nan, math.inf, "5 bar"])
async def test_what_is_no_number_is_an_error_and_the_next_goes_on(wrong):
    async with drive(Range, **TEN) as node:
        await node.put(wrong, 1)
        assert await node.sent() == [10]
        assert node.errors[0]["text"].startswith("payload ")


def test_a_range_without_length_is_refused():
    with pytest.raises(ValidationError, match="are both 5: that is no range"):
        Range.Config(from_low=5, from_high=5)
    with pytest.raises(ValidationError, match="given by the engine"):
        Range.Config(to="trace")
