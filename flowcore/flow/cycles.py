"""Which wires close a cycle: those marked so, then the back edges of a depth-first walk in file order.

Only reliable wires wait for each other, so only they are walked; `latest` and durable ones break a cycle by themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flowcore.flow.joints import Way

Node = tuple[str, str]  # flow, id


@dataclass(frozen=True)
class Closing:
    """A way that closes a cycle, and the nodes of the cycle from where it ends to where it begins."""

    way: Way
    cycle: tuple[Node, ...]

    def __str__(self) -> str:
        apart = len({flow for flow, _ in self.cycle}) > 1
        names = [f"{flow}/{node}" if apart else node for flow, node in self.cycle]
        return " > ".join((*names, names[0]))


def closing(nodes: Sequence[Node], ways: Sequence[Way]) -> list[Closing]:
    """The ways that close a cycle and are not marked.

    Args:
        nodes: where the walk begins, in file order; of several linked flows in an order that is the same for each, or
            two of them would name different ways of one cycle.
        ways: all there are between these nodes, in file order.
    """
    onward: dict[Node, list[Way]] = {node: [] for node in nodes}
    for way in ways:
        if way.wire.delivery == "reliable" and way.feedback is not True:
            onward[way.start.flow, way.start.node].append(way)
    found: list[Closing] = []
    done: set[Node] = set()
    for root in nodes:
        if root in done:
            continue
        on_path: dict[Node, int] = {root: 0}  # a walk of our own: a chain of 2,000 nodes is deeper than Python's stack
        path = [root]
        steps = [iter(onward[root])]
        while steps:
            step = next(steps[-1], None)
            if step is None:
                steps.pop()
                last = path.pop()
                del on_path[last]
                done.add(last)
                continue
            node = (step.end.flow, step.end.node)
            if node in on_path:
                found.append(Closing(step, tuple(path[on_path[node] :])))
            elif node not in done:
                on_path[node] = len(path)
                path.append(node)
                steps.append(iter(onward[node]))
    return found
