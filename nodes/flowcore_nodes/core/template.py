from typing import Any, Literal

from flowcore.node import In, Message, NodeConfig, Out, field, script_of
from flowcore.node.paths import MessagePath
from flowcore_nodes.core.path_fields import WritePath
from flowcore_nodes.core.script_node import ValueNode


class Template(ValueNode):
    """Fill in a text with parts of the message.

    jinja2: `{{ payload.temp_c }}`, `{% if topic %}`, `{% for x in payload %}`; there are `payload`, `topic`, `meta`,
    `msg`, `env`, `flow.x` and `global.x`. mustache: as Node-RED's template node, with `{{payload.temp_c}}` (escaped for
    HTML), `{{{payload}}}`, sections, `{{flow.x}}`, `{{global.x}}`, `{{env.X}}`. plain: the text as it is.

    Without a template here, the message brings it: `msg.template`, which is `meta["template"]`. The text can be read
    as JSON or YAML. Templates run locked in, as `core/function` does; one that fails is that message's error.
    """

    type = "core/template"
    title = "Template"
    icon = "template"

    class Config(NodeConfig):
        template: str = field(
            "", widget="code", language="text", description="The text; empty: the message's `meta.template`"
        )
        syntax: Literal["jinja2", "mustache", "plain"] = field(
            "jinja2", description="jinja2; mustache: as in Node-RED; plain: nothing is filled in"
        )
        output: Literal["text", "json", "yaml"] = field("text", description="What the text is read as")
        path: WritePath = field(
            "payload", description="Where the result goes: payload, payload.text, topic, meta.body ..."
        )
        strict: bool = field(False, description="jinja2: a name that is not there is an error; off: it is empty")
        env: dict[str, Any] = field({}, description="Values that the template sees as `env`")
        timeout_s: float = field(5.0, gt=0, le=300, description="Seconds that one message may take")
        memory_mb: int = field(64, ge=16, le=4096, description="Memory that the template may use, in MB")

    in_ = In()
    out = Out()

    async def on_start(self) -> None:
        config = self.config
        self._path = MessagePath(config.path)
        self._script = script_of(
            self, config.template, env=config.env, deadline_s=config.timeout_s, memory_mb=config.memory_mb,
            language="template", options={"syntax": config.syntax, "output": config.output, "strict": config.strict},
        )  # fmt: skip
        await self._script.start()

    def made(self, message: Message, value: Any) -> Message:
        filled = message.derive()
        self._path.set(filled, value)
        return filled
