"""The nodes that `flowcore bench` measures with; `flowcore.bench.plugin` makes a plug-in of this file.

A run is told to the source by an order, a map:

    run, seconds, warm_s    its number, its length, and how much of that does not count
    rate_hz                 messages a second; else as fast as the wires take them
    bytes                   so many bytes beside the number
    shape, write            a frame beside the number: "alloc" writes a picture into a slot, "send" hands over an array
    ages                    the age of each message is kept: since "origin" (stamped as the source sends it), "hop" (the
                            same by the node before the sink), or "begun" (before the source wrote the frame)

The first message, `{"run", "begins"}`, and the last, `{"run", "sent"}`, go through the same wires; at the last one the
sink reports.
"""

import asyncio
import math
import time
from array import array
from typing import Any

from flowcore.node import In, Message, Node, NodeConfig, Out, field, hookimpl


@hookimpl
def flowcore_node_types() -> list[type[Node]]:
    """All of them."""
    return [Source, Pass, Stamp, Sink, AsyncSink]


class Source(Node):
    """Sends what an order says: numbered messages, at a steady pace or as fast as the wires take them."""

    type = "bench/source"

    class Config(NodeConfig):
        rate_hz: float = field(0.0, ge=0, description="Messages a second from the start on, until an order comes")

    order = In(dict)
    out = Out()

    async def on_start(self) -> None:
        self._orders: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def on_message(self, message: Message) -> None:
        self._orders.put_nowait(message.payload)

    async def run(self) -> None:
        if self.config.rate_hz:
            await self._follow({"run": 0, "rate_hz": self.config.rate_hz})
        while True:
            await self._follow(await self._orders.get())

    async def _follow(self, order: dict[str, Any]) -> None:
        run, rate_hz = order["run"], order.get("rate_hz") or 0
        more = {"pad": b"x" * order["bytes"]} if order.get("bytes") else {}
        picture = _picture(order["shape"]) if order.get("shape") else None
        await self.send({"run": run, "begins": order})
        n, due_s = 0, time.monotonic()
        ends_s = due_s + order["seconds"] if "seconds" in order else math.inf
        while time.monotonic() < ends_s and (ends_s < math.inf or self._orders.empty()):
            if rate_hz:
                due_s = max(due_s + 1 / rate_hz, time.monotonic())  # what was late is not made up for in a burst
                await asyncio.sleep(due_s - time.monotonic())
            n += 1
            if picture is not None:
                more = {"begun_ns": time.time_ns(), "frame": await self._frame(picture, n, order["write"])}
            await self.send({"run": run, "n": n, "temp_c": 20.5, **more})
        await self.send({"run": run, "sent": n})

    async def _frame(self, picture: Any, n: int, write: str) -> Any:
        """A frame with the number in its first and its last value."""
        picture.flat[0] = picture.flat[-1] = n & 255
        if write == "send":
            return picture
        frame = await self.alloc_when_free(picture.shape)
        frame.numpy()[:] = picture
        return frame


def _picture(shape: list[int]) -> Any:
    import numpy  # idle nodes do not pay for it

    return numpy.random.default_rng(1).integers(0, 256, shape, numpy.uint8)


class Pass(Node):
    """Passes each message on: the smallest node that a package can have."""

    type = "bench/pass"
    in_ = In()
    out = Out()

    def on_message(self, message: Message) -> Any:
        return message.derive(message.payload)


class Stamp(Node):
    """Passes each message on with the revision that the node was deployed with."""

    type = "bench/stamp"

    class Config(NodeConfig):
        revision: int = field(0, description="What is written beside the number")

    in_ = In()
    out = Out()

    def on_message(self, message: Message) -> Any:
        return message.derive({**message.payload, "revision": self.config.revision})


class Sink(Node):
    """Counts what comes between two points of its own clock, and reports at the end of the run."""

    type = "bench/sink"
    in_ = In()
    out = Out()

    def on_start(self) -> None:
        self._begin({}, 0)

    def on_message(self, message: Message) -> Any:
        entered_ns = time.time_ns()  # first of all: latency ends here
        return self._take(message, entered_ns)

    def _begin(self, order: dict[str, Any], now_ns: int) -> None:
        self._last = self._missing = self._twice = self._torn = self._taken = 0
        self._ages_ms = array("f")
        self._ages_of = order.get("ages", "")
        self._from_ns = now_ns + int(order.get("warm_s", 0) * 1e9)
        self._until_ns = now_ns + int(order.get("seconds", 0) * 1e9)

    def _take(self, message: Message, entered_ns: int) -> Any:
        payload = message.payload
        n = payload.get("n")
        if n is None:
            if "begins" in payload:
                self._begin(payload["begins"], entered_ns)
                return None
            return message.derive(self._report(payload["run"], payload["sent"]))
        if n == self._last + 1:
            self._last = n
        elif n <= self._last:
            self._twice += 1
        else:
            self._missing += n - self._last - 1
            self._last = n
        if "frame" in payload:
            frame = payload["frame"].numpy()
            self._torn += not frame.flat[0] == frame.flat[-1] == n & 255
        if self._from_ns <= entered_ns < self._until_ns:
            self._taken += 1
            if self._ages_of:
                self._ages_ms.append((entered_ns - self._since_ns(message)) / 1e6)
        return None

    def _since_ns(self, message: Message) -> int:
        if self._ages_of == "begun":
            return message.payload["begun_ns"]
        return message.ts_ns if self._ages_of == "hop" else message.origin_ns

    def _report(self, run: int, sent: int) -> dict[str, Any]:
        return {
            "run": run,
            "sent": sent,
            "missing": self._missing + sent - self._last,
            "twice": self._twice,
            "torn": self._torn,
            "taken": self._taken,
            "seconds": (self._until_ns - self._from_ns) / 1e9,
            "ages_ms": self._ages_ms.tobytes(),
        }


class AsyncSink(Sink):
    """The same with an async handler, which needs no thread."""

    type = "bench/async-sink"

    async def on_message(self, message: Message) -> Any:
        return self._take(message, time.time_ns())
