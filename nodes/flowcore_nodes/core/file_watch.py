import asyncio
import os
from pathlib import Path
from typing import Literal

from pydantic import field_validator
from watchfiles import awatch

from flowcore.node import Node, NodeConfig, Out, field
from flowcore_nodes.core.file_tree import About, Change, Globs, Tree

_Event = Literal["created", "changed", "deleted", "moved"]

_TICK_S = 2.0  # how often it is looked whether the folder itself is still there
_RESCAN_S = 60.0  # how often everything is looked at: the kernel's queue of events may have overflowed
_DEBOUNCE_MS, _STEP_MS = 200, 20


class FileWatch(Node):
    """Tell when files in a folder are created, changed, deleted or moved.

    The payload is the path, ready for a file-in node with `read` = message; `meta` has event, kind (file or folder),
    size_bytes, modified_s, and `from` of what was moved. A file that is being written is told when it has not grown for
    `settle_s`, so that nobody reads half of it. A folder that is missing, or goes, is waited for. With `remember` what
    changed while the flow was not running is told at the next start.
    """

    type = "core/file-watch"
    title = "File watch"
    category = "storage"
    icon = "folder-search"

    class Config(NodeConfig):
        path: str = field(
            ..., min_length=1, description="The folder; a relative path begins where the runtime was started"
        )
        include: list[str] = field(
            [], description="Which files, such as *.jpg or line-*/**/*.csv, below the folder; empty: all"
        )
        exclude: list[str] = field([], description="Which not, such as *.tmp or .git/**")
        events: list[_Event] = field(
            ["created", "changed", "deleted", "moved"], min_length=1, description="What is told"
        )
        folders: bool = field(False, description="Tell of folders, too")
        recursive: bool = field(True, description="With the folders in it")
        existing: bool = field(False, description="At the first start, what is there counts as created")
        remember: bool = field(
            False,
            description="Remember what is there over restarts, and tell what has changed; else each start is a first",
        )
        settle_s: float = field(
            0.5, ge=0, le=3600, description="A file is told when it stayed the same for so long, in seconds"
        )
        poll_s: float = field(
            0.0, ge=0, le=3600, description="Look so often, in seconds, for network drives; 0: the kernel tells"
        )
        max_files: int = field(20_000, gt=0, le=1_000_000, description="Most files in the folder")

        @field_validator("include", "exclude")
        @classmethod
        def _are_globs(cls, globs: list[str]) -> list[str]:
            for glob in globs:
                if not glob or glob.startswith("/"):
                    raise ValueError(f"{glob!r} must be a pattern below the folder, such as *.jpg")
            return globs

    out = Out(str, "path of the file; meta.event, kind, size_bytes, modified_s, from")

    async def run(self) -> None:
        self._root = os.path.abspath(self.config.path)  # noqa: PTH100
        self._globs = Globs(self.config.include, self.config.exclude)
        self._waiting: dict[str, tuple[float, str]] = {}  # path -> when it may be told, and as what
        tree = Tree(self._root, self.config.recursive, self.config.max_files)
        is_first = self._recall(tree)
        while True:
            await self._until_there()
            touched: asyncio.Queue[set[str]] = asyncio.Queue()
            watching = None if self.config.poll_s else asyncio.create_task(self._watch(touched))
            try:
                if watching is not None:
                    await asyncio.sleep(2 * _STEP_MS / 1000)  # the watch is there before everything is looked at
                changes = await asyncio.to_thread(tree.update, [self._root])
                if not is_first or self.config.existing:
                    await self._tell(changes, tree)
                else:
                    self._remember(changes)
                is_first = False
                self.set_status(f"watching {len(tree.known)} files in {Path(self._root).name}")
                await self._follow(tree, touched, watching)
            finally:
                if watching is not None:
                    watching.cancel()
                    await asyncio.wait({watching})
            await self._tell(await asyncio.to_thread(tree.update, [self._root]), tree)

    def _recall(self, tree: Tree) -> bool:
        """Take up what was there before the restart. Returns True when nothing is known."""
        if not self.config.remember:
            self.state.clear()
            return True
        if self.state.get("folder") != self._root:
            self.state.clear()
            self.state["folder"] = self._root
            return True
        for key in self.state:
            if key.startswith(os.sep):
                tree.known[key] = About(*self.state[key])
        return False

    def _remember(self, changes: list[Change]) -> None:
        if not self.config.remember:
            return
        for change in changes:
            if change.before:
                self.state.pop(change.before, None)
            if change.event == "deleted":
                self.state.pop(change.path, None)
            else:
                self.state[change.path] = list(change.about)

    async def _until_there(self) -> None:
        while not await asyncio.to_thread(os.path.isdir, self._root):
            self.set_status(f"{self._root} is no folder; waiting for it", "warn")
            await asyncio.sleep(self.config.poll_s or 0.5)

    async def _watch(self, touched: asyncio.Queue[set[str]]) -> None:
        async for changes in awatch(
            self._root,
            watch_filter=None,
            recursive=self.config.recursive,
            debounce=_DEBOUNCE_MS,
            step=_STEP_MS,
            rust_timeout=1000,
            yield_on_timeout=False,
            ignore_permission_denied=True,
        ):
            touched.put_nowait({path for _, path in changes})

    async def _follow(self, tree: Tree, touched: asyncio.Queue[set[str]], watching: asyncio.Task[None] | None) -> None:
        """Tell what changes, until the folder is gone. Raises what the watch raised."""
        every_s = self.config.poll_s or _RESCAN_S
        rescan_s = self._now_s() + every_s
        identity = _identity(self._root)
        while _identity(self._root) == identity:
            due_s = min([rescan_s, self._now_s() + _TICK_S, *(at_s for at_s, _ in self._waiting.values())])
            try:
                paths = await asyncio.wait_for(touched.get(), max(0.0, due_s - self._now_s()))
                while not touched.empty():
                    paths |= touched.get_nowait()
            except TimeoutError:
                paths = set()
            if watching is not None and watching.done():
                watching.result()
                return
            if self._now_s() >= rescan_s:
                paths, rescan_s = {self._root}, self._now_s() + every_s
            await self._tell(await asyncio.to_thread(tree.update, paths), tree)
            await self._tell_settled(tree)

    def _now_s(self) -> float:
        return asyncio.get_running_loop().time()

    async def _tell(self, changes: list[Change], tree: Tree) -> None:
        for change in changes:
            waited = self._waiting.pop(change.before or change.path, None)
            if change.event in ("created", "changed") and not change.about.is_folder and self.config.settle_s:
                event = waited[1] if waited else change.event
                self._waiting[change.path] = (self._now_s() + self.config.settle_s, event)
            elif waited and waited[1] == "created":
                # It was never told. Gone again: nothing to tell; moved: it comes under its new name.
                if change.event == "moved":
                    self._waiting[change.path] = (self._now_s() + self.config.settle_s, "created")
            else:
                await self._send(change)

    async def _tell_settled(self, tree: Tree) -> None:
        for path, (due_s, event) in list(self._waiting.items()):
            if due_s > self._now_s():
                continue
            changed = await asyncio.to_thread(tree.update, [path])
            if changed:
                await self._tell(changed, tree)
            elif self._waiting.pop(path, None):
                await self._send(Change(event, path, tree.known[path]))

    async def _send(self, change: Change) -> None:
        event, about = change.event, change.about
        self._remember([change])
        below = os.path.relpath(change.path, self._root)
        if about.is_folder and not self.config.folders:
            return
        fits, fitted = self._globs.fit(below), False
        if change.before:
            fitted = self._globs.fit(os.path.relpath(change.before, self._root))
            if fits != fitted:  # in or out of what is looked at
                event = "created" if fits else "deleted"
        if not (fits or fitted) or event not in self.config.events:
            return
        path = change.before if event == "deleted" and change.before else change.path
        meta = {
            "event": event,
            "kind": "folder" if about.is_folder else "file",
            "size_bytes": about.size,
            "modified_s": about.changed_ns / 1e9,
        }
        if event == "moved":
            meta["from"] = change.before
        await self.send(path, topic=Path(path).name, meta=meta)


def _identity(path: str) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116
    except OSError:
        return None
    return found.st_dev, found.st_ino
