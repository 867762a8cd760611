"""One flow under test: deployed with its stubs, fed, watched, moved in time.

Unmet      something is not as it was expected; `lines` say where it differs
NotRunnable    the flow cannot be deployed, or a place in it is not there
"""

import asyncio
import json
from collections.abc import Sequence
from typing import Any, ClassVar

from flowcore.bus.jsonable import from_jsonable, jsonable
from flowcore.client.message import Message
from flowcore.flow.problems import Report
from flowcore.runtime.results import DeployRefused, HostError
from flowcore.testing.check import Ready, layout_of, read_payloads
from flowcore.testing.document import Layout, with_env, with_stubs
from flowcore.testing.match import differences, paired, told
from flowcore.testing.model import Advance, AnyStep, Expect, Expected, Kill, Pause, Put, Resume, Wait, given
from flowcore.testing.motion import Motion
from flowcore.testing.record import Recorder
from flowcore.testing.rig import BEGINS_S, Rig

_PATIENCE_S = 2.0  # real time that a node which reaches beyond the flow gets
_REAL_S = 5.0  # how long an expectation waits in real time that says nothing else
_LOOK_S = 0.05
_SHOWN = 10
_AT_ONCE = 100


class Unmet(AssertionError):
    """Something is not as it was expected."""

    def __init__(self, lines: Sequence[str]) -> None:
        self.lines = list(lines)
        super().__init__("\n".join(lines))


class NotRunnable(Exception):
    """The flow cannot be deployed, or a place that was named is not there."""


class Trial:
    """A flow under test: `start`, steps, `check_errors`, `stop`."""

    recorder_type: ClassVar[type[Recorder]] = Recorder

    def __init__(self, rig: Rig, ready: Ready) -> None:
        self._rig, self._host, self._ready = rig, rig.host, ready
        self.folder = rig.case_folder()
        self.flow = str(ready.flow.get("id", ""))
        self._is_moved = ready.case.clock == "moved"
        self._cursors: dict[str, int] = {}
        self._expected_errors: set[int] = set()
        self._kills: dict[str, int] = {}
        self.motion: Motion | None = None

    # -- life ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Deploy.

        Raises:
            NotRunnable: what is wrong with the flow, or which node of it does not start.
        """
        ready, host = self._ready, self._host
        layout = ready.layout or layout_of(ready, self._rig.types, str(self.folder))
        if isinstance(layout, list):
            raise NotRunnable("\n".join(layout))
        self.layout: Layout = layout
        document = with_stubs(with_env(ready.flow, ready.env, str(self.folder)), layout, ready.stubs)
        self.recorder = self.recorder_type(host.bus.connection, self.flow, self._rig.memory)
        self._rig.secrets(ready.secrets)
        begins_s = ready.case.begins_s()
        self._rig.time.now_s = BEGINS_S if begins_s is None else begins_s
        host.clock = self._rig.clock if self._is_moved else ""
        await self.recorder.start()
        try:
            result = await host.documents.deploy(json.dumps(document), str(ready.flow_file))
        except DeployRefused as e:
            raise NotRunnable("\n".join(str(problem) for problem in e.problems)) from None
        if result.failed or result.problems:
            failed = [f"{node} does not start: {why}" for node, why in result.failed.items()]
            raise NotRunnable("\n".join([*failed, *map(str, result.problems)]))
        if self._is_moved:
            self.motion = Motion(host, self.flow, self._rig.time)
            run = host.reconciler.runs[self.flow]
            wires = run.whole.wires if run.whole is not None else ()
            self.motion.set_streams([wire.asdict() for wire in wires if wire.delivery == "durable"])
            await self.motion.settle()

    async def stop(self) -> None:
        """End the flow, and forget what it had."""
        if hasattr(self, "recorder"):
            await self.recorder.stop()
        await self._rig.clear(self.flow)

    async def settle(self) -> None:
        """Wait until the flow is at rest; with a real clock, until what was said has come."""
        if self.motion is not None:
            if self._ready.real:
                self.motion.stir()  # the world goes on beside its time
            await self.motion.settle()
        else:
            await self._host.bus.connection.flush()

    def _stir(self) -> None:
        if self.motion is not None:
            self.motion.stir()

    # -- steps --------------------------------------------------------------------------------------------------

    async def do(self, step: AnyStep) -> None:
        """Do one step.

        Raises:
            Unmet, NotRunnable
        """
        match step:
            case Put():
                await self._put(step)
            case Expect():
                await self.expect(step)
            case Advance():
                await self.advance(step.advance)
            case Kill():
                await self.kill(step.kill)
            case Wait():
                await self.wait(step.wait, step.state, step.within_s)
            case Pause():
                await self.set_mode(step.pause, "paused")
            case Resume():
                await self.set_mode(step.resume, "run")

    async def _put(self, step: Put) -> None:
        if step.file is not None:
            payloads = read_payloads(step, self._ready.file.parent)
        elif step.payloads is not None:
            payloads = [from_jsonable(one) for one in step.payloads]
        else:
            payloads = [from_jsonable(step.payload)]
        await self.put(step.put, payloads, step.topic, step.meta, step.every_s)

    async def put(
        self, place: str, payloads: Sequence[Any], topic: str = "", meta: dict | None = None, every_s: float = 0
    ) -> None:
        """Put messages in, one after the other."""
        report = Report()
        node, _, port = place.rpartition(".")
        targets, why = self.layout.puts_into(node, port, report)
        if why:
            raise NotRunnable(why)
        if every_s and self.motion is not None:
            for payload in payloads:
                await self._inject(targets, [payload], topic, meta or {})
                await self.motion.advance(every_s)
        else:
            await self._inject(targets, payloads, topic, meta or {})
        await self.settle()

    async def _inject(
        self, targets: Sequence[tuple[str, str]], payloads: Sequence[Any], topic: str, meta: dict[str, Any]
    ) -> None:
        self._stir()
        for node, port in targets:
            found = self._host.reconciler.runs[self.flow].of_node(node)
            if not found:
                raise NotRunnable(f"node '{node}' has no process")
            one = next((one for one in found if one.is_up), found[0])
            for payload in payloads:
                self.recorder.put(node, port, payload, topic, meta)
            for begin in range(0, len(payloads), _AT_ONCE):
                asked = [
                    one.request("inject", "injected", port=port, payload=payload, topic=topic, meta=meta)
                    for payload in payloads[begin : begin + _AT_ONCE]
                ]
                for answer in await asyncio.gather(*asked):
                    if answer.get("error"):
                        raise NotRunnable(str(answer["error"]))

    async def advance(self, seconds: float) -> None:
        """Move the time."""
        if self.motion is None:
            raise NotRunnable('time goes by itself here ("clock": "real")')
        await self.motion.advance(seconds)

    async def kill(self, node: str) -> None:
        """SIGKILL a node, and wait until its successor runs."""
        found = self._host.reconciler.runs[self.flow].of_node(node)
        before = {one: one.inc for one in found}
        for one in found:
            one.send("shrink")  # what it has sent and all have acked is not sent again
        self._stir()
        await self.settle()
        try:
            await self._host.steer.kill(self.flow, node)
        except HostError as e:
            raise NotRunnable(str(e)) from None
        self._stir()
        self._kills[node] = self._kills.get(node, 0) + len(found)
        for one, inc in before.items():
            await self._until(lambda one=one, inc=inc: one.inc > inc and one.state == "running", 15, f"{node} to run")
        await self.settle()

    async def wait(self, node: str, state: str, within_s: float) -> None:
        """Wait until a node is in a state."""

        def states() -> list[str]:
            return [one.state for one in self._host.reconciler.runs[self.flow].of_node(node)]

        await self._until(lambda: all(one == state for one in states()), within_s, f"{node} to be {state}", states)

    async def _until(self, is_so: Any, within_s: float, what: str, seen: Any = None) -> None:
        try:
            async with asyncio.timeout(within_s):
                while not is_so():  # noqa: ASYNC110 - the supervisor has no event for it that others may wait for
                    await asyncio.sleep(0.01)
        except TimeoutError:
            now = f"; it is {', '.join(seen())}" if seen is not None else ""
            raise Unmet([f"waited {within_s:g} s for {what}{now}"]) from None

    async def set_mode(self, node: str, mode: str) -> None:
        """Let a node handle nothing more (`paused`), or go on (`run`)."""
        for one in self._host.reconciler.runs[self.flow].of_node(node):
            self._stir()
            one.set_mode(mode)
            await one.request("rest?", "rest", flush=True)  # it has taken the word before
        await self.settle()

    # -- expectations -------------------------------------------------------------------------------------------

    def seen(self, place: str, after: int = 0) -> list[tuple[int, Message]]:
        """What was seen at a place.

        Raises:
            NotRunnable: there is no such place.
        """
        spots, why = self.layout.seen_at(place, Report())
        if why:
            raise NotRunnable(why)
        return self.recorder.seen(spots, after)

    async def expect(self, step: Expect) -> list[Message]:
        """Wait for what is expected since the last look at this place; the messages that were.

        Raises:
            Unmet
        """
        place, after = step.expect, self._cursors.get(step.expect, 0)
        has_all = step.none or step.count is not None  # what must not come needs all the time
        waited = _Waited(self, step)
        if has_all:
            await waited.all_of_it()
        while True:
            await self.settle()
            came = self.seen(place, after)
            verdict = _judge(step, [message for _, message in came])
            if verdict.taken is not None:
                taken = [came[index] for index in verdict.taken]
                if taken:
                    self._cursors[place] = max(number for number, _ in taken)
                if place.endswith(".error"):
                    self._expected_errors.update(number for number, _ in taken)
                return [message for _, message in taken]
            if verdict.is_final or has_all or not await waited.some_of_it():
                break
        raise Unmet([*verdict.lines, *self._around(step, came)])

    def _around(self, step: Expect, came: list[tuple[int, Message]]) -> list[str]:
        """What a reader of a failure wants to know besides."""
        lines = [f"what came there: {len(came) or 'nothing'}" + (", since the last look" if came else "")]
        for _, message in came[:_SHOWN]:
            topic = f"  topic {message.topic!r}" if message.topic else ""
            lines.append(f"  {told(message.payload)}{topic}")
        if len(came) > _SHOWN:
            lines.append(f"  and {len(came) - _SHOWN} more")
        motion = self.motion
        if motion is not None and not step.none and motion.due_s is not None:
            left_s = motion.due_s - motion.now_s
            lines.append(f"time stands still; the next thing is due in {left_s:g} s ({motion.due_node}):")
            lines[-1] += ' "within_s" lets time go until it comes'
        lines += [f"{message.node} failed: {_error(message)}" for _, message in self._unexpected()[:3]]
        return lines

    def _unexpected(self) -> list[tuple[int, Message]]:
        return [one for one in self.recorder.events("error") if one[0] not in self._expected_errors]

    async def check_errors(self) -> None:
        """At the end of a case: nothing failed that no step expected.

        Raises:
            Unmet
        """
        await self.settle()
        failed = [message for _, message in self._unexpected()]
        lines = [f"{message.node} failed, and no step expects it: {_error(message)}" for message in failed[:_SHOWN]]
        if len(failed) > _SHOWN:
            lines.append(f"and {len(failed) - _SHOWN} more")
        run = self._host.reconciler.runs.get(self.flow)
        for one in run.processes.values() if run is not None else ():
            if one.restarts > self._kills.get(one.plan.node, 0):
                lines.append(f"{one.plan.process} died: {one.reason or 'see its log'}")
        if lines:
            raise Unmet(lines)

    def log(self) -> list[str]:
        """What nodes logged, in short."""
        entries = [(message.node, message.payload) for _, message in self.recorder.events("log")]
        return [
            f"{node}: {' '.join(str(body.get(key, '')) for key in ('event', 'detail')).strip()}"
            for node, body in entries
        ]


class _Waited:
    """The time that one expectation has: moved, or real."""

    def __init__(self, trial: Trial, step: Expect) -> None:
        self._trial, self._step = trial, step
        loop = asyncio.get_running_loop()
        motion = trial.motion
        self._until_s = motion.now_s + step.within_s if motion is not None else 0.0
        is_given = given(step, "within_s") or step.none or step.count is not None
        real_s = (step.within_s if is_given else _REAL_S) if motion is None else 0.0
        if motion is not None and trial._ready.real:
            real_s = _PATIENCE_S
        self._real_until_s = loop.time() + real_s
        self._is_over = False

    async def all_of_it(self) -> None:
        """Let all of the time go by."""
        motion = self._trial.motion
        if motion is not None:
            if self._step.within_s:
                await motion.advance(self._step.within_s)
        else:
            await asyncio.sleep(self._step.within_s)

    async def some_of_it(self) -> bool:
        """Let time go until something may have come; False when it is over."""
        motion = self._trial.motion
        if motion is not None and motion.now_s < self._until_s:
            await motion.step(self._until_s)
            return True
        left_s = self._real_until_s - asyncio.get_running_loop().time()
        if left_s <= 0:
            return False
        came = self._trial.recorder.came
        came.clear()
        try:
            async with asyncio.timeout(min(left_s, _LOOK_S if motion is not None else left_s)):
                await came.wait()
        except TimeoutError:
            pass
        return True


class _Verdict:
    """`taken`: indices of the messages that were expected, None: not (yet) as expected; `is_final`: nor ever."""

    def __init__(self, taken: list[int] | None, lines: Sequence[str] = (), is_final: bool = False) -> None:
        self.taken, self.lines, self.is_final = taken, list(lines), is_final


def _judge(step: Expect, came: list[Message]) -> _Verdict:
    if step.none:
        return _Verdict([]) if not came else _Verdict(None, ["expected nothing"], True)
    if step.count is not None:
        lines = [] if len(came) == step.count else [f"expected {step.count} messages, got {len(came)}"]
        for number, message in enumerate(came, 1):
            lines += [f"message {number}: {line}" for line in _compare(step, message)]
        return _Verdict(None, lines, True) if lines else _Verdict(list(range(len(came))))
    wanted: Sequence[Expected] = step.messages if step.messages is not None else [step]
    if step.unordered:
        fits = [[not _compare(one, message) for message in came] for one in wanted]
        chosen = paired(fits)
        missing = [one for one, index in zip(wanted, chosen, strict=True) if index is None]
        if not missing:
            return _Verdict([index for index in chosen if index is not None])
        return _Verdict(None, [f"did not come: {_described(one)}" for one in missing])
    taken: list[int] = []
    at = 0
    for number, one in enumerate(wanted, 1):
        which = f"message {number}: " if len(wanted) > 1 else ""
        while True:
            if at == len(came):
                return _Verdict(None, [f"{which}did not come: {_described(one)}"])
            lines = _compare(one, came[at])
            at += 1
            if not lines:
                taken.append(at - 1)
                break
            if not step.skip:
                return _Verdict(None, [which + line for line in lines], True)
    return _Verdict(taken)


def _compare(expected: Expected, message: Message) -> list[str]:
    lines: list[str] = []
    if given(expected, "payload"):
        lines += differences(expected.payload, message.payload)
    if expected.has is not None:
        lines += differences(expected.has, message.payload, has=True)
    if given(expected, "topic"):
        lines += differences(expected.topic, message.topic, "topic")
    if expected.meta is not None:
        lines += differences(expected.meta, message.meta, "meta", has=True)
    return lines


def _described(expected: Expected) -> str:
    parts = [
        f"{name} {told(getattr(expected, name))}"
        for name in ("payload", "has", "topic", "meta")
        if given(expected, name)
    ]
    return ", ".join(parts) or "a message"


def _error(message: Message) -> str:
    body: Any = message.payload
    if not isinstance(body, dict):
        return told(body)
    what = f"{body.get('error')}: {body.get('text')}"
    failed = body.get("message")
    of = f" (on {told(jsonable(failed.get('payload')))})" if isinstance(failed, dict) else ""
    return what + of
