"""Consumers that are slow, asleep or stopped."""

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import psutil

from tests.drills.drill import Findings, drill
from tests.drills.flows import file_out, flow
from tests.drills.record import Record
from tests.drills.runtime import Runtime, until


@drill(
    "a consumer that sleeps, on a reliable wire and on a latest wire",
    short={"seconds": 4.0, "latest": 2_000},
    long={"seconds": 30.0, "latest": 20_000},
)
async def sleeping(folder: Path, seconds: float, latest: int) -> Findings:
    """Memory stays flat, the queue shows on the wire; `latest` delivers the newest and counts its drops."""
    found, record, window = Findings(), Record(folder / "latest.jsonl"), 256
    asleep = flow(
        "asleep",
        {"fast": {"type": "drill/numbers", "config": {"to": 0, "pad_bytes": 1_000}}, "slow": _sleep(3_600)},
        [{"from": "fast.out", "to": "slow.in", "window": window}],
    )
    newest = flow(
        "newest",
        {
            "fast": {"type": "drill/numbers", "config": {"to": latest, "keeps": False}},
            "slow": _sleep(0.05),
            "write": file_out(record.path),
        },
        [{"from": "fast.out", "to": "slow.in", "delivery": "latest"}, "slow.out > write.in"],
    )
    async with Runtime(folder) as runtime:
        await runtime.deploy(asleep)

        async def is_full() -> bool:
            wires = (await runtime.nodes("asleep"))["fast"]["stats"].get("outputs", [])
            return bool(wires) and wires[0]["unacked"] == window and wires[0]["blocked"]

        await until(is_full, "a full window on the wire")
        pids = await runtime.pids("asleep")
        before = _memory(pids)
        await runtime.deploy(newest)
        await until(lambda: latest in record.numbers, "the newest number")

        async def handled() -> int:
            slow = (await runtime.nodes("newest"))["slow"]["stats"]
            return slow.get("handled", 0) + sum(wire["drops"] for wire in slow.get("inputs", ()))

        await until(lambda: _equals(handled, latest), "every number handled or counted as dropped")
        drops = (await runtime.nodes("newest"))["slow"]["stats"]["inputs"][0]["drops"]
        await asyncio.sleep(seconds)
        grown_kb = {name: (_memory(pids)[name] - before[name]) // 1024 for name in pids}
        stats = {name: node["stats"] for name, node in (await runtime.nodes("asleep")).items()}
        host_mb = psutil.Process(runtime.pid).memory_info().rss / 1e6
    found.add(waiting_on_wire=stats["slow"]["inputs"][0]["queued"], of_window=window, producer_grew_kb=grown_kb["fast"])
    found.add(
        consumer_grew_kb=grown_kb["slow"], host_mb=host_mb, latest_delivered=len(record.numbers), latest_drops=drops
    )
    found.expect(max(grown_kb.values()) < 4_096, f"memory grew by {grown_kb} KB")
    found.expect(stats["slow"]["inputs"][0]["queued"] == window, "the queue does not show at the consumer")
    found.expect(record.numbers[-1] == latest, f"the last delivered is {record.numbers[-1]}, the newest {latest}")
    found.expect(record.numbers == sorted(record.numbers), "a latest wire went backwards")
    return found


async def _equals(look: Any, wanted: int) -> bool:
    return await look() == wanted


def _sleep(seconds: float) -> dict[str, Any]:
    return {"type": "drill/sleep", "config": {"seconds": seconds}}


def _memory(pids: dict[str, int | None]) -> dict[str, int]:
    """Private bytes of each process."""
    return {name: psutil.Process(pid).memory_full_info().uss for name, pid in pids.items()}


_OUTSIDER = """
import asyncio, json, sys, nats
async def main():
    access = json.loads(sys.argv[1])
    async def cut(): print("cut", flush=True)
    async def quiet(error): pass
    client = await nats.connect(access["url"], user=access["user"], password=access["password"],
        inbox_prefix="_INBOX." + access["user"], disconnected_cb=cut, error_cb=quiet, max_reconnect_attempts=-1)
    async def drop(message): pass
    await client.subscribe("flow.>", cb=drop, pending_msgs_limit=-1, pending_bytes_limit=-1)
    await client.flush()
    print("listening", flush=True)
    await asyncio.sleep(3600)
asyncio.run(main())
"""


@drill(
    "an outside subscriber of flow.> stopped (SIGSTOP) at full load",
    short={"seconds": 6.0, "pad_bytes": 4_000},
    long={"seconds": 20.0, "pad_bytes": 2_000},
)
async def stopped_outsider(folder: Path, seconds: float, pad_bytes: int) -> Findings:
    """The server cuts it off, nothing is lost on the wires, and the longest stall is told."""
    found = Findings()
    numbers = {"type": "drill/numbers", "config": {"to": 0, "keeps": False, "pad_bytes": pad_bytes}}
    document = flow(
        "load",
        {"numbers": numbers, "pass": "drill/pass", "meter": "drill/meter"},
        ["numbers.out > pass.in", "pass.out > meter.in"],
    )
    async with Runtime(folder) as runtime:
        await runtime.deploy(document)
        ran = await runtime.command("access", "add", "scada", "--subscribe", "flow.>", "--json")
        outsider = await asyncio.create_subprocess_exec(
            sys.executable, "-c", _OUTSIDER, ran.out.strip(), stdout=asyncio.subprocess.PIPE
        )
        assert outsider.stdout is not None
        try:
            assert await asyncio.wait_for(outsider.stdout.readline(), 30) == b"listening\n"
            before = await _measured(runtime)
            os.kill(outsider.pid, signal.SIGSTOP)
            server_log = runtime.data / "nats" / "server.log"
            await asyncio.sleep(seconds)
            await until(lambda: "Slow Consumer" in server_log.read_text(), "the server to cut it off", timeout_s=60)
            after = await _measured(runtime)
            os.kill(outsider.pid, signal.SIGCONT)
            cut = await asyncio.wait_for(outsider.stdout.readline(), 60)
        finally:
            outsider.kill()
            await outsider.wait()
        restarts = sum(node["restarts"] for node in (await runtime.nodes("load")).values())
    found.add(messages=after["count"] - before["count"], longest_stall_s=after["gap_s"], missing=after["missing"])
    found.expect(cut == b"cut\n", f"the outsider said {cut!r}")
    found.expect(after["missing"] == 0, f"{after['missing']} numbers were missing on a wire")
    found.expect(restarts == 0, f"{restarts} restarts")
    return found


async def _measured(runtime: Runtime) -> dict[str, Any]:
    """What the meter says next; its longest gap is of the time since the last such question."""
    async with runtime.client.subscribe("flow.load.meter.out.out") as said:
        measured = (await said.next(30)).payload
    await runtime.client.call("inject", flow="load", node="meter", payload=json.loads('"begin again"'))
    return measured
