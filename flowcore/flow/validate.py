"""Checking a flow file: its JSON, its shape, its meaning. Everything wrong with it is found at once.

What has the wrong shape is left out before its meaning is checked, so that the rest is checked all the same and
nothing is told twice. Nothing here raises for a wrong flow: what is wrong comes back as problems.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from flowcore.flow.model import FlowDocument
from flowcore.flow.placement import check_places
from flowcore.flow.problems import Problem, Report, pointer
from flowcore.flow.resolve import resolve
from flowcore.flow.resolved import ResolvedFlow
from flowcore.flow.schema import validator
from flowcore.flow.sound import without
from flowcore.flow.source import Source, SourceError
from flowcore.flow.types import NodeTypeInfo
from flowcore.flow.versions import Upgrade, is_newer_format, newer_format, upgraded
from flowcore.flow.wording import tell


@dataclass(frozen=True)
class Checked:
    """What a check found. `document` and `resolved` are there when the flow can be deployed, else None."""

    document: FlowDocument | None
    resolved: ResolvedFlow | None
    problems: list[Problem] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether the flow can be deployed; there may be warnings."""
        return self.resolved is not None

    @property
    def errors(self) -> list[Problem]:
        """The problems that stop a deploy."""
        return [problem for problem in self.problems if problem.severity == "error"]

    @property
    def warnings(self) -> list[Problem]:
        """The problems that don't."""
        return [problem for problem in self.problems if problem.severity == "warning"]


def check(
    text: str | bytes,
    filename: str,
    types: Mapping[str, NodeTypeInfo],
    environ: Mapping[str, str],
    secrets: Collection[str] | None = None,
    others: Iterable[FlowDocument] = (),
    hosts: Mapping[str, Mapping[str, NodeTypeInfo]] | None = None,
    upgrade: Upgrade | None = None,
) -> Checked:
    """Check a flow file.

    Args:
        text: what is in the file.
        filename: its name in messages, and how they begin.
        types: node types by name.
        environ: the host's environment.
        secrets: names of the secrets there are; None: not known here, any name will do.
        others: the other flows there are, for links across flows.
        hosts: host -> the node types it has (the main host is ""), where nodes may be placed on several; `types` holds
            the types of all. Of a host that is not among them nothing is known, so its nodes may be as they like.
        upgrade: takes configs of older versions of their types to the installed ones; None: those are errors.
    """
    try:
        source = Source(text)
    except SourceError as error:
        return Checked(None, None, [Problem(filename, error.line, "", str(error))])
    report = Report()
    for place, message, at_key in source.faults:
        report.error(place, message, at_key=at_key)
        report.mute(place)
    value, notes = source.value, list[str]()
    if upgrade is not None and not is_newer_format(value):
        value, notes = upgraded(value, types, upgrade, report)
    document, resolved = _meaning(value, types, environ, secrets, others, report)
    if resolved is not None:
        resolved.notes.extend(notes)
    if resolved is not None and hosts:
        check_places(resolved, hosts, report)
    problems = report.problems(filename, source.line)
    return Checked(None, None, problems) if report.errors else Checked(document, resolved, problems)


def _meaning(
    value: Any,
    types: Mapping[str, NodeTypeInfo],
    environ: Mapping[str, str],
    secrets: Collection[str] | None,
    others: Iterable[FlowDocument],
    report: Report,
) -> tuple[FlowDocument | None, ResolvedFlow | None]:
    if not isinstance(value, dict):
        report.error("", 'a flow is a map: { "flowcore": 1, "id": .., "nodes": [..], "wires": [..] }')
        return None, None
    if is_newer_format(value):
        report.error("/flowcore", newer_format(value))
        return None, None  # what else a newer format has can't be judged
    told = list(tell(validator().iter_errors(value), report))
    sound = without(value, told)
    try:
        document = FlowDocument.model_validate(sound.value)
    except ValidationError as error:  # what JSON schema can't say, such as a line break after an id
        for one in error.errors():
            report.error(pointer(*one["loc"]), one["msg"][:1].lower() + one["msg"][1:])
        return None, None
    sound.restore_pointers(document)
    resolved = resolve(document, types, environ, others, secrets=secrets, report=report, broken=sound.broken)
    return document, resolved
