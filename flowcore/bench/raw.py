"""Raw nats-py between two processes: what a hop of ours is compared with.

    python -m flowcore.bench.raw publish|subscribe

A program that is told by lines of JSON: first the server (`url`, `user`, `password`, `inbox`), answered when it is
connected, then runs (`seconds`, `warm_s`, `rate_hz`, `bytes`), answered at their end; the subscriber's answer holds the
ages of the messages in ms, from before `publish` to the first line of the callback. As fast as nats-py goes: uvloop, a
callback, and a payload that is not even decoded.
"""

import asyncio
import contextlib
import json
import struct
import sys
import time
from types import TracebackType
from typing import Any, Self

import nats
import uvloop

from flowcore.bench.runtime import PATIENCE_S
from flowcore.client.address import Target

_SUBJECT = "bench.raw"
_STAMP = struct.Struct("<q")


class Raw:
    """`async with Raw(target) as raw:` has both programs connected; `await raw.run(...)` is one measured run."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._programs: dict[str, asyncio.subprocess.Process] = {}

    async def __aenter__(self) -> Self:
        target = self._target
        server = {"url": target.url, "user": target.user, "password": target.password}
        try:
            for role in ("subscribe", "publish"):
                self._programs[role] = await asyncio.create_subprocess_exec(
                    sys.executable, "-m", "flowcore.bench.raw", role,
                    stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, start_new_session=True,
                    limit=1 << 24,
                )  # fmt: skip
                await self._ask(role, {**server, "inbox": f"_INBOX_{target.user}"})
        except BaseException:
            await self._end()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._end()

    @property
    def pids(self) -> list[int]:
        """Both processes."""
        return [one.pid for one in self._programs.values()]

    async def run(self, seconds: float, *, warm_s: float, rate_hz: float, size_bytes: int) -> list[float]:
        """Publish at a steady pace; the ages of the messages in ms, those of the first `warm_s` left out."""
        order = {"seconds": seconds + warm_s, "warm_s": warm_s, "rate_hz": rate_hz, "bytes": size_bytes}
        heard = asyncio.create_task(self._ask("subscribe", order))
        try:
            await self._ask("publish", order)
            return (await heard)["ages_ms"]
        finally:
            heard.cancel()

    async def _ask(self, role: str, order: dict[str, Any]) -> dict[str, Any]:
        program = self._programs[role]
        assert program.stdin is not None and program.stdout is not None
        program.stdin.write(json.dumps(order).encode() + b"\n")
        async with asyncio.timeout(PATIENCE_S + order.get("seconds", 0)):
            answer = await program.stdout.readline()
        if not answer:
            raise RuntimeError(f"the program that {role}es with nats-py ended with {await program.wait()}")
        return json.loads(answer)

    async def _end(self) -> None:
        for program in self._programs.values():
            with contextlib.suppress(ProcessLookupError):
                program.kill()
            await program.wait()


async def _publish(client: nats.NATS, order: dict[str, Any]) -> dict[str, Any]:
    pad = b"x" * max(0, order["bytes"] - _STAMP.size)
    due_s = time.monotonic()
    ends_s, gap_s = due_s + order["seconds"], 1 / order["rate_hz"]
    while time.monotonic() < ends_s:
        due_s = max(due_s + gap_s, time.monotonic())
        await asyncio.sleep(due_s - time.monotonic())
        await client.publish(_SUBJECT, _STAMP.pack(time.time_ns()) + pad)
    await client.publish(_SUBJECT, b"")
    await client.flush()
    return {}


class _Ears:
    """The subscriber's callback; an empty message is the end of a run."""

    def __init__(self) -> None:
        self.heard: list[tuple[int, int]] = []  # when, and when it was sent: ns
        self.ended = asyncio.Event()

    async def take(self, message: Any) -> None:
        entered_ns = time.time_ns()
        if message.data:
            self.heard.append((entered_ns, _STAMP.unpack_from(message.data)[0]))
        else:
            self.ended.set()

    async def hear(self, order: dict[str, Any]) -> dict[str, Any]:
        """Wait for the end of a run; the ages of what came after its warm-up."""
        from_ns = time.time_ns() + int(order["warm_s"] * 1e9)
        await self.ended.wait()
        self.ended.clear()
        heard, self.heard = self.heard, []
        return {"ages_ms": [(entered_ns - sent_ns) / 1e6 for entered_ns, sent_ns in heard if entered_ns >= from_ns]}


async def _main(role: str) -> None:
    loop = asyncio.get_running_loop()
    lines = asyncio.StreamReader(limit=1 << 20)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    server = json.loads(await lines.readline())
    client = await nats.connect(
        server["url"], user=server["user"], password=server["password"], inbox_prefix=server["inbox"]
    )
    ears = _Ears()
    if role == "subscribe":
        await client.subscribe(_SUBJECT, cb=ears.take)
        await client.flush()
    print("{}", flush=True)
    while order := await lines.readline():  # empty: whoever started us has gone
        asked = json.loads(order)
        print(json.dumps(await (ears.hear(asked) if role == "subscribe" else _publish(client, asked))), flush=True)
    await client.close()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(_main(sys.argv[1]))
