"""How many messages a second a storing node carries, by how many it holds meanwhile and how large they are.

    python -m benchmarks.stores [STORE...]

A real runtime: a source, the store, a sink, a process each. The store is filled first; then messages go through it for
three seconds, each stored and acked before it goes on. In brackets: processor time of the store's process for each
message, in µs; it says more than the rate on a machine that is busy with something else.
"""

import asyncio
import contextlib
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil

from flowcore.bench.plugin import write_plugin
from flowcore.bench.runtime import Runtime

HELD = (0, 100, 1_000, 10_000)
SIZES = (200, 1_000)
SECONDS = 3.0
PATIENCE_S = 90.0


def _store(kind: str, held: int) -> dict[str, Any]:
    most = held + 20_000
    if kind == "join":
        return {"type": "core/join", "config": {"max_held": most}}
    if kind == "sort":
        return {"type": "core/sort", "config": {"by": "window", "key": "n", "size": max(held, 1)}}
    return {"type": "core/rate", "config": {"mode": "delay", "seconds": 1, "from_message": True, "max_held": most}}


async def _measure(runtime: Runtime, kind: str, held: int, size: int) -> str:
    id_ = f"{kind}-{held}-{size}"
    fill = {"store": kind, "held": held, "size": size, "seconds": SECONDS}
    document = {
        "flowcore": 1,
        "id": id_,
        "nodes": [
            {"id": "fill", "type": "stores/fill", "config": fill},
            {"id": "store", **_store(kind, held)},
            {"id": "clocked", "type": "stores/clocked"},
        ],
        "wires": [
            {"from": "fill.out", "to": "store.in"},
            {"from": "store.out", "to": "clocked.in"},
            {"from": "fill.end", "to": "clocked.end"},
        ],
    }
    said = runtime.client.subscribe(f"flow.{id_}.clocked.out.out")
    await said.open()
    try:
        await runtime.deploy(document)
        store = psutil.Process((await runtime.pids(id_))["store"])
        async with asyncio.timeout(PATIENCE_S):
            body = (await said.next()).payload
        spent = store.cpu_times()
        cpu_us = (spent.user + spent.system) / (held + body["sent"]) * 1e6
        return f"{body['sent'] / body['seconds']:,.0f} ({cpu_us:.0f})"
    finally:
        await said.close()
        await runtime.remove(id_)


async def main(kinds: list[str]) -> None:
    """Measure and print a table, a line a store and size."""
    with tempfile.TemporaryDirectory(prefix="flowcore-stores-") as name:
        plugin = write_plugin(Path(name) / "plugin", Path(__file__).with_name("nodes.py"))
        print(f"{'messages/s (µs), so many held':<32}" + "".join(f"{held:>14,}" for held in HELD))
        async with Runtime(Path(name), "--drain", "0", plugins=[plugin]) as runtime:
            for kind in kinds:
                for size in SIZES:
                    print(f"{f'{kind}, {size:,} bytes each':<32}", end="", flush=True)
                    for held in HELD:
                        told = "-"
                        with contextlib.suppress(TimeoutError):
                            told = await _measure(runtime, kind, held, size)
                        print(f"{told:>14}", end="", flush=True)
                    print()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:] or ["join", "sort", "rate"]))
