from flowcore.node import In, Node, Out


class Junction(Node):
    """A point where wires meet, to tidy the canvas; resolved at deploy, it costs nothing."""

    type = "core/junction"
    title = "Junction"
    category = "common"
    icon = "dot"
    virtual = "junction"

    in_ = In()
    out = Out()
