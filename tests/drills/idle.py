"""Many nodes with nothing to do: what they cost. Figures only; the machine decides what they are."""

import asyncio
import time
from pathlib import Path

import psutil

from tests.drills.drill import Findings, drill
from tests.drills.flows import flow
from tests.drills.runtime import PATIENCE_S, Runtime, descendants


@drill(
    "idle nodes: start time, memory, CPU (figures only)",
    short={"nodes": 20, "seconds": 3.0},
    long={"nodes": 200, "seconds": 20.0},
)
async def idle(folder: Path, nodes: int, seconds: float) -> Findings:
    """All start and stay; memory is PSS and CPU the share of one core, both of everything: host, bus, nodes."""
    found = Findings()
    names = [f"n{k}" for k in range(nodes)]
    wires = [f"{a}.out > {b}.in" for a, b in zip(names[::2], names[1::2], strict=True)]
    async with Runtime(folder) as runtime:
        began_s = time.monotonic()
        await runtime.deploy(flow("idle", dict.fromkeys(names, "core/change"), wires))
        started_s = time.monotonic() - began_s
        pids = await runtime.until_running("idle")
        await asyncio.sleep(min(PATIENCE_S, seconds))  # the start is over
        everyone = [psutil.Process(runtime.pid), *descendants(runtime.pid)]
        before_s = sum(_cpu_s(one) for one in everyone)
        began_s = time.monotonic()
        await asyncio.sleep(seconds)
        cpu = (sum(_cpu_s(one) for one in everyone) - before_s) / (time.monotonic() - began_s)
        pss = sum(one.memory_full_info().pss for one in everyone)
        private = sorted(psutil.Process(pid).memory_full_info().uss for pid in pids.values())
        restarts = sum(node["restarts"] for node in (await runtime.nodes("idle")).values())
    found.add(nodes=len(pids), all_live_s=started_s, per_node_ms=1000 * started_s / nodes, pss_mb=pss / 1e6)
    found.add(private_mb_a_node=private[len(private) // 2] / 1e6, cpu_percent_of_a_core=100 * cpu)
    found.expect(len(pids) == nodes and not restarts, f"{len(pids)} run, {restarts} restarts")
    return found


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system
