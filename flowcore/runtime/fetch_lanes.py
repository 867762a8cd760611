"""Messages of reliable wires whose bytes are on their way from another host.

Such a message waits here, before the node's queue, and what follows it on its wire waits behind it. So a sender that is
away holds up its own wire and no other input of the node. It waits for as long as it is owed: until its bytes have
come, the sender says that they are gone, or a new process of the sender has taken over, which sends it again.

Invariant: each wire's messages leave in the order in which they came. Where one comes again, those behind it do, too:
handled now, they would be before it.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from typing import Any

from flowcore.buffers import BufferExpired, Codec, Spilled, Tensor
from flowcore.bus.envelope import Malformed
from flowcore.node.resolve import Fetch, remote_parts, settle

_TRIES, _AGAIN_S = 4, 0.2  # with an answer that is no use
_AHEAD_BYTES = 64 << 20  # fetched, or on their way, and not done
_LOOK_S = 0.01  # for room, while there is none


class Lanes:
    """All wires of one process that have messages waiting.

    Args:
        fetch: brings bytes.
        codec: puts large payloads back together.
        deliver: takes messages into the node's queue.
        is_open: whether a wire is still in the deploy.
    """

    def __init__(
        self, fetch: Fetch, codec: Codec, deliver: Callable[[list[Any]], None], is_open: Callable[[Any], bool]
    ) -> None:
        self.fetch, self.codec, self.deliver, self.is_open = fetch, codec, deliver, is_open
        self.lanes: dict[Any, _Lane] = {}
        self._ahead: list[_Waiting] = []

    def take(self, items: list[Any]) -> None:
        """Items of one wire: into the node's queue, or into line."""
        if not items:
            return
        wire = items[0].wire
        lane = self.lanes.get(wire)
        if lane is None:
            if wire.delivery != "reliable" or not any(remote_parts(item) for item in items):
                self.deliver(items)
                return
            lane = self.lanes[wire] = _Lane(self, wire)
        lane.put(items)

    def has_room(self) -> bool:
        """Whether more may be fetched ahead."""
        self._ahead = [one for one in self._ahead if not one.item.is_done]
        return sum(one.nbytes for one in self._ahead) < _AHEAD_BYTES

    def is_ahead(self, wire: Any) -> bool:
        """Whether something of a wire was fetched that is not done."""
        return any(one.item.wire is wire and not one.item.is_done for one in self._ahead)

    def begun(self, waiting: "_Waiting") -> None:
        """The bytes of a message are on their way."""
        self._ahead.append(waiting)

    def close(self) -> None:
        """Fetch nothing more; what waits was not acked."""
        for lane in self.lanes.values():
            lane.close()
        self.lanes.clear()


class _Waiting:
    """A message in line, and the task that fetches for it; a message that needs nothing has none."""

    def __init__(self, item: Any) -> None:
        self.item = item
        self.nbytes = sum(_nbytes(part) for part in remote_parts(item))
        self.task: asyncio.Task[None] | None = None

    @property
    def is_ready(self) -> bool:
        """Nothing more is fetched for it."""
        return self.task.done() if self.task is not None else not self.nbytes

    @property
    def is_over(self) -> bool:
        """Its sender has been followed by another process, and it is not whole: it comes again."""
        if self.item.epoch == self.item.wire.epoch:
            return False
        return any(part.state in ("remote", "expired") for part in self.item.envelope.get("unresolved", ()))


class _Lane:
    """What waits of one wire."""

    def __init__(self, lanes: Lanes, wire: Any) -> None:
        self._lanes, self._wire = lanes, wire
        self._line: deque[_Waiting] = deque()
        self._over = -1  # the epoch of which one comes again
        self._task = asyncio.get_running_loop().create_task(self._run())

    def put(self, items: list[Any]) -> None:
        """Behind the others."""
        for waiting in self._line:
            if waiting.item.epoch != items[0].epoch and waiting.task is not None:
                waiting.task.cancel()  # nobody answers any more
        self._line.extend(_Waiting(item) for item in items)
        self._begin_some()

    def close(self) -> None:
        """Let go of all."""
        self._task.cancel()
        for waiting in self._line:
            if waiting.task is not None:
                waiting.task.cancel()

    async def _run(self) -> None:
        while self._line:
            self._begin_some()
            first = self._line[0]
            if first.task is not None:
                await asyncio.wait({first.task})
            elif first.nbytes:
                await asyncio.sleep(_LOOK_S)
                continue
            whole: list[Any] = []
            while self._line and self._line[0].is_ready:
                waiting = self._line.popleft()
                if waiting.is_over or waiting.item.epoch == self._over:
                    self._over = waiting.item.epoch
                    waiting.item.one_done()
                else:
                    whole.append(waiting.item)
            self._lanes.deliver(whole)
        del self._lanes.lanes[self._wire]

    def _begin_some(self) -> None:
        """Begin to fetch what is first in line, and more as far as there is room."""
        for waiting in self._line:
            if waiting.task is not None or not waiting.nbytes:
                continue
            if not self._lanes.has_room() and self._lanes.is_ahead(self._wire):
                return
            self._lanes.begun(waiting)
            waiting.task = asyncio.get_running_loop().create_task(self._complete(waiting.item))

    async def _complete(self, item: Any) -> None:
        """Fetch all that a message needs; a large payload may turn out to have tensors in it."""
        envelope = item.envelope
        while needed := remote_parts(item):
            await asyncio.gather(*(self._bring(part, item) for part in needed))
            if any(part.state != "private" for part in needed) or not any(isinstance(one, Spilled) for one in needed):
                return
            with contextlib.suppress(BufferExpired, Malformed):  # told when it is its turn
                envelope["unresolved"] = settle(envelope, self._lanes.codec)

    async def _bring(self, part: Tensor | Spilled, item: Any) -> None:
        tries = 0
        while item.epoch == self._wire.epoch:
            try:
                await self._lanes.fetch(part, item)
                return
            except BufferExpired as e:
                part.expire(str(e))
                return
            except TimeoutError as e:
                if not self._lanes.is_open(self._wire):
                    part.expire(f"its wire was removed, and its bytes with it: {e}")
                    return
            except Exception as e:
                tries += 1
                if tries == _TRIES:
                    part.expire(f"its bytes could not be fetched: {e}")
                    return
                await asyncio.sleep(_AGAIN_S * 2**tries)


def _nbytes(part: Tensor | Spilled) -> int:
    return part.handle.nbytes if part.handle is not None else 0
