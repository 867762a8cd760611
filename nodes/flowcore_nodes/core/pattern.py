import json
from bisect import insort
from collections.abc import AsyncIterator, Iterator
from typing import Any, ClassVar, Literal

from pydantic import model_validator

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, Outputs, field
from flowcore.node.paths import MessagePath
from flowcore_nodes.core import event_pattern
from flowcore_nodes.core.conditions import Asked, Condition
from flowcore_nodes.core.due import EARLY_S, Due
from flowcore_nodes.core.event_pattern import EVENTS, STARTED_S, Run, advance, expire, first_due_s, furthest
from flowcore_nodes.core.event_time import EventTime, TimeUnit
from flowcore_nodes.core.path_fields import ReadPathOrEmpty

# What self.state holds of a key: what it is called, its runs; with the time in the message besides up to which it was
# judged, the newest time, when that came, and what waits for its turn.
_LABEL, _RUNS, _MARK_S, _NEWEST_S, _ARRIVED_S, _HELD = range(6)
_NEVER_S = -1e18
_AFTER_S = 2 * EARLY_S  # a timer waits so much longer: what comes on time is in time
_SHAPE = "shape"  # state: the steps that the runs were made by


class Step(Condition):
    """An event of the pattern."""

    name: str = field("", max_length=100, description="What it is called, such as door open; empty: its number")
    within_s: float | None = field(
        None, gt=0, le=31_536_000, description="At most so long after the step before, in seconds; empty: any time"
    )
    times: int = field(1, ge=1, le=100, description="So many such events, one after the other")


class Pattern(Node):
    """Find events that follow each other: A, then B within so many seconds, and no C between.

    An event is a message for which a condition holds; others may come between. A match is a map on `out`; the next one
    begins with later events. What began and did not come to its end in time goes to `missed` (the door was opened, and
    not closed within a minute: choose `begin` first, so that repeated messages do not begin anew), what was ended by
    one of `without` to `cancelled`. What has begun survives restarts. With the time in the message, events are judged
    in the order of their times: each waits `late_s` for earlier ones, and what comes later still goes to `late`.
    """

    type = "core/pattern"
    title = "Pattern"
    category = "function"
    icon = "list-tree"
    stateful = True
    context: ClassVar[tuple[str, ...]] = ("flow", "global")

    class Config(NodeConfig):
        steps: list[Step] = field(..., min_length=1, max_length=20, description="The events, in their order")
        without: list[Condition] = field([], max_length=20, description="Events that must not come between")
        within_s: float | None = field(
            60.0,
            gt=0,
            le=31_536_000,
            description="From the first event to the last, at most, in seconds; empty: any time",
        )
        begin: Literal["latest", "first"] = field(
            "latest",
            description="When the first event comes again: begin anew, which finds each match; or the first one "
            "counts, which tells in time what did not follow it",
        )
        key: ReadPathOrEmpty = field(
            "", description="Path of what has patterns of its own, such as topic or machine; empty: all are one"
        )
        max_keys: int = field(10_000, gt=0, le=100_000, description="Most keys at a time; a further one is an error")
        time: ReadPathOrEmpty = field(
            "", description="Path of when the event was: a number since 1970 or ISO 8601; empty: when its message came"
        )
        unit: TimeUnit = field("s", description="Unit of a time that is a number: s, ms, us or ns")
        late_s: float = field(
            0.0, ge=0, le=86_400, description="Time in the message: so long an earlier event is waited for, in seconds"
        )
        idle_s: float = field(
            0.0,
            ge=0,
            le=86_400,
            description="Time in the message: when a key was silent for so many seconds its time goes on by itself; "
            "0: only messages move it",
        )
        max_held: int = field(
            1000, gt=0, le=10_000, description="Time in the message: most events of a key that wait; more are an error"
        )
        payloads: bool = field(True, description="Keep the payloads of events, and put them into what is sent")

        @model_validator(mode="after")
        def _fits(self) -> "Pattern.Config":
            if self.steps[0].within_s is not None and self.steps[0].times == 1:
                raise ValueError("within_s of the first step: there is none before it")
            if sum(step.times for step in self.steps) > 100:
                raise ValueError("all steps together may be 100 events")
            if not self.time and (self.late_s or self.idle_s):
                raise ValueError("late_s and idle_s are for a time in the message: give its path as time")
            return self

    in_ = In(description="an event")
    out = Out(dict, "each match: key, from_s, to_s, events (step, at_s, payload)")
    missed = Out(dict, "what was not in time: key, from_s, until_s, waited_for, events")
    cancelled = Out(dict, "what was ended by one of without: key, from_s, at_s, waited_for, by, events")
    late = Out(description="events whose time had been judged already, as they are")

    def on_start(self) -> None:
        self._due = Due(self, self._when_due)
        self._matches = self._late = 0
        self._read_config()

    def on_go(self) -> None:
        self._adopt()

    def on_reconfigure(self, old: Any) -> None:
        self._read_config()
        self._adopt()

    def _read_config(self) -> None:
        config = self.config
        self._key = MessagePath(config.key).find if config.key else None
        self._time = EventTime(config.time, config.unit) if config.time else None
        self._names: list[str] = []
        self._numbers: list[list[int]] = []  # of each step of the config, the steps of the pattern that it is
        gaps_s: list[float | None] = []
        for number, step in enumerate(config.steps, 1):
            self._numbers.append([*range(len(gaps_s), len(gaps_s) + step.times)])
            self._names += [step.name or str(number)] * step.times
            gaps_s += [step.within_s] * step.times
        self._pattern = event_pattern.Pattern(config.within_s, gaps_s, config.begin)
        self._steps = [Asked.of(self, step) for step in config.steps]
        self._without = [Asked.of(self, condition) for condition in config.without]

    def _adopt(self) -> None:
        """Go on with the runs of the process before, or of the config before, where the steps are still the same."""
        steps = [step.model_dump(mode="json") for step in self.config.steps]
        shape = json.dumps([steps, self.config.time, self.config.unit, self.config.key])
        if self.state.get(_SHAPE) != shape:
            self.state.clear()
            self.state[_SHAPE] = shape
        due = {}
        for key, kept in self.state.items():
            if key != _SHAPE and (due_s := self._due_s(kept)) is not None:
                due[key] = due_s
        self._due.begin(due)
        self._show()

    async def on_message(self, message: Message) -> AsyncIterator[Outputs]:
        at_s = self._time.of(message) if self._time else self.now_s()
        numbers = [
            number
            for asked, all_of_it in zip(self._steps, self._numbers, strict=True)
            if await asked.holds(message)
            for number in all_of_it
        ]
        is_against = any([await asked.holds(message) for asked in self._without])
        label = self._key(message, "") if self._key else ""
        key = f"k:{label}"
        kept = self.state.get(key)
        if self._time is None and not numbers and (kept is None or not is_against):
            return  # the timer tells what was not in time
        event = [at_s, numbers, is_against, message.payload if self.config.payloads else None]
        if kept is None:
            self._make_room(label)
            kept = [label, [], _NEVER_S, _NEVER_S, 0.0, []]
        elif self._time is not None and at_s < kept[_MARK_S]:
            self._late += 1
            self._show()
            yield Outputs(late=message)
            return
        for outputs in self._take(key, list(kept), event):
            yield Outputs({port: message.derive(told) for port, told in outputs.items()})

    def _take(self, key: str, kept: list, event: list) -> list[dict[str, dict]]:
        """What one event more makes of a key; the outputs."""
        at_s = event[0]
        told: list[dict[str, dict]] = []
        if self._time is None:
            kept[_RUNS] = self._judged(kept, event, told)
        else:
            kept[_HELD] = list(kept[_HELD])
            insort(kept[_HELD], event, key=lambda held: held[0])
            if at_s > kept[_NEWEST_S]:
                kept[_NEWEST_S], kept[_ARRIVED_S] = at_s, self.now_s()
            kept[_MARK_S] = max(kept[_MARK_S], kept[_NEWEST_S] - self.config.late_s)
            self._release(kept, told)
            if len(kept[_HELD]) > self.config.max_held:
                raise GiveUp(f"{kept[_LABEL]!r}: more than max_held = {self.config.max_held} events wait")
        self._keep(key, kept)
        return told

    def _release(self, kept: list, told: list[dict[str, dict]]) -> None:
        """Judge what waits up to the mark, and tell what was not in time by then."""
        held, mark_s = kept[_HELD], kept[_MARK_S]
        count = 0
        while count < len(held) and held[count][0] <= mark_s:
            kept[_RUNS] = self._judged(kept, held[count], told)
            count += 1
        kept[_HELD] = held[count:]
        kept[_RUNS], over = expire(self._pattern, kept[_RUNS], mark_s)
        told += self._missed(kept, over)

    def _judged(self, kept: list, event: list, told: list[dict[str, dict]]) -> list[Run]:
        """The runs after an event."""
        at_s, numbers, is_against, payload = event
        runs, over = expire(self._pattern, kept[_RUNS], at_s)
        told += self._missed(kept, over)
        if is_against:
            for run in furthest(runs):
                about = {**self._about(kept, run), "at_s": at_s, "waited_for": self._names[len(run[EVENTS])]}
                told.append({"cancelled": about | ({"by": payload} if self.config.payloads else {})})
            runs = []
        runs, match = advance(self._pattern, runs, set(numbers), at_s, [at_s, payload])
        if match is not None:
            self._matches += 1
            self._show()
            told.append({"out": {**self._about(kept, match), "to_s": at_s}})
        return runs

    def _missed(self, kept: list, over: list[Run]) -> Iterator[dict[str, dict]]:
        for run in over:
            about = {"until_s": self._pattern.due_s(run), "waited_for": self._names[len(run[EVENTS])]}
            yield {"missed": {**self._about(kept, run), **about}}

    def _about(self, kept: list, run: Run) -> dict[str, Any]:
        events = [
            {"step": name, "at_s": at_s} | ({"payload": payload} if self.config.payloads else {})
            for name, (at_s, payload) in zip(self._names, run[EVENTS], strict=False)
        ]
        return {"key": kept[_LABEL], "from_s": run[STARTED_S], "events": events}

    def _keep(self, key: str, kept: list) -> None:
        if self._time is None and not kept[_RUNS]:
            self.state.pop(key, None)
        else:
            self.state[key] = kept
        due_s = self._due_s(kept)
        if due_s is None:
            self._due.discard(key)
        else:
            self._due.add(key, due_s)
            self._due.arm()

    def _due_s(self, kept: list) -> float | None:
        """When something is to be done about a key though no message comes."""
        due_s = first_due_s(self._pattern, kept[_RUNS])
        if self._time is None:
            return None if due_s is None else due_s + _AFTER_S
        if not self.config.idle_s or (due_s is None and not kept[_HELD]):
            return None
        wait_s = self.config.idle_s
        if not kept[_HELD] and due_s is not None:
            wait_s = max(wait_s, due_s - kept[_NEWEST_S])
        return kept[_ARRIVED_S] + wait_s + _AFTER_S

    async def _when_due(self) -> AsyncIterator[Outputs]:
        for key in self._due.take():
            kept = self.state.get(key)
            if kept is None:
                continue
            kept = list(kept)
            told: list[dict[str, dict]] = []
            now_s = self.now_s()
            kept[_MARK_S] = now_s if self._time is None else kept[_NEWEST_S] + now_s - kept[_ARRIVED_S]
            self._release(kept, told)
            self._keep(key, kept)
            topic = kept[_LABEL] if isinstance(kept[_LABEL], str) else ""
            for outputs in told:
                yield Outputs({port: Message(about, topic) for port, about in outputs.items()})

    def _make_room(self, label: Any) -> None:
        """For one key more: those with nothing under way are forgotten, the ones silent for longest first."""
        if len(self.state) <= self.config.max_keys:
            return
        quiet = [key for key, kept in self.state.items() if key != _SHAPE and not kept[_RUNS] and not kept[_HELD]]
        if not quiet:
            raise GiveUp(f"{label!r} would be key {len(self.state)}, max_keys is {self.config.max_keys}")
        quiet.sort(key=lambda key: self.state[key][_ARRIVED_S])
        for key in quiet[: max(1, len(quiet) // 10)]:
            del self.state[key]

    def _show(self) -> None:
        self.set_status(f"{self._matches} matched" + (f", {self._late} late" if self._late else ""))
