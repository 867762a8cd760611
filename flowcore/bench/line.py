"""A flow with a source, stages and sinks on a runtime of the bench, and one measured run of it."""

import asyncio
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from flowcore.bench.documents import NodeLike, flow, row_of
from flowcore.bench.runtime import PATIENCE_S, Runtime
from flowcore.client import Subscription

WARM_S = 0.5


@dataclass(frozen=True)
class Run:
    """What one sink saw in one run; `torn` frames did not hold what was written, `ages_ms` are there when asked for."""

    sent: int
    missing: int
    twice: int
    torn: int
    taken: int
    seconds: float
    ages_ms: Sequence[float]

    @property
    def fault(self) -> str:
        """What was promised and not kept; "" when all arrived once and whole."""
        if not self.missing and not self.twice and not self.torn:
            return ""
        return f"of {self.sent} messages {self.missing} missing, {self.twice} twice, {self.torn} torn"

    @property
    def rate_hz(self) -> float:
        """Messages a second at the sink."""
        return self.taken / self.seconds


class Line:
    """`async with Line(runtime, document, sinks) as line:` deploys the flow, and removes it at the end.

    The document's source has the id `source`.
    """

    def __init__(self, runtime: Runtime, document: dict[str, Any], sinks: Sequence[str] = ("sink",)) -> None:
        self._runtime, self._document, self._flow = runtime, document, document["id"]
        self._reports = {name: self._subscribe(f"{name}.out.out") for name in sinks}
        self._runs = 0

    @classmethod
    def of_hops(
        cls,
        runtime: Runtime,
        id_: str,
        hops: int,
        *,
        stage: NodeLike = "bench/pass",
        sink: str = "bench/sink",
        settings: Mapping[str, Any] | None = None,
    ) -> "Line":
        """A source, `hops` - 1 stages and a sink in a row; all with the same settings."""
        stages = {f"stage{k}": stage for k in range(1, hops)}
        nodes: dict[str, NodeLike] = {"source": "bench/source", **stages, "sink": sink}
        if settings:
            nodes = {name: {**_node(node), "settings": dict(settings)} for name, node in nodes.items()}
        return cls(runtime, flow(id_, nodes, row_of(list(nodes))))

    def _subscribe(self, what: str) -> Subscription:
        return self._runtime.client.subscribe(f"flow.{self._flow}.{what}")

    async def __aenter__(self) -> Self:
        for one in self._reports.values():
            await one.open()
        await self._runtime.deploy(self._document)
        await self._runtime.until_running(self._flow)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for one in self._reports.values():
            await one.close()
        if error is None:
            await self._runtime.remove(self._flow)

    async def run(self, seconds: float, *, warm_s: float = WARM_S, **order: Any) -> list[Run]:
        """Have the source follow an order, of which the first `warm_s` do not count; what each sink saw.

        Raises:
            TimeoutError: a sink did not report: messages do not arrive any more.
        """
        self._runs += 1
        asked = {"run": self._runs, "seconds": seconds + warm_s, "warm_s": warm_s, **order}
        await self._runtime.client.publish(f"flow.{self._flow}.source.in.order", asked)
        return [await self._report(name, seconds + warm_s) for name in self._reports]

    async def _report(self, sink: str, seconds: float) -> Run:
        async with asyncio.timeout(seconds + PATIENCE_S):
            while (said := (await self._reports[sink].next()).payload)["run"] != self._runs:
                pass
        ages_ms = array("f")
        ages_ms.frombytes(said["ages_ms"])
        return Run(**{**{key: said[key] for key in said if key != "run"}, "ages_ms": ages_ms})


def _node(node: NodeLike) -> dict[str, Any]:
    return {"type": node} if isinstance(node, str) else dict(node)
