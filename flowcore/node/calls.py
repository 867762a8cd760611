"""Whose call a message belongs to: the stack of calls that it carries, as Node-RED's `_linkSource` does.

`meta["_linkSource"]` is a list of `{"node": "<flow>/<caller>", "id": ..}`, one for each call that the message is inside
of; the last one is answered next. Whatever keeps `meta` (every node that derives its outputs) keeps the way back.
"""

from typing import Any

STACK = "_linkSource"
DEEPEST = 100
"""Calls inside calls; a flow that calls itself for ever ends there and not in a message that grows."""


def called(meta: dict, caller: str, call: str) -> dict:
    """The meta of a call: that of the message, and one more entry on its stack."""
    return {**meta, STACK: [*_stack(meta), {"node": caller, "id": call}]}


def depth(meta: dict) -> int:
    """How many calls a message is inside of."""
    return len(_stack(meta))


def caller_of(meta: dict) -> str:
    """`<flow>/<node>` of the call that is answered next; empty when the message is in none."""
    top = _top(meta)
    node = top.get("node") if top is not None else None
    return node if isinstance(node, str) else ""


def answered(meta: dict) -> tuple[str, dict]:
    """The id of the call that a message answers ("": of none), and its meta without that call."""
    top = _top(meta)
    if top is None:
        return "", dict(meta)
    rest = {key: value for key, value in meta.items() if key != STACK}
    if stack := _stack(meta)[:-1]:
        rest[STACK] = stack
    call = top.get("id")
    return call if isinstance(call, str) else "", rest


def _stack(meta: dict) -> list[Any]:
    stack = meta.get(STACK)
    return list(stack) if isinstance(stack, (list, tuple)) else []


def _top(meta: dict) -> dict | None:
    stack = _stack(meta)
    return stack[-1] if stack and isinstance(stack[-1], dict) else None
