"""A source that fills a storing node, then sends through it as fast as it takes, and a sink that takes the time."""

import time
from typing import Any

from flowcore.node import In, Message, Node, NodeConfig, Out, field, hookimpl


@hookimpl
def flowcore_node_types() -> list[type[Node]]:
    """Both."""
    return [Fill, Clocked]


class Fill(Node):
    """Sends `held` messages that stay, then others for some seconds, with what each kind of store goes by."""

    type = "stores/fill"

    class Config(NodeConfig):
        store: str = field(description="join, sort or rate")
        held: int = field(0, ge=0, description="Messages that stay")
        size: int = field(200, gt=0, description="Of each payload, in bytes")
        seconds: float = field(3.0, gt=0, description="How long the others are sent")

    out = Out()

    async def run(self) -> None:
        config, pad = self.config, b"x" * self.config.size
        receipt = None
        for n in range(config.held):
            receipt = await self.send({"n": n, "pad": pad}, meta=self._held(n))
        if receipt is not None and config.store != "sort":
            await receipt
        n, until_s = config.held, time.monotonic() + config.seconds
        began_ns = time.time_ns()
        while time.monotonic() < until_s:
            for _ in range(50):
                await self.send({"n": n, "pad": pad, "began_ns": began_ns}, meta=self._passing(n))
                n += 1
        stays = config.store == "sort" and not config.held  # in a window of one
        await self.send({"began_ns": began_ns, "sent": n - config.held - stays}, port="end")

    end = Out()

    def _held(self, n: int) -> dict[str, Any]:
        if self.config.store == "join":
            return {"parts": {"id": "held", "index": n, "count": self.config.held + 1}}
        return {"delay": 3_600_000} if self.config.store == "rate" else {}

    def _passing(self, n: int) -> dict[str, Any]:
        if self.config.store == "join":
            n -= self.config.held
            return {"parts": {"id": str(n // 2), "index": n % 2, "count": 2}}
        return {"delay": 1} if self.config.store == "rate" else {}


class Clocked(Node):
    """Counts what comes, and tells how long it took once it knows how many it will be."""

    type = "stores/clocked"
    in_ = In()
    end = In()
    out = Out()

    def on_start(self) -> None:
        self._came = self._sent = 0
        self._began_ns = self._last_ns = 0

    def on_message(self, message: Message) -> Any:
        if message.port == "end":
            self._sent, self._began_ns = message.payload["sent"], message.payload["began_ns"]
        else:
            values = message.payload if isinstance(message.payload, list) else [message.payload]
            self._came += len(values)
            self._last_ns = time.time_ns()
        if self._sent and self._came >= self._sent:
            return {"sent": self._sent, "seconds": (self._last_ns - self._began_ns) / 1e9}
        return None
