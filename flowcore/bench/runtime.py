"""A runtime of one's own: a real `flowcore up` on a folder and free ports, for measuring and for drills.

Knows how to start it, deploy to it, look at its processes and end it; nothing it started outlives it, and the kernel
ends it with the process that started it.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psutil

from flowcore.client import Client, NoAnswer, NotRunning, connect
from flowcore.runtime.forkserver import die_with_parent

PATIENCE_S = 90.0  # other work may have the machine's cores
_STOP_S = 20.0


class RuntimeFailed(Exception):
    """The runtime did not start, did not take a flow, or left something behind; says what its log says."""


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    status: int
    out: str
    err: str


class Runtime:
    """`async with Runtime(folder) as runtime:` starts it; at its end it is stopped, and must leave no process behind.

    Args:
        folder: where its data folder is made.
        options: further ones of `flowcore up`.
        plugins: folders with node packages that this runtime alone sees.
        environ: what its environment has besides.

    Attributes:
        data: its data folder.
        client: connected to it, with all rights.
    """

    client: Client

    def __init__(
        self,
        folder: Path,
        *options: str,
        plugins: Sequence[Path] = (),
        environ: dict[str, str] | None = None,
    ) -> None:
        self.folder, self.data = folder, folder / "data"
        self._options = options
        path = os.pathsep.join([*map(str, plugins), *filter(None, [os.environ.get("PYTHONPATH")])])
        self._environ = {**os.environ, **({"PYTHONPATH": path} if path else {}), **(environ or {})}
        self._process: asyncio.subprocess.Process | None = None

    # -- life -----------------------------------------------------------------------------------------------------

    async def up(self) -> None:
        """Start it, and wait until it answers and every flow it knows is applied.

        Raises:
            RuntimeFailed: it ended.
            TimeoutError: it does not answer.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        ports = ("--nats-port", "0", "--mqtt-port", "0")
        arguments = ("up", "--data", str(self.data), *ports, "--no-editor", *self._options)
        with (self.folder / "up.out").open("ab") as said:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "flowcore.cli", *arguments,
                stdin=asyncio.subprocess.DEVNULL, stdout=said, stderr=said, env=self._environ,
                start_new_session=True,  # a Ctrl-C in the terminal is for us, and we stop it
                preexec_fn=partial(die_with_parent, os.getpid()),
            )  # fmt: skip
        async with asyncio.timeout(PATIENCE_S):
            while True:
                if self._process.returncode is not None:
                    raise RuntimeFailed(f"flowcore up ended: {(self.folder / 'up.out').read_text()[-2000:].strip()}")
                with contextlib.suppress(NotRunning, NoAnswer, OSError):
                    if json.loads((self.data / "run.json").read_text())["pid"] == self._process.pid:
                        self.client = connect(self.data, name="bench", timeout=30)
                        await self.client.open()
                        with contextlib.suppress(NoAnswer):
                            await self.client.call("flows", timeout=5)
                            return
                        await self.client.close()
                await asyncio.sleep(0.05)

    async def stop(self) -> None:
        """SIGTERM, and wait until it and everything it started has ended.

        Raises:
            RuntimeFailed: a process was left behind (it is killed).
        """
        await self._end(signal.SIGTERM)

    async def kill(self, *, only_host: bool) -> None:
        """SIGKILL, for the host alone (everything it started has to die with it) or for all at once.

        Raises:
            RuntimeFailed: a process was left behind (it is killed).
        """
        await self._end(signal.SIGKILL, only_host=only_host)

    async def wait(self) -> None:
        """Wait until it has ended, when somebody else has told it to."""
        if self._process is not None:
            async with asyncio.timeout(PATIENCE_S):
                await self._process.wait()

    async def _end(self, how: signal.Signals, *, only_host: bool = True) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if hasattr(self, "client"):
            with contextlib.suppress(Exception):
                await self.client.close()
        family = descendants(process.pid)
        for pid in [process.pid, *(() if only_host else [one.pid for one in family])]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, how)
        try:
            async with asyncio.timeout(_STOP_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        left: list[psutil.Process] = []
        for _ in range(200):
            left = [one for one in family if is_alive(one)]
            if not left:
                return
            await asyncio.sleep(0.05)
        names = [f"{one.pid} {' '.join(one.cmdline())}" for one in left if one.is_running()]
        for one in left:
            with contextlib.suppress(psutil.Error):
                one.kill()
        raise RuntimeFailed(f"left behind 10 s after the host's end: {'; '.join(names)}")

    async def __aenter__(self) -> Self:
        try:
            await self.up()
        except BaseException:
            await self.kill(only_host=False)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if isinstance(error, Exception):
            error.add_note("the runtime's log ends with:\n" + "\n".join(self.log()[-25:]))
        await self.stop()

    # -- looking --------------------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """The host's process."""
        assert self._process is not None
        return self._process.pid

    def processes(self) -> list[psutil.Process]:
        """The host and everything that came of it."""
        return [psutil.Process(self.pid), *descendants(self.pid)]

    async def nodes(self, flow: str) -> dict[str, dict[str, Any]]:
        """Process -> its status; waits while the bus is away."""
        found: list[dict[str, Any]] = []

        async def answered() -> bool:
            with contextlib.suppress(NoAnswer):
                found.extend((await self.client.call("status", timeout=5, flow=flow))["flows"][0]["nodes"])
                return True
            return False

        await until(answered, "an answer about the state of nodes")
        return {node["process"]: node for node in found}

    async def pids(self, flow: str) -> dict[str, int | None]:
        """Process -> pid."""
        return {name: node["pid"] for name, node in (await self.nodes(flow)).items()}

    async def until_running(self, flow: str, *nodes: str, not_pid: Iterable[int | None] = ()) -> dict[str, int]:
        """Wait until these processes (all, when none is named) run, under other pids than those; returns all pids."""
        old = set(not_pid)
        found: dict[str, dict[str, Any]] = {}

        async def is_running() -> bool:
            found.update(await self.nodes(flow))
            chosen = [found[name] for name in nodes or found]
            return bool(chosen) and all(one["state"] == "running" and one["pid"] not in old for one in chosen)

        await until(is_running, f"{', '.join(nodes) or 'all'} of {flow} to run", every_s=0.03)
        return {name: node["pid"] for name, node in found.items()}

    def log(self) -> list[str]:
        """The lines of its log, in short; what was rotated away is left out."""
        path = self.data / "logs" / "flowcore.jsonl"
        lines = []
        for line in path.read_text().splitlines() if path.exists() else []:
            with contextlib.suppress(ValueError):
                entry = json.loads(line)
                who = ".".join(str(entry[key]) for key in ("flow", "process") if entry.get(key))
                lines.append(f"{entry.get('ts', '')} {who} {entry.get('event', '')} {entry.get('detail', '')}".strip())
        return lines

    # -- doing ----------------------------------------------------------------------------------------------------

    async def deploy(self, *documents: dict[str, Any]) -> dict[str, Any]:
        """Deploy; returns what changed in the first flow.

        Raises:
            RuntimeFailed: something of it does not run.
        """
        asked = [{"document": document, "file": f"{document['id']}.json"} for document in documents]
        answer = await self.client.call("deploy", timeout=PATIENCE_S, documents=asked)
        for one in answer["flows"]:
            if one["failed"] or one["problems"]:
                raise RuntimeFailed(f"deploy of {one['flow']}: {one['failed']} {one['problems']}")
        return answer["flows"][0]

    async def remove(self, flow: str) -> None:
        """Stop a flow and forget it."""
        await self.client.call("remove", timeout=PATIENCE_S, flow=flow)

    async def command(self, *arguments: str) -> Ran:
        """Run `flowcore <arguments> --data <its folder>`."""
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "flowcore.cli", *arguments, "--data", str(self.data),
            stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
            env=self._environ,
        )  # fmt: skip
        async with asyncio.timeout(3 * PATIENCE_S):
            out, err = await process.communicate()
        return Ran(process.returncode or 0, out.decode(), err.decode())


def descendants(pid: int) -> list[psutil.Process]:
    """Every process that came of this one."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def spent_s(processes: Iterable[psutil.Process]) -> float:
    """Processor time of all of them; to the nanosecond where the kernel says so: ticks of 10 ms tell little."""
    return sum(map(_spent_s, processes))


def _spent_s(process: psutil.Process) -> float:
    if not Path(f"/proc/{process.pid}/schedstat").exists():
        times = process.cpu_times()
        return times.user + times.system
    spent_ns = 0
    for thread in Path(f"/proc/{process.pid}/task").iterdir():
        with contextlib.suppress(FileNotFoundError):  # it has just ended
            spent_ns += int((thread / "schedstat").read_text().split()[0])
    return spent_ns / 1e9


def is_alive(process: psutil.Process) -> bool:
    """True while it runs: neither gone nor a zombie."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


async def until(done: Callable[[], Any], what: str, *, timeout_s: float = PATIENCE_S, every_s: float = 0.05) -> None:
    """Wait until `done()`, a function or a coroutine function, is true.

    Raises:
        TimeoutError: it did not become so; names `what`.
    """
    try:
        async with asyncio.timeout(timeout_s):
            while True:
                answer = done()
                if asyncio.iscoroutine(answer):
                    answer = await answer
                if answer:
                    return
                await asyncio.sleep(every_s)
    except TimeoutError:
        raise TimeoutError(f"waited {timeout_s:.0f} s for {what}") from None
