"""A frame that comes to a node which has no use for it: passed on, told as what it is, or refused in words."""

import json

import numpy as np
import pytest
from flowcore_nodes import core

from flowcore.node import Tensor
from flowcore.node.testing import drive

FRAME = np.full((480, 640, 3), 7, np.uint8)
PASSES = {
    "core/change": {},
    "core/switch": {"rules": [{"op": "otherwise"}]},
    "core/json": {"path": "meta.text"},
    "core/join": {"mode": "manual", "count": 1, "result": "list"},
}
CLASSES = {node.type: node for node in core.flowcore_node_types()}


@pytest.mark.parametrize(("kind", "config"), PASSES.items())
async def test_it_is_passed_on(kind, config):
    async with drive(CLASSES[kind], **config) as node:
        await node.put(FRAME, meta={"text": "{}"})
        (payload,) = await node.sent()
        (frame,) = payload if isinstance(payload, list) else (payload,)
        assert isinstance(frame, Tensor) and frame.numpy().min() == frame.numpy().max() == 7


@pytest.mark.parametrize(
    ("kind", "config", "says"),
    [
        ("core/json", {}, "can't be written as JSON"),
        ("core/file-out", {"path": "/dev/null"}, "can't be written as JSON"),
        ("core/deadband", {"band": 1}, "must be a number, got Tensor"),
        ("core/threshold", {"field": "t", "above": 3}, "nothing at 't': it is Tensor"),
        ("core/aggregate", {"by": "count", "size": 2, "functions": ["avg"]}, "must be a number, got Tensor"),
    ],
)
async def test_it_is_refused_in_words(kind, config, says):
    async with drive(CLASSES[kind], **config) as node:
        await node.put(FRAME)
        assert [says in error["text"] for error in node.errors] == [True], node.errors
        assert json.dumps(node.given_up[0]["message"]["payload"]) == json.dumps(
            {"$tensor": {"dtype": "uint8", "shape": [480, 640, 3], "device": "cpu"}}
        )


async def test_debug_shows_what_it_is():
    async with drive(CLASSES["core/debug"], status=True) as node:
        await node.put(FRAME)
        (shown,) = (said["$tensor"] for said in node.debugged)
        assert (
            shown.items() >= {"dtype": "uint8", "shape": [480, 640, 3], "device": "cpu", "min": 7.0, "max": 7.0}.items()
        )
        assert shown["picture"].startswith(b"\x89PNG")
        assert node.statuses[-1][0].startswith("<Tensor uint8 480x640x3 on cpu")
