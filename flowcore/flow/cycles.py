"""Which wires close a cycle: those marked so, then the back edges of a depth-first walk in file order.

Only reliable wires wait for each other, so only they are walked; `latest` and durable ones break a cycle by themselves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from flowcore.flow.joints import Way


@dataclass(frozen=True)
class Closing:
    """A way that closes a cycle, and the nodes of the cycle from where it ends to where it begins."""

    index: int
    cycle: tuple[str, ...]

    def __str__(self) -> str:
        return " > ".join((*self.cycle, self.cycle[0]))


def closing(nodes: Sequence[str], ways: Sequence[Way]) -> list[Closing]:
    """The ways that close a cycle and are not marked.

    Args:
        nodes: ids in file order, where the walk begins.
        ways: in file order. Ways from or to another flow are not followed.
    """
    onward: dict[str, list[int]] = {node: [] for node in nodes}
    for index, way in enumerate(ways):
        if way.wire.delivery == "reliable" and way.feedback is not True and way.start.flow == way.end.flow:
            onward[way.start.node].append(index)
    found: list[Closing] = []
    done: set[str] = set()
    for root in nodes:
        if root in done:
            continue
        on_path: dict[str, int] = {root: 0}  # a walk of our own: a chain of 2,000 nodes is deeper than Python's stack
        path = [root]
        steps = [iter(onward[root])]
        while steps:
            index = next(steps[-1], -1)
            if index < 0:
                steps.pop()
                last = path.pop()
                del on_path[last]
                done.add(last)
                continue
            node = ways[index].end.node
            if node in on_path:
                found.append(Closing(index, tuple(path[on_path[node] :])))
            elif node not in done:
                on_path[node] = len(path)
                path.append(node)
                steps.append(iter(onward[node]))
    return found
