"""`core/debug`: what it shows, where, and how often."""

from flowcore_nodes.core.debug import Debug

from flowcore.node.testing import drive


async def test_debug_shows_payload_part_or_message():
    async with drive(Debug) as node:
        await node.put({"a": 1})
        assert node.debugged == [{"a": 1}]
    async with drive(Debug, show="part", path="a", status=True) as node:
        await node.put({"a": "x" * 40}, {"b": 2})
        assert node.debugged == ["x" * 40, "(nothing at 'a': the map has b)"]
        assert node.statuses[0] == ("x" * 31 + "…", "ok")
    async with drive(Debug, show="message") as node:
        await node.put(5, topic="t", meta={"m": 1})
        assert {"topic": "t", "payload": 5, "meta": {"m": 1}}.items() <= node.debugged[0].items()


async def test_debug_can_be_switched_off_while_it_runs():
    async with drive(Debug) as node:
        await node.reconfigure(active=False)
        await node.put(1)
        assert node.debugged == []


async def test_debug_thins_out_a_flood_and_says_so():
    async with drive(Debug, max_rate_hz=3) as node:
        await node.put(*range(10))
        assert node.debugged == [0, 1, 2]
        await node.advance(1)
        await node.put("next")
        assert node.debugged[-1] == "next"
        assert node.statuses == [("7 not shown in the last second", "warn")]
