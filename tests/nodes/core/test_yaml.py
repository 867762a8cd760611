"""`core/yaml`: both ways; nothing but plain values, and no bombs."""

import math

import pytest
from flowcore_nodes.core.yaml import Yaml

from flowcore.node.testing import drive

BOMB = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


async def test_yaml_is_read_as_version_1_2():
    text = """
country: no
switch: on
count: 0o17
hex: 0xff
none: ~
date: 2001-12-14
time: 12:30:45
float: 1e3
inf: -.inf
1: one
base: &base {a: 1}
more: {<<: *base, b: 2}
blob: !!binary aGVsbG8=
"""
    async with drive(Yaml) as node:
        await node.put(text, text.encode())
        expected = {
            "country": "no", "switch": "on", "count": 15, "hex": 255, "none": None, "date": "2001-12-14",
            "time": "12:30:45", "float": 1000.0, "inf": -math.inf, "1": "one", "base": {"a": 1},
            "more": {"a": 1, "b": 2}, "blob": b"hello",
        }  # fmt: skip
        assert await node.sent() == [expected, expected]


async def test_what_is_written_reads_back_the_same():
    value = {
        "texts": ["no", "null", "1", "1e3", "2001-01-01", "", " x", "é\nf", "0o17", "12:30"],
        "deep": [{"a": [1, 2.5, None, True, b"\x00"]}], "z": 1, "a": {},
    }  # fmt: skip
    async with drive(Yaml) as node:
        await node.put(value)
        (text,) = await node.sent()
        assert text.index("z:") < text.index("a: {}")
        await node.put(text)
        assert (await node.sent())[1] == value


async def test_several_documents_and_a_part_of_the_message():
    async with drive(Yaml, documents=True, path="payload.y") as node:
        await node.put({"y": "a: 1\n---\n- 2\n"}, {"y": [1, {"a": 2}]}, {"n": 1})
        assert await node.sent() == [{"y": [{"a": 1}, [2]]}, {"y": "1\n---\na: 2\n"}, {"n": 1}]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("a: 1\na: 2", "the key 'a' is there twice at line 2 column 1"),
        ("!!python/object/apply:os.system ['true']", "makes no plain value"),
        ("a: !!timestamp 2001-01-01", "makes no plain value"),
        ("a: &a [*a]", "an alias inside of what it stands for"),
        ("? [1]\n: 2", "a key must be a text"),
        ("a: 123456789012345678901234", "more than 64 bits"),
        ("x: 1\n---\ny: 2", "another document"),
        ("a: [", "at line 1 column"),
        ("\x01", "not YAML: unacceptable character"),
        ("[" * 50_000, "nested deeper than max_depth = 64"),
        (BOMB, "more than max_values values"),
        (b"\xff", "not UTF-8"),
        ("x" * 200_001, "more than max_bytes = 200000"),
    ],
)
async def test_yaml_says_what_is_wrong(given, text):
    async with drive(Yaml, max_bytes=200_000) as node:
        await node.put(given, "a: 1")
        assert await node.sent() == [{"a": 1}]
        assert text in node.errors[0]["text"]
