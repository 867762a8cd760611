"""Bytes to payloads and back."""

import math

import msgpack
import pytest

from flowcore.node.formats import BadPayload, read, write


@pytest.mark.parametrize(
    ("data", "form", "payload"),
    [
        (b'{"t": 20.5}', "auto", {"t": 20.5}),
        (b"21", "auto", 21),
        (b"on", "auto", "on"),
        (b"NaN", "auto", "NaN"),
        (b"", "auto", ""),
        (b"\xff\x00", "auto", b"\xff\x00"),
        (b"[1]", "json", [1]),
        (b"21", "text", "21"),
        ("grün".encode(), "text", "grün"),
        (b"21", "bytes", b"21"),
        (msgpack.packb({"a": b"x"}), "msgpack", {"a": b"x"}),
    ],
)
def test_reads_each_form(data, form, payload):
    """Each form gives the payload that a user expects of it."""
    assert read(data, form) == payload


@pytest.mark.parametrize(
    ("data", "form", "why"),
    [
        (b"{", "json", "not JSON"),
        (b"", "json", "it is empty"),
        (b"NaN", "json", "NaN is not JSON"),
        (b"[" * 100_000, "json", "not JSON"),
        (b"\xff", "json", "not UTF-8"),
        (b"\xff", "text", "not UTF-8"),
        (b"\xc1", "msgpack", "not msgpack"),
        (b"\x92\x01", "msgpack", "not msgpack"),
        (b"\x91" * 5000, "msgpack", "not msgpack"),
        (msgpack.packb(msgpack.ExtType(1, b"forged")), "msgpack", "extension type 1"),
    ],
)
def test_says_what_cannot_be_read(data, form, why):
    """What is not in the form raises one kind of error, which shows how the bytes begin."""
    with pytest.raises(BadPayload, match=why):
        read(data, form)


@pytest.mark.parametrize(
    ("payload", "form", "data"),
    [
        ({"on": True}, "auto", b'{"on":true}'),
        ("on", "auto", b"on"),
        (b"\xff", "auto", b"\xff"),
        (5, "auto", b"5"),
        ("on", "json", b'"on"'),
        ("grün", "text", "grün".encode()),
        (5, "text", b"5"),
        (b"x", "bytes", b"x"),
        ([1, b"x"], "msgpack", msgpack.packb([1, b"x"])),
    ],
)
def test_writes_each_form(payload, form, data):
    """Text and bytes go as they are where the form allows it, all else as JSON or msgpack."""
    assert write(payload, form) == data


@pytest.mark.parametrize(
    ("payload", "form"),
    [(math.nan, "json"), ({1, 2}, "auto"), ("text", "bytes"), (b"x", "json"), (2**70, "msgpack"), (b"\xff", "text")],
)
def test_says_what_cannot_be_written(payload, form):
    """What has no such form raises one kind of error."""
    with pytest.raises(BadPayload):
        write(payload, form)
