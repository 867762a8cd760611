"""Broken flow files, deployed with the real command against a runtime that has something running."""

import json
import re
from pathlib import Path

from tests.drills.drill import Findings, drill
from tests.drills.flows import file_out, flow
from tests.drills.record import Record
from tests.drills.runtime import Runtime

_FIXTURES = Path(__file__).parents[1] / "flow" / "broken"
_EXPECTED: dict[str, list[str]] = json.loads((_FIXTURES / "expected.json").read_text())
_ENVIRON = {"PORT": "1884", "WORD": "many", "BROKER_PASSWORD": "hunter2"}


@drill(
    "broken flow files deployed while a flow runs",
    short={"every": 6},
    long={"every": 1},
)
async def broken_files(folder: Path, every: int) -> Findings:
    """Each is refused with its message, its line and exit status 1; what was running goes on.

    The fixtures are written for node types of their own (`tests/flow/conftest.py`, where a test holds every message).
    Where one speaks of types that are not installed here, only the status and the form of the message count.
    """
    found, record = Findings(), Record(folder / "out.jsonl")
    numbers = {"type": "drill/numbers", "config": {"to": 0}, "settings": {"full": "throttle", "throttle_hz": 50}}
    names = sorted(_EXPECTED)[::every]
    right = 0
    async with Runtime(folder, environ=_ENVIRON) as runtime:
        await runtime.deploy(flow("runs", {"read": numbers, "write": file_out(record.path)}, ["read.out > write.in"]))
        before = await runtime.pids("runs")
        await record.until(10)
        for name in names:
            ran = await runtime.command("deploy", str(_FIXTURES / name))
            said = ran.out + ran.err
            found.expect(ran.status == 1, f"{name}: exit status {ran.status}")
            found.expect(
                re.search(rf"{re.escape(name)}:\d+\b.*: ", said) is not None, f"{name}: no line is named: {said}"
            )
            found.expect("Traceback" not in said, f"{name}: a traceback")
            text = " ".join(said.split())
            right += all(_as_said(one) in text for one in _EXPECTED[name])
        count = record.read()
        await record.until(count + 10)
        after = await runtime.pids("runs")
        flows = [each["flow"] for each in (await runtime.client.call("flows"))["flows"]]
    found.add(files=len(names), refused=len(names), with_the_very_messages_of_the_fixture=right)
    found.expect(right >= len(names) // 2, f"only {right} of {len(names)} said what their fixture says")
    found.expect(flows == ["runs"], f"flows are now {flows}")
    found.expect(after == before, "a process was replaced")
    numbers_seen = record.numbers
    found.expect(numbers_seen == list(range(1, len(numbers_seen) + 1)), "the running flow was disturbed")
    return found


def _as_said(expected: str) -> str:
    """`<line> <pointer>: <message>` as a command prints it behind the file's name, blanks made one."""
    line, _, rest = expected.partition(" ")
    return " ".join(f":{line} {rest}".replace(" : ", ": ").split())
