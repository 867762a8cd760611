"""A document's levels laid out: every node in its place with its config filled in, every end of a wire found.

A level is the document itself or one instance of a subflow; an instance's level stands inside the one it is used in,
its nodes are called `<instance>:<node>`. What is wrong is reported and left out, so that one check finds everything.
Virtual nodes and the ports of instances are still there, as places that wires go through: see `joints`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from flowcore.flow.environment import Environment
from flowcore.flow.fields import ConfigFields
from flowcore.flow.model import FlowDocument, NodeDef, SubflowDef
from flowcore.flow.parameters import Binder, fields_of
from flowcore.flow.problems import Report, escape
from flowcore.flow.references import Config, Filler
from flowcore.flow.settings import check_config
from flowcore.flow.types import NodeTypeInfo, PortInfo
from flowcore.flow.versions import newer_type

MAX_NODES = 5_000
"""Most nodes of one flow, subflows expanded."""

Side = Literal["in", "out"]


@dataclass
class Placed:
    """A node in its place: one per instance of the subflow it stands in."""

    id: str
    node: NodeDef
    level: Level = field(repr=False)
    info: NodeTypeInfo | None = None  # None: an instance of a subflow, or a type that is not known
    config: Config = field(default_factory=lambda: Config({}, ""))
    inside: Level | None = None  # the level of an instance
    disabled: bool = False
    broken: bool = False  # something of it is not known: say nothing of its ports

    @property
    def runs(self) -> bool:
        """Whether it gets a process."""
        return self.info is not None and self.info.virtual is None and not self.disabled and not self.broken

    @property
    def virtual(self) -> str:
        """The kind of a virtual node that takes part; else empty."""
        return self.info.virtual or "" if self.info and not self.disabled else ""

    def ports(self, side: Side) -> tuple[PortInfo, ...]:
        """Its own ports on one side; those of an instance have type any, as what they lead to decides."""
        if self.inside is not None:
            subflow = self.inside.scope
            assert isinstance(subflow, SubflowDef)
            return tuple(PortInfo(name) for name in (subflow.inputs if side == "in" else subflow.outputs))
        if self.info is None:
            return ()
        return (self.info.input_ports if side == "in" else self.info.output_ports)(self.config.value)


@dataclass
class Level:
    """The document, or one instance of a subflow."""

    flow: str
    scope: FlowDocument | SubflowDef
    prefix: str  # of the ids of its nodes: empty, or `<instance>:`
    env: Environment
    host: str = ""  # where an instance of a subflow says that its nodes run
    nodes: dict[str, Placed] = field(default_factory=dict)

    def all_nodes(self) -> Iterator[Placed]:
        """Its nodes and those of the instances in it, in file order."""
        for placed in self.nodes.values():
            yield placed
            if placed.inside is not None:
                yield from placed.inside.all_nodes()

    def all_levels(self) -> Iterator[Level]:
        """This level and those inside it."""
        yield self
        for placed in self.nodes.values():
            if placed.inside is not None:
                yield from placed.inside.all_levels()


class Expander:
    """Lays out one document."""

    def __init__(
        self,
        document: FlowDocument,
        types: Mapping[str, NodeTypeInfo],
        environ: Mapping[str, str],
        report: Report,
        secrets: Collection[str] | None = None,
    ) -> None:
        self._document, self._types, self._report, self._secrets = document, types, report, secrets
        host = Environment(environ, "the environment variable {}", None, outside=True)
        self._env = Environment(document.env, "/env/{}", host)
        self._filler = Filler(document.resources, self._env, report)
        self._binder = Binder(document.resources, self._env, report)
        self._fields: dict[str, ConfigFields] = {}
        self._count = 0

    def expand(self) -> Level:
        """The document's own level, with those of its instances in it."""
        self._check_resources()
        for subflow in self._document.subflows.values():
            self._binder.check(subflow)
        return self._level(self._document, "", self._env, ())

    def expand_unused(self, level: Level) -> Iterator[Level]:
        """Subflows that nobody uses, laid out with what their parameters are by default: checked all the same."""
        used = {one.scope.pointer for one in level.all_levels()}
        for name, subflow in self._document.subflows.items():
            if subflow.pointer not in used:
                self._count = 0
                env = self._binder.bind(subflow, None, {}, {}, self._env, "?")
                yield self._level(subflow, "?:", env, (name,))

    def _level(
        self,
        scope: FlowDocument | SubflowDef,
        prefix: str,
        env: Environment,
        within: tuple[str, ...],
        host: str = "",
    ) -> Level:
        level = Level(self._document.id, scope, prefix, env, host)
        groups = {group.id: group for group in scope.groups}
        self._check_ids(scope)
        for node in scope.nodes:
            if node.id in level.nodes:
                continue
            if node.group is not None and node.group not in groups:
                near = self._report.near(node.group, groups, "groups")
                self._report.error(f"{node.pointer}/group", f"no group '{node.group}'{near}")
            off = node.disabled or (node.group in groups and groups[node.group].disabled)
            placed = Placed(prefix + node.id, node, level, disabled=off)
            level.nodes[node.id] = placed
            if node.type.startswith("subflow:"):
                self._instance(placed, node.type.removeprefix("subflow:"), within)
            else:
                self._typed(placed)
        return level

    def _typed(self, placed: Placed) -> None:
        """Find the type of a node, fill its config in and check it. One that is disabled may be as it likes."""
        node, info = placed.node, self._types.get(placed.node.type)
        if node.env:
            what = "belongs to an instance of a subflow: this node's values are in its config"
            self._report.error(f"{node.pointer}/env", what)
        placed.info, placed.config = info, Config(node.config, f"{node.pointer}/config")
        placed.broken = info is None or not info.can_run
        if placed.disabled:
            placed.broken |= bool(info and (info.outputs_from or info.inputs_from))  # its config is not filled in
            return
        if info is None:
            near = self._report.near(node.type, sorted(self._types), "types")
            self._report.error(f"{node.pointer}/type", f"no node type '{node.type}'{near}")
            return
        if info.missing is not None:
            needs = f" needs {', '.join(info.needs)}, which" if info.needs else " needs what"
            self._report.error(f"{node.pointer}/type", f"'{node.type}'{needs} is not installed: {info.missing}")
            return
        if info.refused:
            self._report.error(f"{node.pointer}/type", f"'{node.type}' is not run here: {info.refused}")
            return
        if node.version != info.config_version:
            placed.broken = True
            self._report.error(f"{node.pointer}/version", _other_version(node.type, node.version, info))
            return
        self._count += 1
        fields = self._fields.setdefault(node.type, ConfigFields(info.config_schema))
        errors = self._report.errors
        placed.config = self._filler.fill(node.config, placed.config.base, placed.level.env, fields)
        check_config(placed.config, fields, self._report, self._secrets)
        self._check_settings(placed, info)
        if info.speaks_for_instance and not placed.level.prefix:
            self._report.warning(f"{node.pointer}/type", f"'{info.type}' has no effect: it stands in no subflow")
        # A wrong config may give other ports, links or scope than were meant: errors about those would only mislead.
        decides = info.outputs_from or info.inputs_from or info.virtual
        placed.broken = bool(decides) and self._report.errors > errors

    def _instance(self, placed: Placed, name: str, within: tuple[str, ...]) -> None:
        node, subflow = placed.node, self._document.subflows.get(name)
        placed.broken = True
        if subflow is None:
            near = self._report.near(name, self._document.subflows, "subflows")
            self._report.error(f"{node.pointer}/type", f"no subflow '{name}'{near}")
        elif name in within:
            loop = " > ".join((*within[within.index(name) :], name))
            self._report.error(f"{node.pointer}/type", f"subflow '{name}' contains itself ({loop})")
        elif not placed.disabled:
            self._count += 1
            if node.settings.model_fields_set - {"host"}:
                what = "an instance has no process: give settings other than its host to the nodes inside"
                self._report.warning(f"{node.pointer}/settings", what)
            if self._count > MAX_NODES:
                return
            around, pointer = placed.level.env, node.pointer
            given = self._filler.fill(node.config, f"{pointer}/config", around, fields_of(subflow))
            own = self._filler.fill(node.env, f"{pointer}/env", around)
            env = self._binder.bind(subflow, node, given.value, own.value, around, placed.id)
            host = node.settings.host or placed.level.host
            placed.inside = self._level(subflow, f"{placed.id}:", env, (*within, name), host)
            placed.broken = False
            if self._count > MAX_NODES:
                message = f"more than {MAX_NODES:,} nodes once the subflows are expanded; split the flow"
                self._report.error("/subflows", message)

    def _check_ids(self, scope: FlowDocument | SubflowDef) -> None:
        for kind, parts in (("node", scope.nodes), ("group", scope.groups)):
            first: dict[str, Any] = {}
            for part in parts:
                if part.id in first:
                    taken = f"the id '{part.id}' is taken by {first[part.id].pointer}: each {kind} needs its own"
                    self._report.error(f"{part.pointer}/id", taken)
                first.setdefault(part.id, part)
        if len(scope.nodes) > MAX_NODES:
            self._report.error(f"{scope.pointer}/nodes", f"has {len(scope.nodes):,} nodes, at most {MAX_NODES:,} go")

    def _check_settings(self, placed: Placed, info: NodeTypeInfo) -> None:
        settings, at = placed.node.settings, f"{placed.node.pointer}/settings"
        if not settings.model_fields_set:
            return
        if info.virtual:
            self._report.warning(at, f"'{info.type}' has no process: settings change nothing")
        elif settings.replicas > 1 and info.is_source:
            self._report.error(f"{at}/replicas", f"'{info.type}' is a source: it runs once, its input can't be shared")
        elif settings.replicas > 1 and (info.caller or info.follows):
            what = "takes the answers to its own calls, so it runs once: raise its max_in_flight"
            self._report.error(f"{at}/replicas", f"'{info.type}' {what}")
        elif settings.replicas > 1 and info.stateful and settings.share == "any":
            apart = f"each replica of '{info.type}' has its own state"
            self._report.warning(f"{at}/replicas", f'{apart}; "share": "key" sends a topic always to the same')
        if settings.concurrency > 1 and info.stateful:
            self._report.error(
                f"{at}/concurrency", f"'{info.type}' keeps a state, which takes one message at a time; use replicas"
            )
        if settings.full == "throttle" and settings.throttle_hz is None:
            self._report.error(f"{at}/full", 'throttle needs "throttle_hz", the messages a second it sends at most')

    def _check_resources(self) -> None:
        """A resource whose type is known must fit it by itself, but for fields that its users may add."""
        for name, resource in self._document.resources.items():
            info = self._types.get(resource.type or "")
            if info is None:
                continue
            if resource.version != info.config_version:
                self._report.error(f"{resource.pointer}/version", _other_version(info.type, resource.version, info))
                continue
            fields = self._fields.setdefault(info.type, ConfigFields(info.config_schema))
            config = self._filler.fill(resource.config, f"/resources/{escape(name)}/config", self._env, fields)
            check_config(config, fields, self._report, self._secrets, whole=False)


def _other_version(name: str, version: int, info: NodeTypeInfo) -> str:
    if version > info.config_version:
        return newer_type(name, version, info)
    return f"the config is of version {version} of {name}, and was not upgraded to {info.config_version}"
