"""Small messages through four hops: nodes of a package with ack through and sent, and sandboxed functions."""

from typing import Any

from flowcore.bench.documents import NodeLike
from flowcore.bench.figures import Row, Target, at_least
from flowcore.bench.line import Line
from flowcore.bench.runtime import spent_s
from flowcore.bench.session import Part, Trial

HOPS = 4
_WARM_S = 1.0
_NODE_RED_HZ = 9_800  # the same chain of function nodes in Node-RED 5 on two cores; benchmarks/ measures it beside ours
_FUNCTION = {"type": "core/function", "config": {"script": "return msg"}}

_CASES: tuple[tuple[str, str, NodeLike, dict[str, Any], Target | None], ...] = (
    ("through", "nodes of a package", "bench/pass", {}, at_least(6 * _NODE_RED_HZ, "6 x Node-RED's 9,800")),
    ("sent", 'nodes of a package, "ack": "sent"', "bench/pass", {"ack": "sent"}, None),
    ("function", "core/function, sandboxed", _FUNCTION, {}, at_least(2 * _NODE_RED_HZ, "2 x Node-RED's 9,800")),
)


async def _measure(trial: Trial) -> None:
    options = trial.options
    for id_, name, stage, settings, target in _CASES:
        rates, costs = [], []
        async with Line.of_hops(trial.runtime, id_, HOPS, stage=stage, settings=settings) as line:
            everyone = trial.runtime.processes()
            for _ in range(options.runs):
                before_s = spent_s(everyone)
                (run,) = await trial.run(line, name, warm_s=options.either(_WARM_S, 0.3))
                rates.append(run.rate_hz)
                costs.append(1e6 * (spent_s(everyone) - before_s) / run.sent)
            trial.look()
        of = {"hops": HOPS, "case": id_}
        trial.add(Row(f"{HOPS} hops, {name}", "msg/s", rates, target, of=of))
        trial.add(Row(f"{HOPS} hops, {name}: processor time", "us a message", costs, of={**of, "cpu": True}))


PART = Part(
    "throughput", f"small messages through {HOPS} hops, a process a node, as fast as the wires take them", _measure
)
