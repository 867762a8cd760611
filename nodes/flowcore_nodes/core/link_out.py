from flowcore.node import In, Node, NodeConfig, field


class LinkOut(Node):
    """Send messages to link-in nodes, here or in another flow, without drawing the wire; resolved at deploy."""

    type = "core/link-out"
    title = "Link out"
    category = "core"
    icon = "log-out"
    virtual = "link-out"

    class Config(NodeConfig):
        links: list[str] = field(
            [], description="Where to: ids or names of link-in nodes; `<flow>/<id or name>` for one in another flow"
        )

    in_ = In()
