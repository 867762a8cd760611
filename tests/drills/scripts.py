"""Scripts of users that misbehave, in `core/function`."""

import asyncio
from pathlib import Path

from tests.drills.drill import Findings, drill
from tests.drills.flows import file_in, file_out, flow, numbers_file
from tests.drills.record import Record, judge
from tests.drills.runtime import Runtime

_SECRET = "the-drill-secret"
_TIMEOUT_S = 2.0


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
