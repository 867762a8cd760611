"""Models and what is made of their outputs. Engines are in `engines.py`; docs/ai.md says how they are used."""

from flowcore.node import Node, hookimpl


@hookimpl
def flowcore_node_types() -> list[type[Node]]:
    """The node types of this folder."""
    from flowcore_nodes.ai.anomaly import Anomaly
    from flowcore_nodes.ai.classify import Classify
    from flowcore_nodes.ai.model import Model
    from flowcore_nodes.ai.yolo import Yolo

    return [Model, Yolo, Classify, Anomaly]
