from typing import Any, Literal

from flowcore.node import In, Message, NodeConfig, Out, field, script_of
from flowcore_nodes.core.script_node import ValueNode


class Expression(ValueNode):
    """Give each message the value of one line of Python, or let it pass when that value is true.

    `payload`, `topic` and `meta` are the message's; `msg.x` is `meta["x"]`. `env` is the map from the settings, `flow`
    and `global_` have what nodes share (`flow.get("limit")`); `math`, `re`, `json`, `datetime`, `time`, `random` and
    `statistics` are at hand. It runs locked in, as `core/function` does.

    map: the payload becomes the value, topic and meta stay. filter: the message passes as it is when the value is
    true. An expression that fails is that message's error.
    """

    type = "core/expression"
    title = "Expression"
    icon = "expression"

    class Config(NodeConfig):
        expression: str = field(
            "payload", widget="code", description="One line of Python: `payload * 1.8 + 32`, `payload > env['LIMIT']`"
        )
        action: Literal["map", "filter"] = field(
            "map", description="map: the payload becomes the value; filter: the message passes when it is true"
        )
        env: dict[str, Any] = field({}, description="Values that the expression sees as `env`")
        timeout_s: float = field(5.0, gt=0, le=300, description="Seconds that one message may take")
        memory_mb: int = field(64, ge=16, le=4096, description="Memory that the expression may use, in MB")

    in_ = In()
    out = Out()

    async def on_start(self) -> None:
        config = self.config
        self._script = script_of(
            self, config.expression, env=config.env, deadline_s=config.timeout_s, memory_mb=config.memory_mb,
            language="expression",
        )  # fmt: skip
        await self._script.start()

    def made(self, message: Message, value: Any) -> Message | None:
        if self.config.action == "map":
            return message.derive(value)
        return message.derive() if value else None
