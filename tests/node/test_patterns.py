"""Regular expressions of users: right, and never for ever."""

import time

import pytest

from flowcore.node.patterns import Pattern, PatternTimeout


async def test_a_pattern_is_found_anywhere():
    assert await Pattern("b+").matches("abbc")
    assert not await Pattern("^b").matches("abbc")
    assert await Pattern("B", ignore_case=True).matches("abc")
    assert await Pattern(r"(\w+)-(\w+)").replace("x-y a-b", r"\2-\1") == "y-x b-a"


@pytest.mark.alone
async def test_a_pattern_that_never_ends_is_stopped():
    """The event loop stays free meanwhile: a quick look, then a thread."""
    began_s = time.monotonic()
    with pytest.raises(PatternTimeout, match=r"longer than 0\.2 s"):
        await Pattern(r"(.*)(.*)(.*)(.*)(.*)(.*)x[0-9]y", limit_s=0.2).matches("x" * 2000)
    assert time.monotonic() - began_s < 2


def test_what_is_no_pattern_is_refused_with_the_place():
    with pytest.raises(ValueError, match="position 2"):
        Pattern("a(")
