"""Agents: nodes that look at events and say what is to be done.

An agent is a node: ports, `Config`, `self.state`, timers and tests are those of any node. What it has beside them is
`act`, which makes an action, and that it is of best effort: an agent that fails or hangs holds up nobody.

An action is a message: what is to be done is in `meta.do`, who asked for it in `meta.agent`, everything else is as the
node that does it reads it. A `core/actions` hands it to that node, or a wire leads to the node directly.
"""

import re
from collections.abc import Sequence
from typing import Any, ClassVar

from flowcore.node.message import Message
from flowcore.node.node import Node
from flowcore.node.ports import In, Out

DO, AGENT = "do", "agent"


class Agent(Node):
    """Look at events, and say what is to be done. Subclass it and write `on_message`, as for any node.

    The class's name gives its type: `class TooHot(Agent)` is `agent/too-hot`, unless it says another. A file with such
    classes in the folder `agents` beside the flows is all that is needed; a package lists them as it lists its nodes.
    """

    category: ClassVar[str] = "agents"
    icon: ClassVar[str] = "bot"
    stateful: ClassVar[bool] = True
    best_effort: ClassVar[bool] = True
    context: ClassVar[tuple[str, ...]] = ("flow", "global")

    in_ = In(description="an event")
    action = Out(description="what is to be done: to a core/actions, or straight to the node that does it")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        name = _dashed(cls.__name__)
        if "type" not in vars(cls):
            cls.type = "" if cls.__name__.startswith("_") else f"agent/{name}"
        if "title" not in vars(cls):
            cls.title = name.replace("-", " ").capitalize()

    def act(
        self,
        message: Message | None,
        do: str | Sequence[str],
        payload: Any = None,
        *,
        topic: str | None = None,
        **meta: Any,
    ) -> Message:
        """An action, to be returned or yielded by a handler.

        Args:
            message: the event that it is because of, so that it can be followed back; None: a timer, for example.
            do: the route of the `core/actions` by which it goes, such as "mqtt"; several: it is done by each.
            payload: what the node at its end takes: a text for an e-mail, a map for a webhook.
            topic: MQTT topic, subject of an e-mail; None: that of the event.
            meta: what the node reads of `meta` beside it: `to` of an e-mail, `level` of a log line.
        """
        because = message if message is not None else Message()
        routes = [do] if isinstance(do, str) else list(do)
        return because.derive(
            payload, topic=because.topic if topic is None else topic, meta={**meta, DO: routes, AGENT: self.id}
        )


def _dashed(name: str) -> str:
    """`TooHot` -> `too-hot`, `HTTPProbe` -> `http-probe`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", name).lower().replace("_", "-")
