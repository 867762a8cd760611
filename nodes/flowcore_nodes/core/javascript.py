"""`core/javascript`: the function node of Node-RED, run in a worker that is locked in."""

from typing import Any

from flowcore.node import In, Message, NodeConfig, field
from flowcore_nodes.core.script_node import ScriptNode


def _program(default: str, description: str) -> Any:
    return field(default, widget="code", language="javascript", description=description)


class JavaScript(ScriptNode):
    """Run a JavaScript function on each message, as a function node of Node-RED does: no files, no network.

    The script is the body of a function with `msg`: `msg.payload`, `msg.topic`, `msg._msgid`; any other property is an
    entry of `meta`. `return msg`, or a list with a message for each output (`[msg, null]`), lists in it to send
    several; `node.send(...)` sends at once. What is no object is an error.

    `node.log`, `warn`, `error(text, msg)`, `status({fill, shape, text})`, `node.id`, `node.name`; `context.get`, `set`
    and `keys` keep values over restarts, `flow` and `global` are shared with other nodes; `env.get`; `RED.util`,
    `util`, `Buffer`, `console`, `setTimeout`, `setInterval`. A function may be async: the next message waits for it.
    Whole numbers beyond 2^53 come as BigInt, bytes as Buffer; a Date leaves as ISO text. There is no `require`.

    A message that takes too long is stopped and goes to the error port, with the script's line; the others go on.
    Timers and what they send end with the process: what must not be lost belongs in `context`, or in `core/rate`.
    """

    type = "core/javascript"
    title = "Function (JS)"
    icon = "braces"
    language = "javascript"

    class Config(NodeConfig):
        script: str = _program("return msg;", "JavaScript: the body of a function with `msg`")
        on_start: str = _program("", "JavaScript that runs once, before the first message")
        on_stop: str = _program("", "JavaScript that runs after the last message")
        outputs: int | list[str] = field(
            ("out",), description="Names of the outputs, or how many there are: out1, out2, ..."
        )
        env: dict[str, Any] = field({}, description="Values that `env.get(NAME)` gives")
        timeout_s: float = field(
            5.0, gt=0, le=300, description="Seconds that one message may take, with all that it awaits"
        )
        memory_mb: int = field(256, ge=16, le=4096, description="Memory that the script may use, in MB")

    in_ = In(description="What the script gets as `msg`")

    def options(self) -> dict[str, Any]:
        return {"flow": self.flow, "on_start": self.config.on_start, "on_stop": self.config.on_stop}

    def item(self, message: Message) -> tuple[Any, ...]:
        return message.payload, message.topic, message.meta, message.trace or message.id
