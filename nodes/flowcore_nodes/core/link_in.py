from flowcore.node import Node, NodeConfig, Out, field


class LinkIn(Node):
    """Where the messages of link-out nodes come out, in this flow or another; resolved into direct wires at deploy."""

    type = "core/link-in"
    title = "Link in"
    category = "common"
    icon = "log-in"
    virtual = "link-in"

    class Config(NodeConfig):
        name: str = field("", description="A name that link-out nodes may use beside this node's id")

    out = Out()
