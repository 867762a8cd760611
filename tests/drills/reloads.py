"""One node is changed again and again while numbers flow."""

from pathlib import Path
from typing import Any

from flowcore.bench.parts.reload import live_after
from tests.drills.drill import Findings, drill
from tests.drills.flows import chain, file_in, numbers_file
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
            live_ms.append(1000 * await live_after(runtime, revised(revision), "step2", revision))
        after = await runtime.pids("reload")
        await record.until(messages)
    changed = [name for name in before if before[name] != after[name]]
    found.expect(changed == ["step2"], f"process ids changed: {changed}")
    live_ms.sort()
    found.add(reloads=reloads, live_ms_p50=live_ms[len(live_ms) // 2], live_ms_max=live_ms[-1])
    judge(record.numbers, range(1, messages + 1)).into(found)
    found.expect({value["revision"] for value in record.values} == set(range(reloads + 1)), "a revision never ran")
    return found
