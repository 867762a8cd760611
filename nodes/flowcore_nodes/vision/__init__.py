"""Cameras, frames and what is seen on them."""

from flowcore.node import Node, hookimpl


@hookimpl
def flowcore_node_types() -> list[type[Node]]:
    """The node types of this folder."""
    from flowcore_nodes.vision.camera import Camera

    return [Camera]
