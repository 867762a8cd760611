from flowcore.node import Node, NodeConfig, field


class Comment(Node):
    """A note on the canvas; it does nothing."""

    type = "core/comment"
    title = "Comment"
    category = "common"
    icon = "message-square"
    virtual = "comment"

    class Config(NodeConfig):
        text: str = field("", description="The note, in Markdown", widget="textarea")
