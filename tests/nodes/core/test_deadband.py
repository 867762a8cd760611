"""`core/deadband`: what passes and what does not."""

import math

from flowcore_nodes.core.deadband import Deadband

from flowcore.node.testing import drive


async def test_deadband_ignores_a_broken_sensor():
    """NaN never passes, and the reading after it is judged against the last good one."""
    async with drive(Deadband, band=1.0) as node:
        await node.put(20.0, math.nan, 20.4, 21.5)
        assert await node.sent() == [20.0, 21.5]


async def test_deadband_in_percent_of_the_last_that_passed():
    async with drive(Deadband, band=10, percent=True) as node:
        await node.put(100, 109, 110, 120, 121, 0, 0, 1)
        assert await node.sent() == [100, 110, 121, 0, 1]


async def test_deadband_keeps_series_apart_and_passes_the_whole_message():
    async with drive(Deadband, band=5, field="temp_c", key="machine") as node:
        for machine, temp_c in (("a", 10), ("b", 50), ("a", 12), ("b", 56)):
            await node.put({"machine": machine, "temp_c": temp_c}, topic="t")
        assert [(p["machine"], p["temp_c"]) for p in await node.sent()] == [("a", 10), ("b", 50), ("b", 56)]
        assert node.messages()[0].topic == "t"


async def test_deadband_says_what_is_no_number():
    async with drive(Deadband) as node:
        await node.put("warm", True, {"a": 1})
        assert await node.sent() == []
        assert [error["text"] for error in node.errors] == [
            f"payload must be a number, got {kind}" for kind in ("str", "bool", "dict")
        ]


async def test_deadband_takes_a_new_band_and_keeps_its_reference():
    async with drive(Deadband, band=10) as node:
        await node.put(1, 5)
        await node.reconfigure(band=3)
        await node.put(5)
        assert await node.sent() == [1, 5]


async def test_deadband_bounds_its_series():
    async with drive(Deadband, key="topic", max_keys=2, band=100) as node:
        for topic in "abca":
            await node.put(1, topic=topic)
        assert len(await node.sent()) == 4  # a was forgotten for c
