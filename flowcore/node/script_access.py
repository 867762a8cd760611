"""A locked-in script for a node that runs one (`script = True` on its class): `script_of(node, source, ...)`.

The process around the engine puts the path of the zygote's socket into `extras["script_socket"]`; how strict the
sandbox must be is the node's setting `sandbox`.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from flowcore.node.node import Node

if TYPE_CHECKING:
    from flowcore.node.scripted import TensorScript

_GRACE_S = 0.5  # JavaScript is stopped from within; should that fail, the worker is killed so much later


def script_of(
    node: Node,
    source: str,
    *,
    outputs: Sequence[str] = ("out",),
    env: Mapping[str, Any] | None = None,
    deadline_s: float = 5.0,
    memory_mb: int = 256,
    language: str = "python",
    options: Mapping[str, Any] | None = None,
) -> "TensorScript":
    """A script of this node, with the node's state as its `context`, not started yet.

    Args:
        source: the user's text.
        outputs: names of the outputs, in the order the script knows them by.
        env: what the script sees as `env`.
        deadline_s, memory_mb: what one message may take.
        language: "python", "javascript", "expression" or "template"; `options` are what it takes besides.
    Raises:
        RuntimeError: the node runs without a script zygote, as in `drive` when no `script_socket` was given.
    """
    from flowcore.node.scripted import TensorScript  # only nodes with a script need it

    socket = node.engine.extras.get("script_socket")
    if not socket:
        raise RuntimeError(f"{node.type} needs the script zygote, and runs without one")
    return TensorScript(
        socket,
        source,
        codec=node.engine.tensors.codec,
        outputs=outputs,
        env=env,
        id=node.id,
        context=lambda: dict(node.state),
        flow_context=node.flow_context,
        global_context=node.global_context,
        sandbox=node.engine.settings.get("sandbox", "strict"),
        deadline_s=deadline_s,
        memory_mb=memory_mb,
        language=language,
        options=options,
        grace_s=_GRACE_S + deadline_s / 10 if language == "javascript" else 0.0,
    )


def handles_one_by_one(node: Node) -> bool:
    """True when the node's settings ask for something that is done message by message: retries, time-out, breaker."""
    settings = node.engine.settings
    return bool(
        settings.get("timeout_s")
        or (settings.get("retry") or {}).get("times")
        or (settings.get("breaker") or {}).get("failures")
    )
