"""One node of a large flow is changed while messages flow everywhere: how soon it is live, and what else it touched."""

import asyncio
import time
from typing import Any

from flowcore.bench.documents import NodeLike, flow
from flowcore.bench.figures import Row, at_most
from flowcore.bench.runtime import PATIENCE_S, Runtime, RuntimeFailed
from flowcore.bench.session import Part, Trial

_RATE_HZ = 40.0  # of each of the sources
_FLOW, _CHANGED = "many", "stamp"
_SETTLE_S = 1.0


async def _measure(trial: Trial) -> None:
    runtime, options = trial.runtime, trial.options
    count, reloads = options.either(50, 12), options.either(10, 2)
    await runtime.deploy(_document(count, 0))
    before = await runtime.until_running(_FLOW)
    live_ms, others = [], set[str]()
    for revision in range(1, reloads + 1):
        await asyncio.sleep(options.either(_SETTLE_S, 0.2))
        live_ms.append(1000 * await live_after(runtime, _document(count, revision), _CHANGED, revision))
        after = await runtime.pids(_FLOW)
        others |= {name for name in before if after.get(name) != before[name]} - {_CHANGED}
    trial.look()
    async with runtime.client.subscribe(f"flow.{_FLOW}.sink.out.out") as reports:
        await runtime.client.publish(f"flow.{_FLOW}.source.in.order", {"run": 1, "seconds": 0})
        report = (await reports.next(PATIENCE_S)).payload
    trial.expect(not others, f"process ids of other nodes changed: {', '.join(sorted(others))}")
    lost, twice = report["missing"], report["twice"]
    trial.expect(report["sent"] > 0, "the sources sent nothing")
    trial.expect(not lost and not twice, f"{lost} of {report['sent']} messages missing, {twice} twice")
    trial.add(Row(f"a node changed in a flow of {count} under load, live after", "ms", live_ms, at_most(300)))
    trial.add(Row("process ids of other nodes that changed", "", [len(others)], at_most(0)))
    trial.add(Row(f"of {report['sent']:,} messages through the changed node, lost", "", [lost], at_most(0)))


def _document(count: int, revision: int) -> dict[str, Any]:
    """`source` -> `stamp` -> `sink`, and beside it pairs of a source and a node, all under load."""
    source = {"type": "bench/source", "config": {"rate_hz": _RATE_HZ}}
    nodes: dict[str, NodeLike] = {
        "source": source,
        _CHANGED: {"type": "bench/stamp", "config": {"revision": revision}},
        "sink": "bench/sink",
    }
    wires = [f"source.out > {_CHANGED}.in", f"{_CHANGED}.out > sink.in"]
    for k in range((count - len(nodes)) // 2):
        nodes |= {f"a{k}": source, f"b{k}": "bench/pass"}
        wires.append(f"a{k}.out > b{k}.in")
    nodes |= {f"more{k}": "bench/pass" for k in range(count - len(nodes))}
    return flow(_FLOW, nodes, wires)


async def live_after(runtime: Runtime, document: dict[str, Any], node: str, revision: int) -> float:
    """Deploy a change of one node; seconds until the first message with the new `revision` in it is on the bus.

    Raises:
        RuntimeFailed: more was restarted than the node.
    """
    async with runtime.client.subscribe(f"flow.{document['id']}.{node}.out.out", queue=100_000) as outputs:
        begun_s = time.monotonic()
        deploy = asyncio.create_task(runtime.deploy(document))
        try:
            while (await outputs.next(PATIENCE_S)).payload["revision"] != revision:
                pass
            live_s = time.monotonic() - begun_s
        finally:
            done = await deploy
    if done["restarted"] != [node]:
        raise RuntimeFailed(f"the deploy restarted {done['restarted']}, not {node} alone")
    return live_s


PART = Part(
    "reload", "from the deploy of a changed node to its first message on the bus; a value for each change", _measure
)
