"""A runtime of a drill's own: a real `flowcore up` on a folder and ports of its own, and what a drill does to it."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import nats
import psutil

from flowcore.client import Client, NoAnswer, NotRunning, connect

PLUGIN = Path(__file__).parent / "plugin"
PATIENCE_S = 90.0  # other work may have the machine's cores


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    status: int
    out: str
    err: str


class Runtime:
    """`async with Runtime(folder) as runtime:` starts it; at the end it is killed, and must leave no process behind.

    Attributes:
        data: its data folder.
        client: connected to it, with all rights.
    """

    client: Client

    def __init__(self, folder: Path, *options: str, environ: dict[str, str] | None = None) -> None:
        self.folder, self.data = folder, folder / "data"
        self._options = options
        self._environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(PLUGIN), os.environ.get("PYTHONPATH", "")])}
        self._environ |= environ or {}
        self._process: asyncio.subprocess.Process | None = None

    # -- life -----------------------------------------------------------------------------------------------------

    async def up(self) -> None:
        """Start it, and wait until it answers and every flow it knows is applied."""
        self.folder.mkdir(parents=True, exist_ok=True)
        arguments = ("up", "--data", str(self.data), "--nats-port", "0", "--mqtt-port", "0", *self._options)
        with (self.folder / "up.out").open("ab") as said:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "flowcore.cli", *arguments,
                stdin=asyncio.subprocess.DEVNULL, stdout=said, stderr=said, env=self._environ, start_new_session=True,
            )  # fmt: skip
        async with asyncio.timeout(PATIENCE_S):
            while True:
                if self._process.returncode is not None:
                    raise RuntimeError(f"flowcore up ended: {(self.folder / 'up.out').read_text()[-2000:]}")
                with contextlib.suppress(NotRunning, NoAnswer, OSError):
                    if json.loads((self.data / "run.json").read_text())["pid"] == self._process.pid:
                        self.client = connect(self.data, name="drill", timeout=30)
                        await self.client.open()
                        with contextlib.suppress(NoAnswer):
                            await self.client.call("flows", timeout=5)
                            return
                        await self.client.close()
                await asyncio.sleep(0.05)

    async def down(self) -> Ran:
        """`flowcore down`; returns when the process has ended."""
        await self.client.close()
        ran = await self.command("down")
        if self._process is not None:
            async with asyncio.timeout(PATIENCE_S):
                await self._process.wait()
        return ran

    async def kill_host(self) -> None:
        """SIGKILL the host alone; everything it started has to die with it.

        Raises:
            RuntimeError: a process was left behind.
        """
        await self._kill(only_host=True)

    async def kill_everything(self) -> None:
        """SIGKILL the host, the bus, the fork servers and every node at once."""
        await self._kill(only_host=False)

    async def _kill(self, only_host: bool) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(Exception):
            await self.client.close()
        family = descendants(process.pid)
        for pid in [process.pid, *(() if only_host else [one.pid for one in family])]:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
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
        raise RuntimeError(f"left behind 10 s after the host was killed: {'; '.join(names)}")

    async def __aenter__(self) -> Self:
        try:
            await self.up()
        except BaseException:
            await self._kill(only_host=False)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is not None:
            error.add_note("the runtime's log ends with:\n" + "\n".join(self.log()[-25:]))
        await self._kill(only_host=True)

    # -- looking --------------------------------------------------------------------------------------------------

    @property
    def pid(self) -> int:
        """The host's process."""
        assert self._process is not None
        return self._process.pid

    @property
    def bus_pid(self) -> int | None:
        """The embedded nats-server's process; None while it is restarted."""
        found = [one.pid for one in psutil.Process(self.pid).children() if _name(one).startswith("nats-server")]
        return found[0] if found else None

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

    async def bus(self) -> nats.NATS:
        """A plain connection to its bus, with all rights; the caller closes it."""
        target = self.client.target
        inbox = f"_INBOX_{target.user}"
        return await nats.connect(target.url, user=target.user, password=target.password, inbox_prefix=inbox)

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

    def log_bytes(self) -> int:
        """Size of all its logs."""
        return sum(path.stat().st_size for path in (self.data / "logs").iterdir())

    # -- doing ----------------------------------------------------------------------------------------------------

    async def deploy(self, *documents: dict[str, Any]) -> dict[str, Any]:
        """Deploy; returns what changed in the first flow, and wants nothing failed."""
        asked = [{"document": document, "file": f"{document['id']}.json"} for document in documents]
        answer = await self.client.call("deploy", timeout=PATIENCE_S, documents=asked)
        for one in answer["flows"]:
            if one["failed"] or one["problems"]:
                raise RuntimeError(f"deploy of {one['flow']}: {one['failed']} {one['problems']}")
        return answer["flows"][0]

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


def kill(pid: int | None) -> bool:
    """SIGKILL; False when there is no such process (any more)."""
    if pid is None:
        return False
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    return True


def descendants(pid: int) -> list[psutil.Process]:
    """Every process that came of this one."""
    try:
        return psutil.Process(pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


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


def _name(process: psutil.Process) -> str:
    try:
        return process.name()
    except psutil.NoSuchProcess:
        return ""
