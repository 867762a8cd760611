"""How soon agents react: from an event on the bus to the action at who does it, and to the word that it is done.

    taskset -c 0 python -m benchmarks.agents [--events N] [--rate HZ] [--json FILE]

Everything has the one core: the bus, the host, the nodes and this program. For each agent a flow of its own runs:
the agent, `core/actions`, and a node that does what it is told. Events come at a steady pace; each asks for one action.
Then all come at once, and the actions a second are counted. Ends with 1 when an action took longer than 100 ms.
"""

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from flowcore.bench.figures import percentile
from flowcore.bus.envelope import pack, unpack
from flowcore.runtime.host import Host
from flowcore.runtime.options import HostOptions

LIMIT_MS = 100.0
_WARM = 50
_DEPOT = {"name": "depot", "polygon": [[8.4, 47.3], [8.6, 47.3], [8.6, 47.5], [8.4, 47.5]]}
_OWN = '''
from flowcore.node import Agent

class Own(Agent):
    """An agent of one's own: counts in its state, and acts on each event."""
    def on_message(self, message):
        self.state["n"] = self.state.get("n", 0) + 1
        return self.act(message, "act", self.state["n"])
'''


def _step(value: str) -> dict[str, Any]:
    return {"path": "payload", "op": "==", "value": value}


AGENTS: dict[str, tuple[dict[str, Any], list[list[Any]]]] = {
    "agent/own": ({}, [[1]]),
    "core/threshold-agent": ({"above": 80, "actions": [{"do": ["act"], "text": "{state} at {value}"}]}, [[90], [10]]),
    "core/geofence-agent": (
        {"areas": [_DEPOT], "actions": [{"do": ["act"], "text": "{event} {area}"}]},
        [[{"lon": 8.5, "lat": 47.4}], [{"lon": 9.5, "lat": 47.4}]],
    ),
    "core/pattern-agent": (
        {
            "steps": [_step("a"), _step("b")],
            "without": [_step("c")],
            "within_s": 10,
            "actions": [{"do": ["act"], "text": "from {from_s} to {to_s}"}],
        },
        [["a", "b"]],
    ),
}
"""Agent -> its config, and by turns what is published for one action: the last of it is the event that acts."""


def document(flow: str, agent: str, config: dict[str, Any]) -> str:
    """The flow; each agent has its own, since a node that comes back finds its state."""
    nodes = [
        {"id": "look", "type": agent, "config": config},
        {"id": "do", "type": "core/actions", "config": {"routes": ["act"], "max_in_flight": 256, "max_held": 100_000}},
        {"id": "done", "type": "core/change"},
    ]
    wires = [{"from": "look.action", "to": "do.in"}, {"from": "do.act", "to": "done.in"}]
    return json.dumps({"flowcore": 1, "id": flow, "nodes": nodes, "wires": wires})


class Run:
    """One agent under measurement: when which action came out, and when it was told that it is done."""

    def __init__(self, host: Host, flow: str, turns: list[list[Any]]) -> None:
        self._host, self._flow, self._turns, self._turn = host, flow, turns, 0
        self.asked_s: list[float] = []
        self.acted_s: list[float] = []
        self.told_s: list[float] = []
        self._changed = asyncio.Event()

    async def begin(self) -> None:
        """Listen, and publish until something is done: what comes before the agent listens is for nobody."""
        bus = self._host.bus.connection
        await bus.subscribe(f"flow.{self._flow}.do.out.act", lambda _, data, *__: self._came(self.acted_s, data))
        await bus.subscribe(f"flow.{self._flow}.do.out.audit", lambda _, data, *__: self._came(self.told_s, data))
        while not self.told_s:
            self.publish()
            await asyncio.sleep(0.3)
        await asyncio.sleep(0.5)  # what was published meanwhile may be done, too
        self.forget()

    def _came(self, times: list[float], data: bytes) -> None:
        times += [time.perf_counter()] * len(unpack(data))
        self._changed.set()

    def publish(self) -> None:
        """Publish what asks for one action."""
        for payload in self._turns[self._turn % len(self._turns)]:
            self._host.bus.connection.publish(f"flow.{self._flow}.look.in.in", pack([{"payload": payload}]))
        self._turn += 1
        self.asked_s.append(time.perf_counter())

    async def steadily(self, events: int, rate_hz: float) -> None:
        """Publish so many at a pace, and wait until all is done."""
        next_s = time.perf_counter()
        for _ in range(events):
            next_s += 1 / rate_hz
            await asyncio.sleep(max(0.0, next_s - time.perf_counter()))
            self.publish()
        await self.all_told()

    async def all_told(self, timeout: float = 60.0) -> None:
        """Wait until each action was said to be done."""
        async with asyncio.timeout(timeout):
            while len(self.told_s) < len(self.asked_s):
                self._changed.clear()
                await self._changed.wait()

    def forget(self) -> None:
        """Begin to measure."""
        for times in (self.asked_s, self.acted_s, self.told_s):
            times.clear()


async def measure(host: Host, agent: str, events: int, rate_hz: float) -> dict[str, Any]:
    """Figures of one agent, in ms and actions a second."""
    config, turns = AGENTS[agent]
    flow = agent.partition("/")[2]
    result = await host.documents.deploy(document(flow, agent, config), "bench.json")
    if result.problems or result.failed:
        raise SystemExit(f"{agent}: {result.problems or result.failed}")
    run = Run(host, flow, turns)
    await run.begin()
    await run.steadily(_WARM, rate_hz)
    run.forget()
    await run.steadily(events, rate_hz)
    figures: dict[str, Any] = {"agent": agent}
    for name, times in (("acted", run.acted_s), ("told", run.told_s)):
        ms = sorted((at_s - asked_s) * 1000 for asked_s, at_s in zip(run.asked_s, times, strict=True))
        figures |= {f"{name}_p50": percentile(ms, 50), f"{name}_p99": percentile(ms, 99), f"{name}_max": ms[-1]}
    run.forget()
    began_s, burst = time.perf_counter(), 900  # an input from outside holds 1,000
    for _ in range(burst // max(map(len, turns))):
        run.publish()
    await run.all_told()
    figures["per_s"] = len(run.told_s) / (time.perf_counter() - began_s)
    await host.documents.remove(flow)
    return figures


async def main(arguments: argparse.Namespace) -> int:
    """Measure, print, and say whether all was in time."""
    cores = len(os.sched_getaffinity(0))
    print(f"{arguments.events} events of each agent at {arguments.rate:g}/s, on {cores} core{'s' * (cores > 1)}")
    with tempfile.TemporaryDirectory() as folder:
        agents = Path(folder, "agents")
        agents.mkdir()
        (agents / "own.py").write_text(_OWN)
        environ = {"FLOWCORE_AGENTS": str(agents)}
        host = Host(HostOptions(folder=Path(folder, "data"), nats_port=0, mqtt_port=0, nodes_environ=environ))
        await host.start()
        try:
            found = [await measure(host, agent, arguments.events, arguments.rate) for agent in AGENTS]
        finally:
            await host.stop(drain_s=0)
    print("| agent | event to action, ms: p50 | p99 | longest | to done and told: p50 | p99 | longest | actions/s |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|")
    for one in found:
        parts = [one[f"{what}_{which}"] for what in ("acted", "told") for which in ("p50", "p99", "max")]
        print(f"| `{one['agent']}` | {' | '.join(f'{part:.1f}' for part in parts)} | {one['per_s']:.0f} |")
    if arguments.json:
        arguments.json.write_text(json.dumps(found))
    late = [one["agent"] for one in found if one["acted_max"] > LIMIT_MS]
    for agent in late:
        print(f"{agent}: an action took longer than {LIMIT_MS:g} ms", file=sys.stderr)
    return 1 if late else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--events", type=int, default=500)
    parser.add_argument("--rate", type=float, default=50.0)
    parser.add_argument("--json", type=Path)
    sys.exit(asyncio.run(main(parser.parse_args())))
