"""Scripts of users that misbehave."""

import asyncio
import time
from pathlib import Path

from tests.drills.drill import Findings, drill
from tests.drills.flows import file_in, file_out, flow, numbers_file
from tests.drills.record import Record, judge
from tests.drills.runtime import Runtime

_SECRET = "the-drill-secret"
_TIMEOUT_S = 2.0
_LOOPS_EACH = 1000


def _attacks(runtime: Runtime) -> dict[str, str]:
    """What each script tries; it returns something only where it came through."""
    port = runtime.client.target.url.rpartition(":")[2]
    return {
        "loop": "while True: pass",
        "memory": "return len(bytearray(8 << 30))",
        "fork": "import os\nreturn os.fork()",
        "socket": f"import socket\nsocket.create_connection(('127.0.0.1', {port}))\nreturn 'connected'",
        "file": f"return open({str(runtime.data / 'run.json')!r}).read()",
        "environment": "import os\nreturn os.environ['DRILL_SECRET']",
        "parent": "return open(f'/proc/{__import__(\"os\").getppid()}/environ', 'rb').read()",
    }


@drill(
    "function nodes that loop for ever, take 8 GB, fork, open a socket, read secrets",
    short={"messages": 2_000, "times": 1, "rate_hz": 400},
    long={"messages": 20_000, "times": 5, "rate_hz": 500},
)
async def misbehaving_scripts(folder: Path, messages: int, times: int, rate_hz: float) -> Findings:
    """Each is stopped and its message reported; the function beside them goes on undisturbed."""
    found, record = Findings(), Record(folder / "out.jsonl")
    async with Runtime(folder, environ={"DRILL_SECRET": _SECRET}) as runtime:
        attacks = _attacks(runtime)
        settings = {"breaker": {"failures": 0}}
        bad = {
            name: {"type": "core/function", "config": {"script": script, "timeout_s": _TIMEOUT_S}, "settings": settings}
            for name, script in attacks.items()
        }
        good = {
            "read": file_in(numbers_file(folder, messages), rate_hz),
            "good": {"type": "core/function", "config": {"script": "msg.payload = int(msg.payload)\nreturn msg"}},
            "write": file_out(record.path),
        }
        await runtime.deploy(flow("scripts", good | bad, ["read.out > good.in", "good.out > write.in"]))
        before = await runtime.pids("scripts")
        came_through: list[str] = []
        async with (
            runtime.client.subscribe("flow.scripts.*.error") as errors,
            runtime.client.subscribe("flow.scripts.*.out.>", queue=100_000) as outputs,
        ):
            for number in range(1, times + 1):
                await record.until(messages * number // (times + 2))
                for name in attacks:
                    await runtime.client.publish(f"flow.scripts.{name}.in.in", number)
                waiting = dict.fromkeys(attacks)
                async with asyncio.timeout(60):
                    while waiting:
                        waiting.pop((await errors.next()).node, None)
            await record.until(messages)
            with_secret = 0
            while True:
                try:
                    message = await outputs.next(0.2)
                except TimeoutError:
                    break
                if message.node in attacks:
                    came_through.append(message.node)
                    with_secret += _SECRET in str(message.payload)
        after = await runtime.pids("scripts")
    changed = [name for name in before if before[name] != after[name]]
    found.add(attacks=len(attacks) * times, came_through=len(came_through))
    judge(record.numbers, range(1, messages + 1)).into(found)
    found.expect(not came_through, f"came through: {sorted(set(came_through))} ({with_secret} with the secret)")
    found.expect(not changed, f"node processes ended: {changed}")
    return found


@drill(
    "a JavaScript function that loops for ever once in a thousand",
    short={"messages": 4_000},
    long={"messages": 100_000},
)
async def javascript_that_loops(folder: Path, messages: int) -> Findings:
    """Each looper goes to the error path, all others through in order, in one and the same worker."""
    found = Findings()
    through, loopers, seen = (Record(folder / name) for name in ("through.jsonl", "loopers.jsonl", "seen.jsonl"))
    script = f"""
        const n = Number(msg.payload);
        while (n % {_LOOPS_EACH} === 0);
        seen += 1;
        msg.payload = n;
        return [msg, n === {messages - 1} ? {{payload: seen}} : null];
    """
    nodes = {
        "read": file_in(numbers_file(folder, messages)),
        "js": {
            "type": "core/javascript",
            "config": {"script": script, "on_start": "seen = 0;", "outputs": ["out", "seen"], "timeout_s": 0.5},
        },
        "failed": {"type": "core/catch", "config": {"scope": ["js"]}},
        "write": file_out(through.path),
        "write-seen": file_out(seen.path),
        "write-failed": {
            "type": "core/file-out",
            "config": {"path": str(loopers.path), "value": "payload.message.payload"},
        },
    }
    wires = ["read.out > js.in", "js.out > write.in", "js.seen > write-seen.in", "failed.out > write-failed.in"]
    expected = [n for n in range(1, messages + 1) if n % _LOOPS_EACH]
    async with Runtime(folder) as runtime:
        await runtime.deploy(flow("loops", nodes, wires))
        before = await runtime.pids("loops")
        begun = time.monotonic()
        await through.until(len(expected))
        await loopers.until(messages // _LOOPS_EACH)
        await seen.until(1)
        seconds = time.monotonic() - begun
        after = await runtime.pids("loops")
    looped = sorted(loopers.numbers)
    found.add(loopers=len(looped), seconds=round(seconds, 1))
    judge(through.numbers, expected).into(found)
    found.expect(
        looped == list(range(_LOOPS_EACH, messages + 1, _LOOPS_EACH)), "loopers on the error path: not each once"
    )
    found.expect(seen.numbers == [len(expected)], f"the worker that ended had seen {seen.numbers} of {len(expected)}")
    found.expect(before == after, "a node process ended")
    return found
