"""The producer's end of a durable wire: a JetStream stream between two nodes, so that messages outlive every process.

What piled up is published as one stream message, and owed until the server has stored it (fsynced). A message id
(`epoch:first-last`) lets the server drop what is published twice.

A stream outlives every slot of shared memory, so tensors travel with their bytes; what is then larger than a stream
message may be is stored in parts (`flowcore.wires.parts`). `flowcore.wires.durable_in` is the consumer's end.

    StreamTooSmall   a message that the stream can never hold
"""

import asyncio
import contextlib
import json
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from flowcore.bus.connection import Connection
from flowcore.bus.envelope import join
from flowcore.wires.out_port import Kept, OutPort
from flowcore.wires.out_wire import WireEnds
from flowcore.wires.parts import split

_MOST_AT_ONCE, _MOST_BYTES = 256, 256 * 1024
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 2.0
_AROUND_BYTES = 2048  # that a stream message takes besides what is in it


class StreamTooSmall(ValueError):
    """A message that the stream of a durable wire can never hold."""


class DurableWire:
    """The producer's end: owes a message until the stream has it.

    Args:
        on_reject: called with a message that the stream can never hold, and why.
        most_bytes: that the stream may hold.
        by: which replica of its node the producer is.
        is_shared: several processes take from the stream, so that a message must not be in parts.
        encoding: how tensors and large payloads are stored; None: as they are.
    """

    cause_waits = is_waited_for = True
    is_failed = False

    def __init__(
        self,
        ends: WireEnds,
        port: OutPort,
        connection: Connection,
        stream: Mapping[str, str],
        window: int = 4096,
        *,
        on_reject: Callable[[Kept, Exception], None] = lambda kept, error: None,
        most_bytes: int = 64 << 20,
        by: int = 0,
        is_shared: bool = False,
        encoding: Mapping[str, Any] | None = None,
    ) -> None:
        self.ends = ends
        self.window, self.window_bytes = window, 8 << 20
        self.owed: deque[Kept] = deque()
        self.owed_bytes = 0
        self.resent = self.drops = self.discarded = 0
        self.trouble = ""  # why the stream does not take messages now
        self.on_trouble: Callable[[str], None] = lambda text: None
        self._port, self._connection, self._subject = port, connection, stream["subject"]
        self._on_reject, self._most_bytes, self._by, self._is_shared = on_reject, most_bytes, by, is_shared
        self.encoding = encoding
        self._wake = asyncio.Event()
        self._task = asyncio.get_running_loop().create_task(self._run())

    def has_credit(self) -> bool:
        """True when one more message may be sent."""
        return len(self.owed) < self.window and self.owed_bytes < self.window_bytes

    def credit(self) -> int:
        """How many more messages may be sent."""
        return max(0, self.window - len(self.owed)) if self.owed_bytes < self.window_bytes else 0

    def add(self, kept: Kept) -> int:
        """Owe one more message; its cause waits until the stream has it."""
        self.owed.append(kept)
        self.owed_bytes += kept.size
        return 1

    def take_over(self, kept: Iterable[Kept]) -> None:
        """Owe what another kind of wire owed, in the order of the port; nothing newer is in the stream yet."""
        for one in sorted(kept, key=lambda kept: kept.seq):
            self.add(one)
        self.flush()

    def flush(self) -> None:
        """Let the writer go on."""
        if self.owed:
            self._wake.set()

    def on_up(self) -> None:
        """The bus is back."""
        self._wake.set()

    def owed_messages(self) -> list[Kept]:
        """What the stream has not confirmed, oldest first."""
        return list(self.owed)

    async def _run(self) -> None:
        wait_s = _FIRST_WAIT_S
        batch: list[Kept] = []
        pieces: list[tuple[str, bytes]] = []  # of the batch: what is stored together, and the server's name for it
        while True:
            if not self.owed:
                self._wake.clear()
                await self._wake.wait()
                continue
            if not batch:
                # Tried again as it was: with more in it the server would not know it from the one it may have stored.
                batch = self._batch()
                pieces = await self._pieces(batch)
            problem = ""
            while pieces and not problem:
                problem = await self._store(pieces[0][1], pieces[0][0])
                if not problem:
                    pieces.pop(0)
            if problem:
                self._set_trouble(problem)
                self.resent += len(batch)
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
                continue
            wait_s = _FIRST_WAIT_S
            self._set_trouble("")
            for kept in batch:
                self.owed.popleft()
                self.owed_bytes -= kept.size
                kept.one_done()
            batch = []
            self._port.on_freed()
            self._port.on_credit()

    def _batch(self) -> list[Kept]:
        batch: list[Kept] = []
        size = 0
        for kept in self.owed:
            if batch and (len(batch) >= _MOST_AT_ONCE or size + kept.size > _MOST_BYTES or kept.holds):
                break
            batch.append(kept)
            size += kept.size
            if kept.holds:
                break  # how large it is shows when its tensors are in it
        return batch

    async def _pieces(self, batch: list[Kept]) -> list[tuple[str, bytes]]:
        first = batch[0]
        if not first.holds:
            return [(f"{self._port.epoch}:{first.seq}-{batch[-1].seq}", join(kept.packed for kept in batch))]
        try:
            if self.encoding is None:
                inline = self._port.inline(first)
            else:  # too slow for the event loop
                inline = await asyncio.to_thread(self._port.inline, first, self.encoding)
            packed = join([inline])
            pieces = split(packed, self._port.epoch, first.seq, self._by, self._connection.max_payload)
            if len(packed) + _AROUND_BYTES * len(pieces) > self._most_bytes:
                raise StreamTooSmall(
                    f"a message of {len(packed):,} bytes is too large for the stream of the durable wire "
                    f"{self.ends.id}, which may hold {self._most_bytes:,}: raise the wire's durable.max_bytes"
                )
            if self._is_shared and len(pieces) > 1:
                raise StreamTooSmall(
                    f"a message of {len(packed):,} bytes is too large for the durable wire {self.ends.id}: where "
                    f"replicas share it, one may have {self._connection.max_payload:,}, as the bus is set (max_payload)"
                )
        except Exception as e:  # whatever is wrong with one message, the wire must not end of it
            self.drops += 1
            self._on_reject(first, e)
            return []
        return pieces

    async def _store(self, data: bytes, identity: str) -> str:
        """Publish and wait for the server's word. Returns what is wrong, or nothing."""
        try:
            answer = await self._connection.request(self._subject, data, 5.0, headers={"Nats-Msg-Id": identity})
            body = json.loads(answer)
        except TimeoutError as e:
            return str(e)
        except ValueError as e:
            return f"the bus answered what is no PubAck: {e}"
        return str(body["error"].get("description", body["error"])) if "error" in body else ""

    def _set_trouble(self, text: str) -> None:
        if text != self.trouble:
            self.trouble = text
            self.on_trouble(text)

    async def close(self, drain_s: float) -> None:
        """Give the stream up to `drain_s` to take what is owed; what it did not take is dropped and counted."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(drain_s):
                while self.owed:  # noqa: ASYNC110 - rare, and acks are told to no one here
                    await asyncio.sleep(0.01)
        self._task.cancel()
        owed, self.owed = self.owed, deque()
        self.discarded += len(owed)
        if drain_s:
            for kept in owed:
                kept.one_done()
