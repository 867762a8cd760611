"""Catch, status and complete nodes: from the hidden ports of which nodes their messages come.

- `"scope": "all"` is every node of its level and of the instances in it, `"group"` those of its own group, a list the
  nodes it names; naming an instance means all nodes inside.
- Where a node inside speaks for its instance, status nodes around hear that one, and none of the others in there.
- Nodes that only serve listeners, fed by nothing else, are left out of `all` and `group`: an error in what handles
  errors would come back to it for ever. A list may name them.
- An error in a subflow goes to the catch nodes inside that take it, and only if there are none to those around it.
- `"uncaught": true` takes what no other catch node takes.
"""

from __future__ import annotations

from collections.abc import Iterator

from flowcore.flow.ends import Edge, Port
from flowcore.flow.expand import Level, Placed
from flowcore.flow.joints import LISTENERS, Net
from flowcore.flow.problems import Report, shown


def to_listeners(root: Level, net: Net, report: Report) -> Iterator[Edge]:
    """From each hidden port that somebody listens to, to the listener's output."""
    listeners = [one for one in root.all_nodes() if one.virtual in LISTENERS and not one.broken]
    if not listeners:
        return
    running = {placed.id: placed for placed in root.all_nodes() if placed.runs}
    serving = _only_serving(root.flow, listeners, running, net)
    taken: dict[str, tuple[int, bool]] = {}  # node -> depth of the innermost catch that takes it, is it an ordinary one
    # The innermost level first, so that those around know what is taken, and in a level `uncaught` last.
    for listener in sorted(listeners, key=lambda one: (-_depth(one), _uncaught(one))):
        for node in _scope(listener, running, serving, report):
            if listener.virtual == "catch":
                depth, ordinary = taken.setdefault(node.id, (_depth(listener), not _uncaught(listener)))
                if depth > _depth(listener) or (_uncaught(listener) and ordinary):
                    continue
            for out in listener.ports("out"):
                hidden = Port(root.flow, node.id, "out", LISTENERS[listener.virtual])
                yield Edge(hidden, Port(root.flow, listener.id, "out", out.name))


def _uncaught(listener: Placed) -> bool:
    return listener.config.value.get("uncaught") is True


def _depth(placed: Placed) -> int:
    return placed.id.count(":")


def _scope(listener: Placed, running: dict[str, Placed], serving: set[str], report: Report) -> Iterator[Placed]:
    """The running nodes that this listener's scope takes in, in file order."""
    scope, level = listener.config.value.get("scope", "all"), listener.level
    if isinstance(scope, list):
        wanted = []
        for index, name in enumerate(scope):
            where = listener.config.pointer(("scope", index))
            if not isinstance(name, str):
                report.error(where, f"must be the id of a node, is {shown(name)}")
            elif name not in level.nodes:
                report.error(where, f"no node '{name}'{report.near(name, level.nodes, 'nodes')}")
            elif level.nodes[name].virtual:
                report.error(where, f"'{name}' is a {level.nodes[name].node.type}: it has no process to listen to")
            else:
                wanted.append(level.nodes[name].id)
    elif scope == "group" and listener.node.group is None:
        report.error(listener.config.pointer(("scope",)), f"'{listener.node.id}' stands in no group")
        return
    elif scope in ("all", "group"):
        group = listener.node.group if scope == "group" else None
        wanted = [one.id for one in level.nodes.values() if group is None or one.node.group == group]
    else:
        what = f'must be "all", "group" or a list of node ids, is {shown(scope)}'
        report.error(listener.config.pointer(("scope",)), what)
        return
    inside = tuple(f"{one}:" for one in wanted)
    silent = _spoken_for(listener, running) if listener.virtual == "status" else set()
    for node in running.values():
        if node.id in silent:
            continue
        if (node.id in wanted or node.id.startswith(inside)) and (isinstance(scope, list) or node.id not in serving):
            yield node


def _spoken_for(listener: Placed, running: dict[str, Placed]) -> set[str]:
    """Nodes in instances that another node speaks for, as a status node of this level sees them."""
    here = listener.level.prefix
    levels = {one.id: one.level.prefix for one in running.values() if one.info and one.info.speaks_for_instance}
    spoken = sorted({level for level in levels.values() if level != here and level.startswith(here)}, key=len)
    silent = set()
    for node in running:
        outermost = next((level for level in spoken if node.startswith(level)), None)
        if outermost is not None and levels.get(node) != outermost:
            silent.add(node)
    return silent


def _only_serving(flow: str, listeners: list[Placed], running: dict[str, Placed], net: Net) -> set[str]:
    """Ids of the nodes that get messages only from listeners, directly or over others of their kind."""
    onward = {
        placed.id: {
            port.node
            for out in placed.ports("out")
            for port in net.downstream(Port(flow, placed.id, "out", out.name))
            if port.side == "in" and port.node in running
        }
        for placed in [*listeners, *running.values()]
    }
    behind = _reachable({node for listener in listeners for node in onward[listener.id]}, onward)
    return behind - _reachable(set(running) - behind, onward)


def _reachable(start: set[str], onward: dict[str, set[str]]) -> set[str]:
    reached: set[str] = set()
    waiting = list(start)
    while waiting:
        node = waiting.pop()
        if node not in reached:
            reached.add(node)
            waiting += onward.get(node, ())
    return reached
