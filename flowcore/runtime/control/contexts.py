"""Control services for contexts: values that the nodes of a flow, or of all flows, share. Changes are in the log."""

import asyncio
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from pydantic import Field

from flowcore.bus.bucket import Bucket
from flowcore.bus.jsonable import from_jsonable, jsonable
from flowcore.bus.storage import CONTEXT
from flowcore.node.context import Context
from flowcore.runtime.control.errors import ControlError
from flowcore.runtime.control.operation import Answer, Done, Request, operation
from flowcore.runtime.logs import event
from flowcore.runtime.store import BusValues

if TYPE_CHECKING:
    from flowcore.runtime.host import Host

GLOBAL = "global"
_MOST_KEYS = 1000
_AT_ONCE = 32
_PATIENCE_S = 10.0


class ContextAsked(Request):
    """The context of a flow, or the one that all flows share."""

    flow: str | None = Field(None, description="null: the global one")
    key: str | None = Field(None, description="null: all keys")


class ContextNow(Answer):
    """What is shared, as it is now."""

    values: dict[str, Any]
    left_out: int = Field(0, description="Keys beyond the first thousand")


class ContextKey(Request):
    """One key."""

    flow: str | None = Field(None, description="null: the global one")
    key: str = Field(min_length=1)


class ContextPut(ContextKey):
    """One key and its new value."""

    value: Any


@operation("context.get")
async def context_get(host: "Host", ask: ContextAsked) -> ContextNow:
    """The values that a flow's nodes share (null: those of all flows), or one of them. Bytes are {"$bytes": base64}."""
    scope = await _scope(host, ask.flow)
    context = Context(BusValues(host.bus.connection), scope)
    async with asyncio.timeout(_PATIENCE_S):
        keys = [ask.key] if ask.key is not None else await _keys(host, scope)
        found = await _values(context, keys[:_MOST_KEYS])
    if ask.key is not None and not found:
        raise _no_key(ask.key, scope)
    return ContextNow(values=jsonable(found), left_out=max(0, len(keys) - _MOST_KEYS))


@operation("context.put")
async def context_put(host: "Host", ask: ContextPut) -> Done:
    """Set a value that nodes share; they see it at their next look. null removes it."""
    scope = await _scope(host, ask.flow)
    try:
        value = from_jsonable(ask.value)
    except ValueError as e:
        raise ControlError("invalid_request", str(e), where="value") from None
    async with asyncio.timeout(_PATIENCE_S):
        await Context(BusValues(host.bus.connection), scope).set(ask.key, value)
    event("context set", flow=ask.flow or "", detail=f"{scope}: {ask.key}")
    return Done()


@operation("context.delete")
async def context_delete(host: "Host", ask: ContextKey) -> Done:
    """Remove a value that nodes share."""
    scope = await _scope(host, ask.flow)
    context = Context(BusValues(host.bus.connection), scope)
    async with asyncio.timeout(_PATIENCE_S):
        if await context.get(ask.key) is None:
            raise _no_key(ask.key, scope)
        await context.set(ask.key, None)
    event("context deleted", flow=ask.flow or "", detail=f"{scope}: {ask.key}")
    return Done()


async def _scope(host: "Host", flow: str | None) -> str:
    if flow is not None and flow not in host.flows():
        await host.documents.read(flow)  # says which flows there are
    return GLOBAL if flow is None else flow


async def _keys(host: "Host", scope: str) -> list[str]:
    """Of values that are or were there: one that was removed is still an entry."""
    mine = f"{scope}."
    keys = await Bucket(host.bus.connection, CONTEXT).keys()
    return sorted(unquote(key.removeprefix(mine).replace("=", "%")) for key in keys if key.startswith(mine))


async def _values(context: Context, keys: list[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for begin in range(0, len(keys), _AT_ONCE):
        some = keys[begin : begin + _AT_ONCE]
        values = await asyncio.gather(*(context.get(key) for key in some))
        found |= {key: value for key, value in zip(some, values, strict=True) if value is not None}
    return found


def _no_key(key: str, scope: str) -> ControlError:
    return ControlError("unknown", f"nothing is shared as {key!r}", where=scope, do="List them: flowcore context get")
