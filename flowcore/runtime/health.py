"""Health: hearts and memory of all node processes, once a second, without asking any of them.

Hearts and progress are read from the pages, which costs no system call; memory only of processes that have a limit.
Shares of a processor are worked out when someone looks.
"""

import asyncio
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from flowcore.runtime.supervise import Supervised

EVERY_S = 1.0
_LATE_S = 1.0
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_MB = 1024 * 1024


class Health:
    """Watches what `processes()` gives.

    Args:
        heartbeat_s: how long a process may be silent.
    """

    def __init__(self, processes: Callable[[], Iterable[Supervised]], heartbeat_s: float) -> None:
        self._processes, self._heartbeat_s = processes, heartbeat_s
        self._cpu: dict[int, tuple[float, float, float]] = {}  # pid -> when looked, seconds used then, share before

    async def run(self) -> None:
        """Look once a second until cancelled."""
        quiet_until = 0.0
        while True:
            begun = time.monotonic()
            await asyncio.sleep(EVERY_S)
            now = time.monotonic()
            if now - begun > EVERY_S + _LATE_S:
                # This process stood still itself (suspended, or stopped in a debugger), and so may they have.
                quiet_until = now + self._heartbeat_s
            if now < quiet_until:
                continue
            self.look()

    def look(self) -> None:
        """One look at every process."""
        now_ns = time.monotonic_ns()
        for one in self._processes():
            if (silent_s := one.silent_s(now_ns)) > self._heartbeat_s:
                one.kill(f"no heartbeat for {silent_s:.1f} s")
            limit_mb = one.plan.settings.get("memory_mb")
            if limit_mb and one.pid is not None:
                used = rss_bytes(one.pid)
                if used > limit_mb * _MB:
                    one.kill(f"used {used // _MB} MB, its memory limit is {limit_mb} MB")

    def cpu(self, pid: int) -> float:
        """The share of one core that a process used since the last look at it."""
        used_s = _cpu_s(pid)
        now = time.monotonic()
        if used_s is None:
            self._cpu.pop(pid, None)
            return 0.0
        then, before_s, share = self._cpu.get(pid, (now, used_s, 0.0))
        if now - then >= 0.5:
            share = (used_s - before_s) / (now - then)
            then, before_s = now, used_s
        self._cpu[pid] = (then, before_s, share)
        if len(self._cpu) > 4096:
            self._cpu.clear()
        return round(share, 4)


def rss_bytes(pid: int) -> int:
    """Resident memory of a process, 0 when it has ended."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * _PAGE_BYTES
    except (OSError, IndexError, ValueError):
        return 0


def _cpu_s(pid: int) -> float | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S
    except (OSError, IndexError, ValueError):
        return None
