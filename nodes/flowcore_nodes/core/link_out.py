from typing import Literal

from flowcore.node import In, Node, NodeConfig, field


class LinkOut(Node):
    """Send messages to link-in nodes, here or in another flow, without drawing the wire; resolved at deploy.

    In mode `return` it answers the link-call node that a message was called by. A message that nobody called goes
    nowhere then.
    """

    type = "core/link-out"
    title = "Link out"
    category = "common"
    icon = "log-out"
    virtual = "link-out"

    class Config(NodeConfig):
        mode: Literal["link", "return"] = field("link", description="Send to link-ins, or answer the call")
        links: list[str] = field(
            [], description="Where to: ids or names of link-in nodes; `<flow>/<id or name>` for one in another flow"
        )

    in_ = In()
