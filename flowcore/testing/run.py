"""Running cases, one after the other, each on a fresh flow; what came of each."""

import asyncio
import time
import traceback
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

from flowcore.testing.check import Ready
from flowcore.testing.motion import Restless
from flowcore.testing.rig import Rig
from flowcore.testing.trial import NotRunnable, Trial, Unmet

_LOG_LINES = 10


@dataclass
class Result:
    """What came of a case.

    Attributes:
        where: file and line of the step that failed, or of the case.
        step: what it was about, "step 3, expect hot.out".
        lines: what is wrong.
        log: what nodes logged last.
    """

    ready: Ready
    outcome: Literal["passed", "failed", "skipped", "broken"]
    took_s: float = 0.0
    where: str = ""
    step: str = ""
    lines: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    def text(self) -> str:
        """All of a failure."""
        head = f"{self.where}: {self.ready.case.name}" + (f": {self.step}" if self.step else "")
        log = ["the nodes' log ends with:", *(f"  {line}" for line in self.log)] if self.log else []
        return "\n".join([head, *(f"    {line}" for line in [*self.lines, *log])])


async def run_cases(rig: Rig, cases: Sequence[Ready]) -> AsyncIterator[Result]:
    """Run them in order."""
    for ready in cases:
        yield await run_case(rig, ready)


async def run_case(rig: Rig, ready: Ready) -> Result:
    """Run one case; whatever goes wrong is in its result."""
    case, begun_s = ready.case, time.perf_counter()
    if case.skip:
        return Result(ready, "skipped", lines=[case.skip])
    trial, at = Trial(rig, ready), -1
    result = Result(ready, "passed")
    try:
        async with asyncio.timeout(case.timeout_s):
            await trial.start()
            for number, step in enumerate(case.steps):
                at = number
                await trial.do(step)
            at = -1
            if case.errors == "fail":
                await trial.check_errors()
    except Unmet as e:
        result.outcome, result.lines = "failed", e.lines
    except (NotRunnable, Restless) as e:
        result.outcome, result.lines = "broken", str(e).splitlines()
    except TimeoutError:
        result.outcome, result.lines = "broken", [f"not done after {case.timeout_s:g} s (timeout_s)"]
    except Exception as e:  # ours: said whole, and the other cases go on
        result.outcome = "broken"
        result.lines = [f"{type(e).__name__}: {e}", *"".join(traceback.format_exception(e)).splitlines()]
    if result.outcome != "passed":
        line = ready.step_lines[at] if at >= 0 else ready.line
        result.where = f"{ready.file}:{line}"
        result.step = f"step {at + 1}, {_named(ready, at)}" if at >= 0 else ""
        result.log = trial.log()[-_LOG_LINES:] if hasattr(trial, "recorder") else []
    try:
        await trial.stop()
    except Exception as e:
        if result.outcome == "passed":
            result.outcome = "broken"
            result.lines = [f"it does not end: {type(e).__name__}: {e}"]
    result.took_s = time.perf_counter() - begun_s
    return result


def _named(ready: Ready, at: int) -> str:
    step = ready.case.steps[at]
    verb = type(step).__name__.lower()
    return f"{verb} {getattr(step, verb)}"
