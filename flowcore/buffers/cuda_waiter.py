"""The thread that waits for the device, so that no handler and no event loop has to.

A lease may be let go anywhere, also in the middle of a garbage collection, where no call to CUDA should be made; it is
put into a queue here. The thread records events behind the work that was given to the streams, looks at them every
half millisecond while there are any, and then says that the slot is free. With nothing under way it sleeps.
"""

import functools
import logging
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from flowcore.buffers import cuda_driver
from flowcore.buffers.cuda_driver import CudaError, Stream

_LOOK_S = 0.0005
_RETRY_S = 0.2

_log = logging.getLogger("flowcore.buffers")


class _Job(NamedTuple):
    streams: tuple[Stream, ...]
    then: Callable[[], None]


class Waiter:
    """One for each process that uses CUDA. Its methods may be called from anywhere."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[_Job | Callable[[], bool]] = queue.SimpleQueue()  # `put` may be interrupted
        self._under_way: list[tuple[list[tuple[int, int]], _Job]] = []  # events with their devices
        self._spare: dict[int, list[int]] = {}  # device -> events that were used before
        self._retries: list[Callable[[], bool]] = []
        self._retry_s = 0.0
        threading.Thread(target=self._run, name="flowcore-cuda", daemon=True).start()

    def when_done(self, streams: Iterable[Stream], then: Callable[[], None]) -> None:
        """Call `then`, in the thread, when the device has done what was queued on `streams` so far."""
        self._jobs.put(_Job(tuple(streams), then))

    def until(self, attempt: Callable[[], bool]) -> None:
        """Call `attempt`, in the thread, until it returns True: now, then five times a second."""
        self._jobs.put(attempt)

    def _run(self) -> None:
        while True:
            try:
                job = self._jobs.get(timeout=self._pause_s())
            except queue.Empty:
                pass
            else:
                if not isinstance(job, _Job):
                    self._retries.append(job)
                    self._retry_s = 0.0
                elif not self._is_begun(job):
                    _do(job.then)
                del job
            self._under_way = [one for one in self._under_way if not self._is_over(*one)]
            if self._retries and time.monotonic() >= self._retry_s:
                self._retries = [attempt for attempt in self._retries if not _do(attempt)]
                self._retry_s = time.monotonic() + _RETRY_S

    def _pause_s(self) -> float | None:
        if self._under_way:
            return _LOOK_S
        return max(0.0, self._retry_s - time.monotonic()) if self._retries else None

    def _is_begun(self, job: _Job) -> bool:
        """Record what the job waits for; False when there is nothing to wait for."""
        events: list[tuple[int, int]] = []
        try:
            driver = cuda_driver.driver()
            for stream in job.streams:
                if not stream.is_lasting:
                    driver.synchronize(stream.device)
                    continue
                spare = self._spare.get(stream.device)
                events.append((stream.device, spare.pop() if spare else driver.new_event(stream.device)))
                driver.record(events[-1][1], stream)
        except CudaError as e:
            # A device that refuses to be asked does nothing more for this process, so nothing is being read either.
            _log.warning("cuda: %s", e)
            return False
        if events:
            self._under_way.append((events, job))
        return bool(events)

    def _is_over(self, events: list[tuple[int, int]], job: _Job) -> bool:
        try:
            driver = cuda_driver.driver()
            if not all(driver.is_done(event) for _, event in events):
                return False
        except CudaError as e:
            _log.warning("cuda: %s", e)
        else:
            for device, event in events:
                self._spare.setdefault(device, []).append(event)
        _do(job.then)
        return True


def _do(then: Callable[[], Any]) -> Any:
    try:
        return then()
    except Exception:
        _log.exception("cuda: what was to be done after the device")  # and the thread goes on, for the others
        return True


@functools.lru_cache(maxsize=1)
def _waiter_of(pid: int) -> Waiter:
    return Waiter()


def waiter() -> Waiter:
    """The waiter of this process, started at the first call."""
    return _waiter_of(os.getpid())
