"""The nodes of simulated flows. Numbers run through them; each handling is told to the world."""

import asyncio
from typing import Any

from sim_time import running

from flowcore.node import In, Node, NodeConfig, Out, Outputs, field


def handled(node: Node, value: Any) -> None:
    """Tell the world that this process handles a value now."""
    running.get().world.on_handled(running.get(), node.id, value)


class Numbers(Node):
    """Counts, as far as the world says, and goes on where all was acked when it is restarted."""

    type = "sim/numbers"
    out = Out(int)

    class Config(NodeConfig):
        burst: int = field(6, description="Most numbers sent in one go")

    async def run(self) -> None:
        world = running.get().world
        number = self.position or 0
        while True:
            for _ in range(world.rng.randint(1, self.config.burst)):
                if number < world.total:
                    number += 1
                    world.sent = max(world.sent, number)
                    await self.send(number, position=number, topic=str(number % 5))
            await asyncio.sleep(world.rng.uniform(0.001, 0.01))


class Pass(Node):
    """Hands each number on; one to one."""

    type = "sim/pass"
    in_ = In(int)
    out = Out(int)

    def on_message(self, message: Any) -> Any:
        handled(self, message.payload)
        return message.derive(message.payload)


class PassAsync(Pass):
    """The same on the event loop, sending as it goes."""

    type = "sim/pass-async"

    async def on_message(self, message: Any) -> None:
        handled(self, message.payload)
        await asyncio.sleep(running.get().world.rng.uniform(0, 0.001))
        await self.send(message.payload)


class PassBatch(Pass):
    """The same for many at once."""

    type = "sim/pass-batch"
    on_message = None  # type: ignore[assignment]

    def on_batch(self, messages: list) -> Any:
        for message in messages:
            handled(self, message.payload)
            yield message.derive(message.payload)


class Total(Node):
    """Adds up and hands on the sum: state that has to hold each number once."""

    type = "sim/total"
    stateful = True
    in_ = In(int)
    out = Out(int)

    def on_message(self, message: Any) -> Any:
        handled(self, message.payload)
        self.state["sum"] = self.state.get("sum", 0) + message.payload
        self.state["count"] = self.state.get("count", 0) + 1
        return message.derive(message.payload)


class Batch(Node):
    """Holds numbers until a group is complete, then hands it on as a list. A group is larger than a window."""

    type = "sim/batch"
    stateful = True
    in_ = In(int)
    out = Out(list)

    class Config(NodeConfig):
        size: int = field(12, description="Numbers of a group")

    def on_message(self, message: Any) -> Any:
        number = message.payload
        handled(self, number)
        group = str((number - 1) // self.config.size)
        members = self.state.get(group, [])
        if number not in members:
            members = [*members, number]
        if len(members) < self.config.size:
            self.state[group] = members
            return None
        del self.state[group]
        return sorted(members)


class Join(Node):
    """Hands a number on when it has come both alone and in a list."""

    type = "sim/join"
    stateful = True
    one = In(int)
    many = In(list)
    out = Out(int)

    def on_message(self, message: Any) -> Any:
        numbers = message.payload if message.port == "many" else [message.payload]
        for number in numbers:
            here = self.state.get(str(number))
            if here is None or here == message.port:
                self.state[str(number)] = message.port
            else:
                del self.state[str(number)]
                handled(self, number)
                yield message.derive(number)


class Ring(Node):
    """The node in a cycle: what is new goes out, and around in three copies, `laps` times."""

    type = "sim/ring"
    in_ = In(int)
    back = In(list)
    out = Out(int)
    around = Out(list)

    class Config(NodeConfig):
        laps: int = field(2, description="How often a number goes around")

    def on_message(self, message: Any) -> Any:
        if message.port == "in":
            handled(self, message.payload)
            yield Outputs(out=message.payload)
            for _ in range(3):
                yield Outputs(around=[message.payload, 1])
            return
        number, lap = message.payload
        if lap < self.config.laps:
            yield Outputs(around=[number, lap + 1])


class Carry(Node):
    """Carries a lap of the cycle."""

    type = "sim/carry"
    in_ = In(list)
    out = Out(list)

    def on_message(self, message: Any) -> Any:
        return message.derive(message.payload)


class Sink(Node):
    """Where numbers end."""

    type = "sim/sink"
    in_ = In()

    def on_message(self, message: Any) -> None:
        handled(self, message.payload)
