"""Reading a flow file strictly, and finding lines in it."""

import json
import time

import pytest

from flowcore.flow.source import MAX_BYTES, Source, SourceError

TEXT = """{
  "nodes": [
    {"id": "a",
     "config": {"a/b": 1, "c~d": [
       10, 20]}},
    {"id": "b"}
  ]
}"""


@pytest.mark.parametrize(
    ("pointer", "line"),
    [
        ("", 1),
        ("/nodes", 2),
        ("/nodes/0", 3),
        ("/nodes/0/config", 4),
        ("/nodes/0/config/a~1b", 4),
        ("/nodes/0/config/c~0d/1", 5),
        ("/nodes/1/id", 6),
        ("/nodes/1/config/deep", 6),
        ("/nodes/7", 2),
        ("/wires", 1),
    ],
)
def test_a_pointer_has_a_line(pointer, line):
    """A value is found at its line, what is missing at the line of the part that should have it."""
    assert Source(TEXT).line(pointer) == line


def test_a_key_may_stand_on_another_line_than_its_value():
    """An error about a key points at the key."""
    source = Source('{\n"a":\n\n1}')
    assert (source.line("/a", at_key=True), source.line("/a")) == (2, 4)


def test_lines_end_in_every_usual_way():
    """Windows line ends count once, and a byte-order mark is no part of the text."""
    source = Source(b'\xef\xbb\xbf{\r\n"a": 1,\r\n"b": 2}')
    assert source.value == {"a": 1, "b": 2} and source.line("/b") == 3


def test_a_character_in_two_halves_is_whole():
    """An escaped emoji is no fault; half of one is, and says where."""
    assert Source('{"a": "\\ud83d\\ude00"}').faults == []
    assert [pointer for pointer, _, _ in Source('{"a": ["\\ude00"]}').faults] == ["/a/0"]


def test_numbers_of_64_bits_pass():
    """The largest whole numbers of msgpack are fine, one more is a fault."""
    assert Source(f"[{2**64 - 1}, {-(2**63)}]").faults == []
    assert len(Source(f"[{2**64}, {-(2**63) - 1}]").faults) == 2


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "[" * 65 + "]" * 65])
def test_deep_nesting_is_refused(text):
    """Depth ends in a message, not in a RecursionError."""
    with pytest.raises(SourceError, match="deeper than 64"):
        Source(text)


def test_a_file_larger_than_the_bus_carries_is_refused():
    """The size is said before anything is read."""
    with pytest.raises(SourceError, match=r"8\.0 MB is too large"):
        Source(b" " * 8_000_000)
    assert MAX_BYTES < 8_000_000


@pytest.mark.alone
def test_many_lines_are_found_fast():
    """All 2,000 places of a 3 MB file are found within a second: an editor waits for them."""
    source = Source(json.dumps([{"text": "x" * 1500, "values": list(range(10))} for _ in range(2000)], indent=1))
    began = time.perf_counter()
    lines = [source.line(f"/{index}/values/9") for index in range(2000)]
    assert time.perf_counter() - began < 1
    assert lines == sorted(set(lines))
