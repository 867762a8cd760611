"""What becomes of what a node has sent: the nodes behind its outputs tell it.

A node that follows (`NodeTypeInfo.follows`) has the inputs `done` and `failed`. Each node that an output of its own
choice leads to (`outputs_from`; the fixed ones are not followed) gets a wire from its hidden port `complete` to `done`
and one from `error` to `failed`, as if complete and catch nodes stood there. The wires close cycles, so no ack waits
for them. Which nodes stand behind which output is put into the config field that `follows` names:

    {"mqtt": ["plc"], "mail": [], "audit": []}

An output without a wire is not there; of a fixed one, and of one that leads to another flow, nobody tells anything.
"""

from __future__ import annotations

from collections.abc import Iterator

from flowcore.flow.ends import Edge, Port
from flowcore.flow.expand import Level, Placed
from flowcore.flow.joints import Net
from flowcore.flow.model import WireDef
from flowcore.flow.problems import Report

DONE, FAILED = "done", "failed"
_BACK = WireDef.model_construct(_fields_set={"from_", "to", "feedback"}, from_="", to="", feedback=True)


def to_followers(root: Level, net: Net, running: frozenset[tuple[str, str]], report: Report) -> Iterator[Edge]:
    """From the hidden ports of what is followed to who follows it; configs are filled in.

    Args:
        root: a document's level.
        net: all ways but these.
        running: nodes with a process, as (flow, id).
        report: takes what is wrong.
    """
    for follower in [placed for placed in root.all_nodes() if placed.runs]:
        if follower.info is None or not follower.info.follows:
            continue
        name = follower.info.follows
        if follower.config.value.get(name):
            report.error(follower.config.pointer((name,)), "is filled in at deploy")
        behind = _behind(follower, net, running)
        follower.config.value = {**follower.config.value, name: behind}
        for node in dict.fromkeys(node for nodes in behind.values() for node in nodes):
            for hidden, entry in (("complete", DONE), ("error", FAILED)):
                yield Edge(Port(root.flow, node, "out", hidden), Port(root.flow, follower.id, "in", entry), _BACK)


def _behind(follower: Placed, net: Net, running: frozenset[tuple[str, str]]) -> dict[str, list[str]]:
    assert follower.info is not None
    flow = follower.level.flow
    fixed = {port.name for port in follower.info.outputs}
    behind: dict[str, list[str]] = {}
    for port in follower.ports("out"):
        ends = [way.end for way in net.direct(Port(flow, follower.id, "out", port.name), running)]
        if ends:
            followed = {end.node for end in ends if end.flow == flow and end.node != follower.id}
            behind[port.name] = [] if port.name in fixed else sorted(followed)
    return behind
