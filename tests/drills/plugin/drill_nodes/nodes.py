"""The nodes themselves; what they do to the engine is in their docstrings."""

import asyncio
import os
import signal
import time
import zlib
from typing import Any

import numpy as np

from flowcore.node import In, Message, Node, NodeConfig, Out, field


class Numbers(Node):
    """Sends 1, 2, 3 ... as fast as the wires take them; with `keeps` it goes on where all was acked."""

    type = "drill/numbers"

    class Config(NodeConfig):
        to: int = field(1000, description="Last number; 0: no end")
        keeps: bool = field(True, description="Keep the position")
        pad_bytes: int = field(0, description="Send a map with so many bytes beside the number")

    out = Out()

    async def run(self) -> None:
        n, to, pad = self.position or 0, self.config.to, b"x" * self.config.pad_bytes
        while not to or n < to:
            n += 1
            await self.send({"n": n, "pad": pad} if pad else n, position=n if self.config.keeps else None)


class Pass(Node):
    """Passes each message on: the smallest node of a package, for throughput."""

    type = "drill/pass"
    in_ = In()
    out = Out()

    def on_message(self, message: Message) -> Any:
        return message.derive(message.payload)


class Stamp(Node):
    """Passes each number on with the revision that the node was deployed with."""

    type = "drill/stamp"

    class Config(NodeConfig):
        revision: int = field(0, description="What is written beside the number")

    in_ = In()
    out = Out()

    def on_message(self, message: Message) -> Any:
        return message.derive({"n": message.payload, "revision": self.config.revision})


class Crash(Node):
    """Dies of every number that `every` divides, as a fault in a C library would; `fixed` it passes them on."""

    type = "drill/crash"

    class Config(NodeConfig):
        every: int = field(10, gt=0, description="Which numbers are poison")
        fixed: bool = field(False, description="Poison does nothing")

    in_ = In()
    out = Out()

    def on_message(self, message: Message) -> Any:
        if not self.config.fixed and message.payload % self.config.every == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return message.derive(message.payload)


class Sleep(Node):
    """Takes its time over each message, then passes it on."""

    type = "drill/sleep"

    class Config(NodeConfig):
        seconds: float = field(1.0, ge=0, description="How long a message takes")

    in_ = In()
    out = Out()

    async def on_message(self, message: Message) -> Any:
        await asyncio.sleep(self.config.seconds)
        return message.derive(message.payload)


class Count(Node):
    """Counts and adds up in its state, and sends both after each message."""

    type = "drill/count"
    stateful = True
    in_ = In()
    out = Out()

    def on_message(self, message: Message) -> Any:
        self.state["count"] = self.state.get("count", 0) + 1
        self.state["sum"] = self.state.get("sum", 0) + message.payload
        return {"count": self.state["count"], "sum": self.state["sum"]}


class Meter(Node):
    """Counts what comes; says twice a second how much, how many were missing, the longest gap (s).

    A text begins the gap anew.
    """

    type = "drill/meter"
    in_ = In()
    out = Out()

    def on_start(self) -> None:
        self._count, self._first_s, self._last_s, self._gap_s = 0, 0.0, 0.0, 0.0
        self._last, self._missing = 0, 0
        self.every(0.5, self._say)

    def on_message(self, message: Message) -> None:
        now_s = time.monotonic()
        if isinstance(message.payload, str):
            self._gap_s, self._last_s = 0.0, now_s
            return
        number = message.payload["n"] if isinstance(message.payload, dict) else message.payload
        self._missing += number != self._last + 1 and self._count > 0
        self._last = number
        if self._count == 0:
            self._first_s = now_s
        else:
            self._gap_s = max(self._gap_s, now_s - self._last_s)
        self._count, self._last_s = self._count + 1, now_s

    def _say(self) -> dict[str, Any]:
        return {
            "count": self._count,
            "seconds": self._last_s - self._first_s,
            "gap_s": self._gap_s,
            "missing": self._missing,
        }


class Camera(Node):
    """Frames of 1920 x 1080 x 3 written in place, each with a number and another content, and their checksum."""

    type = "drill/camera"

    class Config(NodeConfig):
        to: int = field(1000, description="Last number")

    out = Out()

    async def run(self) -> None:
        noise = np.random.default_rng(1).integers(0, 256, (2 * 1080, 1920, 3), np.uint8)
        for n in range((self.position or 0) + 1, self.config.to + 1):
            frame = await self.alloc_when_free((1080, 1920, 3))
            picture = frame.numpy()
            picture[:] = noise[n % 1080 : n % 1080 + 1080]
            picture.reshape(-1)[:8] = np.frombuffer(n.to_bytes(8, "little"), np.uint8)
            checksum = zlib.crc32(picture)
            del picture
            await self.send({"frame": frame, "n": n, "crc32": checksum}, position=n)
            del frame


class Checksum(Node):
    """Says of each frame whether it is what was written, by checksum and by the number in it."""

    type = "drill/checksum"
    in_ = In()
    out = Out()

    def on_message(self, message: Message) -> Any:
        said = message.payload
        picture = said["frame"].numpy()
        number = int.from_bytes(picture.reshape(-1)[:8].tobytes(), "little")
        is_whole = zlib.crc32(picture) == said["crc32"] and number == said["n"]
        return message.derive({"n": said["n"], "is_whole": is_whole})


class Forge(Node):
    """Tries with its own credentials to speak for others: each attack is a subject, a reply subject and content."""

    type = "drill/forge"

    in_ = In()
    out = Out()

    async def on_message(self, message: Message) -> Any:
        client = self.engine.extras["bus"]._connection.client
        for subject, reply, content in message.payload:
            await client.publish(subject, content, reply=reply)
        await client.flush()
        return len(message.payload)
