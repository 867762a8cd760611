"""The bench's end of the programs it measures: a Unix socket that they connect to, and one measured run of a rig.

Every peer is asked the same way, so what differs between figures is the peer: a source sends for some seconds, a sink
counts by its own clock, and what was sent and never came is lost.
"""

import asyncio
import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

PATIENCE_S = 30.0
_QUIET_S = 0.4  # a sink that has heard nothing for so long has heard all


@dataclass(frozen=True)
class Order:
    """What a source is told; `rate_hz` 0: as fast as it can. The first `warm_s` of `seconds` do not count.

    `due`: a message's age counts from when it was due, not from when its source came to send it.
    """

    seconds: float
    warm_s: float = 0.5
    rate_hz: float = 0
    ages: bool = False
    frames: bool = False
    due: bool = False


@dataclass(frozen=True)
class Run:
    """What came of an order: sent in all, received in all, and taken within the measured seconds."""

    sent: int
    received: int
    taken: int
    seconds: float
    ages_ms: Sequence[float] = field(default=(), repr=False)

    @property
    def lost(self) -> int:
        """Sent, and never seen by the sink."""
        return self.sent - self.received

    @property
    def rate_hz(self) -> float:
        """Messages a second at the sink."""
        return self.taken / self.seconds


class ProgramFailed(Exception):
    """A peer's program did not come up, or ended."""


class Control:
    """`async with Control(folder) as control:` listens; the programs find it by `control.environ`.

    At the end of the block they are told by the end of their connection, at which sources stop by themselves.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "peers.sock"
        self._joined: dict[str, tuple[asyncio.StreamReader, asyncio.StreamWriter]] = {}
        self._changed = asyncio.Event()
        self._runs = 0
        self.pids: list[int] = []

    @property
    def environ(self) -> dict[str, str]:
        """What a program's environment needs."""
        return {"PEERS_SOCKET": str(self._path)}

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._join, self._path, limit=1 << 26)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for _, writer in self._joined.values():
            writer.close()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        hello = json.loads(await reader.readline())
        self._joined[hello["role"]] = reader, writer
        self.pids.append(hello["pid"])
        self._changed.set()

    async def until_joined(self, *roles: str) -> None:
        """Wait for these programs.

        Raises:
            ProgramFailed: one did not come.
        """
        try:
            async with asyncio.timeout(PATIENCE_S):
                while missing := set(roles) - set(self._joined):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise ProgramFailed(f"no sign of {', '.join(sorted(missing))} after {PATIENCE_S:.0f} s") from None

    async def ask(self, role: str, **order: Any) -> dict[str, Any]:
        """Give a program an order, and wait for its answer."""
        reader, writer = self._joined[role]
        writer.write(json.dumps(order).encode() + b"\n")
        async with asyncio.timeout(PATIENCE_S + order.get("seconds", 0)):
            answer = await reader.readline()
        if not answer:
            raise ProgramFailed(f"the {role} ended")
        return json.loads(answer)

    async def run(self, order: Order) -> Run:
        """One measured run."""
        self._runs += 1
        asked = {"run": self._runs, "seconds": order.seconds, "warm_s": order.warm_s, "ages": order.ages}
        await self.ask("sink", do="begin", **asked)
        how = {"rate_hz": order.rate_hz, "frames": order.frames, "due": order.due}
        sent = (await self.ask("source", do="send", **how, **asked))["sent"]
        received, quiet_s = -1, 0.0
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE_S):
                while received < sent and quiet_s < _QUIET_S:
                    said = await self.ask("sink", do="look")
                    quiet_s = quiet_s + 0.1 if said["received"] == received else 0.0
                    received = said["received"]
                    await asyncio.sleep(0.1)
        said = await self.ask("sink", do="ages")
        return Run(sent, said["received"], said["taken"], order.seconds - order.warm_s, said["ages_ms"])
