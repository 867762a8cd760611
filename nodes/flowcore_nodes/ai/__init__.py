"""Models and what is made of their outputs. Engines are in `engines.py`; docs/ai.md says how they are used."""

from flowcore.node import Node, hookimpl


@hookimpl
def flowcore_node_types() -> list[type[Node]]:
    """The node types of this folder."""
    from flowcore_nodes.ai.model import Model

    return [Model]
