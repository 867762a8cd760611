"""A plug-in of nodes that make, pass on, keep and check frames, and flows of them."""

import json
from pathlib import Path

NODES = '''
import asyncio
import numpy as np
from flowcore.node import In, Node, NodeConfig, Out, field

SHAPE = (480, 640, 3)

def filled(array, n):
    array[:] = n % 251
    array.reshape(-1)[:8] = np.frombuffer(n.to_bytes(8, "little"), np.uint8)

def number_of(array):
    """The number of a frame whose content is what was written; -1 for any other."""
    flat = np.asarray(array).reshape(-1)
    n = int.from_bytes(flat[:8].tobytes(), "little")
    return n if (flat[8:] == n % 251).all() else -1

class Camera(Node):
    """Frames with numbers in them; it goes on after what everyone acked."""
    type = "frametest/camera"
    class Config(NodeConfig):
        to: int = field(100, description="Last number")
        pause_s: float = field(0.0, description="Seconds between two")
        is_replayed: bool = field(True, description="Can be read again, as a file; else it is a camera")
        begin: int = field(0, description="The number before the first")
        height: int = field(480, description="Rows of a frame, of 1,920 bytes")
    frame = Out()
    async def run(self):
        begin = self.position or self.config.begin
        shape = (self.config.height, *SHAPE[1:])
        for n in range(begin + 1, self.config.to + 1):
            frame = await self.alloc_when_free(shape)
            array = frame.numpy()
            filled(array, n)
            del array
            await self.send({"frame": frame, "n": n}, position=n if self.config.is_replayed else None)
            del frame
            if self.config.pause_s:
                await asyncio.sleep(self.config.pause_s)

class Forward(Node):
    """Passes frames on."""
    type = "frametest/forward"
    class Config(NodeConfig):
        n: int = field(0, description="Another config")
    in_ = In()
    out = Out()
    def on_message(self, message):
        return message.payload

class Count(Forward):
    """Passes frames on, and counts them in its state."""
    type = "frametest/count"
    stateful = True
    def on_message(self, message):
        self.state["n"] = self.state.get("n", 0) + 1
        return {**message.payload, "count": self.state["n"]}

class Double(Node):
    """Another frame, made of each."""
    type = "frametest/double"
    in_ = In()
    out = Out()
    def on_message(self, message):
        frame = message.payload["frame"]
        made = self.alloc(frame.shape)
        made.numpy()[:] = frame.numpy()
        return {**message.payload, "frame": made}

class Check(Node):
    """Appends the number of each frame to a file, with what is wrong."""
    type = "frametest/check"
    class Config(NodeConfig):
        path: str = field("", description="The file")
        keep: int = field(0, description="So many are kept and looked at again")
        pause_s: float = field(0.0, description="Seconds for each")
    in_ = In()
    def on_start(self):
        self.kept = []
    def on_message(self, message):
        import time
        n = message.payload["n"]
        frame = message.payload["frame"]
        text = f"{n}" if number_of(frame.numpy()) == n else f"{n} wrong {number_of(frame.numpy())}"
        if message.payload.get("count", n) != n:
            text += f" counted {message.payload['count']}"
        if self.config.keep:
            self.kept.append((n, frame.keep()))
            if len(self.kept) > self.config.keep:
                old, kept = self.kept.pop(0)
                if number_of(kept.numpy()) != old:
                    text += f" and {old} changed"
                kept.release()
        time.sleep(self.config.pause_s)
        with open(self.config.path, "a") as file:
            file.write(text + "\\n")

class Pick(Node):
    """Takes the message out of an error."""
    type = "frametest/pick"
    in_ = In()
    out = Out()
    def on_message(self, message):
        return message.payload["message"]["payload"]

class Fail(Node):
    """Cannot do with anything, until a file is there."""
    type = "frametest/fail"
    class Config(NodeConfig):
        path: str = field("", description="The file")
    in_ = In()
    def on_message(self, message):
        with open(self.config.path, "a") as file:
            file.write(f"{np.asarray(message.payload).tolist()}\\n")

class Small(Node):
    """Sends a small array."""
    type = "frametest/small"
    out = Out()
    async def run(self):
        if not self.position:
            await self.send(np.arange(3), position=1)

LARGE = [b"b" * 20_000_000, "é" * 10_000_000, list(range(1_000_000)), {"a": ["x" * 20_000_000, 1]}]

class Text(Node):
    """Sends large things that are no tensors."""
    type = "frametest/text"
    out = Out()
    async def run(self):
        for n, payload in enumerate(LARGE, 1):
            if n > (self.position or 0):
                await self.send(payload, position=n)

LARGE_TOLD = [type(one).__name__ for one in LARGE]

class Tell(Node):
    """Appends what came to a file."""
    type = "frametest/tell"
    class Config(NodeConfig):
        path: str = field("", description="The file")
    in_ = In()
    def on_message(self, message):
        got = message.payload
        with open(self.config.path, "a") as file:
            file.write(f"{type(got).__name__} {got == LARGE[LARGE_TOLD.index(type(got).__name__)]}\\n")
'''


def flow(nodes: dict, wires: list, **wire_options) -> str:
    """A flow as text: id -> (type, config, settings), wires as `a.out > b.in`."""
    listed = []
    for id_, (kind, *rest) in nodes.items():
        config = rest[0] if rest else {}
        settings = rest[1] if len(rest) > 1 else {}
        type_ = kind if "/" in kind else f"frametest/{kind}"
        listed.append({"id": id_, "type": type_, "config": config, "settings": settings})
    drawn = []
    for one in wires:
        text, options = one if isinstance(one, tuple) else (one, {})
        start, end = text.split(" > ")
        drawn.append({"from": start, "to": end, **wire_options, **options})
    return json.dumps({"flowcore": 1, "id": "frames", "name": "Frames", "nodes": listed, "wires": drawn})


def lines(path: Path) -> list[str]:
    """What a node has written, line by line."""
    return path.read_text().split("\n")[:-1] if path.exists() else []
