"""Checking a test file: its JSON, its shape, its meaning against the flow. Everything wrong is found at once."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from flowcore.flow.problems import Problem, Report, escape, pointer
from flowcore.flow.source import Source, SourceError, decoded
from flowcore.flow.types import NodeTypeInfo
from flowcore.flow.validate import check
from flowcore.flow.wording import faults, tell
from flowcore.runtime.typelist import describe
from flowcore.testing import stubs
from flowcore.testing.document import Layout, runnable, with_env, with_stubs
from flowcore.testing.match import check_patterns
from flowcore.testing.model import FORMAT, STEPS, Case, Expect, Expected, Put, Stub, StubUse, TestFile, given
from flowcore.testing.names import SUFFIX, flow_of
from flowcore.testing.schema import validators


@dataclass(frozen=True)
class Ready:
    """A case that can be run: with what its file says for all cases."""

    case: Case
    file: Path
    flow_file: Path
    flow: dict[str, Any]  # the flow's document as its file has it
    line: int
    step_lines: tuple[int, ...]
    env: dict[str, Any]
    stubs: dict[str, StubUse]
    real: tuple[str, ...]
    secrets: dict[str, str]
    layout: Layout | None = None  # of its flow with its stubs, once it was checked

    @property
    def id(self) -> str:
        """How it is named in reports."""
        return f"{self.file.name.removesuffix(SUFFIX)}: {self.case.name}"


@dataclass
class Checked:
    """What is to be run, and what is wrong: with errors nothing is."""

    cases: list[Ready]
    problems: list[Problem]

    @property
    def errors(self) -> list[Problem]:
        """What keeps the file from being run."""
        return [problem for problem in self.problems if problem.severity == "error"]


def check_file(path: Path, types: Mapping[str, NodeTypeInfo]) -> Checked:
    """Read and check a test file, and its flow for each case.

    Raises:
        OSError: it cannot be read.
    """
    filename = str(path)
    try:
        source = Source(path.read_bytes())
    except SourceError as e:
        return Checked([], [Problem(filename, e.line, "", str(e))])
    report = Report()
    for place, message, at_key in source.faults:
        report.error(place, message, at_key=at_key)
        report.mute(place)
    found = _shape(source.value, report)
    if found is None or report.errors:
        return Checked([], report.problems(filename, source.line))
    flow_file = flow_of(path, found.flow)
    document, wrong = _flow(flow_file, types, report, "/flow" if found.flow else "")
    if document is None:
        return Checked([], [*report.problems(filename, source.line), *wrong])
    _check_stubs(found.stubs, "/stubs", report)
    cases = []
    for index, case in enumerate(found.cases):
        at = f"/cases/{index}"
        cases.append(
            Ready(
                case=case,
                file=path,
                flow_file=flow_file,
                flow=document,
                line=source.line(at),
                step_lines=tuple(source.line(f"{at}/steps/{step}") for step in range(len(case.steps))),
                env=found.env | case.env,
                stubs=found.stubs | case.stubs,
                real=(*found.real, *case.real),
                secrets=found.secrets | case.secrets,
            )
        )
    _check_names([ready.case for ready in cases], report)
    laid_out: dict[str, Layout | list[str]] = {}
    for index, ready in enumerate(cases):
        cases[index] = _Meaning(ready, types, f"/cases/{index}", report, laid_out).check()
    return Checked(cases, report.problems(filename, source.line))


def check_case(ready: Ready, types: Mapping[str, NodeTypeInfo]) -> tuple[Ready, list[str]]:
    """A case that was made in Python: with its layout, and what is wrong with it."""
    report = Report()
    checked = _Meaning(ready, types, "", report, {}).check()
    return checked, [one.message for one in report]


def _shape(value: Any, report: Report) -> TestFile | None:
    if not isinstance(value, dict):
        report.error("", 'a test file is a map: { "flowtest": 1, "cases": [..] }')
        return None
    version = value.get("flowtest")
    if isinstance(version, int) and not isinstance(version, bool) and version > FORMAT:
        newer = f"the file is of format {version}, and this flowcore reads format {FORMAT}"
        report.error("/flowtest", f"{newer}: `pip install -U flowcore`")
        return None
    whole, by_verb = validators()
    list(tell(whole.iter_errors(value), report))
    cases = value.get("cases")
    for index, case in enumerate(cases if isinstance(cases, list) else ()):
        steps = case.get("steps") if isinstance(case, dict) else None
        for number, step in enumerate(steps if isinstance(steps, list) else ()):
            if isinstance(step, dict):
                _check_step(step, ("cases", index, "steps", number), by_verb, report)
    if report.errors:
        return None
    for index, case in enumerate(value["cases"]):  # by its verb, a step is of one kind
        steps = [STEPS[_verb(step)[0]].model_validate(step) for step in case["steps"]]
        value["cases"][index] = {**case, "steps": steps}
    try:
        return TestFile.model_validate(value)
    except ValidationError as e:
        for one in e.errors():
            report.error(pointer(*one["loc"]), one["msg"][:1].lower() + one["msg"][1:])
        return None


def _verb(step: dict[str, Any]) -> list[str]:
    return [name for name in step if name in STEPS]


def _check_step(step: dict[str, Any], path: tuple[Any, ...], by_verb: Mapping[str, Any], report: Report) -> None:
    verbs = _verb(step)
    if len(verbs) != 1:
        what = f"a step does one thing, this one says {' and '.join(verbs)}" if verbs else "no step is like this"
        first = next(iter(step), "")
        report.error(pointer(*path), what + ("" if verbs else report.near(first, STEPS, "steps")))
        return
    for error in by_verb[verbs[0]].iter_errors(step):
        for fault in faults(error, report):
            report.error(pointer(*path, *fault.path), fault.message, at_key=fault.at_key)


def _flow(
    file: Path, types: Mapping[str, NodeTypeInfo], report: Report, at: str
) -> tuple[dict[str, Any] | None, list[Problem]]:
    """The flow's document; what is wrong with its JSON or its shape."""
    try:
        text = decoded(file.read_bytes())
        document = json.loads(text)
    except OSError as e:
        report.error(at, f'the flow is not there: {file}: {e.strerror}; name it: "flow": "...json"')
        return None, []
    except (ValueError, RecursionError):
        return None, check(file.read_bytes(), str(file), types, os.environ).problems
    if not isinstance(document, dict):
        return None, check(text, str(file), types, os.environ).problems
    return document, []


def _check_names(cases: list[Case], report: Report) -> None:
    first: dict[str, int] = {}
    for index, case in enumerate(cases):
        if case.name in first:
            other = f"/cases/{first[case.name]}"
            report.error(f"/cases/{index}/name", f"{other} has this name, too: cases are known by their names")
        first.setdefault(case.name, index)


def _check_stubs(stubs: Mapping[str, StubUse], at: str, report: Report) -> None:
    for node, use in stubs.items():
        if not isinstance(use, Stub):
            continue
        place = f"{at}/{escape(node)}"
        ways = [name for name in ("reply", "replies", "answers") if given(use, name)]
        if len(ways) > 1:
            report.error(place, f"a stub answers in one way, this one has {' and '.join(ways)}")
        if given(use, "otherwise") and use.answers is None:
            report.error(f"{place}/otherwise", "is for a stub with answers", at_key=True)
        if given(use, "then") and use.replies is None:
            report.error(f"{place}/then", "is for a stub with replies", at_key=True)
        for index, answer in enumerate(use.answers or ()):
            check_patterns(answer.when, f"{place}/answers/{index}/when", report)


class _Meaning:
    """One case against its flow."""

    def __init__(
        self,
        ready: Ready,
        types: Mapping[str, NodeTypeInfo],
        at: str,
        report: Report,
        laid_out: dict[str, Layout | list[str]],
    ) -> None:
        self._ready, self._types, self._at, self._report, self._laid_out = ready, types, at, report, laid_out

    def check(self) -> Ready:
        """The case with its layout; what is wrong is in the report."""
        ready, report = self._ready, self._report
        _check_stubs(ready.case.stubs, f"{self._at}/stubs", report)
        layout = self._layout()
        if isinstance(layout, list):
            for problem in layout:
                report.error(self._at, f"its flow cannot run: {problem}")
            return ready
        for node in ready.stubs:
            if layout.ports(node) is None:
                report.error(self._where("stubs", node), layout.why_not(node, report), at_key=True)
        for node, use in ready.stubs.items():
            if node in layout.stubbed:
                self._check_stub(node, use, layout.stubbed[node])
        for node in ready.real:
            if layout.ports(node) is None:
                where = f"{self._at}/real" if node in ready.case.real else "/real"
                report.error(where, layout.why_not(node, report))
        for node in layout.outside(ready.real):
            what = f"node '{node}' ({layout.resolved.nodes[node].type}) reaches beyond the flow"
            do = f'stub it ("stubs": {{"{node}": ..}}), or say that it is meant ("real": ["{node}"])'
            report.error(f"{self._at}/name", f"{what}: {do}")
        for index, step in enumerate(ready.case.steps):
            self._check_step(step, f"{self._at}/steps/{index}", layout)
        return replace(ready, layout=layout)

    def _layout(self) -> Layout | list[str]:
        """Cases with the same env and stubs have the same one."""
        ready = self._ready
        stubs = {node: use if isinstance(use, str) else use.model_dump_json() for node, use in ready.stubs.items()}
        key = json.dumps([ready.env, stubs], sort_keys=True)
        if key not in self._laid_out:
            self._laid_out[key] = layout_of(ready, self._types, "TEST_DIR")
        return self._laid_out[key]

    def _where(self, name: str, node: str) -> str:
        own = getattr(self._ready.case, name)
        return f"{self._at}/{name}/{escape(node)}" if node in own else f"/{name}/{escape(node)}"

    def _check_stub(self, node: str, use: StubUse, ports: tuple[list[str], list[str]]) -> None:
        inputs, outputs = ports
        where = self._where("stubs", node)
        if use == "source" and not outputs:
            self._report.error(where, f"'{node}' has no outputs: it is a sink")
        if use in ("sink", "never") and not inputs:
            self._report.error(where, f"'{node}' has no inputs: it is a source")
        if isinstance(use, Stub):
            if any(given(use, name) for name in ("reply", "replies", "answers")) and not outputs:
                self._report.error(where, f"'{node}' has no outputs, and so no answers: it is a sink")
            if use.port is not None and use.port not in outputs:
                near = self._report.near(use.port, outputs)
                self._report.error(f"{where}/port", f"'{node}' has no output '{use.port}'{near}")

    def _check_step(self, step: Any, at: str, layout: Layout) -> None:
        report, is_moved = self._report, self._ready.case.clock == "moved"
        if isinstance(step, Put):
            node, _, port = step.put.rpartition(".")
            _, why = layout.puts_into(node, port, report)
            if why:
                report.error(f"{at}/put", why)
            ways = [name for name in ("payload", "payloads", "file") if given(step, name)]
            if len(ways) > 1:
                report.error(at, f"one of {' and '.join(ways)} is enough")
            if step.file is not None:
                self._check_content(step, at)
            elif given(step, "read_as"):
                report.error(f"{at}/as", "says how a file is read, and there is none", at_key=True)
            if step.every_s and not is_moved:
                report.error(f"{at}/every_s", 'time goes by itself here ("clock": "real")', at_key=True)
        elif isinstance(step, Expect):
            _, why = layout.seen_at(step.expect, report)
            if why:
                report.error(f"{at}/expect", why)
            self._check_expect(step, at)
        elif given(step, "advance") and not is_moved:
            report.error(f"{at}/advance", 'time goes by itself here ("clock": "real")', at_key=True)
        for verb in ("kill", "wait", "pause", "resume"):
            name = getattr(step, verb, None)
            if name is not None and name not in layout.running.nodes:
                report.error(f"{at}/{verb}", layout.why_not(name, report))

    def _check_content(self, step: Put, at: str) -> None:
        try:
            read_payloads(step, self._ready.file.parent)
        except OSError as e:
            self._report.error(f"{at}/file", f"{step.file}: {e.strerror}")
        except ValueError as e:
            self._report.error(f"{at}/file", f"{step.file} cannot be read as {step.read_as}: {e}")

    def _check_expect(self, step: Expect, at: str) -> None:
        report = self._report
        own = [name for name in ("payload", "has", "topic", "meta") if given(step, name)]
        if given(step, "payload") and given(step, "has"):
            report.error(at, "payload or has, not both")
        if step.messages is not None and (own or step.count is not None):
            other = own[0] if own else "count"
            report.error(f"{at}/{other}", "stands in each of the messages", at_key=True)
        if step.none and (own or step.messages is not None or step.count is not None):
            report.error(f"{at}/none", "nothing comes, so there is nothing else to say", at_key=True)
        if (step.unordered or step.skip) and step.count is not None:
            report.error(f"{at}/count", "says that no more came; unordered and skip do not go with it", at_key=True)
        self._check_values(step, at)
        for index, one in enumerate(step.messages or ()):
            if given(one, "payload") and given(one, "has"):
                report.error(f"{at}/messages/{index}", "payload or has, not both")
            self._check_values(one, f"{at}/messages/{index}")

    def _check_values(self, one: Expected, at: str) -> None:
        for name in ("payload", "has", "topic", "meta"):
            check_patterns(getattr(one, name), f"{at}/{name}", self._report)


def read_payloads(step: Put, folder: Path) -> list[Any]:
    """What a put's file holds.

    Raises:
        OSError, ValueError
    """
    content = (folder / str(step.file)).read_bytes()
    match step.read_as:
        case "bytes":
            return [content]
        case "text":
            return [content.decode()]
        case "json":
            return [json.loads(content)]
        case "lines":
            return list(content.decode().splitlines())
    return [json.loads(line) for line in content.decode().splitlines() if line.strip()]


def layout_of(ready: Ready, types: Mapping[str, NodeTypeInfo], folder: str) -> Layout | list[str]:
    """The nodes and ports of a case's flow, and its stubs; or what is wrong with the flow."""
    document = with_env(ready.flow, ready.env, folder)
    whole = runnable(types)
    checked = check(json.dumps(document), str(ready.flow_file), whole, os.environ)
    if checked.document is None or checked.resolved is None:
        own = check(ready.flow_file.read_bytes(), str(ready.flow_file), whole, os.environ)  # its lines, if it is wrong
        return [str(problem) for problem in (own.errors or checked.errors)]
    layout = Layout(checked.document, checked.resolved, whole)
    stubbed = with_stubs(document, layout, ready.stubs)
    running = check(json.dumps(stubbed), str(ready.flow_file), {**types, **stub_types()}, os.environ)
    if running.resolved is None:
        return [f"{problem.pointer}: {problem.message}" for problem in running.errors]
    layout.running = running.resolved
    return layout


def stub_types() -> dict[str, NodeTypeInfo]:
    """The stub as a node type: the plug-in that brings it is seen by the test runtime alone."""
    return {stubs.TYPE: describe(stubs.Stub)}
