"""`core/filter`: what has changed passes; modes, series and reset as Node-RED's filter has them."""

import math

import pytest
from flowcore_nodes.core.filter import Filter, same
from pydantic import ValidationError

from flowcore.node.testing import MemoryStore, drive


@pytest.mark.parametrize(
    ("config", "given", "passed"),
    [
        ({}, [1, 1, 2, 2, 1], [1, 2, 1]),
        ({}, [1, "1", True, 1.0], [1, "1", True, 1.0]),
        ({}, [{"a": [1]}, {"a": [1]}, {"a": [2]}, None, None], [{"a": [1]}, {"a": [2]}, None]),
        ({"skip_first": True}, [1, 1, 2], [2]),
        ({"mode": "deadband", "band": 5, "pass_at_band": False}, [10, 12, 15, 16, 12, 10], [10, 16, 10]),
        ({"mode": "deadband", "band": 5}, [10, 12, 15, 16], [10, 15]),
        ({"mode": "deadband", "band": 10, "percent": True}, [100, 109, 110, 120, 121], [100, 110, 121]),
        ({"mode": "deadband", "band": 3, "compare_with": "last_input"}, [1, 3, 5, 7, 10], [1, 10]),
        ({"mode": "narrowband", "band": 5}, [10, 15, 30, 20, 16], [10, 15, 20, 16]),
        ({"mode": "narrowband", "band": 5, "pass_at_band": False}, [10, 15, 14], [10, 14]),
        ({"mode": "narrowband", "band": 5, "start": 100}, [10, 98, 103, 10], [98, 103]),
        ({"mode": "narrowband", "band": 5, "compare_with": "last_input"}, [10, 50, 52], [10, 52]),
        ({"mode": "deadband", "band": 5}, ["20.5 °C", "21", "26 °C"], ["20.5 °C", "26 °C"]),
        ({"mode": "deadband", "band": 5}, [20, math.nan, 21, 25], [20, 25]),
    ],
)
async def test_filter_passes_what_has_changed(config, given, passed):
    async with drive(Filter, **config) as node:
        await node.put(*given)
        assert await node.sent() == passed
        assert node.errors == []


async def test_each_topic_is_a_series_and_reset_forgets_one_or_all():
    async with drive(Filter) as node:
        for topic, payload, meta in (
            ("a", 1, {}), ("b", 1, {}), ("a", 1, {}),
            ("a", 1, {"reset": True}),  # forgets a; its value is then new
            ("b", 1, {}),
            ("", None, {"reset": True}),  # forgets all, and is no value itself
            ("b", 1, {}),
        ):  # fmt: skip
            await node.put(payload, topic=topic, meta=meta)
        assert [message.topic for message in node.messages()] == ["a", "b", "a", "b"]


async def test_a_key_of_the_payload_tells_series_apart():
    async with drive(Filter, key="payload.m", path="payload.t") as node:
        await node.put({"m": 1, "t": 5}, {"m": 2, "t": 5}, {"m": 1, "t": 5, "x": 1}, {"m": 1})
        assert await node.sent() == [{"m": 1, "t": 5}, {"m": 2, "t": 5}]


@pytest.mark.parametrize(("keep", "again"), [(True, []), (False, [5])])
async def test_filter_remembers_over_a_restart_when_told_to(keep, again):
    store = MemoryStore()
    async with drive(Filter, store=store, keep=keep) as node:
        await node.put(5)
    async with drive(Filter, store=store, keep=keep) as node:
        await node.put(5)
        assert await node.sent() == again


async def test_a_live_change_keeps_what_was_seen_unless_it_means_something_else():
    async with drive(Filter) as node:
        await node.put(5)
        await node.reconfigure(keep=True)
        await node.put(5)
        assert await node.sent() == [5]
        await node.reconfigure(mode="deadband", band=1)
        await node.put(5)
        assert await node.sent() == [5, 5]


async def test_what_is_no_number_is_an_error_for_a_band():
    async with drive(Filter, mode="deadband", band=1) as node:
        await node.put("warm", {"t": 1}, True, 5)
        assert await node.sent() == [5]
        assert [error["text"].split(",")[0] for error in node.errors] == ["payload must be a number"] * 3


async def test_the_number_of_series_is_bounded():
    async with drive(Filter, max_keys=2) as node:
        for topic in "abca":
            await node.put(1, topic=topic)
        assert [message.topic for message in node.messages()] == list("abca")


def test_settings_that_do_not_fit_the_mode_are_refused():
    for config in ({"band": 1}, {"mode": "deadband", "skip_first": True}, {"mode": "deadband", "band": -1}):
        with pytest.raises(ValidationError):
            Filter.Config(**config)


def test_same_looks_at_types():
    assert same(math.nan, math.nan) and same([1, {"a": 1.0}], [1.0, {"a": 1}])
    assert not same(1, True) and not same([0], [False]) and not same({"a": 1}, {"a": 1, "b": None})
