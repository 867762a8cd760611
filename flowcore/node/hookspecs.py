"""The hook by which a package brings node types: an entry point in group `flowcore` with `flowcore_node_types`."""

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from flowcore.node.node import Node

hookspec = pluggy.HookspecMarker("flowcore")
hookimpl = pluggy.HookimplMarker("flowcore")


@hookspec
def flowcore_node_types() -> list[type["Node"]]:  # type: ignore[empty-body]
    """Return the node types that this plug-in brings.

    Called in a process that lists types and ends: start no thread and touch no device here; do that in
    `Node.on_start`. Two plug-ins with the same `type` are both named and neither is used. Import the node classes
    inside the hook, so that starting one of your nodes does not import the others.
    """
