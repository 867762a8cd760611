"""File out: append, overwrite, delete; what happens when a file can't be written."""

import errno
import os
import re
import resource
import signal

import pytest
from flowcore_nodes.core.file_out import FileOut
from pydantic import ValidationError

from flowcore.node.testing import drive


async def test_a_line_of_json_a_message(tmp_path):
    path = tmp_path / "new" / "folder" / "out.jsonl"
    async with drive(FileOut, path=str(path)) as node:
        await node.put({"a": 1}, "é", None, topic="t")
        assert path.read_text() == '{"a": 1}\n"é"\nnull\n'
        assert [(m.payload, m.topic) for m in node.messages()] == [({"a": 1}, "t"), ("é", "t"), (None, "t")]


async def test_raw_text_bytes_and_numbers(tmp_path):
    path = tmp_path / "out"
    async with drive(FileOut, path=str(path), format="raw", encoding="latin-1", fsync=True) as node:
        await node.put("é", b"\x00\x01", 5)
        assert path.read_bytes() == b"\xe9\n\x00\x015\n"


async def test_overwrite_and_delete(tmp_path):
    path = tmp_path / "out"
    path.write_text("before")
    async with drive(FileOut, path=str(path), action="overwrite", value="text", format="raw") as node:
        await node.put({"text": "one"}, {"text": "two"})
        assert path.read_text() == "two\n"
        assert [found.name for found in tmp_path.iterdir()] == ["out"]
        await node.reconfigure(action="delete")
        await node.put("x", "again")
        assert not path.exists() and node.errors == []


async def test_the_message_names_the_file_and_few_stay_open(tmp_path):
    async with drive(FileOut, path={"$message": "topic"}, max_open=2) as node:
        for n in range(10):
            await node.put(n, topic=str(tmp_path / f"f{n % 5}"))
        assert (tmp_path / "f3").read_text() == "3\n8\n"
        assert len(node.node._open) == 2
        await node.put(1, topic="")
        assert node.errors[0]["text"] == "the path must be a text, got ''"


async def test_a_file_that_was_moved_away_is_made_anew(tmp_path):
    path = tmp_path / "out.log"
    async with drive(FileOut, path=str(path)) as node:
        await node.put(1)
        path.rename(tmp_path / "out.log.1")
        await node.put(2)
        assert path.read_text() == "2\n"
        assert (tmp_path / "out.log.1").read_text() == "1\n"


async def test_a_file_is_set_aside_when_it_is_large(tmp_path):
    """Each line is in one file, whole; so many are kept, what has another name is left alone."""
    path, notes = tmp_path / "out", tmp_path / "out-notes"
    notes.write_text("not ours")
    async with drive(FileOut, path=str(path), rotate={"max_bytes": 20}) as node:
        await node.put(*range(10, 50))
        await node.put("longer than a file may be", *range(50, 60))
        old = sorted(
            set(tmp_path.iterdir()) - {path, notes}, key=lambda file: (file.name[:19], len(file.name), file.name)
        )
        lines = [line for file in (*old, path) for line in file.read_text().splitlines()]
        assert lines == [*map(str, range(10, 50)), '"longer than a file may be"', *map(str, range(50, 60))]
        assert sum(file.stat().st_size > 20 for file in old) == 1 and node.errors == []
        await node.reconfigure(rotate={"max_bytes": 20, "keep": 2})
        await node.put(*range(100, 120))
        assert len(list(tmp_path.iterdir())) == 4 and notes.exists()


async def test_a_file_is_set_aside_on_a_new_day(tmp_path):
    """Also when nobody was there at midnight; old ones go after their days."""
    path, day_s = tmp_path / "out", 86_400
    old = tmp_path / "out-20200101-120000"
    old.write_text("0\n")
    os.utime(old, (0, 1577880000))
    async with drive(FileOut, path=str(path), rotate={"every": "day", "keep_days": 30}) as node:
        await node.put(1)
        now_s = node.node.now_s()
        os.utime(path, (now_s - day_s, now_s - day_s))
        await node.put(2, 3)
        (aside,) = set(tmp_path.iterdir()) - {path}
        assert (aside.read_text(), path.read_text()) == ("1\n", "2\n3\n")
        assert re.fullmatch(r"out-\d{8}-\d{6}", aside.name)


async def test_what_is_no_json_is_an_error_of_its_own(tmp_path):
    path = tmp_path / "out"
    async with drive(FileOut, path=str(path)) as node:
        await node.put(1, float("nan"), {"a": b"x"}, 2)
        assert path.read_text() == "1\n2\n"
        assert await node.sent() == [1, 2]
        assert ["can't be written as JSON" in error["text"] for error in node.errors] == [True, True]


async def test_a_full_disk_is_an_error_a_message_and_leaves_no_half_line(tmp_path):
    """A limit on the size of files stands in for the disk: the write that passes it is cut short, then refused."""
    path = tmp_path / "out"
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        async with drive(FileOut, path=str(path)) as node:
            await node.put("first")
            resource.setrlimit(resource.RLIMIT_FSIZE, (12, hard))
            await node.put("x" * 100, "y", "z" * 50)
            assert path.read_text() == '"first"\n"y"\n'
            assert [os.strerror(errno.EFBIG) in error["text"] for error in node.errors] == [True, True]
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
            await node.put("room again")
            assert path.read_text() == '"first"\n"y"\n"room again"\n'
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


async def test_a_folder_in_the_place_of_the_file_is_an_error(tmp_path):
    async with drive(FileOut, path=str(tmp_path)) as node:
        await node.put(1, 2)
        assert [error["error"] for error in node.errors] == ["IsADirectoryError", "IsADirectoryError"]
        assert await node.sent() == []


def test_settings_that_can_not_work_are_refused():
    for config, text in (({"path": ""}, "at least 1"), ({"path": "x", "encoding": "utf-9"}, "no encoding")):
        with pytest.raises(ValidationError, match=text):
            FileOut.Config(**config)
