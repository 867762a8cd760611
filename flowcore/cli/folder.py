"""A folder of flow files kept the same as what runs: a saved file deploys itself, other deploys are written back.

Which of the two is newer is decided by the revision that a file was last the same as (`flowcore.cli.files`): a file
that still says what that revision said is behind, and is overwritten; any other file is a change, and is deployed on
top of that revision, so that what came in between is refused and shown, not lost.
"""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowcore.cli.files import base_of, flow_id, read_flow_file, remember_base
from flowcore.cli.out import Failed
from flowcore.cli.summary import summary
from flowcore.flow.format import format_flow
from flowcore.runtime.control import OPERATIONS
from flowcore.runtime.control.errors import explain
from flowcore.runtime.results import UnknownFlow
from flowcore.testing.names import is_tests

if TYPE_CHECKING:
    from flowcore.runtime.host import Host

_LOOK_EVERY_S = 0.3  # for revisions that came from elsewhere: a look at the host's memory, not at the bus

_LOOK_ANYHOW_MS = 1000


class FlowFolder:
    """Watches one folder until its `run` is cancelled."""

    def __init__(self, host: "Host", folder: Path, say: Callable[..., None]) -> None:
        self._host, self._folder, self._say = host, folder, say
        self._files: dict[str, Path] = {}  # flow id -> its file
        self._seen: dict[str, int] = {}  # flow id -> revision that its file was compared with
        self._stamps: dict[Path, tuple[int, ...]] = {}  # file -> what it was at the last look
        self._turn = asyncio.Lock()  # a save and a write-back of one file must not overlap

    async def run(self) -> None:
        """Deploy what the folder has, then follow both sides."""
        await self.scan()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow_files())
            tasks.create_task(self._follow_revisions())

    async def _follow_files(self) -> None:
        from watchfiles import Change, awatch

        def is_flow(_: Change, path: str) -> bool:
            return path.endswith(".json") and _is_flow(Path(path))

        # A word of the kernel means only: look. So what came before it was listening, or got lost, is seen as well.
        async for _ in awatch(
            self._folder,
            watch_filter=is_flow,
            debounce=80,
            step=20,
            rust_timeout=_LOOK_ANYHOW_MS,
            yield_on_timeout=True,
            recursive=False,
        ):
            await self.scan()

    async def scan(self) -> None:
        """Take each file that is not as it was at the last look."""
        there = {file: _stamp(file) for file in sorted(self._folder.glob("*.json")) if _is_flow(file)}
        for file in [file for file in self._stamps if file not in there]:
            del self._stamps[file]
            self._gone(file)
        for file, stamp in there.items():
            if stamp is not None and self._stamps.get(file) != stamp:
                self._stamps[file] = stamp
                await self._take(file)

    def _gone(self, file: Path) -> None:
        for flow, known in list(self._files.items()):
            if known.resolve() == file.resolve():
                del self._files[flow]
                self._say(f"{file} is gone; {flow} runs on. To take it away: flowcore remove {flow}")

    async def _take(self, file: Path) -> None:
        """Bring a file and what runs together."""
        async with self._turn:
            try:
                await self._together(file)
            except Failed as e:
                self._say(f"{e.message}. {e.do}")
            except Exception as e:  # the next save may be right: what runs goes on
                error = explain(e)
                lines = [*error.details.get("problems", ())]
                if "difference" in error.details:
                    lines.append(error.details["difference"]["text"].rstrip())
                self._say("\n".join([*lines, f"{error}. {error.do}"]), error=error)

    async def _together(self, file: Path) -> None:
        text = read_flow_file(file)
        flow = flow_id(text)
        base = base_of(self._host.folder, file, flow) if flow else None
        request: dict[str, Any] = {"documents": [{"document": text, "file": str(file)}]}
        if flow:
            other = self._files.get(flow, file)
            if other.resolve() != file.resolve() and other.exists():
                raise Failed(f"{file}: flow {flow!r} is in {other}, too", "Give one of them another id.")
            try:
                current = await self._host.documents.read(flow)
            except UnknownFlow:
                base = None
            else:
                self._files[flow] = file
                if _same(text, current["document"]):
                    self._remember(file, flow, current["revision"])
                    return
                if base is not None and base != current["revision"] and await self._says(text, flow, base):
                    self._write_back(file, flow, current)
                    return
                if base is not None:
                    request["based_on"] = {flow: base}
        for each in (await OPERATIONS["deploy"](self._host, request))["flows"]:
            self._files[each["flow"]] = file
            self._remember(file, each["flow"], each["revision"])
            self._say(summary(each), deployed=each)

    async def _says(self, text: str, flow: str, revision: int) -> bool:
        try:
            return _same(text, (await self._host.documents.read(flow, revision))["document"])
        except UnknownFlow:
            return False  # that revision is no longer kept

    def _remember(self, file: Path, flow: str, revision: int) -> None:
        self._seen[flow] = revision
        remember_base(self._host.folder, file, flow, revision)

    def _write_back(self, file: Path, flow: str, current: dict[str, Any]) -> None:
        part = file.with_name(f".{file.name}.part")
        part.write_text(format_flow(current["document"]), encoding="utf-8")
        if file.exists():
            part.chmod(file.stat().st_mode & 0o777)
        part.replace(file)
        self._remember(file, flow, current["revision"])
        self._say(
            f"{flow}: revision {current['revision']} written to {file}", written={"flow": flow, "file": str(file)}
        )

    async def _follow_revisions(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            for each in self._host.status():
                if self._seen.get(each.flow) != each.revision:
                    await self._revision_came(each.flow)

    async def _revision_came(self, flow: str) -> None:
        file = self._files.setdefault(flow, self._folder / f"{flow}.json")
        if file.exists():
            await self._take(file)
            self._seen.setdefault(flow, 0)
        async with self._turn:
            try:
                current = await self._host.documents.read(flow)
                if not file.exists():
                    self._write_back(file, flow, current)
            except (OSError, UnknownFlow) as e:
                self._say(f"{file} was not written: {e}")
                return
            self._seen[flow] = current["revision"]


def _same(text: str, document: dict[str, Any]) -> bool:
    try:
        return json.loads(text) == document
    except (ValueError, RecursionError):
        return False


def _stamp(file: Path) -> tuple[int, ...] | None:
    try:
        now = file.stat()
    except OSError:
        return None
    return now.st_mtime_ns, now.st_size, now.st_ino


def _is_flow(file: Path) -> bool:
    """Not hidden, and not the tests of a flow."""
    return not file.name.startswith(".") and not is_tests(file)
