"""What the instances of subflows show: what a node inside says for them, else the worst that their nodes show.

Pure: from the nodes that run, as they are known, to a badge for each instance.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass

from flowcore.flow.types import NodeTypeInfo

_WORST_FIRST = ("error", "warn", "busy", "ok", "off")


@dataclass(frozen=True)
class Shown:
    """What one process shows. `failed`: why its node has failed, empty when it has not."""

    node: str
    type: str
    text: str
    kind: str
    failed: str = ""


@dataclass(frozen=True)
class InstanceStatus:
    """What an instance shows, and which node it has that from; `text` is empty where nothing inside shows anything."""

    instance: str
    text: str = ""
    kind: str = ""
    node: str = ""


def speakers(types: Mapping[str, NodeTypeInfo]) -> frozenset[str]:
    """The types of nodes that speak for the instance they stand in."""
    return frozenset(name for name, info in types.items() if info.speaks_for_instance)


def around(node: str) -> list[str]:
    """The instances that a node stands in, innermost first: of `one:two:hot` `one:two` and `one`."""
    parts = node.split(":")
    return [":".join(parts[:count]) for count in range(len(parts) - 1, 0, -1)]


def instances(nodes: Iterable[Shown], speakers: Collection[str]) -> list[InstanceStatus]:
    """What all instances show that have nodes here, in the order of the nodes.

    Args:
        nodes: what runs of a flow.
        speakers: types of nodes that speak for the instance they stand in.
    """
    inside: dict[str, list[Shown]] = {}
    for one in nodes:
        for instance in around(one.node):
            inside.setdefault(instance, []).append(one)
    return [_of(instance, shown, speakers) for instance, shown in inside.items()]


def _of(instance: str, nodes: list[Shown], speakers: Collection[str]) -> InstanceStatus:
    failed = next((one for one in nodes if one.failed), None)
    if failed is not None:  # whatever is said for the instance, it does not work
        inner = failed.node.removeprefix(f"{instance}:")
        return InstanceStatus(instance, f"{inner} has failed: {failed.failed}"[:500], "error", failed.node)
    own = [one for one in nodes if one.type in speakers and around(one.node)[0] == instance]
    candidates = own or [one for one in nodes if one.text]
    worst = min(candidates, key=lambda one: _rank(one.kind), default=None)
    return InstanceStatus(instance) if worst is None else InstanceStatus(instance, worst.text, worst.kind, worst.node)


def _rank(kind: str) -> int:
    return _WORST_FIRST.index(kind) if kind in _WORST_FIRST else len(_WORST_FIRST)
