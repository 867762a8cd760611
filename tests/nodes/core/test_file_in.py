"""File in: lines, chunks, whole files; positions; files that are missing or wrong."""

import pytest
from flowcore_nodes.core.file_in import FileIn
from pydantic import ValidationError

from flowcore.node.testing import MemoryStore, drive


def is_read(node):
    return lambda: any(text.endswith("is read") for text, _ in node.statuses)


async def read(path, **config):
    async with drive(FileIn, path=str(path), **config) as node:
        await node.wait_for(lambda: is_read(node)() or any(kind == "error" for _, kind in node.statuses))
        return await node.sent(), node


async def test_each_line_is_a_message(tmp_path):
    path = tmp_path / "in.txt"
    path.write_bytes("one\r\ntwö\n\nlast".encode())
    payloads, node = await read(path)
    assert payloads == ["one", "twö", "", "last"]
    assert [m.meta["line"] for m in node.messages()] == [1, 2, 3, 4]
    assert node.messages()[0].topic == "in.txt"


async def test_a_file_larger_than_a_block_keeps_its_lines(tmp_path):
    path = tmp_path / "in.txt"
    lines = [f"{n}:" + "x" * (n % 300) for n in range(5000)]
    path.write_text("\n".join(lines) + "\n")
    payloads, _ = await read(path)
    assert payloads == lines


async def test_whole_and_in_chunks(tmp_path):
    path = tmp_path / "in.bin"
    path.write_bytes(bytes(range(256)) * 10)
    payloads, _ = await read(path, output="whole", encoding="bytes")
    assert payloads == [bytes(range(256)) * 10]
    payloads, node = await read(path, output="chunks", chunk_bytes=1000)
    assert b"".join(payloads) == bytes(range(256)) * 10
    assert [m.meta["offset"] for m in node.messages()] == [0, 1000, 2000]


async def test_reading_goes_on_where_everything_was_handled(tmp_path):
    path = tmp_path / "in.txt"
    path.write_text("1\n2\n3\n")
    store = MemoryStore()
    for expected in (["1", "2", "3"], []):
        async with drive(FileIn, store=store, path=str(path)) as node:
            await node.wait_for(is_read(node))
            assert await node.sent() == expected
    path.write_text("1\n2\n3\n4\n")
    async with drive(FileIn, store=store, path=str(path)) as node:
        await node.wait_for(is_read(node))
        assert await node.sent() == ["4"]
        assert node.messages()[0].meta["line"] == 4
    async with drive(FileIn, store=store, path=str(path), resume=False) as node:
        await node.wait_for(is_read(node))
        assert len(await node.sent()) == 4


async def test_a_file_that_has_become_shorter_is_not_guessed_at(tmp_path):
    path = tmp_path / "in.txt"
    path.write_text("1\n2\n3\n")
    store = MemoryStore()
    async with drive(FileIn, store=store, path=str(path)) as node:
        await node.wait_for(is_read(node))
    path.write_text("1\n")
    async with drive(FileIn, store=store, path=str(path)) as node:
        await node.wait_for(lambda: node.errors)
        assert "has 2 bytes, it was read up to 6" in node.errors[0]["text"]
        assert node.statuses[-1][1] == "error"


async def test_a_missing_file_is_waited_for(tmp_path):
    path = tmp_path / "later.txt"
    async with drive(FileIn, path=str(path), retry_s=0.02) as node:
        await node.wait_for(lambda: node.statuses)
        assert node.statuses[0] == (f"{path}: No such file or directory; trying again", "warn")
        path.write_text("there\n")
        assert await node.sent(1) == ["there"]


async def test_bad_lines_are_errors_and_the_rest_is_read(tmp_path):
    path = tmp_path / "in.txt"
    path.write_bytes(b"good\n\xff\xfe\n" + b"x" * 1000 + b"\n" + b"y" * 600_000 + b"\nend\n")
    payloads, node = await read(path, max_line_bytes=500)
    assert payloads == ["good", "end"]
    assert node.messages()[1].meta["line"] == 5
    assert [error["text"].split(": ", 1)[1].split(",")[0] for error in node.errors] == [
        "not utf-8: invalid start byte at byte 1",
        "a line of 1000 bytes or more",
        node.errors[2]["text"].split(": ", 1)[1].split(",")[0],
    ]
    assert len(node.errors) == 3


async def test_a_message_asks_for_a_file(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("1\n2\n")
    async with drive(FileIn, read="message") as node:
        await node.put(str(path), topic="mine", meta={"m": 1})
        assert await node.sent() == ["1", "2"]
        assert (node.messages()[0].topic, node.messages()[0].meta["m"]) == ("mine", 1)
        await node.put(str(tmp_path / "none"), 5)
        assert [error["error"] for error in node.errors] == ["FileNotFoundError", "GiveUp"]
    async with drive(FileIn, read="message", path={"$message": "payload.file"}, output="whole") as node:
        await node.put({"file": str(path)})
        assert await node.sent() == ["1\n2\n"]


async def test_what_is_too_large_for_a_message_is_said(tmp_path):
    path = tmp_path / "large"
    path.write_bytes(b"x" * 300_000)
    payloads, node = await read(path, output="whole")
    assert payloads == [] and "read lines or chunks" in node.errors[0]["text"]


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ({"encoding": "utf-9"}, "no encoding 'utf-9'"),
        ({"encoding": "utf-16"}, "use output = whole"),
        ({"chunk_bytes": 10_000_000}, "less than or equal"),
    ],
)
def test_settings_that_can_not_work_are_refused(config, text):
    with pytest.raises(ValidationError, match=text):
        FileIn.Config(path="x", **config)
