"""How much of the machine others took while something was measured: a busy machine shows in every figure."""

import contextlib
import time
from collections.abc import Iterable

import psutil


class Beside:
    """Begins to look when it is made; what the rig and the bench take themselves does not count."""

    def __init__(self, rig: Iterable[psutil.Process]) -> None:
        self._watched = [psutil.Process(), *rig]
        self._begun_s = time.monotonic()
        self._before_s = self._of_others_s()

    def cores(self) -> float:
        """Cores that others took since then, on the average; what a virtual machine was not given is among it."""
        passed_s = time.monotonic() - self._begun_s
        return max(0.0, (self._of_others_s() - self._before_s) / passed_s)

    def _of_others_s(self) -> float:
        all_ = psutil.cpu_times()
        others_s = sum(all_) - all_.idle - all_.iowait - all_.guest - all_.guest_nice
        for process in self._watched:
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                others_s -= times.user + times.system
        return others_s
