from flowcore.node import Node, NodeConfig, Out, field


class Complete(Node):
    """Get each message that other nodes have finished handling.

    Resolved at deploy: each node in the scope gets a wire from its hidden port `complete` to what this node is wired
    to. Useful after nodes without an output, such as a file that was written.
    """

    type = "core/complete"
    title = "Complete"
    category = "common"
    icon = "circle-check"
    virtual = "complete"

    class Config(NodeConfig):
        scope: str | list[str] = field(
            "all", description='Which nodes: "all" of the flow, those of the same "group", or a list of node ids'
        )

    out = Out(description="the message that was handled")
