from flowcore.node import Node, NodeConfig, Out, field


class Catch(Node):
    """Take the errors of other nodes of this flow.

    Resolved at deploy: each node in the scope gets a wire from its hidden port `error` to what this node is wired to.
    The payload is a map: `error` (its kind), `text`, `node`, `traceback`, `tries`, and `message`, the one that failed.
    """

    type = "core/catch"
    title = "Catch"
    category = "common"
    icon = "shield-alert"
    virtual = "catch"

    class Config(NodeConfig):
        scope: str | list[str] = field(
            "all", description='Whose errors: "all" nodes of the flow, those of the same "group", or a list of node ids'
        )
        uncaught: bool = field(False, description="Only errors of nodes that no other catch node takes")

    out = Out(dict, "the error and the message that failed")
