"""One message through some nodes of a flow, apart from the flow that runs: what each node sends, and after what time.

The nodes run as in a flow test: in a runtime of its own, with their wires among each other, on time that stands still.
What reaches beyond the flow (files, machines, programs, other services) is replaced: what would have gone out is shown,
and an answer comes only where one is given. State and contexts begin empty, and are forgotten.

    NotRunnable    the nodes cannot be run so, and why
"""

import asyncio
import contextlib
import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from flowcore.bus.jsonable import jsonable
from flowcore.client.message import Message
from flowcore.testing.check import Ready, check_case, layout_of
from flowcore.testing.document import Layout, Spot
from flowcore.testing.model import Case, Put, Stub, StubUse
from flowcore.testing.motion import Restless
from flowcore.testing.record import Recorder
from flowcore.testing.rig import Rig
from flowcore.testing.stubs import GOT
from flowcore.testing.trial import NotRunnable, Trial

MOST_NODES = 100
MOST_SHOWN = 200  # messages
_LONGEST_VALUE = 32 * 1024  # characters of one payload's JSON
_NODE_MB = 2048  # memory of a node that sets no limit itself
_MEMORY_SHARE = 0.5  # of the machine's memory, all nodes together
_OWN_BYTES = 64 << 20  # of a process that has done nothing, at most: most of it is the fork server's
_LOOK_S = 0.2
_SECRET = "a secret is not given to a try"


class Ask(BaseModel):
    """What is tried.

    Attributes:
        document: the flow as it is drawn.
        nodes: those that run; empty: all.
        put: where the message goes in, "node.port"; an output of a node that reaches beyond the flow may be one.
        answers: what nodes that reach beyond the flow answer, by node.
        seconds: so far time goes on after the message.
    """

    model_config = ConfigDict(extra="forbid")

    document: dict[str, JsonValue]
    nodes: list[str] = Field(default_factory=list)
    put: str = Field(min_length=3, max_length=700)
    payload: JsonValue = None
    topic: str = Field("", max_length=4096)
    meta: dict[str, JsonValue] = Field(default_factory=dict)
    answers: dict[str, JsonValue] = Field(default_factory=dict)
    seconds: float = Field(0, ge=0, le=86_400)
    timeout_s: float = Field(20, gt=0, le=60)


class TimedRecorder(Recorder):
    """A recorder that keeps when things came, by number."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.came_s: dict[int, float] = {}

    def _add(self, spot: Spot, message: Message) -> None:
        super()._add(spot, message)
        self.came_s[self._count] = time.perf_counter()


class Sample(Trial):
    """A try: a trial whose recorder knows when everything came."""

    recorder_type = TimedRecorder
    recorder: TimedRecorder


async def run(rig: Rig, said: Mapping[str, Any]) -> dict[str, Any]:
    """Try it; whatever goes wrong with the nodes is in the answer.

    Returns:
        `outcome` (done, or broken with why in `lines`), `outputs` in order of arrival, `errors`, `notes`, `took_ms`,
        `start_ms`, `left_out` (outputs too many to show).
    """
    ask, begun_s = Ask.model_validate(said), time.perf_counter()
    answer: dict[str, Any] = {"outcome": "done", "lines": [], "outputs": [], "errors": [], "notes": []}
    trial: Sample | None = None
    put_s = after = 0.0
    try:
        async with asyncio.timeout(ask.timeout_s):
            ready, stubbed = _ready(rig, ask)
            answer["notes"] = [_told(node, what, ask) for node, what in stubbed.items()]
            trial = Sample(rig, ready)
            watch = asyncio.create_task(_watch_memory(rig, trial.flow))
            try:
                await trial.start()
                after, put_s = trial.recorder.count, time.perf_counter()
                step = ready.case.steps[0]
                assert isinstance(step, Put)
                await _unless_too_large(trial.do(step), watch)
                if ask.seconds:
                    await _unless_too_large(trial.advance(ask.seconds), watch)
                answer["notes"] += _due(trial)
            finally:
                watch.cancel()
    except (NotRunnable, Restless) as e:
        answer["outcome"], answer["lines"] = "broken", str(e).splitlines()
    except TimeoutError:
        answer["outcome"], answer["lines"] = "broken", [f"not done after {ask.timeout_s:g} s: it was ended"]
    answer["start_ms"] = round(((put_s or time.perf_counter()) - begun_s) * 1000, 1)
    answer["took_ms"] = round((time.perf_counter() - put_s) * 1000, 1) if put_s else 0.0
    if trial is not None:
        if hasattr(trial, "recorder"):
            answer |= _outputs(trial, int(after), put_s)
            answer["lines"] += _deaths(rig, trial)
        with contextlib.suppress(Exception):  # the next try begins anew all the same
            await trial.stop()
    return answer


def _ready(rig: Rig, ask: Ask) -> tuple[Ready, dict[str, str]]:
    """The case, and the nodes that are replaced, with their types."""
    document = _document(ask)
    file = rig.case_folder() / "flow.json"
    file.write_text(json.dumps(document))
    try:
        put = Put(put=ask.put, payload=ask.payload, topic=ask.topic, meta=dict(ask.meta))
    except ValueError:
        raise NotRunnable(f"{ask.put!r} is no place for a message: name it '<node>.<port>'") from None
    now = datetime.fromtimestamp(int(time.time()), UTC).isoformat()
    case = Case(name="try", steps=[put], begins=now, timeout_s=ask.timeout_s)
    secrets = dict.fromkeys(_secrets(document), _SECRET)
    ready = Ready(case, file, file, document, 0, (0,), {}, {}, (), secrets)
    layout = layout_of(ready, rig.types, str(file.parent))
    if isinstance(layout, list):
        raise NotRunnable("\n".join(line.removeprefix(f"{file}:").partition(" ")[2] for line in layout))
    if len(layout.resolved.nodes) > MOST_NODES:
        raise NotRunnable(f"{len(layout.resolved.nodes)} nodes; {MOST_NODES} are the most: select fewer")
    outside = layout.outside(())
    ready.stubs.update({node: _stub(node, layout, ask) for node in outside})
    checked, problems = check_case(ready, rig.types)
    if problems:
        raise NotRunnable("\n".join(problems))
    return checked, {node: layout.resolved.nodes[node].type for node in outside}


def _stub(node: str, layout: Layout, ask: Ask) -> StubUse:
    inputs, _ = layout.ports(node) or ([], [])
    if not inputs:
        return "source"
    return Stub(reply=ask.answers[node]) if node in ask.answers else "sink"


def _document(ask: Ask) -> dict[str, Any]:
    """The flow with the chosen nodes alone, on one host, and none of them without a bound.

    Raises:
        NotRunnable: the document has not the form of a flow at all.
    """
    document = json.loads(json.dumps(ask.document))
    chosen = set(ask.nodes)
    try:
        if chosen:
            document["nodes"] = [node for node in document["nodes"] if node["id"] in chosen]
            document["wires"] = [
                wire
                for wire in document.get("wires", [])
                if {wire["from"].partition(".")[0], wire["to"].partition(".")[0]} <= chosen
            ]
        for scope in (document, *document.get("subflows", {}).values()):
            for node in scope.get("nodes", []):
                settings = {**node.get("settings", {}), "host": "", "replicas": 1}
                settings["memory_mb"] = min(settings.get("memory_mb") or _NODE_MB, _NODE_MB)
                settings["restart"] = {"limit": 0}
                node["settings"] = settings
    except (KeyError, TypeError, AttributeError):
        raise NotRunnable("the document is no flow: its nodes and wires cannot be read") from None
    return document


def _secrets(part: Any) -> set[str]:
    if isinstance(part, list):
        return set().union(*map(_secrets, part)) if part else set()
    if not isinstance(part, dict):
        return set()
    own = {part["$secret"]} if isinstance(part.get("$secret"), str) else set()
    return own.union(*map(_secrets, part.values()))


def _told(node: str, type_: str, ask: Ask) -> str:
    if node in ask.answers:
        return f"{node} ({type_}) reaches beyond the flow: nothing left it, it answered what was given"
    return f"{node} ({type_}) reaches beyond the flow: nothing left it"


def _due(trial: Sample) -> list[str]:
    motion = trial.motion
    if motion is None or motion.due_s is None:
        return []
    return [f"time stands still: {motion.due_node} has something to do in {motion.due_s - motion.now_s:g} s"]


def _deaths(rig: Rig, trial: Sample) -> list[str]:
    run = rig.host.reconciler.runs.get(trial.flow)
    everyone = run.processes.values() if run is not None else ()
    return [f"{one.plan.process} died: {one.reason or 'see its log'}" for one in everyone if one.state == "failed"]


def _outputs(trial: Sample, after: int, put_s: float) -> dict[str, Any]:
    """What was sent and said since the message went in; each with the time since what caused it."""
    recorder = trial.recorder
    spots = [spot for spot in recorder.spots() if spot[1] != "in"]
    found = recorder.seen(spots, after)
    came = {message.id: recorder.came_s[number] for number, message in found if message.id}
    outputs, errors = [], []
    for number, message in found:
        at_s = recorder.came_s[number]
        if message.kind == "error":
            errors.append(_error(message, at_s - put_s))
            continue
        if message.kind == "log" and isinstance(message.payload, dict) and message.payload.get("event") == "error":
            continue  # it is among the errors
        told = _shown(message) | {
            "at_ms": round((at_s - put_s) * 1000, 2),
            "ms": round((at_s - came.get(message.parent, put_s)) * 1000, 2),
        }
        outputs.append(told)
    left_out = max(0, len(outputs) - MOST_SHOWN)
    return {"outputs": outputs[:MOST_SHOWN], "errors": errors[:MOST_SHOWN], "left_out": left_out}


def _shown(message: Message) -> dict[str, Any]:
    is_held = message.kind == "out" and message.port.startswith(GOT)
    kind = "withheld" if is_held else message.kind
    port = message.port.removeprefix(GOT) if is_held else message.port
    payload: Any = jsonable(message.payload)
    if kind == "debug" and isinstance(payload, dict):
        payload = payload.get("value")
    text = json.dumps(payload)
    is_cut = len(text) > _LONGEST_VALUE
    return {
        "node": message.node,
        "kind": kind,
        "port": port,
        "payload": text[:_LONGEST_VALUE] if is_cut else payload,
        "is_cut": is_cut,
        "topic": message.topic,
        "meta": jsonable(message.meta),
    }


def _error(message: Message, after_s: float) -> dict[str, Any]:
    body = message.payload if isinstance(message.payload, dict) else {"text": str(message.payload)}
    told = {name: str(body.get(name, "")) for name in ("error", "text", "traceback")}
    return {"node": message.node, "at_ms": round(after_s * 1000, 2), **told}


async def _unless_too_large(work: Any, watch: "asyncio.Task[str]") -> None:
    """Do it until the nodes have too much memory.

    Raises:
        NotRunnable: they have.
    """
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({task, watch}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise NotRunnable(watch.result())
        await task
    finally:
        task.cancel()


async def _watch_memory(rig: Rig, flow: str) -> str:
    """Returns, with why, when the nodes have too much."""
    whole = int(Path("/proc/meminfo").read_text().split()[1]) * 1024
    while True:
        await asyncio.sleep(_LOOK_S)
        run = rig.host.reconciler.runs.get(flow)
        pids = [one.pid for one in run.processes.values()] if run is not None else []
        used = sum(_private_bytes(pid) for pid in pids if pid is not None)
        if used > whole * _MEMORY_SHARE:
            return f"the nodes took {used >> 20} MB of memory, more than a try may have: they were ended"


def _private_bytes(pid: int) -> int:
    try:
        _, resident, shared, *_ = Path(f"/proc/{pid}/statm").read_text().split()
    except (OSError, ValueError):
        return 0
    return max(0, (int(resident) - int(shared)) * 4096 - _OWN_BYTES)
