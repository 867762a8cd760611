"""`core/function`: a Python script of the user's, run in a worker that is locked in."""

from typing import Any

from flowcore.node import In, NodeConfig, field
from flowcore_nodes.core.script_node import ScriptNode


class Function(ScriptNode):
    """Run a Python script on each message: no files, no network, 5 seconds and 256 MB a message.

    The script is the body of a function with `msg`: change `msg.payload`, `msg.topic` or `msg.meta` (any other
    attribute is an entry of `meta`) and `return msg`, or return a value, or nothing to send nothing. `yield` and
    `node.send(...)` send several. With more than one output, return a list with one place for each: `[msg, None]`; a
    list inside sends several. With one output, a list is a value. A dict of just payload, topic and meta is a message.

    `node.log`, `node.warn`, `node.error`, `node.status("text", "warn")`; `print` goes to the node's log. `context.get`
    and `context.set` keep values over restarts, each message counted once; `flow` and `global_` are shared with other
    nodes; `env` is the map from the settings. `json`, `math`, `re`, `datetime`, `time`, `random` and `statistics` are
    at hand, more can be imported. A script may define `on_message(msg)`, `on_start()` and `on_stop()` instead.

    A message that takes too long, or whose script raises, goes to the error port with the script's line; the others
    go on. Three that had to be ended in a minute pause the script for half a minute.
    """

    type = "core/function"
    title = "Function"
    icon = "function"

    class Config(NodeConfig):
        script: str = field("return msg", widget="code", description="Python: the body of a function with `msg`")
        outputs: int | list[str] = field(
            ("out",), description="Names of the outputs, or how many there are: out1, out2, ..."
        )
        env: dict[str, Any] = field({}, description="Values that the script sees as `env`")
        timeout_s: float = field(5.0, gt=0, le=300, description="Seconds that one message may take")
        memory_mb: int = field(256, ge=16, le=4096, description="Memory that the script may use, in MB")

    in_ = In(description="What the script gets as `msg`")
