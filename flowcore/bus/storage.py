"""What the engine keeps in JetStream: buckets, the stream of given-up messages, and a stream for each durable wire.

Works on the embedded server and on one that was there before us (`--nats`). Everything has a `max_bytes`: a stream
whose limit is below what the disk has answers at once when it is full, and goes on by itself; one without limit takes
the store down with the disk [measured on nats-server 2.15]. The server counts a `max_bytes` as taken when the stream is
made, so on a small disk the engine's own streams are smaller than usual.

    StorageError   JetStream is missing or refused a stream, with what to do
    └── NoRoom       it may not store so much
"""

import json
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from flowcore.bus import nats_py  # noqa: F401 - before the others

# isort: split
import nats.errors
import nats.js.errors
from nats.js import JetStreamContext, api

from flowcore.bus import subjects
from flowcore.bus.wire_ends import wire_ends

MB = 1024 * 1024
STORE_SHARE = 0.75  # of the disk that is free or the store's already, what JetStream may reserve
GIVEN_UP = "given_up"
FLOWS, DESIRED, STATE, CONTEXT = "flows", "desired", "state", "context"
HOSTS, PLACED, HANDOVER = "hosts", "placed", "handover"
_WIRE = "wire_"
_USUAL = "max_bytes"  # in a stream's metadata
_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_-]")
_NO_STREAM = 10059
_SMALLEST_SHARE = 16  # of its usual size: documents of 4 MB and 16 MB of state still fit


class StorageError(RuntimeError):
    """JetStream cannot hold what the engine needs."""


class NoRoom(StorageError):
    """The server may not store as much as the stream may take."""


@dataclass(frozen=True)
class WireStream:
    """Where a durable wire lives: the names of its stream and consumer, and the subject its producer publishes on."""

    stream: str
    consumer: str
    subject: str


def _bucket(name: str, max_bytes: int, history: int, description: str, max_value_bytes: int = -1) -> api.StreamConfig:
    return api.StreamConfig(
        name=f"KV_{name}",
        description=description,
        subjects=[f"$KV.{name}.>"],
        max_msgs_per_subject=history,
        max_bytes=max_bytes,
        max_msg_size=max_value_bytes,
        allow_direct=True,  # else a get asks STREAM.MSG.GET, which reads every key
        allow_rollup_hdrs=True,
        deny_delete=True,
        discard=api.DiscardPolicy.NEW,
        max_consumers=-1,
        max_msgs=-1,
        duplicate_window=120,
        num_replicas=1,
        storage=api.StorageType.FILE,
    )


def _streams() -> list[api.StreamConfig]:
    given_up = api.StreamConfig(
        name=GIVEN_UP,
        description="Messages that were given up: flowcore errors, flowcore retry",
        subjects=["flowcore.given_up.>"],
        max_bytes=64 * MB,
        discard=api.DiscardPolicy.OLD,
        allow_direct=True,
        num_replicas=1,
        storage=api.StorageType.FILE,
    )
    return [
        _bucket(FLOWS, 256 * MB, 64, "Flow documents: each put is a revision"),
        _bucket(DESIRED, 16 * MB, 1, "What should run: flow, revision, started or stopped"),
        _bucket(STATE, 256 * MB, 1, "self.state of every node"),
        _bucket(CONTEXT, 64 * MB, 1, "Flow and global context"),
        _bucket(HOSTS, 16 * MB, 1, "Hosts that share this bus: names, node types, which processes each holds"),
        _bucket(PLACED, 64 * MB, 1, "Flows with nodes on several hosts, resolved"),
        _bucket(HANDOVER, 64 * MB, 1, "What nodes that moved left for their successors"),
        given_up,
    ]


async def ensure(js: JetStreamContext, room_bytes: int | None = None) -> None:
    """Make the buckets and the stream of given-up messages, or bring them up to date; none gets smaller than it is.

    Args:
        room_bytes: what the server may store. Half of it is left to durable wires: the engine's streams are halved
            until they fit, at most four times. None: not known; they are as large as usual, or as small as can be.
    Raises:
        StorageError: no JetStream on this server, or not enough disk.
    """
    streams = _streams()
    total = sum(each.max_bytes or 0 for each in streams)
    share = 1
    while room_bytes is not None and share < _SMALLEST_SHARE and total / share > room_bytes / 2:
        share *= 2
    try:
        for wanted in streams:
            await _ensure_stream(js, replace(wanted, max_bytes=(wanted.max_bytes or 0) // share), shrink=False)
    except NoRoom:
        if room_bytes is None:
            return await ensure(js, 0)
        need_mb = total / _SMALLEST_SHARE / STORE_SHARE / MB
        raise NoRoom(f"the disk of the bus has too little room: it needs {need_mb:.0f} MB free to start with") from None


def wire_stream(flow: str, wire: Mapping[str, Any]) -> WireStream:
    """The names of a durable wire (a `WireSpec.asdict()`); replicas of the consumer share one JetStream consumer."""
    ends = wire_ends(flow, wire)
    names = (ends.flow, ends.producer, ends.port, ends.consumer)
    identity = "\0".join((*names, ends.in_port))
    readable = _NOT_IN_NAMES.sub("-", "_".join((*names, ends.in_port)))
    # The checksum, because a_b + c and a + b_c read the same.
    stream = f"{_WIRE}{readable[:150]}_{zlib.crc32(identity.encode()):08x}"
    return WireStream(stream, ends.in_port, subjects.log(*names, ends.in_port))


async def ensure_wire(js: JetStreamContext, flow: str, wire: Mapping[str, Any], ack_wait_s: float = 5.0) -> WireStream:
    """Make the stream and the consumer of a durable wire, or bring them up to date; what is stored stays.

    Raises:
        StorageError: refused, for example for want of disk.
    """
    where, kept = wire_stream(flow, wire), wire.get("durable") or {}
    is_work = kept.get("retention", "work") == "work"
    max_bytes = int(kept.get("max_bytes") or 64 * MB)
    stream = api.StreamConfig(
        name=where.stream,
        description=f"{flow}: {wire['producer']}.{wire['port']} > {wire['consumer']}.{wire['in_port']}",
        subjects=[where.subject],
        retention=api.RetentionPolicy.WORK_QUEUE if is_work else api.RetentionPolicy.LIMITS,
        # A full work queue says so to its producer, which waits; history is a ring.
        discard=api.DiscardPolicy.NEW if is_work else api.DiscardPolicy.OLD,
        max_bytes=max_bytes,
        max_msgs=kept.get("max_msgs") or -1,
        max_age=kept.get("max_age_s") or 0,
        persist_mode=None if kept.get("fsync", True) else api.PersistMode.ASYNC,
        duplicate_window=120,
        allow_direct=True,
        num_replicas=1,
        storage=api.StorageType.FILE,
        metadata={"flowcore": "wire", "flow": wire.get("from_flow") or flow, _USUAL: str(max_bytes)},
    )
    await _ensure_stream(js, stream)
    consumer = api.ConsumerConfig(
        durable_name=where.consumer,
        deliver_policy=api.DeliverPolicy.NEW if kept.get("start") == "new" else api.DeliverPolicy.ALL,
        ack_policy=api.AckPolicy.EXPLICIT,
        ack_wait=ack_wait_s,
        max_deliver=-1,  # tries are counted by the supervisor, not by deliveries
        max_ack_pending=max(int(wire.get("window") or 1024), 256),  # a large message is in many parts
        max_waiting=512,
    )
    try:
        await js.add_consumer(where.stream, consumer)
    except nats.js.errors.APIError as e:
        raise StorageError(f"the bus refused the consumer of {stream.description}: {e.description}") from None
    return where


def usual_size(stream: api.StreamConfig) -> int:
    """The `max_bytes` that a stream was given: while the disk is short of room it has less (`flowcore.bus.disk`)."""
    return int((stream.metadata or {}).get(_USUAL) or stream.max_bytes or 0)


async def redeliver(js: JetStreamContext, where: WireStream) -> None:
    """Deliver again, at once and in order, all that the consumer of a durable wire has not acked.

    For the moment between a consumer's death and its successor: else what the dead one had taken comes only after
    `ack_wait`, behind what follows it. Needs nats-server 2.14.

    Raises:
        StorageError: the bus refused.
    """
    try:
        answer = await js._nc.request(f"$JS.API.CONSUMER.RESET.{where.stream}.{where.consumer}", timeout=js._timeout)
    except nats.errors.Error as e:
        raise StorageError(f"the bus does not answer for stream {where.stream}: {e}") from None
    fault = json.loads(answer.data).get("error")
    if fault:
        raise StorageError(f"the bus refused to deliver {where.stream} again: {fault.get('description')}")


async def remove_wires(js: JetStreamContext, flow: str, keep: Iterable[str] = ()) -> list[str]:
    """Remove the streams of a flow's durable wires except those in `keep` (names of streams), and what they hold.

    A stream belongs to the flow of its producer.

    Returns:
        The names of the streams removed.
    """
    kept, removed = set(keep), []
    for info in await js.streams_info_iterator():
        stream = info.config
        ours = stream.metadata or {}
        if ours.get("flowcore") == "wire" and ours.get("flow") == flow and stream.name and stream.name not in kept:
            try:
                await js.delete_stream(stream.name)
            except nats.js.errors.NotFoundError:
                continue
            removed.append(stream.name)
    return removed


async def _add_or_update(js: JetStreamContext, wanted: api.StreamConfig, shrink: bool) -> None:
    assert wanted.name is not None
    try:  # to find it, before adding: a server without room refuses to add one that is there
        there = (await js.stream_info(wanted.name)).config
    except nats.js.errors.NotFoundError:
        await js.add_stream(wanted)
        return
    # These two cannot change on a stream that holds messages.
    wanted = replace(wanted, retention=there.retention, persist_mode=there.persist_mode)
    if not shrink:
        wanted.max_bytes = max(wanted.max_bytes or 0, there.max_bytes or 0)
    try:
        await js.update_stream(wanted)
    except nats.js.errors.APIError as e:
        # A server started with less room than its streams have reserved refuses even to leave them as they are.
        if "insufficient" not in (e.description or "") or (shrink and (wanted.max_bytes or 0) > usual_size(there)):
            raise


async def _ensure_stream(js: JetStreamContext, wanted: api.StreamConfig, shrink: bool = True) -> None:
    try:
        await _add_or_update(js, wanted, shrink)
    except nats.js.errors.APIError as e:
        if e.description is None:
            raise StorageError("this nats-server has no JetStream: put `jetstream {}` in its configuration") from None
        if "insufficient" in e.description:
            size_mb = (wanted.max_bytes or 0) / MB
            what = f"{wanted.description or wanted.name} may take {size_mb:.0f} MB, more than the bus has room for"
            raise NoRoom(f"{what}: make room, or give the wire a smaller `max_bytes`") from None
        raise StorageError(f"the bus refused stream {wanted.name}: {e.description}") from None
    except nats.errors.TimeoutError:
        raise StorageError("JetStream does not answer: look at the server's log and its disk") from None
