"""`core/tail`: every line once, through rotation, truncation and restarts."""

import asyncio
import gzip
import os
import signal
import sys

import pytest
from flowcore_nodes.core.tail import Tail
from pydantic import ValidationError

from flowcore.node.testing import MemoryStore, drive

QUICK = {"poll_s": 0.01, "rotation_s": 0.05, "start": "beginning"}


def write(path, *lines, mode="a"):
    with path.open(mode) as opened:
        opened.writelines(f"{line}\n" for line in lines)


async def stored(node):
    """Wait until the place of what was sent is stored."""
    await node.wait_for(lambda: node.engine.committer.is_clean)


async def test_lines_come_as_they_are_written(tmp_path):
    log = tmp_path / "app.log"
    async with drive(Tail, path=str(log), **QUICK) as node:
        await node.wait_for(lambda: any("waiting for it" in text for text, _ in node.statuses))
        write(log, "one", "two")
        assert await node.sent(2) == ["one", "two"]
        with log.open("a") as opened:
            opened.write("thr")
            opened.flush()
            await asyncio.sleep(0.05)  # it looks several times, and there is no line yet
            opened.write("ee\r\n\n")
        assert await node.sent(4) == ["one", "two", "three", ""]
        assert [message.meta["offset"] for message in node.messages()] == [0, 4, 8, 15]
        assert {(message.topic, message.meta["file"]) for message in node.messages()} == {("app.log", str(log))}


async def test_it_may_begin_at_the_end(tmp_path):
    log = tmp_path / "app.log"
    write(log, "before")
    with log.open("a") as opened:
        opened.write("half")
        opened.flush()
        async with drive(Tail, path=str(log), poll_s=0.01) as node:
            await node.wait_for(lambda: node.statuses)
            opened.write(" a line\n")
            opened.flush()
            assert await node.sent(1) == ["half a line"]


async def test_a_rotated_file_is_read_to_its_end_before_the_new_one(tmp_path):
    log = tmp_path / "app.log"
    write(log, "1")
    async with drive(Tail, path=str(log), **QUICK) as node:
        assert await node.sent(1) == ["1"]
        with log.open("a") as opened:  # a writer that goes on for a moment in the renamed file
            log.rename(tmp_path / "app.log.1")
            write(log, "3")
            opened.write("2\nlast without end")
        assert await node.sent(4) == ["1", "2", "last without end", "3"]
        log.rename(tmp_path / "app.log.2")  # several at once
        write(tmp_path / "app.log.1", "5", mode="w")
        os.utime(tmp_path / "app.log.1", ns=(1 << 62, 1 << 62))
        write(tmp_path / "app.log.2", "4")
        write(log, "6")
        assert (await node.sent(7))[4:] == ["4", "5", "6"]


async def test_a_file_that_is_cut_is_read_anew(tmp_path):
    log = tmp_path / "app.log"
    write(log, "one", "two")
    async with drive(Tail, path=str(log), **QUICK) as node:
        await node.sent(2)
        write(log, "three", mode="w")
        assert (await node.sent(3))[2] == "three"
        write(log, "a longer line than all that was there before", mode="w")  # it has grown past the place meanwhile
        assert (await node.sent(4))[3] == "a longer line than all that was there before"


@pytest.mark.parametrize("meanwhile", ["grown", "rotated", "rotated twice", "packed", "cut", "copied and cut"])
async def test_after_a_restart_it_goes_on_where_it_was(tmp_path, meanwhile):
    log, old, older = tmp_path / "app.log", tmp_path / "app.log.1", tmp_path / "app.log.2"
    store = MemoryStore()
    write(log, "1", "2")
    async with drive(Tail, path=str(log), store=store, **QUICK) as node:
        await node.sent(2)
        await stored(node)
    write(log, "3")
    match meanwhile:
        case "grown":
            write(log, "4")
        case "rotated":
            log.rename(old)
            write(log, "4")
        case "rotated twice":
            log.rename(older)
            os.utime(older, ns=(1, 10**18))
            write(old, "4")
            os.utime(old, ns=(1, 2 * 10**18))
            write(log, "5")
        case "packed":
            (tmp_path / "app.log.1.gz").write_bytes(gzip.compress(log.read_bytes()))
            log.unlink()
            write(log, "4")
        case "cut":
            write(log, "4", mode="w")
        case "copied and cut":
            old.write_bytes(log.read_bytes())
            write(log, "4", mode="w")
    expected = {"cut": ["4"], "rotated twice": ["3", "4", "5"]}.get(meanwhile, ["3", "4"])
    async with drive(Tail, path=str(log), store=store, **QUICK) as node:
        assert await node.sent(len(expected)) == expected
        await asyncio.sleep(0.1)  # nothing comes twice
        assert await node.sent() == expected
        assert [error["error"] for error in node.errors] == (["LookupError"] if meanwhile == "cut" else [])


async def test_a_line_that_is_too_long_or_no_text_is_left_out_and_told(tmp_path):
    log = tmp_path / "app.log"
    async with drive(Tail, path=str(log), max_line_bytes=1000, **QUICK) as node:
        log.write_bytes(b"good\n" + b"x" * 2000 + b"\n\xff\xfe\n" + b"y" * 700_000 + b"\nlast\n")
        assert await node.sent(2) == ["good", "last"]
        texts = [error["text"].partition(": ")[2] for error in node.errors]
        assert texts[0] == "a line of 2000 bytes or more at byte 5, max_line_bytes is 1000"
        assert texts[1].startswith("not utf-8 at byte 2006")
        assert "at byte 2009, max_line_bytes is 1000" in texts[2] and len(texts) == 3
    async with drive(Tail, path=str(tmp_path), **QUICK) as node:
        await node.wait_for(lambda: any("not a file; waiting for it" in text for text, _ in node.statuses))


WRITER = """
import os, sys, time
path, lines, each = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
opened = open(path, "a", buffering=1)
for n in range(lines):
    print(n, file=opened)
    if n % each == each - 1:
        for k in range(8, 0, -1):
            if os.path.exists(f"{path}.{k}"):
                os.rename(f"{path}.{k}", f"{path}.{k + 1}")
        os.rename(path, f"{path}.1")
        opened = open(path, "a", buffering=1)
    time.sleep(0.0005)
"""


async def test_a_busy_writer_that_rotates_loses_nothing_over_restarts(tmp_path):
    """2,000 lines, a rotation each 250, and the node is started again and again meanwhile."""
    log, store, got = tmp_path / "app.log", MemoryStore(), []
    writer = await asyncio.create_subprocess_exec(sys.executable, "-c", WRITER, str(log), "2000", "250")
    async with asyncio.timeout(30):
        while len(got) < 2000:
            async with drive(Tail, path=str(log), store=store, **QUICK) as node:
                wanted = min(300, 2000 - len(got))
                await node.wait_for(lambda node=node, wanted=wanted: len(node.messages()) >= wanted, timeout=20)
                await node.engine.source.quiesce()
                await stored(node)
                got += [int(line) for line in await node.sent()]
    assert got == list(range(2000))
    await writer.wait()
    assert writer.returncode == 0 != -signal.SIGKILL


def test_settings_that_can_not_work_are_refused():
    for config in ({"path": ""}, {"path": "x", "encoding": "utf-16"}, {"path": "x", "encoding": "klingon"}):
        with pytest.raises(ValidationError):
            Tail.Config(**config)
