"""A plug-in that tests may edit, and a line of three of its nodes: count, add, write."""

import asyncio
import json
from pathlib import Path

NODES = '''
import asyncio, fcntl, os, signal, sys, time
from flowcore.node import In, Node, NodeConfig, Out, field

class Count(Node):
    """Counts up; its position is the last number that everyone acked."""
    type = "hosttest/count"
    class Config(NodeConfig):
        to: int = field(100, description="Last number")
        pause_s: float = field(0.0, description="Seconds between two")
    out = Out(int)
    async def run(self):
        for n in range((self.position or 0) + 1, self.config.to + 1):
            await self.send(n, position=n)
            if self.config.pause_s:
                await asyncio.sleep(self.config.pause_s)

class Add(Node):
    """Adds."""
    type = "hosttest/add"
    class Config(NodeConfig):
        to_add: float = field(0.0, description="What is added")
        die_on: float = field(-1.0, description="A number that kills the process")
    value = In(float)
    sum = Out(float)
    def on_message(self, message):
        if message.payload == self.config.die_on:
            os.kill(os.getpid(), signal.SIGKILL)
        return message.derive(message.payload + self.config.to_add)

class Live(Node):
    """Adds, and takes another config as it goes."""
    type = "hosttest/live"
    class Config(NodeConfig):
        to_add: float = field(0.0, description="What is added")
    value = In(float)
    sum = Out(float)
    def on_reconfigure(self, old):
        if self.config.to_add < 0:
            raise ValueError("only upwards")
    def on_message(self, message):
        return message.derive(message.payload + self.config.to_add)

class Tally(Node):
    """Sends how many it has counted."""
    type = "hosttest/tally"
    stateful = True
    value = In(float)
    sum = Out(float)
    def on_message(self, message):
        self.state["n"] = self.state.get("n", 0) + 1
        return message.derive(float(self.state["n"]))

class Write(Node):
    """Appends each number to a file; whoever locks the file holds it up."""
    type = "hosttest/write"
    class Config(NodeConfig):
        path: str = field("", description="The file")
    value = In(float)
    def on_start(self):
        print("writing to", self.config.path)
        print("a warning", file=sys.stderr)
    def on_message(self, message):
        with open(self.config.path, "a") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(f"{message.payload:g}\\n")

class Slow(Node):
    """Adds; it starts when a file is there."""
    type = "hosttest/slow"
    class Config(NodeConfig):
        gate: str = field("", description="The file")
        to_add: float = field(0.0, description="What is added")
    value = In(float)
    sum = Out(float)
    async def on_start(self):
        while not os.path.exists(self.config.gate):
            await asyncio.sleep(0.01)
    def on_message(self, message):
        return message.derive(message.payload + self.config.to_add)

class Broken(Node):
    """Fails to start."""
    type = "hosttest/broken"
    class Config(NodeConfig):
        why: str = field("no reason", description="What it says")
    value = In(float)
    def on_start(self):
        if self.config.why:
            raise RuntimeError(self.config.why)
'''

PLUGIN = """
from flowcore.node import hookimpl

@hookimpl
def flowcore_node_types():
    from hosttest import nodes
    from flowcore.node import Node
    return [one for one in vars(nodes).values() if isinstance(one, type) and issubclass(one, Node) and one is not Node]
"""


def install(folder: Path, name: str = "hosttest", nodes: str = NODES) -> Path:
    """A package with an entry point, as an editable install would leave it. Returns its file of nodes."""
    package = folder / name
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(PLUGIN.replace("hosttest", name))
    (package / "nodes.py").write_text(nodes.replace("hosttest", name))
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[flowcore]\n{name} = {name}\n")
    return package / "nodes.py"


def chain(path, *, flow="line", **configs) -> str:
    """count -> add -> write, as text; configs by node, `nodes=` adds to them."""
    nodes = [
        {"id": "count", "type": "hosttest/count", "config": {"to": 300, "pause_s": 0.002}},
        {"id": "add", "type": "hosttest/add", "config": {}},
        {"id": "write", "type": "hosttest/write", "config": {"path": str(path)}},
    ]
    for node in nodes:
        node["config"] |= configs.get(node["id"], {})
    wires = [{"from": "count.out", "to": "add.value"}, {"from": "add.sum", "to": "write.value"}]
    return json.dumps({"flowcore": 1, "id": flow, "name": "Line", "nodes": nodes, "wires": wires})


async def until(check, timeout: float = 20.0) -> None:
    """Wait for what has no event here: a file that another process writes, a state that is only seen."""
    async with asyncio.timeout(timeout):
        while not check():  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def numbers_in(path: Path) -> list[float]:
    """The numbers in a file, one a line."""
    return [float(line) for line in path.read_text().split()] if path.exists() else []


async def lines_of(path: Path, count: int, timeout: float = 20.0) -> list[float]:
    """The numbers in a file, once there are so many."""
    await until(lambda: len(numbers_in(path)) >= count, timeout)
    return numbers_in(path)


def pids(host, flow="line") -> dict[str, int]:
    """process -> pid."""
    return {node.process: node.pid for node in host.status(flow)[0].nodes}
