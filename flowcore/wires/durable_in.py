"""The consumer's end of a durable wire: pulls from the stream, keeps its order, acks what is done.

A stream message is acked when all its envelopes are done. One that comes before an earlier one, which is being
delivered again, is parked until that one has come. Large messages come in parts (`flowcore.wires.parts`).

Invariant: an envelope is handed to the node once per (epoch, seq), in the order of the stream.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from flowcore.bus.connection import BUS_TROUBLE, Connection
from flowcore.bus.ending import end
from flowcore.bus.envelope import Malformed, unpack
from flowcore.wires.frames import envelopes
from flowcore.wires.in_wire import Item
from flowcore.wires.out_wire import WireEnds
from flowcore.wires.parts import Assembly, Part

_PULL_S, _PULL_AGAIN_S = 30.0, 0.5
_FETCH, _FETCH_LARGE, _LARGE_BYTES = 16, 2, 4 << 20  # stream messages at once; of large ones fewer
_LARGE_FRAME = 512 * 1024  # bytes
_KEEP_ALIVE_S = 1.5  # the consumer's ack_wait is a few times this
_GAP_S = 12.0  # after this a hole in the stream counts as lost (the stream's own limits took it)

_log = logging.getLogger("flowcore.wires")


class _Stored:
    """A stream message (of a large one all parts) whose envelopes are in work."""

    __slots__ = ("messages", "open")

    def __init__(self, messages: list[Any], open: int) -> None:
        self.messages, self.open = messages, open


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
        decode: Callable[..., Any] = unpack,
    ) -> None:
        self.ends = ends
        self.window = window
        self._decode = decode
        self._assembly = Assembly()
        self._fetch = _FETCH
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
            messages = await subscription.fetch(self._fetch, timeout=1.0 if self._parked else _PULL_S)
        except TimeoutError:
            messages = []
        if messages:
            self._fetch = _FETCH_LARGE if sum(len(one.data) for one in messages) > _LARGE_BYTES else _FETCH
        for message in messages:
            self._parked[message.metadata.sequence.stream] = message
        await self._take_in_order()
        now_s = time.monotonic()
        if not self._parked:
            self._hole_since_s = 0.0
        elif not self._hole_since_s:
            self._hole_since_s = now_s
        elif now_s - self._hole_since_s > _GAP_S:
            self.counts["gaps"] += 1
            _log.warning("durable wire %s: stream messages before %d are gone", self.ends.id, min(self._parked))
            self._expected, self._hole_since_s = min(self._parked), 0.0
            await self._take_in_order()

    def _skip_done(self) -> None:
        in_work = {message.metadata.sequence.stream for message in self._in_work()}
        while self._expected in in_work:
            self._expected += 1

    async def _take_in_order(self) -> None:
        for sequence in sorted(self._parked):
            if sequence > self._expected and not self._is_shared:
                break
            message = self._parked.pop(sequence)
            if sequence == self._expected:
                self._expected += 1
            await self._take(message)

    async def _take(self, message: Any) -> None:
        messages = [message]
        try:
            value = await self._unpack(message.data)
            if type(value) is dict:
                packed, messages = self._take_part(Part.of(value), message)
                if packed is None:
                    return
                value = await self._unpack(packed)
            frame = envelopes(value)
        except Malformed as e:
            _log.warning("durable wire %s: a stored message is dropped: %s", self.ends.id, e)
            for one in messages:
                self._say(one, b"+TERM")
            return
        if frame and not self._is_shared:
            self._drop(self._assembly.before((frame[0]["epoch"], frame[0]["seq"])))
        self._take_frame(frame, messages)

    async def _unpack(self, data: bytes) -> Any:
        """Decode; what is large beside the event loop: it may have been encoded."""
        if len(data) < _LARGE_FRAME:
            return self._decode(data, limit=len(data))
        return await asyncio.to_thread(self._decode, data, limit=len(data))

    def _take_part(self, part: Part, message: Any) -> tuple[bytes | None, list[Any]]:
        """The packed frame that this part completes, and the stream messages that it came in."""
        if part.key in self._stored:  # delivered again while the whole is in work
            return None, []
        if not self._is_shared and part.epoch == self._last[0] and part.seq <= self._last[1]:
            self._drop([message])  # and after the whole was done
            return None, []
        packed, messages, dropped = self._assembly.take(part, message)
        self._drop(dropped)
        return packed, messages

    def _drop(self, messages: list[Any]) -> None:
        """Parts of what is done, or never will be whole."""
        for message in messages:
            self._say(message, b"+ACK")

    def _take_frame(self, frame: list[dict], messages: list[Any]) -> None:
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
                for message in messages:
                    self._say(message, b"+ACK")
            return
        stored = _Stored(messages, len(items))
        for item in items:
            self._stored[(item.epoch, item.seq)] = stored
        self.queued += len(items)
        self.counts["taken"] += len(items)
        self._deliver(items)

    def _in_work(self) -> list[Any]:
        """Stream messages that are taken and not acked."""
        held = {id(stored): stored.messages for stored in self._stored.values()}
        return [*(message for messages in held.values() for message in messages), *self._assembly.messages]

    def on_done(self, item: Item) -> None:
        """An envelope is done; its stream message is acked when all of its are."""
        stored = self._stored.pop((item.epoch, item.seq), None)
        self.queued -= 1
        self._room.set()
        if stored is not None:
            stored.open -= 1
            if not stored.open:
                for message in stored.messages:
                    self._say(message, b"+ACK")

    def _say(self, message: Any, word: bytes) -> None:
        self._connection.publish(message.reply, word)

    async def _keep_alive(self) -> None:
        """Tell the server that what we hold is in work, or it would be delivered again."""
        while True:
            await asyncio.sleep(_KEEP_ALIVE_S)
            for message in [*self._in_work(), *self._parked.values()]:
                self._say(message, b"+WPI")

    def say_if_unsaid(self) -> None:
        """Acks are said at once."""

    def age_s(self, now_ns: int) -> float:
        """Not known without asking the stream."""
        return 0.0

    async def close(self) -> None:
        """Give back what is not done, so that a successor gets it at once."""
        await end(self._tasks)
        for message in [*self._in_work(), *self._parked.values()]:
            self._say(message, b"-NAK")
        self._parked.clear()
