"""Many nodes with nothing to do: processor time and memory of everything, host and bus among them."""

import asyncio
import time

from flowcore.bench.documents import flow
from flowcore.bench.figures import Row, at_most
from flowcore.bench.runtime import spent_s
from flowcore.bench.session import Part, Trial

_FULL = 200
_PERIOD_S = 10.0  # a node to which nothing happens says so this often: shorter looks differ by whether it did


async def _measure(trial: Trial) -> None:
    options, runtime = trial.options, trial.runtime
    count, settle_s, look_s = options.either((_FULL, 5.0, max(_PERIOD_S, options.seconds)), (20, 0.5, options.seconds))
    names = [f"n{k}" for k in range(count)]
    wires = [f"{a}.out > {b}.in" for a, b in zip(names[::2], names[1::2], strict=True)]
    done = await runtime.deploy(flow("idle", dict.fromkeys(names, "bench/pass"), wires))
    pids = await runtime.until_running("idle")
    await asyncio.sleep(settle_s)  # the start is over
    everyone = runtime.processes()
    shares = []
    for _ in range(options.runs):
        before_s, begun_s = spent_s(everyone), time.monotonic()
        await asyncio.sleep(look_s)
        shares.append(100 * (spent_s(everyone) - before_s) / (time.monotonic() - begun_s))
    trial.look()
    memory = {one.pid: one.memory_full_info() for one in everyone}
    restarts = sum(node["restarts"] for node in (await runtime.nodes("idle")).values())
    trial.expect(len(pids) == count and not restarts, f"{len(pids)} of {count} nodes run, {restarts} restarts")
    is_full = count == _FULL  # what is asked for holds for that many
    trial.add(Row(f"{count} idle nodes, all processes", "% of a core", shares, at_most(5) if is_full else None))
    pss_mb = sum(one.pss for one in memory.values()) / 1e6
    trial.add(
        Row(f"{count} idle nodes, memory (PSS) of all processes", "MB", [pss_mb], at_most(2000) if is_full else None)
    )
    trial.add(Row("of that a node's own (private)", "MB", [memory[pid].uss / 1e6 for pid in pids.values()]))
    trial.add(Row(f"{count} nodes started in one deploy, each", "ms", [1000 * done["took_s"] / count]))


PART = Part("idle", "nodes joined in pairs, no messages; the processor time of host, bus and nodes together", _measure)
