"""Subflow status: what a message makes an instance show."""

import pytest
from flowcore_nodes.core.subflow_status import SubflowStatus

from flowcore.node.testing import drive


@pytest.mark.parametrize(
    ("payload", "shown"),
    [
        ("ready", ("ready", "ok")),
        (None, ("", "ok")),
        (7, ("7", "ok")),
        ({"text": "hot", "kind": "warn"}, ("hot", "warn")),
        ({"fill": "red", "shape": "ring", "text": "off line"}, ("off line", "error")),
        ({}, ("", "ok")),
    ],
)
async def test_a_payload_is_a_badge(payload, shown):
    """A text, our map, Node-RED's map."""
    async with drive(SubflowStatus) as node:
        await node.put(payload)
        assert node.statuses == [shown]


async def test_a_kind_that_is_none_is_an_error_and_changes_nothing():
    """It says which there are."""
    async with drive(SubflowStatus) as node:
        await node.put({"text": "x", "kind": "loud"})
        assert node.statuses == [] and "ok, busy, warn, error, off" in node.errors[0]["text"]
