from flowcore.node import Node, NodeConfig, Out, field


class Status(Node):
    """Take the status changes of other nodes of this flow.

    Resolved at deploy: each node in the scope gets a wire from its hidden port `status` to what this node is wired to.
    """

    type = "core/status"
    title = "Status"
    category = "common"
    icon = "activity"
    virtual = "status"

    class Config(NodeConfig):
        scope: str | list[str] = field(
            "all", description='Whose status: "all" nodes of the flow, those of the same "group", or a list of node ids'
        )

    out = Out(dict, "the node, its text and kind")
