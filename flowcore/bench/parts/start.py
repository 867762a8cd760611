"""What a node costs to start: one more in a flow that runs, and the memory it then has of its own."""

import psutil

from flowcore.bench.documents import flow
from flowcore.bench.figures import Row, at_most
from flowcore.bench.session import Part, Trial


async def _measure(trial: Trial) -> None:
    count = trial.options.either(20, 4)
    deploys_ms, starts_ms = [], []
    for nodes in range(1, count + 2):
        done = await trial.runtime.deploy(flow("grows", {f"n{k}": "bench/pass" for k in range(nodes)}, []))
        deploys_ms.append(1000 * done["took_s"])
        started = await trial.runtime.nodes("grows")
        starts_ms.append(started[f"n{nodes - 1}"]["ready_ms"])
    pids = await trial.runtime.until_running("grows")
    trial.look()
    private_mb = [psutil.Process(pid).memory_full_info().uss / 1e6 for pid in pids.values()]
    # The first deploy makes the flow, the others add to it.
    trial.add(Row("a node started, from fork to subscribed", "ms", starts_ms[1:], at_most(30)))
    trial.add(Row("a deploy that adds a node, until it is live", "ms", deploys_ms[1:]))
    trial.add(Row("private memory of a node", "MB", private_mb, at_most(8)))


PART = Part("start", "nodes added one by one to a running flow; a value for each node", _measure)
