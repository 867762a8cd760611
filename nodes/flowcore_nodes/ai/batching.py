"""Requests of several models on one device: queues, dynamic batches, a few threads that run them, answers in order.

Lives on the event loop; only `Engine.run` is called in a thread, save that of a model that has been quick for a while
and has nothing else to do: handing it over and back takes longer than the blink for which the loop waits. A batch
begins when a thread is free and it is full, its oldest request has waited for `wait_s`, or nothing is to be waited for.
Models take turns by their oldest request.

Invariant: a model's answers are given in the order in which it was asked, whichever thread was done first.
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from queue import SimpleQueue
from threading import Thread
from typing import Any

import numpy as np

from flowcore_nodes.ai.engines import Array, LoadedModel

QUICK_S = 0.001
_QUICK_RUNS = 16


@dataclass(eq=False)
class Answer:
    """What came of a request.

    Attributes:
        run_s: how long the engine took for its batch; waited_s: from the question until that began.
        batch: rows that were run together.
    """

    outputs: dict[str, Array]
    run_s: float
    waited_s: float
    batch: int


@dataclass(eq=False)
class _Request:
    feeds: dict[str, Array]
    rows: int
    key: tuple | None  # what it can be run together with; None: nothing
    asked_s: float
    future: asyncio.Future
    answer: Answer | BaseException | None = None


@dataclass(eq=False)
class Lane:
    """One model's requests."""

    model: LoadedModel
    largest: int = 1
    wait_s: float = 0.0
    waiting: deque[_Request] = field(default_factory=deque)
    open: deque[_Request] = field(default_factory=deque)  # not answered, in the order of the questions
    quick_runs: int = 0  # one after the other, each shorter than QUICK_S, of inputs with these shapes
    quick_shapes: list[tuple] = field(default_factory=list)

    def is_run_here(self, feeds: dict[str, Array]) -> bool:
        """Whether the next request is run on the event loop: it is like those that were quick."""
        if self.quick_runs < _QUICK_RUNS or self.largest > 1 or self.open:
            return False
        return self.quick_shapes == [one.shape for one in feeds.values()]

    def ran(self, request: "_Request", run_s: float) -> None:
        """Note how long a run took; one that was not quick, or has other shapes, begins the count anew."""
        if self.largest > 1:
            return
        shapes = [one.shape for one in request.feeds.values()]
        is_another = run_s >= QUICK_S or shapes != self.quick_shapes
        self.quick_runs, self.quick_shapes = 0 if is_another else self.quick_runs + 1, shapes


class Batcher:
    """Runs requests of its lanes in `workers` threads."""

    def __init__(self, workers: int) -> None:
        self._loop = asyncio.get_running_loop()
        # Threads of our own: an executor's hand over by two futures and three turns of the loop, 0.1 ms a request.
        self._batches = SimpleQueue[tuple[Lane, list[_Request]] | None]()
        for number in range(workers):
            Thread(target=self._work, name=f"inference-{number}", daemon=True).start()
        self._workers = self._free = workers
        self._lanes: list[Lane] = []
        self._alarm: asyncio.TimerHandle | None = None

    def add(self, model: LoadedModel, largest: int = 1, wait_s: float = 0.0) -> Lane:
        """A lane for a model: at most `largest` rows together, and the first waits `wait_s` for more."""
        lane = Lane(model, largest, wait_s)
        self._lanes.append(lane)
        return lane

    async def ask(self, lane: Lane, feeds: dict[str, Array]) -> Answer:
        """Run a model; when cancelled before its turn it is not run.

        Raises:
            Exception: what the engine raised.
        """
        rows, key = _together(lane, feeds)
        request = _Request(feeds, rows, key, time.perf_counter(), self._loop.create_future())
        if self._free == self._workers and lane.is_run_here(feeds):
            _run(lane.model, [request])
            if not isinstance(request.answer, Answer):
                raise request.answer or RuntimeError("no answer")
            lane.ran(request, request.answer.run_s)
            return request.answer
        lane.waiting.append(request)
        lane.open.append(request)
        self._dispatch()
        try:
            answer: Answer = await request.future
            lane.ran(request, answer.run_s)
            return answer
        finally:
            if request.answer is None:  # called off
                request.answer = asyncio.CancelledError()
                if request in lane.waiting:
                    lane.waiting.remove(request)
                self._hand_over(lane)

    async def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Something else, in a thread apart from those that run models."""
        return await asyncio.to_thread(function, *args)

    def close(self) -> None:
        """Start nothing more; what is running is left to its end."""
        if self._alarm is not None:
            self._alarm.cancel()
        self._lanes.clear()
        for _ in range(self._workers):
            self._batches.put(None)

    def _work(self) -> None:
        """What each thread does."""
        while (batch := self._batches.get()) is not None:
            _run(batch[0].model, batch[1])
            with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
                self._loop.call_soon_threadsafe(self._finished, batch[0])

    def _dispatch(self) -> None:
        now_s, next_s = time.perf_counter(), float("inf")
        for lane in sorted((one for one in self._lanes if one.waiting), key=lambda one: one.waiting[0].asked_s):
            while self._free and lane.waiting:
                batch, is_full = _head(lane)
                due_s = batch[0].asked_s + lane.wait_s
                if not is_full and now_s < due_s:
                    next_s = min(next_s, due_s)
                    break
                for _ in batch:
                    lane.waiting.popleft()
                self._free -= 1
                self._batches.put((lane, batch))
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        if self._free and next_s < float("inf"):
            self._alarm = self._loop.call_later(next_s - now_s, self._dispatch)

    def _finished(self, lane: Lane) -> None:
        self._free += 1
        self._hand_over(lane)
        self._dispatch()

    def _hand_over(self, lane: Lane) -> None:
        while lane.open and lane.open[0].answer is not None:
            request = lane.open.popleft()
            future, answer = request.future, request.answer
            if future.done():
                continue
            if isinstance(answer, Answer):
                future.set_result(answer)
            elif isinstance(answer, Exception):
                future.set_exception(answer)


def _together(lane: Lane, feeds: dict[str, Array]) -> tuple[int, tuple | None]:
    """Rows of a request, and what others must have in common with it."""
    if lane.largest == 1 or not lane.model.is_batched or any(hasattr(one, "lease") for one in feeds.values()):
        return 1, None
    rows = next(iter(feeds.values())).shape[0]
    if any(one.shape[0] != rows for one in feeds.values()):
        return rows, None
    return rows, tuple(one.shape[1:] for one in feeds.values())


def _head(lane: Lane) -> tuple[list[_Request], bool]:
    """The requests at the head that can be run together, and whether no more would fit."""
    batch, rows = [lane.waiting[0]], lane.waiting[0].rows
    if batch[0].key is None or rows >= lane.largest:
        return batch, True
    for request in islice(lane.waiting, 1, lane.largest):
        if request.key != batch[0].key or rows + request.rows > lane.largest:
            return batch, True
        batch.append(request)
        rows += request.rows
    return batch, rows >= lane.largest


def _run(model: LoadedModel, batch: list[_Request]) -> None:
    """Run a batch and write the answers into it; in a thread. One that fails is run one by one: one may be at fault."""
    began_s = time.perf_counter()
    try:
        if len(batch) == 1:
            parts = [model.engine.run(batch[0].feeds)]
        else:
            feeds = {name: np.concatenate([one.feeds[name] for one in batch]) for name in batch[0].feeds}
            parts = _parts(model, model.engine.run(feeds), [one.rows for one in batch])
    except Exception as e:
        if len(batch) == 1:
            batch[0].answer = batch[0].answer or e
        else:
            for request in batch:
                _run(model, [request])
        return
    run_s, rows = time.perf_counter() - began_s, sum(one.rows for one in batch)
    for request, outputs in zip(batch, parts, strict=True):
        request.answer = request.answer or Answer(outputs, run_s, began_s - request.asked_s, rows)


def _parts(model: LoadedModel, outputs: dict[str, Array], rows: list[int]) -> list[dict[str, Array]]:
    total = sum(rows)
    for name, array in outputs.items():
        if array.ndim == 0 or array.shape[0] != total:
            raise ValueError(
                f"{model.name}: output '{name}' is {array.shape} for a batch of {total}: it has no row for each input, "
                "set max_batch to 1"
            )
    ends = np.cumsum(rows)[:-1]
    split = {name: np.split(array, ends) for name, array in outputs.items()}
    return [{name: pieces[k] for name, pieces in split.items()} for k in range(len(rows))]
