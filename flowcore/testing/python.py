"""Flow tests in Python: a flow under test with methods that wait, and the thread in which its runtime lives.

def test_a_hot_oven_is_cooled(flow):
    factory = flow("flows/factory.json", stubs={"sensors": "source", "actuators": "sink", "events": "sink"})
    factory.put("sensors.out", {"machine": "oven", "temp_c": 95, "vibration_mm_s": 1, "air_ug_m3": 5})
    factory.expect("actuators.in", True, topic="actuators/oven/cooling", within_s=5)
"""

import asyncio
import json
import threading
from collections.abc import Coroutine, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

import uvloop
from pydantic import TypeAdapter

from flowcore.client.message import Message
from flowcore.testing.check import Checked, Ready, check_case, check_file
from flowcore.testing.model import Case, Expect, StubUse
from flowcore.testing.rig import Rig
from flowcore.testing.run import Result, run_case
from flowcore.testing.trial import NotRunnable, Trial

_T = TypeVar("_T")
_STUBS: TypeAdapter[dict[str, StubUse]] = TypeAdapter(dict[str, StubUse])
UNSET: Any = type("Unset", (), {"__repr__": lambda self: "UNSET"})()


class Bench:
    """A test runtime in a thread of its own; its methods may be called from any other."""

    def __init__(self) -> None:
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="flow tests", daemon=True)
        self._thread.start()
        self._checked: dict[Path, Checked] = {}
        self.rig = Rig()
        try:
            self.call(self.rig.__aenter__())
        except BaseException:
            self._end()
            raise

    def call(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Do something in the thread, and wait for it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def close(self) -> None:
        """End the runtime."""
        try:
            self.call(self.rig.__aexit__(None, None, None))
        finally:
            self._end()

    def _end(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def run(self, file: Path, case: str) -> Result:
        """Run one case of a test file.

        Raises:
            NotRunnable: the file has errors.
        """
        if file not in self._checked:
            self._checked[file] = check_file(file, self.rig.types)
        checked = self._checked[file]
        if checked.errors:
            raise NotRunnable("\n".join(str(problem) for problem in checked.problems))
        ready = next(one for one in checked.cases if one.case.name == case)
        return self.call(run_case(self.rig, ready))

    def deploy(self, file: Path, document: dict[str, Any], **around: Any) -> "Flow":
        """A flow under test. Arguments as `Flow`'s maker in `pytest_plugin`.

        Raises:
            NotRunnable
        """
        ready = _ready(file, document, **around)
        ready, wrong = check_case(ready, self.rig.types)
        if wrong:
            raise NotRunnable("\n".join(wrong))
        trial = Trial(self.rig, ready)
        try:
            self.call(trial.start())
        except BaseException:
            self.call(trial.stop())
            raise
        return Flow(self, trial, ready.case.errors)


def _ready(
    file: Path,
    document: dict[str, Any],
    *,
    env: Mapping[str, Any] | None = None,
    stubs: Mapping[str, Any] | None = None,
    real: Sequence[str] = (),
    secrets: Mapping[str, str] | None = None,
    clock: Literal["moved", "real"] = "moved",
    begins: str | None = None,
    errors: Literal["fail", "allow"] = "fail",
) -> Ready:
    case = Case.model_validate(
        {"name": "a test in Python", "clock": clock, "begins": begins, "errors": errors, "steps": [{"advance": 1}]}
    )
    case.steps.clear()
    return Ready(
        case=case,
        file=file,
        flow_file=file,
        flow=document,
        line=0,
        step_lines=(),
        env=dict(env or {}),
        stubs=_STUBS.validate_python(dict(stubs or {})),
        real=tuple(real),
        secrets=dict(secrets or {}),
    )


class Flow:
    """A flow under test. Places are written as in test files: `<node>.<port>`, an input, an output, `error` ..."""

    def __init__(self, bench: Bench, trial: Trial, errors: str) -> None:
        self._bench, self._trial, self._errors = bench, trial, errors

    def put(
        self, place: str, *payloads: Any, topic: str = "", meta: dict[str, Any] | None = None, every_s: float = 0
    ) -> None:
        """Put messages into an input, or let a stub send them; returns when the flow is at rest."""
        self._bench.call(self._trial.put(place, payloads, topic, meta, every_s))

    def expect(
        self,
        place: str,
        payload: Any = UNSET,
        *,
        has: dict[str, Any] | None = None,
        topic: Any = UNSET,
        meta: dict[str, Any] | None = None,
        skip: bool = False,
        within_s: float = UNSET,
    ) -> Message:
        """The next message at a place, which must be as it is said here.

        Args:
            payload, has, topic, meta, skip: as in test files; patterns such as {"$about": 20} may be used.
            within_s: let the time go until it comes, so far at most.
        Raises:
            AssertionError: it is another one, or does not come.
        """
        given = {"payload": payload, "topic": topic, "within_s": within_s}
        step = {name: value for name, value in given.items() if value is not UNSET}
        step |= {name: value for name, value in {"has": has, "meta": meta}.items() if value is not None}
        (message,) = self._expect(expect=place, skip=skip, **step)
        return message

    def expect_messages(
        self, place: str, *messages: dict[str, Any], unordered: bool = False, within_s: float = UNSET
    ) -> list[Message]:
        """The next messages at a place: {"payload": ..}, {"has": ..} for each."""
        step: dict[str, Any] = {} if within_s is UNSET else {"within_s": within_s}
        return self._expect(expect=place, messages=list(messages), unordered=unordered, **step)

    def expect_count(self, place: str, count: int, *, within_s: float = 0, **each: Any) -> list[Message]:
        """So many messages came, or come within that time, and no more; each is as `has`, `topic` .. say."""
        return self._expect(expect=place, count=count, within_s=within_s, **each)

    def expect_none(self, place: str, within_s: float = 0) -> None:
        """Nothing came, nor does it within that time."""
        self._expect(expect=place, none=True, within_s=within_s)

    def _expect(self, **step: Any) -> list[Message]:
        wanted = Expect.model_validate(step)
        return self._bench.call(self._trial.expect(wanted))

    def messages(self, place: str) -> list[Message]:
        """All that was seen at a place since the flow was deployed."""
        self._bench.call(self._trial.settle())
        return [message for _, message in self._trial.seen(place)]

    def payloads(self, place: str) -> list[Any]:
        """Their payloads."""
        return [message.payload for message in self.messages(place)]

    def advance(self, seconds: float) -> None:
        """Move the time; what falls due happens in its order."""
        self._bench.call(self._trial.advance(seconds))

    def kill(self, node: str) -> None:
        """SIGKILL a node, and wait until its successor runs."""
        self._bench.call(self._trial.kill(node))

    def wait(self, node: str, state: str = "running", within_s: float = 10) -> None:
        """Wait, in real time, until a node is in a state."""
        self._bench.call(self._trial.wait(node, state, within_s))

    def pause(self, node: str) -> None:
        """Let a node handle nothing more."""
        self._bench.call(self._trial.set_mode(node, "paused"))

    def resume(self, node: str) -> None:
        """Let a paused node go on."""
        self._bench.call(self._trial.set_mode(node, "run"))

    @property
    def now_s(self) -> float:
        """Where its time stands, seconds since 1970."""
        return self._bench.rig.time.now_s

    @property
    def folder(self) -> Path:
        """What is `${TEST_DIR}` in its env."""
        return self._trial.folder

    def close(self) -> None:
        """End it.

        Raises:
            AssertionError: something failed that nothing expected.
        """
        try:
            if self._errors == "fail":
                self._bench.call(self._trial.check_errors())
        finally:
            self._bench.call(self._trial.stop())


def read(file: Path) -> dict[str, Any]:
    """A flow's document.

    Raises:
        NotRunnable: there is none.
    """
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as e:
        raise NotRunnable(f"{file}: {e}") from None
    if not isinstance(document, dict):
        raise NotRunnable(f"{file}: a flow is a map")
    return document
