"""Processes are killed: one after another, two at a time, everything at once; and asked to end under load."""

import asyncio
import itertools
from pathlib import Path

from tests.drills.drill import Findings, drill
from tests.drills.flows import line, numbers_file
from tests.drills.record import Record, judge
from tests.drills.runtime import Runtime, kill, until

NODES = ("read", "step1", "step2", "write")
PAIR_S = 0.01


@drill(
    "numbers through a reliable chain of 4 nodes, each process in turn killed with SIGKILL, nats-server too",
    short={"messages": 2_000, "rounds": 1, "rate_hz": 700},
    long={"messages": 20_000, "rounds": 6, "rate_hz": 1_000},
)
async def killed_in_turn(folder: Path, messages: int, rounds: int, rate_hz: float) -> Findings:
    """Every number arrives, none out of order after copies are dropped."""
    found, record = Findings(), Record(folder / "out.jsonl")
    victims = [*NODES, "nats-server"] * rounds
    async with Runtime(folder) as runtime:
        await runtime.deploy(line("chain", numbers_file(folder, messages), record.path, rate_hz))
        for number, victim in enumerate(victims, 1):
            await record.until(messages * number // (len(victims) + 1))
            await _kill_and_wait(runtime, victim)
        await record.until(messages)
        found.add(kills=len(victims))
        judge(record.numbers, range(1, messages + 1)).into(found)
    return found


async def _kill_and_wait(runtime: Runtime, victim: str) -> None:
    if victim != "nats-server":
        pid = (await runtime.pids("chain"))[victim]
        kill(pid)
        await runtime.until_running("chain", victim, not_pid=[pid])
        return
    pid = runtime.bus_pid
    kill(pid)
    await until(lambda: runtime.bus_pid not in (None, pid), "another nats-server")


@drill(
    "producer and consumer, and neighbours two apart, killed 10 ms apart",
    short={"messages": 2_000, "pairs": 5, "rate_hz": 500},
    long={"messages": 20_000, "pairs": 50, "rate_hz": 500},
)
async def killed_in_pairs(folder: Path, messages: int, pairs: int, rate_hz: float) -> Findings:
    """Nothing is lost from a source that can replay."""
    found, record = Findings(), Record(folder / "out.jsonl")
    near = list(itertools.pairwise(NODES))
    apart = list(zip(NODES, NODES[2:], strict=False))
    both = [*near, *apart]
    chosen = itertools.cycle([*both, *((b, a) for a, b in both)])
    async with Runtime(folder) as runtime:
        await runtime.deploy(line("chain", numbers_file(folder, messages), record.path, rate_hz))
        for number, pair in enumerate(itertools.islice(chosen, pairs), 1):
            await record.until(messages * number // (pairs + 1))
            pids = await runtime.pids("chain")
            kill(pids[pair[0]])
            await asyncio.sleep(PAIR_S)
            kill(pids[pair[1]])
            await runtime.until_running("chain", *pair, not_pid=[pids[name] for name in pair])
        await record.until(messages)
        found.add(kills=2 * pairs)
        judge(record.numbers, range(1, messages + 1)).into(found)
    return found


@drill(
    "`flowcore down` under load, then `up`",
    short={"messages": 2_000, "times": 1, "rate_hz": 1_000},
    long={"messages": 20_000, "times": 5, "rate_hz": 2_000},
)
async def down_and_up(folder: Path, messages: int, times: int, rate_hz: float) -> Findings:
    """Nothing is lost on reliable wires, and what ended in order makes no copies."""
    found, record = Findings(), Record(folder / "out.jsonl")
    async with Runtime(folder) as runtime:
        await runtime.deploy(line("chain", numbers_file(folder, messages), record.path, rate_hz))
        for number in range(1, times + 1):
            await record.until(messages * number // (times + 1))
            ran = await runtime.down()
            found.expect(ran.status == 0, f"`down` ended with {ran.status}: {ran.err}")
            await runtime.up()
        await record.until(messages)
        found.add(ends=times)
        judge(record.numbers, range(1, messages + 1)).into(found)
    return found


@drill(
    "the host alone, then everything at once, killed with SIGKILL under load",
    short={"messages": 2_000, "rate_hz": 700},
    long={"messages": 20_000, "rate_hz": 1_000},
)
async def host_killed(folder: Path, messages: int, rate_hz: float) -> Findings:
    """No process is left behind; a source that can replay loses nothing even so."""
    found, record = Findings(), Record(folder / "out.jsonl")
    async with Runtime(folder) as runtime:
        await runtime.deploy(line("chain", numbers_file(folder, messages), record.path, rate_hz))
        await record.until(messages // 3)
        await runtime.kill_host()
        await runtime.up()
        await record.until(2 * messages // 3)
        await runtime.kill_everything()
        await runtime.up()
        await record.until(messages)
        judge(record.numbers, range(1, messages + 1)).into(found)
    return found
