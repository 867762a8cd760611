"""Frames of a camera through shared memory while one of those who look at them keeps dying."""

import asyncio
import contextlib
from pathlib import Path
from typing import Any

import psutil

from flowcore.buffers.files import MEMFD
from tests.drills.drill import Findings, drill
from tests.drills.flows import file_out, flow
from tests.drills.record import Record, judge
from tests.drills.runtime import Runtime, kill, until

_POOL_MB = 64


@drill(
    "frames of 1920 x 1080 x 3 through a camera, a forwarder and two consumers, one of them killed every second",
    short={"frames": 300, "least_kills": 2},
    long={"frames": 10_000, "least_kills": 20},
)
async def frames(folder: Path, frames: int, least_kills: int) -> Findings:
    """Every consumer sees every frame as it was written; memory stays flat; nothing is left in shared memory."""
    found, seen = Findings(), {name: Record(folder / f"{name}.jsonl", lambda value: value["n"]) for name in "ab"}
    camera = {"type": "drill/camera", "config": {"to": frames}, "settings": {"pool_mb": _POOL_MB}}
    looks = {name: {"type": "drill/checksum", "settings": {"restart": {"limit": 1_000, "max_s": 0.2}}} for name in "ab"}
    writes = {f"write-{name}": file_out(record.path) for name, record in seen.items()}
    wires = ["camera.out > forward.in"]
    for name in "ab":
        wires += [f"forward.out > {name}.in", f"{name}.out > write-{name}.in"]
    async with Runtime(folder) as runtime:
        await runtime.deploy(flow("frames", {"camera": camera, "forward": "drill/pass", **looks, **writes}, wires))
        await seen["a"].until(frames // 10)
        early = await _memory_mb(runtime)
        killing = asyncio.create_task(_kill_every_second(runtime, "b"))
        try:
            for record in seen.values():
                await record.until(frames)
        finally:
            killing.cancel()
        kills = await killing
        late = await _memory_mb(runtime)
        await until(lambda: _is_free(runtime), "every slot of the camera to be free")
        pids = [pid for pid in (await runtime.pids("frames")).values() if pid]
        shared_mb = _shared_mb(pids)
        await runtime.remove("frames")
        left_mb = _shared_mb([one.pid for one in psutil.Process(runtime.pid).children(recursive=True)])
    wrong = {name: sum(not value["is_whole"] for value in record.values) for name, record in seen.items()}
    for name, record in seen.items():
        judged = judge(record.numbers, range(1, frames + 1))
        found.add(**{f"lost_{name}": judged.lost, f"twice_{name}": judged.twice, f"wrong_{name}": wrong[name]})
        found.expect(judged.lost == 0 and judged.foreign == 0, f"{name}: {judged}")
        found.expect(wrong[name] == 0, f"{name}: {wrong[name]} frames had another content")
    grown_mb = {name: late[name] - early[name] for name in ("camera", "forward", "a")}
    found.add(kills=kills, grew_mb=max(grown_mb.values()), shared_mb=shared_mb, left_mb=left_mb)
    found.expect(kills >= least_kills, f"only {kills} kills")
    found.expect(max(grown_mb.values()) < 8, f"memory of nodes grew by {grown_mb} MB")
    found.expect(shared_mb <= _POOL_MB, f"{shared_mb} MB of frames in shared memory, allowed are {_POOL_MB}")
    found.expect(left_mb == 0, f"{left_mb} MB of frames left in shared memory")
    return found


async def _kill_every_second(runtime: Runtime, name: str) -> int:
    kills = 0
    with contextlib.suppress(asyncio.CancelledError):
        while True:
            kills += kill((await runtime.pids("frames"))[name])
            await asyncio.sleep(1.0)
    return kills


async def _memory_mb(runtime: Runtime) -> dict[str, float]:
    """Private memory of each node's process; one that has just been killed has none."""
    found = {}
    for name, pid in (await runtime.pids("frames")).items():
        with contextlib.suppress(psutil.Error):
            found[name] = psutil.Process(pid).memory_full_info().uss / 1e6 if pid else 0.0
    return found


async def _is_free(runtime: Runtime) -> bool:
    pools: list[dict[str, Any]] = (await runtime.nodes("frames"))["camera"]["stats"].get("pools", [])
    return [pool["used"] for pool in pools] == [0] * len(pools)


def _shared_mb(pids: list[int]) -> float:
    """Size of the pools of frames that these processes have open, each counted once."""
    sizes: dict[tuple[int, int], int] = {}
    for pid in pids:
        with contextlib.suppress(OSError):
            for link in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(OSError):
                    if MEMFD in str(link.readlink()):
                        about = link.stat()
                        sizes[about.st_dev, about.st_ino] = about.st_size
    return sum(sizes.values()) / 1e6
