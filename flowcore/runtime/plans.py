"""What should run of a flow, process by process, and how that differs from what runs.

Pure: from a resolved flow and the node types to `ProcessPlan`s, and from two plans of a process to the smallest step
between them. The reconciler takes the steps.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from flowcore.flow.resolved import NodeSpec, ResolvedFlow, WireSpec
from flowcore.flow.types import NodeTypeInfo
from flowcore.runtime.processplan import ProcessPlan

KEPT, RECONFIGURED, REWIRED, RESTARTED = "kept", "reconfigured", "rewired", "restarted"
EVERY_NODE = "*"
MqttFields = Mapping[str, list[str]]  # "subscribe" and "publish" -> config fields that hold topics
_EMBEDDED = "embedded"  # what `broker.url` says of the broker that the host runs, and when it says nothing


@dataclass(frozen=True)
class Desired:
    """Whether a flow shall run, and which of its nodes are paused (`*`: all) or bypassed."""

    running: bool = True
    paused: tuple[str, ...] = ()
    bypassed: tuple[str, ...] = ()

    def mode(self, node: str) -> str:
        """run, paused or bypassed."""
        if node in self.paused or EVERY_NODE in self.paused:
            return "paused"
        return "bypassed" if node in self.bypassed else "run"


@dataclass
class Planned:
    """The processes of a flow in file order, and the nodes that cannot have one: node -> why."""

    processes: dict[str, ProcessPlan] = field(default_factory=dict)
    impossible: dict[str, str] = field(default_factory=dict)


def libraries(info: NodeTypeInfo) -> tuple[str, ...]:
    """What the fork server of a node type has imported: what it needs, and numpy where arrays come in or go out.

    Others get it when they ask for it: a node that never sees an array must not pay for numpy.
    """
    ports = (*info.inputs, *info.outputs)
    has_arrays = any(port.type == "frame" or port.type.startswith("tensor") for port in ports)
    return tuple(sorted({*info.needs, *(("numpy",) if has_arrays else ())}))


def plan_flow(
    flow: ResolvedFlow,
    types: Mapping[str, NodeTypeInfo],
    code: Mapping[str, str],
    desired: Desired,
    streams: Mapping[str, dict[str, str]],
    mqtt: Mapping[str, MqttFields] | None = None,
) -> Planned:
    """The processes that a resolved flow asks for.

    Args:
        code: node type -> what stands for its source.
        mqtt: node type -> the config fields that hold MQTT topics, for types that use the embedded broker.
        streams: wire id -> stream, consumer and subject of each durable wire.
    """
    planned = Planned()
    for node in flow.nodes.values():
        info = types.get(node.type)
        if info is None:
            planned.impossible[node.id] = f"node type {node.type!r} is not installed"
        elif info.missing:
            planned.impossible[node.id] = f"{node.type} needs a library that is missing: {info.missing}"
        elif info.refused:
            planned.impossible[node.id] = f"{node.type} is not run here: {info.refused}"
        else:
            topics = (mqtt or {}).get(node.type)
            for plan in _processes(flow, node, info, code.get(node.type, ""), desired.mode(node.id), streams):
                planned.processes[plan.process] = _with_topics(plan, topics) if topics else plan
    return planned


def _processes(
    flow: ResolvedFlow,
    node: NodeSpec,
    info: NodeTypeInfo,
    code: str,
    mode: str,
    streams: Mapping[str, dict[str, str]],
) -> Iterable[ProcessPlan]:
    wires_in, wires_out = flow.wires_in(node.id), flow.wires_out(node.id)
    replicas = int(node.settings.get("replicas", 1))
    for replica in range(replicas) if replicas > 1 else (None,):
        yield ProcessPlan(
            flow=flow.id,
            node=node.id,
            process=node.id if replica is None else f"{node.id}#{replica}",
            type=node.type,
            module=info.module,
            qualname=info.qualname,
            needs=libraries(info),
            replica=replica,
            config=node.config,
            settings=node.settings,
            inputs=tuple(port.name for port in info.input_ports(node.config)),
            outputs=tuple(port.name for port in info.output_ports(node.config)),
            wires_in=tuple({**wire.asdict(), "consumer_replica": replica} for wire in wires_in),
            wires_out=tuple(wire.asdict() for wire in wires_out),
            streams={wire.id: streams[wire.id] for wire in (*wires_in, *wires_out) if wire.id in streams},
            mode=mode,
            is_source=info.is_source,
            live_config=info.live_config,
            context=info.context,
            script=info.script,
            code=code,
            bus_publish=tuple(_texts_at(info.bus_publish, node.config)),
            bus_subscribe=tuple(_texts_at(info.bus_subscribe, node.config)),
        )


def _with_topics(plan: ProcessPlan, fields: MqttFields) -> ProcessPlan:
    broker = plan.config.get("broker")
    if isinstance(broker, Mapping) and broker.get("url", _EMBEDDED) != _EMBEDDED:
        return plan  # a broker elsewhere: its rights are not ours to give, its topics may be none of the bus's
    hears, says = (_texts_at(fields.get(way, ()), plan.config) for way in ("subscribe", "publish"))
    return replace(plan, mqtt={"subscribe": hears, "publish": says})


def _texts_at(paths: Iterable[str], config: Mapping[str, Any]) -> list[str]:
    """The texts that a config has at these places: `topic`, or `birth.topic` one level down."""
    found: list[str] = []
    for path in paths:
        value: Any = config
        for name in path.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        found += [one for one in (value if isinstance(value, list) else [value]) if isinstance(one, str) and one]
    return found


# What may differ without a restart; of the settings, how many replicas share the input is the producers' business.
_SHARING = ("replicas", "share")


def step(old: ProcessPlan, new: ProcessPlan) -> str:
    """The smallest step from one plan of a process to another; a changed mode is no step."""
    if _settled(old) != _settled(new):
        return RESTARTED
    if old.config != new.config:
        return RECONFIGURED if new.live_config else RESTARTED
    return REWIRED if old.wires != new.wires else KEPT


def _settled(plan: ProcessPlan) -> ProcessPlan:
    """A plan without what can change while the process lives."""
    settings = {name: value for name, value in plan.settings.items() if name not in _SHARING}
    return replace(
        plan,
        config={},
        settings=settings,
        wires_in=(),
        wires_out=(),
        streams={},
        mode="",
        bus_publish=(),
        bus_subscribe=(),
        mqtt=None if plan.mqtt is None else {},
    )


def upstream_first(processes: Mapping[str, ProcessPlan]) -> list[list[str]]:
    """The processes in layers, each after all that feed it; what stands in a cycle comes last."""
    of_node: dict[str, list[str]] = {}
    for name, plan in processes.items():
        of_node.setdefault(plan.node, []).append(name)
    ahead = {node: _producers(processes[names[0]]) & of_node.keys() - {node} for node, names in of_node.items()}
    layers = []
    while ahead:
        layer = [node for node, producers in ahead.items() if not producers] or list(ahead)
        layers.append([name for node in layer for name in of_node[node]])
        for node in layer:
            del ahead[node]
        for producers in ahead.values():
            producers.difference_update(layer)
    return layers


def _producers(plan: ProcessPlan) -> set[str]:
    return {wire["producer"] for wire in plan.wires_in if not wire["feedback"] and not wire["from_flow"]}


def cannot_drain(processes: Mapping[str, ProcessPlan], standing: set[str]) -> set[str]:
    """The nodes whose messages cannot be acked while the nodes in `standing` handle nothing: those, and all above."""
    found, waiting = set(standing), list(standing)
    producers: dict[str, set[str]] = {}
    for plan in processes.values():
        for wire in plan.wires_in:
            if wire["delivery"] == "reliable" and not wire["feedback"]:
                producers.setdefault(plan.node, set()).add(wire["producer"])
    while waiting:
        for above in producers.get(waiting.pop(), ()):
            if above not in found:
                found.add(above)
                waiting.append(above)
    return found


def fed_from_elsewhere(processes: Mapping[str, ProcessPlan]) -> set[str]:
    """The nodes that a node on another host feeds, and all behind them: while that one goes on they are never done."""
    here = {plan.node for plan in processes.values()}
    found: set[str] = set()
    consumers: dict[str, set[str]] = {}
    for plan in processes.values():
        for wire in plan.wires_in:
            if wire["from_flow"]:
                continue
            consumers.setdefault(wire["producer"], set()).add(plan.node)
            if wire["producer"] not in here:
                found.add(plan.node)
    waiting = list(found)
    while waiting:
        for behind in consumers.get(waiting.pop(), set()) - found:
            found.add(behind)
            waiting.append(behind)
    return found


def wire_changes(old: ResolvedFlow | None, new: ResolvedFlow | None) -> tuple[int, int]:
    """How many wires are added and closed."""
    before: set[str] = {wire.id for wire in old.wires} if old else set()
    after: set[str] = {wire.id for wire in new.wires} if new else set()
    return len(after - before), len(before - after)


def durable_wires(flow: ResolvedFlow | None) -> dict[str, WireSpec]:
    """Wire id -> wire, of those that have a stream."""
    return {wire.id: wire for wire in flow.wires if wire.delivery == "durable"} if flow else {}
