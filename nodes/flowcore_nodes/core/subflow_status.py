from typing import Any

from flowcore.node import In, Message, Node, PortTypeError

_OF_FILL = {"red": "error", "yellow": "warn", "green": "ok", "blue": "busy", "grey": "off", "gray": "off"}
_KINDS = ("ok", "busy", "warn", "error", "off")


class SubflowStatus(Node):
    """Set what the instance of the subflow shows that this node stands in.

    The payload is a text, or a map with `text` and `kind` (ok, busy, warn, error, off), or Node-RED's with `text` and
    `fill`. An empty text takes the badge away. Status nodes outside that listen to the instance hear this, and not the
    nodes inside. Without such a node an instance shows the worst that its nodes show.
    """

    type = "core/subflow-status"
    title = "Subflow status"
    category = "common"
    icon = "badge-info"
    speaks_for_instance = True

    in_ = In(description="what the instance shows")

    async def on_message(self, message: Message) -> None:
        """Show it."""
        text, kind = _status(message.payload)
        self.set_status(text, kind)


def _status(payload: Any) -> tuple[str, str]:
    if not isinstance(payload, dict):
        return ("" if payload is None else str(payload)), "ok"
    kind = payload.get("kind", _OF_FILL.get(str(payload.get("fill", "")), "ok"))
    if kind not in _KINDS:
        raise PortTypeError("in", f"a kind of {', '.join(_KINDS)}", payload, f"kind is {kind!r}")
    text = payload.get("text")
    return ("" if text is None else str(text)), kind
