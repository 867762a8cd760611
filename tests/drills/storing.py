"""Nodes that hold messages lose none of them, and put none into two results, however often they are killed."""

import itertools
from pathlib import Path
from typing import Any

from tests.drills.drill import Findings, drill
from tests.drills.flows import file_in, file_out, flow, numbers_file
from tests.drills.record import Record, judge
from tests.drills.runtime import Runtime, kill

_LISTS = ("join", "batch")
_STORES: dict[str, dict[str, Any]] = {
    "join": {"mode": "manual", "count": 7},
    "batch": {"count": 10, "result": "list"},
    "rate": {"seconds": 0.3, "max_held": 10_000},
    "sort": {"by": "window", "size": 50, "quiet_s": 2},
}


@drill(
    "a join, a batch, a delay and a sorting window, full of messages, killed in turn with SIGKILL",
    short={"messages": 1_050, "kills": 4, "rate_hz": 400},
    long={"messages": 14_000, "kills": 24, "rate_hz": 400},
)
async def storing(folder: Path, messages: int, kills: int, rate_hz: float) -> Findings:
    """Each number is in exactly one list, and comes out of the others, in order."""
    found = Findings()
    records = {name: Record(folder / f"{name}.jsonl", _first if name in _LISTS else int) for name in _STORES}
    document = flow(
        "storing",
        {
            "read": file_in(numbers_file(folder, messages), rate_hz),
            "parse": {"type": "core/json", "config": {"action": "parse"}},
            **{name: {"type": f"core/{name}", "config": config} for name, config in _STORES.items()},
            **{f"{name}_out": file_out(record.path) for name, record in records.items()},
        },
        [
            "read.out > parse.in",
            *(f"parse.out > {name}.in" for name in _STORES),
            *(f"{name}.out > {name}_out.in" for name in _STORES),
        ],
    )
    async with Runtime(folder) as runtime:
        await runtime.deploy(document)
        for number, victim in enumerate(itertools.islice(itertools.cycle(_STORES), kills), 1):
            await _until(records, messages * number // (kills + 1))
            pid = (await runtime.pids("storing"))[victim]
            kill(pid)
            await runtime.until_running("storing", victim, not_pid=[pid])
        await _until(records, messages)
        states = {name: await runtime.client.call("state.get", flow="storing", node=name) for name in _STORES}
    found.add(kills=kills)
    for name, record in records.items():
        record.read()
        once = dict.fromkeys(tuple(value) if name in _LISTS else (value,) for value in record.values)
        numbers = list(itertools.chain.from_iterable(once))
        judged = judge(numbers, range(1, messages + 1))
        found.expect(not judged.lost, f"{name}: {judged.lost} lost")
        found.expect(not judged.twice, f"{name}: {judged.twice} are in two results")
        found.expect(not judged.out_of_order, f"{name}: {judged.out_of_order} out of order")
        held = [key for key in states[name]["values"] if key.isdigit()]
        found.expect(not held, f"{name} still holds {len(held)}")
        found.add(**{name: judged.arrived, f"{name}_sent_again": len(record.values) - len(once)})
    return found


def _first(value: list[int]) -> int:
    return value[0]


async def _until(records: dict[str, Record], messages: int) -> None:
    for name, record in records.items():
        a_list = _STORES[name].get("count", 1)
        await record.until(messages // a_list)
