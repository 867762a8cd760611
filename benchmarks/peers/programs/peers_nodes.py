"""The nodes of the flowcore flows: written as a package would write them, measured with what measures the others."""

import asyncio
import time
from typing import Any

from kit import FRAME_SHAPE, TEXT, Orders, Pace, Tally, check_frame, spin

from flowcore.node import In, Message, Node, NodeConfig, Out, field, hookimpl


@hookimpl
def flowcore_node_types() -> list[type[Node]]:
    """All of them."""
    return [Source, Pass, Sink, AsyncSink, Trigger, Busy]


class Told(NodeConfig):
    """Where the bench listens."""

    socket: str = field("", description="Path of its Unix socket")


class Source(Node):
    """Sends what the bench orders."""

    type = "peers/source"
    Config = Told
    out = Out()

    async def run(self) -> None:
        orders = Orders("source", self.config.socket)
        while (order := await asyncio.to_thread(orders.next)) is not None:
            pace, run = Pace(order), order["run"]
            while (wait_s := pace.wait_s()) is not None:
                if wait_s:
                    await asyncio.sleep(wait_s)
                    continue
                number, made_ns = pace.next()
                said: dict[str, Any] = {"run": run, "n": number, "machine": TEXT, "t": made_ns}
                if order["frames"]:
                    said["frame"] = await self.alloc_when_free(FRAME_SHAPE)
                    said["frame"].numpy()[:] = number & 0xFF
                await self.send(said)
            orders.answer({"sent": pace.sent})


class Pass(Node):
    """Passes each message on."""

    type = "peers/pass"
    in_ = In()
    out = Out()

    def on_message(self, message: Message) -> Any:
        return message.derive(message.payload)


class Sink(Node):
    """Counts."""

    type = "peers/sink"
    Config = Told
    in_ = In()

    def on_start(self) -> None:
        self._tally = Tally(self.config.socket)

    def on_message(self, message: Message) -> Any:
        self._take(message, time.time_ns())

    def _take(self, message: Message, now_ns: int) -> None:
        said = message.payload
        if (frame := said.get("frame")) is not None:
            check_frame(frame.numpy(), said["n"])
            now_ns = time.time_ns()
        self._tally.take(said["run"], said["t"], now_ns)


class AsyncSink(Sink):
    """The same with an async handler, which needs no thread."""

    type = "peers/async-sink"

    async def on_message(self, message: Message) -> Any:
        self._take(message, time.time_ns())


class Trigger(Node):
    """Sends the seconds to be busy, when the bench says so."""

    type = "peers/trigger"
    Config = Told
    out = Out()

    async def run(self) -> None:
        orders = Orders("busy", self.config.socket)
        while (order := await asyncio.to_thread(orders.next)) is not None:
            await self.send(order["seconds"])
            orders.answer({})


class Busy(Node):
    """Keeps a core busy for as many seconds as it is told."""

    type = "peers/busy"
    in_ = In()

    def on_message(self, message: Message) -> None:
        spin(message.payload)
