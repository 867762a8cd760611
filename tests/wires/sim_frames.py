"""Nodes of simulated flows that make, pass on, keep and read frames, in real shared memory and with real locks.

All simulated processes are one real one, each with descriptors of its own: to the kernel's locks that is the same. Who
dies has its locks taken and its descriptors closed, as by `kill -9`.
"""

import asyncio
import os
from typing import Any

import numpy as np
from sim_nodes import handled
from sim_time import running

from flowcore.node import In, Node, NodeConfig, Out, field
from flowcore.node.tensors import Tensors

_LENGTH = 25_000  # 200 KB: a process that may share 1 MB has four slots


def vanish(tensors: Tensors) -> None:
    """The process is dead: the kernel takes its locks and descriptors; what its objects still do has no effect."""
    own = [pool for codec in (tensors.codec, tensors.codec.beside) if codec for pool in codec.pools.by_id.values()]
    for pool in (*own, *tensors.readers._pools.values()):
        pool._pid = 0  # leases that go later let go of nothing
        pool.ledger.unlock(0, pool.ledger.slots)
        os.close(pool.ledger.fd)


def look_at(frame: Any, number: int) -> None:
    """Tell the world when a frame is not what was written."""
    array = np.asarray(frame)
    if array[0] != number or array[-1] != number or array[_LENGTH // 2] != number:
        process = running.get()
        process.world.broken(f"{process.name}: frame {number} has become {array[:: _LENGTH // 4].tolist()}")


class Frames(Node):
    """Counts, in frames, as far as the world says, and goes on where all was acked when it is restarted."""

    type = "sim/frames"
    out = Out()

    class Config(NodeConfig):
        has_copy: bool = field(False, description="Sends arrays, which are copied into shared memory")

    async def run(self) -> None:
        world = running.get().world
        number = self.position or 0
        while True:
            for _ in range(world.rng.randint(1, 3)):
                if number < world.total:
                    number += 1
                    world.sent = max(world.sent, number)
                    await self.send({"n": number, "frame": await self._frame(number)}, position=number)
            await asyncio.sleep(world.rng.uniform(0.001, 0.02))

    async def _frame(self, number: int) -> Any:
        if running.get().world.rng.random() < 0.3:
            return np.full(_LENGTH, number)
        frame = await self.alloc_when_free(_LENGTH, "int64")
        frame.numpy()[:] = number
        return frame


class PassFrame(Node):
    """Passes frames on."""

    type = "sim/pass-frame"
    in_ = In()
    out = Out()

    def on_message(self, message: Any) -> Any:
        handled(self, message.payload["n"])
        look_at(message.payload["frame"], message.payload["n"])
        return message.derive({**message.payload, "by": self.id})


class CountFrames(PassFrame):
    """Passes them on, and counts them: state that has to hold each once."""

    type = "sim/count-frames"
    stateful = True

    def on_message(self, message: Any) -> Any:
        self.state["count"] = self.state.get("count", 0) + 1
        return super().on_message(message)


class MakeFrame(PassFrame):
    """Makes another frame of each."""

    type = "sim/make-frame"

    async def on_message(self, message: Any) -> Any:
        number = message.payload["n"]
        handled(self, number)
        made = await self.alloc_when_free(_LENGTH, "int64")
        made.numpy()[:] = message.payload["frame"].numpy()
        return {"n": number, "frame": made}


class KeepFrames(Node):
    """Keeps more frames than their maker has slots, and looks at them again and again. Copies where they are scarce."""

    type = "sim/keep-frames"
    in_ = In()

    class Config(NodeConfig):
        most: int = field(6, description="Frames kept")

    def on_start(self) -> None:
        self.kept: list[tuple[int, Any]] = []
        running.get().keepers.append(self)

    def on_message(self, message: Any) -> None:
        number, frame = message.payload["n"], message.payload["frame"]
        handled(self, number)
        look_at(frame, number)
        self.kept.append((number, frame.copy() if frame.is_scarce else frame.keep()))
        if len(self.kept) > self.config.most:
            old, kept = self.kept.pop(running.get().world.rng.randrange(len(self.kept)))
            look_at(kept, old)

    def look(self) -> None:
        """Whatever is kept is what it was."""
        for number, frame in self.kept:
            look_at(frame, number)


class Around(Node):
    """The node in a cycle of frames: what is new goes out, and around once."""

    type = "sim/around"
    in_ = In()
    back = In()
    out = Out()
    around = Out()

    async def on_message(self, message: Any) -> None:
        number = message.payload["n"]
        look_at(message.payload["frame"], number)
        if message.port == "in":
            handled(self, number)
            made = await self.alloc_when_free(_LENGTH, "int64")
            made.numpy()[:] = number
            await self.send({"n": number, "frame": made}, port="around")
            await self.send(number, port="out")
