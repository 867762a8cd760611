"""`core/msgpack`: against bytes that the specification gives, and what hostile senders send."""

import numpy as np
import pytest
from flowcore_nodes.core.msgpack import Msgpack

from flowcore.node.testing import drive


@pytest.mark.parametrize(
    ("coded", "value"),
    [
        ("82 a6 74656d705f63 cb 4034800000000000 a2 6f6b c3", {"temp_c": 20.5, "ok": True}),
        ("93 01 ff cd0100", [1, -1, 256]),
        ("c4 02 00ff", b"\x00\xff"),
        ("c0", None),
        ("81 05 a161", {5: "a"}),
        ("ca 41a40000", 20.5),
        ("d6 ff 00000001", 1.0),  # a time stamp: seconds since 1970
    ],
)
async def test_bytes_of_the_specification(coded, value):
    async with drive(Msgpack) as node:
        await node.put(bytes.fromhex(coded))
        assert await node.sent() == [value]


async def test_there_and_back_at_a_path():
    value = {"accel": [0.1, -2.5, 9.81], "raw": b"\x00\x01", "n": 2**40, "none": None}
    async with drive(Msgpack, path="payload.body") as there, drive(Msgpack, path="payload.body") as back:
        await there.put({"body": value, "id": 7})
        (coded,) = await there.sent()
        assert isinstance(coded["body"], bytes) and coded["id"] == 7
        await back.put(coded)
        assert await back.sent() == [{"body": value, "id": 7}]


async def test_bytes_may_be_encoded_too():
    async with drive(Msgpack, action="encode") as node:
        await node.put(b"\x01", "a")
        assert await node.sent() == [b"\xc4\x01\x01", b"\xa1a"]


@pytest.mark.parametrize(
    ("config", "given", "text"),
    [
        ({}, b"", "it is empty"),
        ({}, b"\x93\x01", "not msgpack"),
        ({}, b"\x01\x02", "extra data"),
        ({}, b"\xdd\xff\xff\xff\xff", "not msgpack"),  # a list of 4 milliards, it says
        ({}, b"\x91" * 10_000, "formaterror|nested|depth|recursion|stack"),
        ({}, b"\xd4\x05\x00", "extension"),
        ({"max_bytes": 10}, b"\xa1" * 11, "more than max_bytes = 10"),
        ({"action": "decode"}, "text", "must be bytes, got str"),
        ({"action": "encode"}, {"x": 2**70}, "can't be written as msgpack"),
    ],
)
async def test_what_is_none_says_why_and_the_rest_goes_on(config, given, text):
    async with drive(Msgpack, **config) as node:
        await node.put(given)
        (error,) = node.errors
        assert error["error"] == "GiveUp"
        assert any(one in error["text"].lower() for one in text.lower().split("|")), error["text"]
        await node.put(1 if config.get("action") == "encode" else b"\x01")
        assert len(await node.sent()) == 1


async def test_an_array_is_written_as_on_the_bus():
    async with drive(Msgpack) as node:
        await node.put(np.array([1.0, 2.0]))
        (coded,) = await node.sent()
        assert (coded[0], coded[2]) == (0xC7, 2) and coded.endswith(np.array([1.0, 2.0]).tobytes())
