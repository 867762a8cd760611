"""Keeps the list of node types new while the host runs: packages installed, upgraded, edited, broken and mended.

The list is read by a short-lived program (`typecache`), so the host never imports a node. What cannot be imported now
keeps the types it brought before, and says so: whoever runs them goes on.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from watchfiles import Change, DefaultFilter, awatch

from flowcore.runtime.logs import event
from flowcore.runtime.program import ProgramFailed, ask_program
from flowcore.runtime.typelist import PluginProblem, TypeList, unpack

READ_TIMEOUT_S = 60.0
NO_COMMANDS = "the runtime was started with --no-exec"
_STEP_MS, _DEBOUNCE_MS = 20, 300
_AGAIN_S = 60.0
_LOOK_S = 1.0


class TypeWatch:
    """The installed node types.

    Args:
        environ: of the program that reads them.
        refuse_commands: types that run commands are `refused`.
        on_change: called with the types whose code or description is another (or which came, or went);
            with none when only what cannot be used is another.
    """

    def __init__(
        self, environ: Mapping[str, str], on_change: Callable[[set[str]], None], *, refuse_commands: bool = False
    ) -> None:
        self.known = TypeList()
        self._refuse_commands = refuse_commands
        self._environ, self._on_change = dict(environ), on_change
        self._task: asyncio.Task[None] | None = None
        self._turn = asyncio.Lock()

    async def start(self) -> None:
        """Read the types, then watch for changes."""
        self.known = await self._read()
        for problem in self.known.problems:
            _say(problem)
        self._task = asyncio.create_task(self._watch(), name="type watch")

    async def stop(self) -> None:
        """Watch no more."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def refresh(self) -> set[str]:
        """Read again now; returns the types that changed."""
        async with self._turn:
            old, new = self.known, await self._read()
            broken = {problem.plugin for problem in new.problems}
            for name, plugin in old.plugin_of.items():
                if plugin in broken and name not in new.types:
                    new.types[name], new.code[name], new.plugin_of[name] = old.types[name], old.code[name], plugin
                    if name in old.mqtt:
                        new.mqtt[name] = old.mqtt[name]
            for problem in new.problems:
                if problem not in old.problems:
                    _say(problem)
            mended = {problem.plugin for problem in old.problems} - broken
            for plugin in sorted(mended):
                event("plug-in works again", plugin=plugin)
            self.known = replace(new, watch=sorted({*new.watch, *(old.watch if broken else ())}))
            changed = {
                name
                for name in old.types.keys() | new.types.keys()
                if old.types.get(name) != new.types.get(name) or old.code.get(name) != new.code.get(name)
            }
        if changed or new.problems != old.problems:
            self._on_change(changed)
        return changed

    async def _read(self) -> TypeList:
        try:
            found = unpack(await ask_program("flowcore.runtime.typecache", self._environ, READ_TIMEOUT_S))
        except (ProgramFailed, KeyError, TypeError) as e:
            problem = PluginProblem("", "the list of node types could not be read", str(e))
            return replace(self.known, problems=[problem])
        return self._without_refused(found)

    def _without_refused(self, found: TypeList) -> TypeList:
        if self._refuse_commands:
            for name, info in found.types.items():
                if info.runs_commands:
                    found.types[name] = replace(info, refused=NO_COMMANDS)
        return found

    async def _watch(self) -> None:
        while True:
            folders, changed = self.known.watch, asyncio.Event()
            watching = [asyncio.create_task(_watch_folder(folder, changed)) for folder in folders]
            try:
                while self.known.watch == folders:
                    await changed.wait()
                    changed.clear()  # before reading: what changes meanwhile is read again
                    await self.refresh()
            finally:
                for task in watching:
                    task.cancel()
                await asyncio.gather(*watching, return_exceptions=True)


async def _watch_folder(folder: str, changed: asyncio.Event) -> None:
    """Set `changed` whenever something under `folder` changed that may concern a node type."""
    is_packages = folder.endswith("site-packages")
    while not Path(folder).is_dir():
        await asyncio.sleep(_LOOK_S)
        if Path(folder).is_dir():
            changed.set()
    chosen = _Packages() if is_packages else _Sources()
    while True:
        try:
            async for _ in awatch(
                folder, recursive=not is_packages, watch_filter=chosen, debounce=_DEBOUNCE_MS, step=_STEP_MS
            ):
                changed.set()
        except (OSError, RuntimeError) as e:  # out of inotify watches, or the folder is gone
            event("node files cannot be watched", logging.WARNING, folder=folder, detail=str(e))
        await asyncio.sleep(_AGAIN_S)


class _Sources(DefaultFilter):
    """Python files; not bytecode."""

    def __call__(self, change: Change, path: str) -> bool:
        return path.endswith(".py") and super().__call__(change, path)


class _Packages(DefaultFilter):
    """What pip writes beside the packages: metadata folders and path files."""

    def __call__(self, change: Change, path: str) -> bool:
        return path.endswith((".dist-info", ".pth", ".egg-link", ".egg-info"))


def _say(problem: PluginProblem) -> None:
    event(
        "plug-in cannot be used", logging.ERROR, plugin=problem.plugin, detail=problem.text, traceback=problem.traceback
    )
