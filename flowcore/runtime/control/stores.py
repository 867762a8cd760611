"""Control services for what is kept: the state of nodes, and the names of secrets (never their values)."""

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

from pydantic import Field

from flowcore.bus.jsonable import from_jsonable, jsonable
from flowcore.node.record import Record, RecordStore, StateStale
from flowcore.runtime.control.errors import ControlError
from flowcore.runtime.control.nodes import NodeAsked
from flowcore.runtime.control.operation import Answer, Done, Nothing, operation
from flowcore.runtime.results import UnknownNode
from flowcore.runtime.store import record_store

if TYPE_CHECKING:
    from flowcore.runtime.host import Host

_TRIES = 20
_PATIENCE_S = 5.0


class StateAsked(NodeAsked):
    """A node's state, or one key of it."""

    key: str | None = Field(None, description="null: all of it")


class StateNow(Answer):
    """What a node keeps in `self.state`, as it was last stored."""

    values: dict[str, Any]
    position: Any = Field(None, description="A source's: up to which all is acked")


@operation("state.get")
async def state_get(host: "Host", ask: StateAsked) -> StateNow:
    """The stored state of a node, or one key of it. Bytes are {"$bytes": base64}."""
    record, _ = await _load(host, ask)
    if ask.key is None:
        return StateNow(values=jsonable(record.values), position=jsonable(record.position))
    if ask.key not in record.values:
        raise _no_key(ask, record)
    return StateNow(values={ask.key: jsonable(record.values[ask.key])}, position=jsonable(record.position))


class StatePut(NodeAsked):
    """A key and its new value."""

    key: str
    value: Any


@operation("state.put")
async def state_put(host: "Host", ask: StatePut) -> Done:
    """Set one key of a node's state, and replace the node's process so that it goes on from there."""
    try:
        value = from_jsonable(ask.value)
    except ValueError as e:
        raise ControlError("invalid_request", str(e), where="value") from None

    def change(record: Record) -> None:
        record.values[ask.key] = value

    await _change(host, ask, change)
    return Done()


@operation("state.delete")
async def state_delete(host: "Host", ask: StateAsked) -> Done:
    """Delete one key of a node's state, or all of it with a source's position, and replace the node's process."""

    def change(record: Record) -> None:
        if ask.key is None:
            record.values.clear()
            record.position = None
        elif record.values.pop(ask.key, change) is change:
            raise _no_key(ask, record)

    await _change(host, ask, change)
    return Done()


async def _load(host: "Host", ask: NodeAsked) -> tuple[Record, RecordStore]:
    if ask.flow not in host.flows():
        await host.documents.read(ask.flow)  # says which flows there are
    store = record_store(host.bus.connection, host.state_key(ask.flow, ask.node))
    async with asyncio.timeout(_PATIENCE_S):
        return await store.load(), store


async def _change(host: "Host", ask: NodeAsked, change: Any) -> None:
    """Change the record between two writes of the node: what it had applied stays beside the new values."""
    for _ in range(_TRIES):
        record, store = await _load(host, ask)
        change(record)
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await store.save(record.packed(), record.inc, record.n, is_whole=True)
            break
        except StateStale:
            continue
    else:
        raise ControlError("refused", "the node writes its state faster than it could be changed", do="Stop it first.")
    with contextlib.suppress(UnknownNode):  # not running: its next process reads the new state
        await host.steer.restart(ask.flow, ask.node)


def _no_key(ask: StateAsked, record: Record) -> ControlError:
    there = ", ".join(sorted(record.values)[:20]) or "nothing"
    return ControlError("unknown", f"no key {ask.key!r} (it keeps: {there})", where=f"{ask.flow}.{ask.node}")


class SecretNames(Answer):
    """Names only: a value never goes over the bus."""

    names: list[str]


@operation("secrets")
async def secrets(host: "Host", ask: Nothing) -> SecretNames:
    """The names of the secrets that flows may use; values are set with `flowcore secret set`, never over the bus."""
    return SecretNames(names=sorted(host.secrets.names()))
