"""`core/csv`: rows, tables, pieces, and back; as Node-RED's RFC 4180 parser reads them."""

import pytest
from flowcore_nodes.core.csv import Csv
from flowcore_nodes.core.csv_text import complete_length, parse
from pydantic import ValidationError

from flowcore.node.testing import MemoryStore, drive


def part(index: int, count: int) -> dict:
    return {"parts": {"id": "s", "index": index, "count": count}}


NUMBERS = [{"n": value} for value in ("007", "+49", -0.5, 1000, 31, "-01", " ")]


@pytest.mark.parametrize(
    ("config", "given", "rows"),
    [
        ({}, "1,2\n3,4", [{"col1": 1, "col2": 2}, {"col1": 3, "col2": 4}]),
        ({"header": True}, "\ufeffa,b\r\n1,x\r\n", [{"a": 1, "b": "x"}]),
        ({"header": True}, b'"a,1","b"\n"x ""y""","m\nn"\n', [{"a,1": 'x "y"', "b": "m\nn"}]),
        ({"columns": "a,,c"}, "1,2,3\n\n4,5", [{"a": 1, "c": 3}, {"a": 4}]),
        ({"columns": "a,b,c"}, ',"",5', [{"c": 5}]),
        ({"columns": "a,b,c", "empty_texts": True, "nulls": True}, ',"",5', [{"a": None, "b": "", "c": 5}]),
        ({"separator": ";", "quote": "'"}, "'a;b';1", [{"col1": "a;b", "col2": 1}]),
        ({"separator": "\t", "skip_lines": 2}, "x\r\ny\r\n1\t2", [{"col1": 1, "col2": 2}]),
        ({"columns": "n"}, "007\n+49\n-0.5\n1e3\n0x1f\n-01\n ", NUMBERS),
        ({"columns": "n", "numbers": False}, "5", [{"n": "5"}]),
        ({"columns": "a,b", "types": {"a": "text", "b": "bool"}}, "5,Yes", [{"a": "5", "b": True}]),
        ({}, 'a"b,"q"z,"open', [{"col1": 'a"b', "col2": 'q"z', "col3": "open"}]),
    ],
)  # fmt: skip
async def test_text_becomes_rows(config, given, rows):
    async with drive(Csv, **config) as node:
        await node.put(given, topic="t")
        assert await node.sent() == rows
        parts = [message.meta["parts"] for message in node.messages()]
        assert [(one["index"], one["count"]) for one in parts] == [(n, len(rows)) for n in range(len(rows))]
        assert len({one["id"] for one in parts}) == 1


async def test_a_table_is_one_message_with_its_columns():
    async with drive(Csv, output="table", header=True) as node:
        await node.put('a,"b,c",\n1,2', "a,b\n", meta={"x": 1})
        assert await node.sent() == [[{"a": 1, "b,c": 2}], []]
        assert [message.meta for message in node.messages()] == [
            {"x": 1, "columns": 'a,"b,c"'}, {"x": 1, "columns": "a,b"},
        ]  # fmt: skip


async def test_the_lines_of_a_split_are_one_text():
    lines = ["a comment", "a,b", "1,2", "3,4"]
    async with drive(Csv, header=True, skip_lines=1) as node:
        for index, line in enumerate(lines):
            await node.put(line, meta=part(index, 4))
        assert await node.sent() == [{"a": 1, "b": 2}, {"a": 3, "b": 4}]
        assert [(m.meta["parts"]["index"], m.meta["parts"]["count"]) for m in node.messages()] == [(0, 2), (1, 2)]
        assert [m.meta.get("complete") for m in node.messages()] == [None, True]
    store = MemoryStore()
    for index, line in enumerate(lines):  # a restart after each line
        async with drive(Csv, store=store, header=True, skip_lines=1, output="table") as node:
            await node.put(line, meta=part(index, 4))
            made = await node.sent()
    assert made == [[{"a": 1, "b": 2}, {"a": 3, "b": 4}]]


async def test_pieces_may_end_anywhere():
    text = '\ufeffa comment\r\na,b\r\n1,"x\r\ny ""z"""\r\n2,é'
    for size in (1, 2, 3, 7, 50):
        async with drive(Csv, pieces="chunks", header=True, skip_lines=1) as node:
            for begin in range(0, len(text), size):
                await node.put(text[begin : begin + size], meta={"file": "f"})
            await node.put("", meta={"file": "f", "complete": True})
            assert await node.sent() == [{"a": 1, "b": 'x\r\ny "z"'}, {"a": 2, "b": "é"}, None]
            assert [m.meta.get("row") for m in node.messages()] == [0, 1, None]
    async with drive(Csv, pieces="lines", header=True) as node:
        for file, line in (("f", "a"), ("f", "1"), ("f", '"2'), ("f", '3"'), ("g", "b"), ("g", "4")):
            await node.put(line, meta={"file": file})
        assert await node.sent() == [{"a": 1}, {"a": "2\n3"}, {"b": 4}]


@pytest.mark.parametrize(
    ("config", "given", "texts"),
    [
        ({}, [{"a": 1, "b": None, "c": True}], ["1,,true\r\n"]),
        ({}, [[{"a": 1}, {"a": 2.0, "b": 3}]], ["1\r\n2\r\n"]),
        ({"columns": "b,a", "newline": "\n"}, [{"a": 1, "b": 'x"y'}], ['"x""y",1\n']),
        (
            {"header_out": "all", "separator": ";"},
            [{"a;b": "1;2"}, {"c": "x,y"}],
            ['"a;b"\r\n"1;2"\r\n', "c\r\nx,y\r\n"],
        ),
        ({"header_out": "once", "columns": "a"}, [{"a": 1}, {"a": 2}], ["a\r\n1\r\n", "2\r\n"]),
        ({}, [[1, 2.5, "x\ny"]], ['1,2.5,"x\ny"\r\n']),
        ({"columns": "a,,c"}, [[[1, 2, 3], [4]]], ["1,,3\r\n4,,\r\n"]),
        ({}, [{"a": {"b": [1]}, "c": 1e-7, "d": b"x"}], ['"{""b"":[1]}",1e-7,x\r\n']),
        ({}, [[]], [""]),
    ],
)
async def test_maps_and_lists_become_text(config, given, texts):
    async with drive(Csv, **config) as node:
        await node.put(*given)
        assert await node.sent() == texts


async def test_columns_of_the_message_order_what_is_written_and_reset_brings_the_header_again():
    async with drive(Csv, header_out="once") as node:
        await node.put({"a": 1, "b": 2}, meta={"columns": "b,a"})
        await node.put({"a": 1, "b": 2}, meta={"columns": "b,a"})
        await node.put(None, meta={"reset": True})
        await node.put({"a": 3})
        assert await node.sent() == ["b,a\r\n2,1\r\n", "2,1\r\n", "a\r\n3\r\n"]


async def test_what_is_read_is_what_was_written():
    rows = [{"a": 'x,"y"\r\nz', "b": 1.5}, {"a": " ", "b": -3}]
    async with drive(Csv, header_out="all") as out, drive(Csv, header=True, output="table") as back:
        await out.put(rows)
        await back.put(*await out.sent())
        assert await back.sent() == [rows]


async def test_a_row_that_does_not_fit_is_an_error_of_its_own():
    async with drive(Csv, header=True, strict=True, types={"n": "integer"}) as node:
        await node.put("n,t\n1,a\n1.5,b\n2,c,d\nx,e\n3,f")
        assert await node.sent() == [{"n": 1, "t": "a"}, {"n": 3, "t": "f"}]
        assert [error["text"] for error in node.errors] == [
            "row 3: n must be a whole number, got '1.5'",
            "row 4: it has 3 cells, there are 2 columns",
            "row 5: n must be a whole number, got 'x'",
        ]


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ('a\n"b\nc', "not CSV: a cell that is not closed in line 2"),
        ('a"b', "a quote inside a cell without quotes in line 1"),
        ('"a"b', "text behind a closing quote in line 1"),
        (b"\xff\xfe", "not UTF-8"),
        ("x" * 2000, "max_bytes is 1000"),
        (5, "CSV is made of text, maps and lists, got int"),
        ([{"a": 1}, 2], "row 2 is neither a map nor a list"),
    ],
)
async def test_csv_says_what_is_wrong(given, text):
    async with drive(Csv, strict=True, max_bytes=1000) as node:
        await node.put(given, "1")
        assert await node.sent() == [{"col1": 1}]
        assert text in node.errors[0]["text"]


async def test_what_waits_is_bounded():
    async with drive(Csv, output="table", max_held=2) as node:
        for index in range(3):
            await node.put("1", meta=part(index, 9))
        assert "max_held = 2" in node.errors[0]["text"]
    async with drive(Csv, pieces="lines", max_bytes=20) as node:
        await node.put('"a quote that is', "never closed", meta={"file": "f"})
        assert "is a quote not closed?" in node.errors[0]["text"]


def test_settings_that_can_not_work_are_refused():
    for config in ({"separator": '"'}, {"separator": "\n"}, {"columns": 'a"b'}, {"pieces": "lines", "output": "table"}):
        with pytest.raises(ValidationError):
            Csv.Config(**config)


def test_a_text_without_quotes_reads_as_one_with():
    for text in ("a,,b\r\nc", ",\n,,\n\n", "a,b,", "a", "", "\r\r\na"):
        assert parse(text, ",", "~") == parse(text + '\n"x"', ",", '"')[:-1]
        assert 0 <= complete_length(text, '"') <= len(text)
