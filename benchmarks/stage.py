"""What one node of a chain costs a message: everything a node process does but the bus, in this process.

    python benchmarks/stage.py [messages]

Frames of the node before are handed to the node's real `Runner` as its connection would, what it publishes is taken
from it, and acked. Prints processor time (all threads, microseconds a message, the best of several rounds: other work
on the machine only ever adds) for a sync and an async handler, for a few messages a frame and for many, and for
messages with a picture in shared memory (6.2 MB, not copied).
"""

import asyncio
import gc
import sys
import time
from collections.abc import Callable
from typing import Any

import uvloop

from flowcore.buffers import Codec, Pools, Tensor
from flowcore.bus.envelope import join, unpack
from flowcore.flow.model import NodeSettings
from flowcore.flow.resolved import WireSpec
from flowcore.node import In, Message, Node, Out
from flowcore.runtime import runner
from flowcore.runtime.page import SIZE, Page
from flowcore.wires.frames import Ack, pack_offer

_ROUNDS = 1000
_MOST_OPEN = 512  # messages handed over and not yet acked


class Pass(Node):
    """Passes each message on."""

    type = "bench/pass"
    in_ = In()
    out = Out()

    def on_message(self, message: Message) -> Any:
        return message.derive(message.payload)


class AsyncPass(Pass):
    """The same with an async handler."""

    type = "bench/async-pass"

    async def on_message(self, message: Message) -> Any:
        return message.derive(message.payload)


class Bus:
    """Stands for the connection of the node: calls back what it is given, counts what is published."""

    is_up, max_payload, unsent_bytes = True, 8 << 20, 0

    def __init__(self, *_: Any, **__: Any) -> None:
        self.callbacks: dict[str, Callable] = {}
        self.on_sent: Callable[[int], None] = lambda count: None

    async def connect(self) -> None:
        """It is."""

    flush = close = connect

    async def subscribe(self, subject: str, callback: Callable, queue: str = "") -> None:
        """Remember who is called."""
        self.callbacks[subject] = callback

    def publish(self, subject: str, data: bytes, reply: str = "") -> bool:
        """Count the messages of a frame on the feed; acks and offers count nothing."""
        if subject == "flow.f.b.out.out":
            head = data[0]
            self.on_sent(head & 15 if head < 0xA0 else int.from_bytes(data[1:3]))
        return True


class Link:
    """Stands for the host."""

    is_open = True

    def send(self, op: str, **fields: Any) -> bool:
        """Nobody listens."""
        return True

    def answer(self, to: dict, op: str, **fields: Any) -> bool:
        """Nobody asked."""
        return True


async def start(node_class: type[Node]) -> runner.Runner:
    """A running node `b` between `a` and `c`."""
    runner.Connection = Bus  # type: ignore[misc, assignment]
    spec = {
        "flow": "f",
        "node": "b",
        "process": "b",
        "replica": None,
        "type": node_class.type,
        "config": {},
        "settings": NodeSettings().model_dump(),
        "inputs": list(node_class.inputs),
        "outputs": list(node_class.outputs),
        "wires_in": [{**WireSpec("a", "out", "b", "in_").asdict(), "consumer_replica": None}],
        "wires_out": [WireSpec("b", "out", "c", "in_").asdict()],
        "streams": {},
        "inc": 1,
        "bus": {"url": "", "trust": ""},
        "state_key": None,
        "heartbeat_s": 5.0,
    }
    process = runner.Runner(spec, Page(memoryview(bytearray(SIZE))))
    process.link = Link()  # type: ignore[assignment]
    process._ended = asyncio.get_running_loop().create_future()
    await process._build(node_class)
    process.engine.committer._store = None
    await process.engine.warm_up()
    await process._go({})
    return process


def _envelope(seq: int, codec: Codec, more: dict[str, Tensor]) -> bytes:
    now_ns = time.time_ns()
    return codec.pack(
        {
            "epoch": 1,
            "seq": seq,
            "ts": now_ns,
            "origin": now_ns,
            "trace": f"a.out:1:{seq}",
            "parent": "",
            "topic": "",
            "payload": {"run": 1, "n": seq, "temp_c": 20.5, **more},
            "meta": {},
        }
    )


class Chain:
    """Feeds a node and acks what it sends."""

    def __init__(self, process: runner.Runner, has_picture: bool) -> None:
        self._codec = Codec(Pools())
        self._more = {"frame": self._codec.pools.alloc((1080, 1920, 3), "uint8", "cpu")} if has_picture else {}
        self._bus: Any = process.connection
        self._bus.on_sent = self._sent
        self._n = self._seen = self._fed = 0
        self._moved = asyncio.Event()
        offer = pack_offer(1, 1, 0, 0, False, [])
        self._bus.callbacks["wire.f.a.out.b.in_.offer"]("wire.f.a.out.b.in_.offer", offer, "", b"")
        self._live = self._bus.callbacks["flow.f.a.out.out"]
        (self._ack,) = (call for subject, call in self._bus.callbacks.items() if subject.startswith("wire.f.b."))

    def _sent(self, count: int) -> None:
        self._seen += count
        self._moved.set()

    def frames(self, messages: int, a_frame: int) -> list[bytes]:
        """The next messages of `a`."""
        first = self._fed + 1
        return [
            join(_envelope(seq, self._codec, self._more) for seq in range(start, start + a_frame))
            for start in range(first, first + messages, a_frame)
        ]

    async def feed(self, frames: list[bytes], a_frame: int) -> None:
        """Hand them over, a window of them at a time, each sixth of which is acked together."""
        acked = self._seen
        for data in frames:
            self._live("flow.f.a.out.out", data, "", b"")
            self._fed += a_frame
            while self._fed - self._seen >= min(a_frame * 2, _MOST_OPEN):
                self._moved.clear()
                await self._moved.wait()
            if self._seen - acked >= 256:
                self._say(acked := self._seen)
        while self._seen < self._fed:
            self._moved.clear()
            await self._moved.wait()
        self._say(self._seen)

    def _say(self, floor: int) -> None:
        self._n += 1
        self._ack("wire.f.b.out.c.in_.ack", Ack(1, self._n, 1, floor + 1, floor).pack(), "", b"")


async def measure(node_class: type[Node], messages: int, a_frame: int, has_picture: bool) -> float:
    """Microseconds of processor time a message."""
    process = await start(node_class)
    chain = Chain(process, has_picture)
    gc.freeze()  # as in a node's process
    gc.set_threshold(20_000, 20, 20)
    best = float("inf")
    for _ in range(_ROUNDS):
        frames = chain.frames(max(messages // a_frame, 1) * a_frame, a_frame)
        begun = time.process_time()
        await chain.feed(frames, a_frame)
        best = min(best, (time.process_time() - begun) / len(frames) / a_frame)
    owed = process.wiring.outs.unacked()
    assert not owed, owed
    assert unpack(process.wiring.outs.ports["out"].last)["payload"]["n"] == chain._fed  # type: ignore[arg-type]
    return best * 1e6


def main(messages: int) -> None:
    """Measure and print."""
    sizes = (1, 4, 16, 64, 256)
    print(f"{'messages a frame':24}" + "".join(f"{size:8}" for size in sizes) + "   us a message")
    for name, node_class, has_picture in (
        ("sync handler", Pass, False),
        ("async handler", AsyncPass, False),
        ("sync, with a picture", Pass, True),
        ("async, with a picture", AsyncPass, True),
    ):
        found = [uvloop.run(measure(node_class, messages, size, has_picture)) for size in sizes]
        print(f"{name:24}" + "".join(f"{one:8.2f}" for one in found))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 64)
