"""Durable wires: across stops and deaths of everything, and with the disk full."""

import asyncio
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.drills.drill import Findings, Skipped, drill
from tests.drills.flows import file_in, file_out, flow, line, numbers_file
from tests.drills.record import Record, judge
from tests.drills.runtime import Runtime, until

_DISK_MB, _LEFT_MB = 1_000, 2  # the streams of the engine may take 656 MB, of three quarters of the disk


def _durable(id_: str, source: dict[str, Any], out: Path) -> dict[str, Any]:
    """`read` -> `parse` => `write`, where => is durable."""
    nodes = {"read": source, "parse": {"type": "core/json", "config": {"action": "parse"}}, "write": file_out(out)}
    durable = {"from": "parse.out", "to": "write.in", "delivery": "durable", "durable": {"max_bytes": 16 << 20}}
    return flow(id_, nodes, ["read.out > parse.in", durable])


@drill(
    "a durable wire across a stop of the whole runtime, and across kill -9 of everything at once",
    short={"messages": 2_000, "rate_hz": 700},
    long={"messages": 20_000, "rate_hz": 1_000},
)
async def durable(folder: Path, messages: int, rate_hz: float) -> Findings:
    """Every number arrives, in order after copies are dropped; what is stored waits for its consumer."""
    found, record = Findings(), Record(folder / "out.jsonl")
    async with Runtime(folder) as runtime:
        await runtime.deploy(_durable("durable", file_in(numbers_file(folder, messages), rate_hz), record.path))
        await record.until(messages // 5)
        await runtime.down()
        await runtime.up()
        await record.until(messages * 2 // 5)
        await runtime.client.call("pause", flow="durable", node="write")
        await asyncio.sleep(messages / rate_hz / 5)  # what comes meanwhile only the stream has
        await runtime.kill_everything()
        await runtime.up()
        await runtime.client.call("resume", flow="durable", node="write")
        await record.until(messages)
        judge(record.numbers, range(1, messages + 1)).into(found)
    return found


@drill(
    "the disk of the data folder full (a tmpfs of limited size), then free again",
    short={"messages": 3_000, "full_s": 4.0},
    long={"messages": 20_000, "full_s": 30.0},
)
async def disk_full(folder: Path, messages: int, full_s: float) -> Findings:
    """An error at once on the durable wire, recovery by itself; the wires and flows beside it go on meanwhile."""
    found, record, beside = Findings(), Record(folder / "out.jsonl"), Record(folder / "beside.jsonl")
    count = max(2_000, int(full_s * 200))
    with _small_disk(folder / "data"):
        async with Runtime(folder) as runtime:
            source = file_in(numbers_file(folder, messages), 500)
            await runtime.deploy(_durable("durable", source, record.path))
            await runtime.deploy(line("beside", numbers_file(folder, count), beside.path, 200))
            await record.until(messages // 10)
            ballast = folder / "data" / "ballast"
            _fill(ballast)

            async def in_trouble() -> bool:
                outputs = (await runtime.nodes("durable"))["parse"]["stats"].get("outputs", [])
                return any(wire["trouble"] for wire in outputs)

            loop = asyncio.get_running_loop()
            began_s = loop.time()
            await until(in_trouble, "the durable wire to say that it has no room")
            told_s = loop.time() - began_s
            trouble = (await runtime.nodes("durable"))["parse"]["stats"]["outputs"][0]["trouble"]
            before = beside.read()
            await asyncio.sleep(full_s)
            found.expect(beside.read() > before or before == count, "the flow beside it stood still")
            stuck = record.read()
            ballast.unlink()
            began_s = loop.time()
            await record.until(min(stuck + 1, messages))
            recovered_s = loop.time() - began_s
            await record.until(messages)
            await beside.until(count)
            restarts = {name: node["restarts"] for name, node in (await runtime.nodes("durable")).items()}
    found.add(told_after_s=told_s, told=trouble[:60], went_on_after_s=recovered_s)
    judge(record.numbers, range(1, messages + 1)).into(found)
    harmed = judge(beside.numbers, range(1, count + 1))
    found.expect(not harmed.lost and not harmed.out_of_order, f"the flow beside it lost {harmed.lost}")
    found.expect(not any(restarts.values()), f"processes died: {restarts}")
    return found


@contextmanager
def _small_disk(folder: Path) -> Iterator[None]:
    """A file system of limited size at `folder`.

    Raises:
        Skipped: this account may not mount one.
    """
    folder.mkdir(parents=True)
    options = f"size={_DISK_MB}m,mode=0700"
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], capture_output=True, text=True)
    if made.returncode != 0:
        raise Skipped(f"a small disk cannot be mounted here: {made.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def _fill(path: Path) -> None:
    """Write until the file system has next to no room."""
    disk = os.statvfs(path.parent)
    with path.open("wb") as file:
        left = disk.f_bavail * disk.f_frsize - (_LEFT_MB << 20)
        while left > 0:
            left -= file.write(bytes(min(1 << 20, left)))
