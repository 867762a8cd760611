"""`core/file-watch`: what happens in a folder, told once."""

import asyncio
import shutil

import pytest
from flowcore_nodes.core.file_tree import Globs
from flowcore_nodes.core.file_watch import FileWatch
from pydantic import ValidationError

from flowcore.node.testing import MemoryStore, drive


def told(node, folder):
    """What was told: event and path below the folder."""
    return [(m.meta["event"], m.payload.removeprefix(f"{folder}/")) for m in node.messages()]


async def watching(node):
    await node.wait_for(lambda: any(text.startswith("watching") for text, _ in node.statuses))


async def all_told(node, folder, *expected):
    """Wait for these; their order among each other is the kernel's."""
    await node.wait_for(lambda: len(node.messages()) >= len(expected), timeout=15)
    assert sorted(told(node, folder)) == sorted(expected)


@pytest.mark.parametrize("poll_s", [0, 0.05])
async def test_files_are_created_changed_moved_and_deleted(tmp_path, poll_s):
    (tmp_path / "old.txt").write_text("1")
    (tmp_path / "gone.txt").write_text("1")
    async with drive(FileWatch, path=str(tmp_path), settle_s=0.1, poll_s=poll_s) as node:
        await watching(node)
        (tmp_path / "new.txt").write_text("12345")
        (tmp_path / "old.txt").write_text("22")
        (tmp_path / "gone.txt").unlink()
        expected = [("created", "new.txt"), ("changed", "old.txt"), ("deleted", "gone.txt")]
        await all_told(node, tmp_path, *expected)
        (tmp_path / "new.txt").rename(tmp_path / "named.txt")
        await all_told(node, tmp_path, *expected, ("moved", "named.txt"))
        moved = node.messages()[-1]
        assert moved.topic == "named.txt" and moved.meta["from"] == str(tmp_path / "new.txt")
        assert (moved.meta["size_bytes"], moved.meta["kind"]) == (5, "file")


async def test_a_file_that_is_being_written_is_told_once_when_it_is_whole(tmp_path):
    async with drive(FileWatch, path=str(tmp_path), settle_s=0.3, include=["*.jpg"]) as node:
        await watching(node)
        with (tmp_path / "part.tmp").open("w") as opened:
            for _ in range(10):
                opened.write("x" * 100)
                opened.flush()
                await asyncio.sleep(0.05)
        (tmp_path / "part.tmp").rename(tmp_path / "whole.jpg")  # as careful writers do
        (tmp_path / "brief.jpg").write_text("1")
        (tmp_path / "brief.jpg").unlink()
        await all_told(node, tmp_path, ("created", "whole.jpg"))
        assert node.messages()[0].meta["size_bytes"] == 1000


async def test_folders_are_followed_as_they_come_and_go(tmp_path):
    async with drive(FileWatch, path=str(tmp_path), settle_s=0, folders=True) as node:
        await watching(node)
        (tmp_path / "a/b").mkdir(parents=True)
        (tmp_path / "a/b/deep.txt").write_text("1")
        expected = [("created", "a"), ("created", "a/b"), ("created", "a/b/deep.txt")]
        await node.wait_for(lambda: len(node.messages()) >= 3)
        (tmp_path / "a").rename(tmp_path / "c")
        expected += [("moved", "c"), ("moved", "c/b"), ("moved", "c/b/deep.txt")]
        await node.wait_for(lambda: len(node.messages()) >= 6)
        shutil.rmtree(tmp_path / "c")
        expected += [("deleted", "c"), ("deleted", "c/b"), ("deleted", "c/b/deep.txt")]
        await node.wait_for(lambda: len(node.messages()) >= 9)
        assert set(expected) <= set(told(node, tmp_path))
    async with drive(FileWatch, path=str(tmp_path), settle_s=0, recursive=False) as node:
        await watching(node)
        (tmp_path / "d").mkdir()
        (tmp_path / "d/not-told").write_text("1")
        (tmp_path / "told").write_text("1")
        await all_told(node, tmp_path, ("created", "told"))


async def test_only_what_is_asked_for_is_told(tmp_path):
    (tmp_path / "x").mkdir()
    config = {"include": ["*.csv", "x/**"], "exclude": ["tmp*"], "events": ["created"], "settle_s": 0}
    async with drive(FileWatch, path=str(tmp_path), **config) as node:
        await watching(node)
        for name in ("a.txt", "tmp.csv", "x/any", "a.csv"):
            (tmp_path / name).write_text("1")
        await all_told(node, tmp_path, ("created", "x/any"), ("created", "a.csv"))
        (tmp_path / "a.csv").unlink()
        (tmp_path / "a.txt").rename(tmp_path / "b.csv")  # it comes into what is looked at
        await all_told(node, tmp_path, ("created", "x/any"), ("created", "a.csv"), ("created", "b.csv"))


async def test_what_changed_while_it_was_away_is_told_when_it_is_to_remember(tmp_path):
    store = MemoryStore()
    for name in ("same", "changed", "gone", "before"):
        (tmp_path / name).write_text("1")
    config = {"path": str(tmp_path), "settle_s": 0.05, "store": store, "remember": True}
    async with drive(FileWatch, **config, existing=True) as node:
        names = ("same", "changed", "gone", "before")
        await all_told(node, tmp_path, *(("created", name) for name in names))
    (tmp_path / "changed").write_text("22")
    (tmp_path / "gone").unlink()
    (tmp_path / "before").rename(tmp_path / "after")
    (tmp_path / "new").write_text("1")
    expected = [("changed", "changed"), ("deleted", "gone"), ("moved", "after"), ("created", "new")]
    async with drive(FileWatch, **config, existing=True) as node:
        await all_told(node, tmp_path, *expected)
    async with drive(FileWatch, **config) as node:
        await watching(node)
        (tmp_path / "last").write_text("1")
        await all_told(node, tmp_path, ("created", "last"))


async def test_a_folder_that_is_missing_or_goes_is_waited_for(tmp_path):
    folder = tmp_path / "late"
    async with drive(FileWatch, path=str(folder), settle_s=0, existing=True) as node:
        await node.wait_for(lambda: any("waiting for it" in text for text, _ in node.statuses))
        folder.mkdir()
        (folder / "a").write_text("1")
        await all_told(node, folder, ("created", "a"))
        shutil.rmtree(folder)
        await all_told(node, folder, ("created", "a"), ("deleted", "a"))
        folder.mkdir()
        (folder / "b").write_text("1")
        await all_told(node, folder, ("created", "a"), ("deleted", "a"), ("created", "b"))


async def test_too_many_files_are_an_error(tmp_path):
    for n in range(4):
        (tmp_path / str(n)).touch()
    async with drive(FileWatch, path=str(tmp_path), max_files=3) as node:
        await node.wait_for(lambda: node.errors)
        assert node.errors[0]["text"] == f"more than 3 files in {tmp_path}"


def test_globs():
    for glob, path, fits in (
        ("*.jpg", "a.jpg", True),
        ("*.jpg", "x/y/a.jpg", True),
        ("*.jpg", "a.jpg.tmp", False),
        ("x/*.jpg", "x/a.jpg", True),
        ("x/*.jpg", "x/y/a.jpg", False),
        ("x/**/*.jpg", "x/a.jpg", True),
        ("x/**/*.jpg", "x/y/z/a.jpg", True),
        ("**/tmp/**", "a/tmp/b", True),
        ("?.txt", "a.txt", True),
        ("?.txt", "ab.txt", False),
        ("a[1].txt", "a[1].txt", True),
    ):
        assert Globs([glob], []).fit(path) is fits, (glob, path)


def test_settings_that_can_not_work_are_refused():
    for config in ({"path": ""}, {"path": "x", "include": ["/abs"]}, {"path": "x", "events": []}):
        with pytest.raises(ValidationError):
            FileWatch.Config(**config)
