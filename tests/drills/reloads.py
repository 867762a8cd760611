"""One node is changed again and again while numbers flow."""

import asyncio
import time
from pathlib import Path
from typing import Any

from tests.drills.drill import Findings, drill
from tests.drills.flows import chain, file_in, flow, numbers_file
from tests.drills.record import Record, judge
from tests.drills.runtime import Runtime


@drill(
    "numbers under hot reloads that change one node of a chain",
    short={"messages": 2_000, "reloads": 4, "rate_hz": 700},
    long={"messages": 20_000, "reloads": 20, "rate_hz": 1_000},
)
async def reloaded(folder: Path, messages: int, reloads: int, rate_hz: float) -> Findings:
    """Every number arrives, in order; the process ids of the other nodes do not change."""
    found, record = Findings(), Record(folder / "out.jsonl", lambda value: value["n"])
    source = file_in(numbers_file(folder, messages), rate_hz)

    def revised(revision: int) -> dict[str, Any]:
        stamp = {"type": "drill/stamp", "config": {"revision": revision}}
        return chain("reload", source, record.path, {"type": "core/json", "config": {"action": "parse"}}, stamp)

    async with Runtime(folder) as runtime:
        await runtime.deploy(revised(0))
        before = await runtime.pids("reload")
        live_ms = []
        for revision in range(1, reloads + 1):
            await record.until(messages * revision // (reloads + 1))
            live_ms.append(1000 * await _live_after(runtime, "reload", "step2", revised(revision), revision))
        after = await runtime.pids("reload")
        await record.until(messages)
    changed = [name for name in before if before[name] != after[name]]
    found.expect(changed == ["step2"], f"process ids changed: {changed}")
    live_ms.sort()
    found.add(reloads=reloads, live_ms_p50=live_ms[len(live_ms) // 2], live_ms_max=live_ms[-1])
    judge(record.numbers, range(1, messages + 1)).into(found)
    found.expect({value["revision"] for value in record.values} == set(range(reloads + 1)), "a revision never ran")
    return found


async def _live_after(runtime: Runtime, id_: str, node: str, document: dict[str, Any], revision: int) -> float:
    """Deploy; seconds until the first message that the new revision of a `drill/stamp` made is on the bus."""
    async with runtime.client.subscribe(f"flow.{id_}.{node}.out.out", queue=100_000) as outputs:
        began_s = time.monotonic()
        deploy = asyncio.create_task(runtime.deploy(document))
        while (await outputs.next(30)).payload["revision"] != revision:
            pass
        live_s = time.monotonic() - began_s
        done = await deploy
    assert done["restarted"] == [node], done
    return live_s


@drill(
    "one node changed in a large flow under load",
    short={"nodes": 12, "reloads": 2},
    long={"nodes": 50, "reloads": 5},
)
async def one_of_many(folder: Path, nodes: int, reloads: int) -> Findings:
    """The process ids of all others stay, and the numbers behind the changed node are whole and in order."""
    found, record = Findings(), Record(folder / "out.jsonl", lambda value: value["n"])
    lines = (nodes - 2) // 2
    throttle = {"full": "throttle", "throttle_hz": 40}
    numbers = {"type": "drill/numbers", "config": {"to": 0}, "settings": throttle}
    load = {"type": "drill/numbers", "config": {"to": 0, "keeps": False}, "settings": throttle}

    def revised(revision: int) -> dict[str, Any]:
        members: dict[str, Any] = {"read": numbers, "stamp": {"type": "drill/stamp", "config": {"revision": revision}}}
        members["write"] = {"type": "core/file-out", "config": {"path": str(record.path)}}
        wires = ["read.out > stamp.in", "stamp.out > write.in"]
        for k in range(1, lines):
            members |= {f"a{k}": load, f"b{k}": "drill/pass"}
            wires.append(f"a{k}.out > b{k}.in")
        members |= {f"more{k}": "drill/pass" for k in range(nodes - len(members))}
        return flow("many", members, wires)

    async with Runtime(folder) as runtime:
        done = await runtime.deploy(revised(0))
        before = await runtime.pids("many")
        live_ms = []
        for revision in range(1, reloads + 1):
            await record.until(record.read() + 20)
            live_ms.append(1000 * await _live_after(runtime, "many", "stamp", revised(revision), revision))
        await record.until(record.read() + 20)
        after = await runtime.pids("many")
    changed = [name for name in before if before[name] != after.get(name)]
    found.expect(changed == ["stamp"], f"process ids changed: {changed}")
    found.add(nodes=len(before), deploy_s=done["took_s"], live_ms_p50=sorted(live_ms)[len(live_ms) // 2])
    found.add(live_ms_max=max(live_ms))
    judge(record.numbers, range(1, max(record.numbers) + 1)).into(found)
    return found
