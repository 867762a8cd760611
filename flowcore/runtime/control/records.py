"""Control services for what was written down: the log, messages that were given up, and trying those again."""

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from flowcore.bus import subjects
from flowcore.bus.envelope import join, pack
from flowcore.bus.given_up import GivenUp, GivenUpStream
from flowcore.bus.inbox import Inbox, NobodyListens
from flowcore.bus.jsonable import jsonable
from flowcore.runtime import logfile
from flowcore.runtime.control.errors import ControlError
from flowcore.runtime.control.operation import Answer, Request, operation

if TYPE_CHECKING:
    from flowcore.runtime.host import Host

_AT_ONCE = 100
_HANDLED_S = 60.0


class LogsRequest(Request):
    """Which entries."""

    flow: str | None = None
    node: str | None = None
    level: Literal["debug", "info", "warning", "error", "critical"] = Field("info", description="This or worse")
    since_s: float | None = Field(None, ge=0, description="No older than so many seconds; null: any age")
    limit: int = Field(200, ge=1, le=10_000, description="At most so many, the newest")


class Logs(Answer):
    """Entries of the host's log, oldest first: ts, level, event, and by event flow, node, process, detail, .."""

    entries: list[dict[str, Any]]


@operation("logs")
async def logs(host: "Host", ask: LogsRequest) -> Logs:
    """The newest entries of the log, of the host and of what nodes print."""
    since_s = 0.0 if ask.since_s is None else time.time() - ask.since_s
    wanted = logfile.LogFilter(ask.flow, ask.node, ask.level, since_s)
    return Logs(entries=logfile.newest(host.folder / "logs", wanted, ask.limit))


class ErrorsRequest(Request):
    """Which given-up messages."""

    flow: str | None = None
    node: str | None = None
    after: int = Field(0, ge=0, description="Only ids above this one: for the next page")
    limit: int = Field(200, ge=1, le=5000)


class Failure(Answer):
    """A message that was given up."""

    id: int
    flow: str
    node: str
    type: str = ""
    error: str = ""
    text: str = ""
    traceback: str = ""
    tries: int = 0
    ts: int = Field(0, description="When, nanoseconds UTC")
    message: dict[str, Any] | None = Field(None, description="id, port, topic, payload, meta, trace, origin")

    @classmethod
    def of(cls, given_up: GivenUp) -> "Failure":
        """From the stream."""
        known = {name: value for name, value in jsonable(given_up.body).items() if name in cls.model_fields}
        return cls.model_validate({**known, "id": given_up.id, "flow": given_up.flow, "node": given_up.node})


class Errors(Answer):
    """One page, oldest first, and how many there are in all."""

    total: int
    errors: list[Failure]


@operation("errors")
async def errors(host: "Host", ask: ErrorsRequest) -> Errors:
    """Messages that nodes gave up and no catch took: kept until they are tried again or the stream is full (64 MB)."""
    stream = GivenUpStream(host.bus.connection)
    found: list[Failure] = []
    total = await stream.count(
        ask.flow, ask.node
    )  # before they are read: one that comes meanwhile is in the next answer
    async for given_up in stream.read(ask.flow, ask.node, ask.after):
        found.append(Failure.of(given_up))
        if len(found) == ask.limit:
            break
    return Errors(total=total, errors=found)


class RetryRequest(Request):
    """Which given-up messages to try again: some ids, or all of a flow or a node."""

    ids: list[int] = Field(default_factory=list, max_length=10_000)
    flow: str | None = None
    node: str | None = None
    limit: int = Field(1000, ge=1, le=10_000, description="At most so many at once")
    forget: bool = Field(False, description="Remove them without trying")


class Retried(Answer):
    """What became of them. One that fails again is in `flowcore errors` again, with a new id."""

    retried: list[int]
    forgotten: list[int]
    refused: dict[int, str] = Field(description="Id -> why it could not be given to its node; it stays in the list")
    left: int = Field(description="How many match and were not reached because of `limit`")


@operation("retry")
async def retry(host: "Host", ask: RetryRequest) -> Retried:
    """Give messages that were given up to their nodes again; each leaves the list when its node has it."""
    stream = GivenUpStream(host.bus.connection)
    if not ask.ids and ask.flow is None:
        raise ControlError(
            "invalid_request", "name ids, or a flow", where="ids", do="For example: flowcore retry --flow factory"
        )
    chosen, left = await _chosen(stream, ask)
    answer = Retried(retried=[], forgotten=[], refused={}, left=left)
    if ask.forget:
        for given_up in chosen:
            await stream.remove(given_up.id)
            answer.forgotten.append(given_up.id)
        return answer
    async with Inbox(host.bus.connection) as inbox:
        # Side by side, as far as a node's queue for messages from outside goes; in order, for what keeps order.
        for start in range(0, len(chosen), _AT_ONCE):
            some = chosen[start : start + _AT_ONCE]
            said = await asyncio.gather(*(_again(inbox, given_up) for given_up in some))
            for given_up, refusal in zip(some, said, strict=True):
                if refusal is not None:
                    answer.refused[given_up.id] = refusal
                    continue
                await stream.remove(given_up.id)
                answer.retried.append(given_up.id)
    return answer


async def _chosen(stream: GivenUpStream, ask: RetryRequest) -> tuple[list[GivenUp], int]:
    if ask.ids:
        found = [(id_, await stream.get(id_)) for id_ in ask.ids[: ask.limit]]
        gone = [id_ for id_, given_up in found if given_up is None]
        if gone:
            raise ControlError("unknown", f"no given-up message {gone[0]}", do="List them: flowcore errors")
        return [given_up for _, given_up in found if given_up is not None], max(len(ask.ids) - ask.limit, 0)
    chosen = []
    async for given_up in stream.read(ask.flow, ask.node):
        chosen.append(given_up)
        if len(chosen) == ask.limit:
            break
    return chosen, await stream.count(ask.flow, ask.node) - len(chosen)


async def _again(inbox: Inbox, given_up: GivenUp) -> str | None:
    """Put a message into its node and wait until it was handled; why not, when it was not."""
    message = given_up.body.get("message")
    if not isinstance(message, dict) or not message.get("port"):
        return "it holds no message: the error came from outside a handler"
    if message.get("is_cut"):
        return "it was too large to be kept whole: only what it was is known"
    envelope = {name: message[name] for name in ("payload", "topic", "meta") if message.get(name)}
    frame = join([pack({"payload": None, **envelope})])
    try:
        answer = await inbox.ask(subjects.into(given_up.flow, given_up.node, message["port"]), frame, _HANDLED_S)
    except NobodyListens:
        return "its node does not run"
    except TimeoutError:
        return f"it was not handled within {_HANDLED_S:g} s"
    said = json.loads(answer)
    return None if said.get("ok") else str(said.get("error", "refused"))
