"""Messages that kill the process that handles them."""

import json
from pathlib import Path
from typing import Any

from tests.drills.drill import Findings, drill
from tests.drills.flows import chain, file_in, numbers_file
from tests.drills.record import Record, judge
from tests.drills.runtime import Runtime, until


@drill(
    "poison messages, each crashing its node; the host killed twice; `flowcore errors`; after the fix `retry`",
    short={"poison": 20, "every": 20},
    long={"poison": 1_000, "every": 10},
)
async def poisoned(folder: Path, poison: int, every: int) -> Findings:
    """Each is given up after 3 tries, the good ones flow between; `errors` lists all, `retry` brings all through."""
    found, record = Findings(), Record(folder / "out.jsonl")
    messages = poison * every
    bad = set(range(every, messages + 1, every))
    source = file_in(numbers_file(folder, messages))

    def document(fixed: bool) -> dict[str, Any]:
        crash = {"type": "drill/crash", "config": {"every": every, "fixed": fixed}}
        return chain("poison", source, record.path, {"type": "core/json", "config": {"action": "parse"}}, crash)

    async with Runtime(folder) as runtime:
        await runtime.deploy(document(fixed=False))
        await record.until((messages - poison) // 2)
        restarts = (await runtime.nodes("poison"))["step2"]["restarts"]
        await runtime.kill_host()
        await runtime.up()
        await record.until(messages - poison)
        await until(lambda: _given_up(runtime, poison), f"{poison} messages given up", every_s=0.5)
        restarts += (await runtime.nodes("poison"))["step2"]["restarts"]
        found.expect(not bad & set(record.numbers), "poison came through")
        await runtime.kill_host()
        await runtime.up()
        errors = json.loads((await runtime.command("errors", "--json")).out)["errors"]
        listed = {error["message"]["payload"] for error in errors}
        found.add(poison=poison, crashes=restarts, listed=len(listed), listed_twice=len(errors) - len(listed))
        found.expect(listed == bad, f"`errors` lists {len(listed & bad)} of {poison}, and {len(listed - bad)} others")
        found.expect(all(error["tries"] == 3 for error in errors), "some were not given up after just 3 tries")
        await runtime.deploy(document(fixed=True))
        ran = await runtime.command("retry", "--of", "poison", "--json")
        found.expect(ran.status == 0, f"`retry` ended with {ran.status}: {ran.out} {ran.err}")
        await record.until(messages)
        left = json.loads((await runtime.command("errors", "--json")).out)["total"]
        found.expect(left == 0, f"{left} are still listed after `retry`")
    judge(record.numbers, range(1, messages + 1)).into(found, in_order=False)
    good = [number for number in record.numbers if number not in bad]
    late = judge(good, sorted(set(range(1, messages + 1)) - bad)).out_of_order
    found.expect(not late, f"{late} good ones out of order")
    return found


async def _given_up(runtime: Runtime, count: int) -> bool:
    """Whether so many different messages are listed."""
    payloads, after = set[int](), 0
    while page := (await runtime.client.call("errors", limit=200, after=after))["errors"]:
        payloads.update(error["message"]["payload"] for error in page)
        after = page[-1]["id"]
    return len(payloads) >= count
