"""Nodes that only drills need: they crash, sleep, count, measure and lie. Visible by PYTHONPATH, never installed."""

from flowcore.node import Node, hookimpl


@hookimpl
def flowcore_node_types() -> list[type[Node]]:
    """Every node class of the module."""
    from drill_nodes import nodes

    return [one for one in vars(nodes).values() if isinstance(one, type) and issubclass(one, Node) and one is not Node]
