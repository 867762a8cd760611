"""`core/base64`: both ways, both alphabets, and what is none."""

import pytest
from flowcore_nodes.core.base64 import Base64

from flowcore.node.testing import drive


@pytest.mark.parametrize(
    ("config", "given", "expected"),
    [
        ({}, b"\xfb\xff\x00", "+/8A"),
        ({"urlsafe": True}, b"\xfb\xff\x00", "-_8A"),
        ({"padding": False}, b"a", "YQ"),
        ({"action": "encode"}, "é", "w6k="),
        ({}, "+/8A", b"\xfb\xff\x00"),
        ({}, "-_8A\r\n", b"\xfb\xff\x00"),
        ({"output": "text"}, "w6k", "é"),
        ({"action": "decode"}, b"YQ==", b"a"),
        ({}, "", b""),
        ({"path": "payload.image"}, {"image": b"a", "n": 1}, {"image": "YQ==", "n": 1}),
    ],
)
async def test_base64_converts(config, given, expected):
    async with drive(Base64, **config) as node:
        await node.put(given)
        assert await node.sent() == [expected]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("no base64!", "not base64"),
        ("YQ=a", "not base64"),
        ("abcde", "not base64"),
        ("é", "not base64"),
        ("/w==", "not UTF-8"),
        (5, "must be bytes or a text, got int"),
        ("A" * 2000, "more than max_bytes = 1000"),
    ],
)
async def test_base64_says_what_is_wrong(given, text):
    async with drive(Base64, action="decode", output="text", max_bytes=1000) as node:
        await node.put(given, "YQ==")
        assert await node.sent() == ["a"]
        assert text in node.errors[0]["text"]
