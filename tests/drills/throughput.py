"""How fast: figures for `make drills`, printed and never asserted. That every message arrives is asserted."""

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from tests.drills.drill import Findings, drill
from tests.drills.flows import flow
from tests.drills.runtime import Runtime

_FUNCTION = {"type": "core/function", "config": {"script": "return msg"}}


@drill(
    "throughput over 4 hops, small messages: nodes of a package with ack through and sent, sandboxed functions",
    short={"seconds": 2.0},
    long={"seconds": 10.0},
)
async def throughput(folder: Path, seconds: float) -> Findings:
    """Messages a second at the end of the chain; none is missing."""
    found = Findings()
    async with Runtime(folder) as runtime:
        for name, node, ack in (
            ("through", "drill/pass", "through"),
            ("sent", "drill/pass", "sent"),
            ("functions", _FUNCTION, "through"),
        ):
            await runtime.deploy(_hops(name, node, ack))
            said = await _measure(runtime, name, seconds)
            await runtime.client.call("remove", flow=name)
            found.add(**{f"{name}_msg_s": said["rate"]})
            found.expect(said["missing"] == 0, f"{said['missing']} missing with {name}")
    return found


def _hops(name: str, node: dict[str, Any] | str, ack: str) -> dict[str, Any]:
    """A source, three nodes between, a sink: four hops."""
    stage: dict[str, Any] = {"type": node} if isinstance(node, str) else node
    numbers = {"type": "drill/numbers", "config": {"to": 0, "keeps": False}}
    members = {"numbers": numbers, "a": stage, "b": stage, "c": stage, "meter": {"type": "drill/meter"}}
    wires = ["numbers.out > a.in", "a.out > b.in", "b.out > c.in", "c.out > meter.in"]
    return flow(name, {key: {**one, "settings": {"ack": ack}} for key, one in members.items()}, wires)


async def _measure(runtime: Runtime, flow_id: str, seconds: float) -> dict[str, Any]:
    """What the meter saw in `seconds`, after a second to get going."""
    async with runtime.client.subscribe(f"flow.{flow_id}.meter.out.out") as said:
        await asyncio.sleep(1.0)
        while True:
            first = (await said.next(30)).payload
            if first["count"]:
                break
        began_s = time.monotonic()
        last = first
        while time.monotonic() - began_s < seconds:
            last = (await said.next(30)).payload
    passed_s = max(last["seconds"] - first["seconds"], 1e-3)
    return {**last, "rate": (last["count"] - first["count"]) / passed_s}


_RAW = """
import asyncio, sys, time, nats
async def main():
    url, user, password, inbox, count = sys.argv[1:]
    client = await nats.connect(url, user=user, password=password, inbox_prefix=inbox)
    ages, done = [], asyncio.Event()
    async def take(message):
        ages.append((time.time_ns() - int(message.data)) / 1e6)
        if len(ages) == int(count): done.set()
    await client.subscribe("drill.raw", cb=take)
    await client.flush()
    print("listening", flush=True)
    await done.wait()
    print(sorted(ages)[len(ages) // 2], flush=True)
asyncio.run(main())
"""


@drill(
    "one hop, small messages at 200/s: p50 from source to handler, beside raw nats-py",
    short={"messages": 300},
    long={"messages": 3_000},
)
async def latency(folder: Path, messages: int) -> Findings:
    """Figures only."""
    found, rate_hz = Findings(), 200
    throttle = {"full": "throttle", "throttle_hz": rate_hz}
    numbers = {"type": "drill/numbers", "config": {"to": 0, "keeps": False}, "settings": throttle}
    async with Runtime(folder) as runtime:
        bus = await runtime.bus()
        target = runtime.client.target
        arguments = (target.url, str(target.user), str(target.password), f"_INBOX_{target.user}", str(messages))
        raw = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _RAW, *arguments, stdout=asyncio.subprocess.PIPE
        )
        assert raw.stdout is not None
        assert await asyncio.wait_for(raw.stdout.readline(), 30) == b"listening\n"
        for _ in range(messages):
            await bus.publish("drill.raw", str(time.time_ns()).encode())
            await asyncio.sleep(1 / rate_hz)
        raw_ms = float(await asyncio.wait_for(raw.stdout.readline(), 30))
        await raw.wait()
        await bus.close()
        await runtime.deploy(flow("hop", {"numbers": numbers, "meter": "drill/meter"}, ["numbers.out > meter.in"]))
        ages = []
        async with runtime.client.subscribe("flow.hop.meter.out.out") as said:
            while len(ages) < max(3, messages / rate_hz * 2):
                age_ms = (await said.next(30)).payload["p50_ms"]
                ages += [age_ms] if age_ms is not None else []
    ages.sort()
    found.add(p50_ms=ages[len(ages) // 2], raw_nats_py_p50_ms=raw_ms, ratio=ages[len(ages) // 2] / raw_ms)
    return found


@drill(
    "one more node in a running flow: from the deploy to its being live; memory of a node process",
    short={"nodes": 5},
    long={"nodes": 30},
)
async def node_start(folder: Path, nodes: int) -> Findings:
    """Figures only: the whole deploy, with check, rights on the bus, fork, connect and subscribe."""
    found, took_ms = Findings(), []
    async with Runtime(folder) as runtime:
        for count in range(1, nodes + 1):
            done = await runtime.deploy(flow("grows", {f"n{k}": "drill/pass" for k in range(count)}, []))
            took_ms.append(1000 * done["took_s"])
        pids = await runtime.until_running("grows")
        private = sorted(psutil.Process(pid).memory_full_info().uss / 1e6 for pid in pids.values())
    took_ms = sorted(took_ms[1:])
    found.add(deploy_to_live_ms_p50=took_ms[len(took_ms) // 2], private_mb_p50=private[len(private) // 2])
    return found
