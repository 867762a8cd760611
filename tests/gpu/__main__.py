"""`python -m tests.gpu`, or `make gpu-check`: the checks of device memory and its benchmark, with what this Python has.

Needs no pytest, no bus and no network; says what is missing and runs the rest, in five minutes at most. Each check is a
process of its own, since an error on a device can break a process for good.

    python -m tests.gpu              all, then benchmarks/gpu.py
    python -m tests.gpu NAME ...     these, in this process
    python -m tests.gpu --list

Ends with 0 when nothing failed, 1 when something did, 2 when nothing could be checked.
"""

import subprocess
import sys
import time
import traceback
from pathlib import Path

from tests.gpu import machine

ROOT = Path(__file__).parents[2]
_ALL_S, _EACH_S, _BENCH_S = 290.0, 90.0, 60.0
_SKIPPED = 77


def run_apart(name: str, limit_s: float = _EACH_S) -> tuple[str, str]:
    """How a check ended (passed, skipped, failed), and what it said."""
    command = [sys.executable, "-m", "tests.gpu", name]
    try:
        done = subprocess.run(command, cwd=ROOT, timeout=limit_s, text=True, capture_output=True, check=False)
    except subprocess.TimeoutExpired as e:
        said = (e.stderr or b"").decode("utf-8", "replace") if isinstance(e.stderr, bytes) else e.stderr or ""
        return "failed", f"no end after {limit_s:.0f} s\n{said}".strip()
    state = {0: "passed", _SKIPPED: "skipped"}.get(done.returncode, "failed")
    return state, (done.stdout if state != "failed" else f"{done.stdout}{done.stderr}").strip()


def run_here(names: list[str]) -> int:
    """In this process: its status."""
    from tests.gpu.checks import CHECKS
    from tests.gpu.lab import Skip

    for name in names:
        if name not in CHECKS:
            print(f"no check {name!r}; there are: {', '.join(CHECKS)}")
            return 2
        try:
            said = CHECKS[name]()
        except Skip as e:
            print(e)
            return _SKIPPED
        except Exception:
            traceback.print_exc()
            return 1
        if said:
            print(said)
    return 0


def run_all() -> int:
    """One after another, and the benchmark with the time that is left."""
    until_s = time.monotonic() + _ALL_S
    for line in machine.described():
        print(line, flush=True)
    reasons = machine.missing()
    if reasons:
        print("\n".join(["", "nothing could be checked:", *reasons]))
        return 2
    from tests.gpu.checks import CHECKS

    print(flush=True)
    ended = {"passed": 0, "skipped": 0, "failed": 0}
    for name in CHECKS:
        begun_s = time.monotonic()
        left_s = until_s - begun_s - _BENCH_S
        state, said = run_apart(name, min(_EACH_S, left_s)) if left_s > 5 else ("skipped", "five minutes are over")
        ended[state] += 1
        print(f"{state:<8} {name.replace('_', ' ')} ({time.monotonic() - begun_s:.1f} s)")
        for line in said.splitlines():
            print(f"         {line}")
        sys.stdout.flush()
    print(flush=True)
    limit_s = max(1.0, until_s - time.monotonic())
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py")]
    try:
        is_measured = subprocess.run(command, cwd=ROOT, timeout=limit_s, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        is_measured = False
        print(f"the benchmark did not end in {limit_s:.0f} s")
    print(f"\n{ended['passed']} passed, {ended['failed']} failed, {ended['skipped']} skipped")
    return 1 if ended["failed"] or not is_measured else 0


def main() -> int:
    """See the module."""
    if sys.argv[1:] == ["--list"]:
        from tests.gpu.checks import CHECKS

        print("\n".join(CHECKS))
        return 0
    return run_here(sys.argv[1:]) if sys.argv[1:] else run_all()


if __name__ == "__main__":
    sys.exit(main())
