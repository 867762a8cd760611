"""What nodes keep in `self.state` is exactly what they handled, however often they are killed."""

import itertools
from pathlib import Path

from tests.drills.drill import Findings, drill
from tests.drills.flows import file_in, file_out, flow, numbers_file
from tests.drills.record import Record
from tests.drills.runtime import Runtime, kill, until


@drill(
    "a counter and an aggregate over windows of time, killed in turn with SIGKILL",
    short={"messages": 2_000, "kills": 4, "rate_hz": 700, "window_s": 1.0},
    long={"messages": 20_000, "kills": 20, "rate_hz": 400, "window_s": 10.0},
)
async def counted(folder: Path, messages: int, kills: int, rate_hz: float, window_s: float) -> Findings:
    """Their totals equal the input's."""
    found = Findings()
    totals = Record(folder / "totals.jsonl", lambda value: value["count"])
    windows = Record(folder / "windows.jsonl", lambda value: int(value["from_s"] * 1000))
    aggregate = {"type": "core/aggregate", "config": {"functions": ["sum"], "size": window_s}}
    document = flow(
        "count",
        {
            "read": file_in(numbers_file(folder, messages), rate_hz),
            "parse": {"type": "core/json", "config": {"action": "parse"}},
            "counter": "drill/count",
            "minute": aggregate,
            "totals": file_out(totals.path),
            "windows": file_out(windows.path),
        },
        [
            "read.out > parse.in",
            "parse.out > counter.in",
            "parse.out > minute.in",
            "counter.out > totals.in",
            "minute.out > windows.in",
        ],
    )
    async with Runtime(folder) as runtime:
        await runtime.deploy(document)
        for number, victim in enumerate(itertools.islice(itertools.cycle(("counter", "minute")), kills), 1):
            await totals.until(messages * number // (kills + 1))
            pid = (await runtime.pids("count"))[victim]
            kill(pid)
            await runtime.until_running("count", victim, not_pid=[pid])
        await totals.until(messages)

        def of_windows() -> tuple[int, int]:
            windows.read()
            once = {value["from_s"]: value for value in windows.values}.values()
            return sum(value["count"] for value in once), round(sum(value["sum"] for value in once))

        await until(lambda: of_windows()[0] >= messages, "the last window", timeout_s=90 + window_s)
        state = (await runtime.client.call("state.get", flow="count", node="counter"))["values"]
    wanted = (messages, messages * (messages + 1) // 2)
    counter = (state["count"], state["sum"])
    found.add(kills=kills, counted=counter[0], counter_sum=counter[1], windows_counted=of_windows()[0])
    found.add(windows_sum=of_windows()[1], input_sum=wanted[1])
    found.expect(counter == wanted, f"the counter has {counter}, the input {wanted}")
    found.expect(of_windows() == wanted, f"the windows have {of_windows()}, the input {wanted}")
    return found
