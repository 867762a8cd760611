"""A durable wire: a JetStream stream between producer and consumer, so that messages outlive every process.

The producer publishes what piled up as one stream message and owes it until the server has stored it (fsynced); the
consumer pulls, and acks a stream message when all its envelopes are done. A message id (`epoch:first-last`) lets the
server drop what is published twice. Order: a stream message that comes before an earlier one, which is being delivered
again, is parked until that one has come.

Invariant: an envelope is handed to the node once per (epoch, seq), in the order of the stream.
"""

import asyncio
import contextlib
import json
import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from flowcore.bus.connection import BUS_TROUBLE, Connection
from flowcore.bus.envelope import Malformed, join, unpack
from flowcore.wires.frames import envelopes
from flowcore.wires.in_wire import Item
from flowcore.wires.out_port import Kept, OutPort
from flowcore.wires.out_wire import WireEnds

_MOST_AT_ONCE, _MOST_BYTES = 256, 256 * 1024
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.1, 2.0
_PULL_S, _PULL_AGAIN_S = 30.0, 0.5
_KEEP_ALIVE_S = 1.5  # the consumer's ack_wait is a few times this
_GAP_S = 12.0  # after this a hole in the stream counts as lost (the stream's own limits took it)

_log = logging.getLogger("flowcore.wires")


class DurableWire:
    """The producer's end: owes a message until the stream has it."""

    cause_waits = is_waited_for = True
    is_failed = False

    def __init__(
        self, ends: WireEnds, port: OutPort, connection: Connection, stream: Mapping[str, str], window: int = 4096
    ) -> None:
        self.ends = ends
        self.window, self.window_bytes = window, 8 << 20
        self.owed: deque[Kept] = deque()
        self.owed_bytes = 0
        self.resent = self.drops = self.discarded = 0
        self.trouble = ""  # why the stream does not take messages now
        self.on_trouble: Callable[[str], None] = lambda text: None
        self._port, self._connection, self._subject = port, connection, stream["subject"]
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
        while True:
            if not self.owed:
                self._wake.clear()
                await self._wake.wait()
                continue
            # Tried again as it was: with more in it the server would not know it from the one it may have stored.
            batch = batch or self._batch()
            identity = f"{self._port.epoch}:{batch[0].seq}-{batch[-1].seq}"
            problem = await self._store(join(kept.packed for kept in batch), identity)
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
            if batch and (len(batch) >= _MOST_AT_ONCE or size + kept.size > _MOST_BYTES):
                break
            batch.append(kept)
            size += kept.size
        return batch

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


class _Stored:
    """A stream message whose envelopes are in work."""

    __slots__ = ("message", "open")

    def __init__(self, message: Any, open: int) -> None:
        self.message, self.open = message, open


class DurableInWire:
    """The consumer's end: pulls, keeps the order, acks what is done."""

    delivery = "durable"
    epoch = 0

    def __init__(
        self,
        ends: WireEnds,
        connection: Connection,
        stream: Mapping[str, str],
        deliver: Callable[[list[Item]], None],
        window: int = 1024,
        is_shared: bool = False,
    ) -> None:
        self.ends = ends
        self.window = window
        self._is_shared = is_shared  # with other replicas: each sees some of the stream, so there is no order to keep
        self.counts = {"taken": 0, "duplicates": 0, "gaps": 0, "drops": 0, "rollbacks": 0}
        self.in_port = self.id_prefix = ""
        self.check: Any = None
        self.page_hash = 0
        self.queued = 0
        self._connection, self._stream, self._consumer = connection, stream["stream"], stream["consumer"]
        self._deliver = deliver
        self._applied = (0, 0)
        self._expected = 0  # stream sequence that comes next; 0: not known yet
        self._last = (0, 0)  # newest (epoch, seq) handed over
        self._parked: dict[int, Any] = {}
        self._stored: dict[tuple[int, int], _Stored] = {}  # (epoch, seq) of an item -> its stream message
        self._room = asyncio.Event()
        self._hole_since_s = 0.0  # since when what is parked waits for an earlier one
        self._tasks: list[asyncio.Task] = []

    def resume(self, applied: tuple[int, int]) -> None:
        """Begin to pull; what lies below `applied` is contained in the node's state."""
        self._applied = applied
        if applied[0]:
            self._last = (applied[0], applied[1] - 1)
        if not self._tasks:
            loop = asyncio.get_running_loop()
            self._tasks = [loop.create_task(self._pull()), loop.create_task(self._keep_alive())]

    def on_up(self) -> None:
        """The bus is back: what was under way to us comes again, and what we had asked for is forgotten there."""
        self._expected = 0
        self._parked.clear()
        if self._tasks:
            self._tasks[0].cancel()
            self._tasks[0] = asyncio.get_running_loop().create_task(self._pull())

    async def _pull(self) -> None:
        trouble = ""
        while True:
            subscription = None
            try:
                js = self._connection.jetstream()
                subscription = await js.pull_subscribe_bind(durable=self._consumer, stream=self._stream)
                while True:
                    await self._pull_some(subscription)
                    trouble = ""
            except Exception as e:  # whatever a library makes of an answer, the wire must not end of it
                text = f"{type(e).__name__}: {e}"
                if self._connection.is_up and text != trouble:
                    trouble = text
                    _log.warning("durable wire %s: %s", self.ends.id, text)
            finally:
                if subscription is not None:
                    with contextlib.suppress(*BUS_TROUBLE):
                        await subscription.unsubscribe()
            await asyncio.sleep(_PULL_AGAIN_S)

    async def _pull_some(self, subscription: Any) -> None:
        """Take what the stream has, or wait for it."""
        while self.queued >= self.window:
            self._room.clear()
            await self._room.wait()
        if not self._expected:
            info = await self._connection.jetstream().consumer_info(self._stream, self._consumer)
            self._expected = (info.ack_floor.stream_seq if info.ack_floor else 0) + 1
            self._skip_done()
        try:
            messages = await subscription.fetch(16, timeout=1.0 if self._parked else _PULL_S)
        except TimeoutError:
            messages = []
        for message in messages:
            self._parked[message.metadata.sequence.stream] = message
        self._take_in_order()
        now_s = time.monotonic()
        if not self._parked:
            self._hole_since_s = 0.0
        elif not self._hole_since_s:
            self._hole_since_s = now_s
        elif now_s - self._hole_since_s > _GAP_S:
            self.counts["gaps"] += 1
            _log.warning("durable wire %s: stream messages before %d are gone", self.ends.id, min(self._parked))
            self._expected, self._hole_since_s = min(self._parked), 0.0
            self._take_in_order()

    def _skip_done(self) -> None:
        in_work = {stored.message.metadata.sequence.stream for stored in self._stored.values()}
        while self._expected in in_work:
            self._expected += 1

    def _take_in_order(self) -> None:
        for sequence in sorted(self._parked):
            if sequence > self._expected and not self._is_shared:
                break
            message = self._parked.pop(sequence)
            if sequence == self._expected:
                self._expected += 1
            self._take(message)

    def _take(self, message: Any) -> None:
        try:
            frame = envelopes(unpack(message.data, limit=8 << 20))
        except Malformed as e:
            _log.warning("durable wire %s: a stored message is dropped: %s", self.ends.id, e)
            self._say(message, b"+TERM")
            return
        items = []
        for envelope in frame:
            key = (envelope["epoch"], envelope["seq"])
            if key in self._stored:  # delivered again while it is in work
                self.counts["duplicates"] += 1
                continue
            if key <= self._last and not self._is_shared:
                if key[0] < self._last[0]:
                    self.counts["rollbacks"] += 1
                    _log.warning("durable wire %s: epoch %d after %d", self.ends.id, key[0], self._last[0])
                else:
                    self.counts["duplicates"] += 1
                    continue
            elif key[0] == self._last[0] and key[1] != self._last[1] + 1 and not self._is_shared:
                self.counts["gaps"] += 1
            self._last = max(self._last, key)
            items.append(Item(self, key[0], key[1], envelope))
        if not items:
            if not any((one["epoch"], one["seq"]) in self._stored for one in frame):
                self._say(message, b"+ACK")
            return
        stored = _Stored(message, len(items))
        for item in items:
            self._stored[(item.epoch, item.seq)] = stored
        self.queued += len(items)
        self.counts["taken"] += len(items)
        self._deliver(items)

    def on_done(self, item: Item) -> None:
        """An envelope is done; its stream message is acked when all of its are."""
        stored = self._stored.pop((item.epoch, item.seq), None)
        self.queued -= 1
        self._room.set()
        if stored is not None:
            stored.open -= 1
            if not stored.open:
                self._say(stored.message, b"+ACK")

    def _say(self, message: Any, word: bytes) -> None:
        self._connection.publish(message.reply, word)

    async def _keep_alive(self) -> None:
        """Tell the server that what we hold is in work, or it would be delivered again."""
        while True:
            await asyncio.sleep(_KEEP_ALIVE_S)
            held = {id(one): one.message for one in self._stored.values()}
            for message in [*held.values(), *self._parked.values()]:
                self._say(message, b"+WPI")

    def say_if_unsaid(self) -> None:
        """Acks are said at once."""

    def age_s(self, now_ns: int) -> float:
        """Not known without asking the stream."""
        return 0.0

    async def close(self) -> None:
        """Give back what is not done, so that a successor gets it at once."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        held = {id(one): one.message for one in self._stored.values()}
        for message in [*held.values(), *self._parked.values()]:
            self._say(message, b"-NAK")
        self._parked.clear()
