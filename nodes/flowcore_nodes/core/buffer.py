import asyncio
import importlib
import importlib.util
import itertools
import sqlite3
import sys
import time
from collections import deque
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import model_validator

from flowcore.node import In, Message, Node, NodeConfig, Out, field, kept
from flowcore_nodes.core.disk_queue import Bundle, Damaged, DiskQueue, Unreadable
from flowcore_nodes.core.holding import message_of, parts_of

_LOOK_S = 0.5  # how often age, room and the far end are looked at
_AGAIN_S = 1.0
_ROOM_AGAIN = 0.8  # of what may be used before the alert is over, as a share of alert_at
_LAST_ACKS_S = 0.5  # at a stop: how long acks of what is under way are waited for
_ZSTD = "compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd"


class Buffer(Node):
    """Store and forward: keep messages on the disk until what is behind has taken them, urgent ones first.

    A message is done for those before it when it is on the disk, fsynced. It is sent on in its lane's order, lanes one
    after the other, and forgotten when every reliable wire behind has acked it: an output that acks when its peer has
    confirmed (mqtt-out for one) so gets what came while the peer, or the line to it, was away. Nobody has to tell:
    while acks stay out the far end counts as away, and sending goes on when they come again. A kill or a power cut
    loses nothing; up to `in_flight` messages may then be sent twice. Those are also ahead of an urgent one.
    """

    type = "core/buffer"
    title = "Buffer"
    category = "sequence"
    icon = "database-backup"
    outside = False  # what it writes is the runtime's own

    class Config(NodeConfig):
        lanes: list[str] = field(["critical", "normal", "bulk"], description="Names of lanes, the most urgent first")
        lane: str = field(
            "", dynamic=True, description="Lane of a message, such as a part of it; empty: what its meta.lane says"
        )
        other_lane: str = field("normal", description="Lane of a message that names none, or one that is not there")
        keep_hours: float = field(0.0, ge=0, description="Longest that a message is kept, in hours; 0: no limit")
        keep_bytes: int = field(1 << 30, ge=0, description="Most that is kept, in bytes on the disk; 0: no limit")
        keep_count: int = field(0, ge=0, description="Most messages that are kept; 0: no limit")
        when_full: Literal["drop_oldest", "block"] = field(
            "drop_oldest",
            description="At keep_bytes or keep_count: drop the oldest of the least urgent lane, or wait",
        )
        in_flight: int = field(32, ge=1, le=10_000, description="Most messages that are sent and not acked yet")
        away_after_s: float = field(5.0, gt=0, description="The far end is away when an ack takes longer, in seconds")
        bytes_per_s: int = field(
            0, ge=0, description="Most that is sent, in bytes of messages a second, before compression; 0: no limit"
        )
        alert_at: float = field(0.8, gt=0, le=1, description="Share of keep_bytes or keep_count that raises the alert")
        compress: Literal["auto", "zstd", "none"] = field(
            "auto", description="On the disk; auto: zstd where it is installed (pip install 'flowcore[zstd]')"
        )
        path: str = field("", description="The file; empty: one in the data folder of the runtime")

        @model_validator(mode="after")
        def _lanes_are_names(self) -> "Buffer.Config":
            if not self.lanes or len(set(self.lanes)) < len(self.lanes) or "" in self.lanes:
                raise ValueError("lanes needs names, each once")
            if self.other_lane not in self.lanes:
                raise ValueError(f"other_lane {self.other_lane!r} is none of lanes: {', '.join(self.lanes)}")
            return self

    in_ = In()
    out = Out(description="the message as it came, as often as needed until it is acked")
    events = Out(
        dict, description="event (away, back, near_full, room, dropped, damaged) with waiting, size_bytes, oldest_s"
    )

    def on_start(self) -> None:
        self._queue: DiskQueue | None = None
        self._zstd = _zstd()
        if self._zstd is None and self.config.compress == "zstd":
            raise ImportError("compress = zstd needs a library: pip install 'flowcore[zstd]'")

    async def on_go(self) -> None:
        config = self.config
        path = Path(config.path) if config.path else self.data_folder / "buffer.sqlite"
        while True:
            try:
                await asyncio.to_thread(path.parent.mkdir, parents=True, exist_ok=True)
                self._queue = await asyncio.to_thread(DiskQueue, path, self._zstd, shrinks=config.compress != "none")
                break
            except (Unreadable, sqlite3.OperationalError, OSError) as e:
                self._zstd = self._zstd or _zstd()  # it may be installed meanwhile
                self.set_status(f"{path}: {e}; trying again", "error")
                await asyncio.sleep(_AGAIN_S)
        if self._queue.set_aside is not None:
            self.report(Damaged(f"{path} was damaged: begun anew, what was there is in {self._queue.set_aside}"))
        self._wake, self._room, self._landed = asyncio.Event(), asyncio.Event(), asyncio.Event()
        self._lanes: list[deque[Bundle]] = [deque() for _ in config.lanes]  # not sent yet, the oldest first
        self._begun: list[tuple[Bundle, deque[Message]] | None] = [None] * len(config.lanes)  # being sent, read
        self._open: dict[int, int] = {}  # id of a bundle -> its messages that are not acked
        self._sent_at_s: dict[int, float] = {}  # number of a send -> when; the first is the oldest
        self._numbers = itertools.count()
        self._done: list[int] = []  # to be removed from the file
        self._sizes: dict[int, Bundle] = {}
        self._messages = self._bytes = self._dropped = 0
        self._away_since_s: float | None = None
        self._is_near_full = False
        for bundle in await asyncio.to_thread(self._queue.bundles):
            self._adopt(bundle._replace(lane=min(bundle.lane, len(self._lanes) - 1)))
        self.spawn(self._remove())
        self.spawn(self._look())

    async def on_stop(self) -> None:
        if self._queue is None:
            return
        if self._away_since_s is None:
            for _ in range(int(_LAST_ACKS_S / 0.01)):  # what is acked now is not sent again by the next process
                if not self._sent_at_s:
                    break
                await asyncio.sleep(0.01)
        queue, self._queue = self._queue, None
        await asyncio.to_thread(self._close, queue, self._done)

    @staticmethod
    def _close(queue: DiskQueue, done: list[int]) -> None:
        if done:
            queue.remove(done)
        queue.close()

    # -- in -------------------------------------------------------------------------------------------------------

    async def on_batch(self, messages: list[Message]) -> None:
        by_lane: dict[int, list[bytes]] = {}
        for message in messages:
            try:
                by_lane.setdefault(self._lane_of(message), []).append(kept.pack(parts_of(message)))
            except (LookupError, TypeError, ValueError) as e:
                self.report(ValueError(f"can't be kept on the disk: {e}"), message)
        now_s = self.now_s()
        bundles = [(lane, now_s, len(packed), _joined(packed)) for lane, packed in by_lane.items()]
        if not bundles:
            return
        await self._make_room(sum(one[2] for one in bundles), sum(len(one[3]) for one in bundles))
        assert self._queue is not None
        while True:
            try:
                stored = await asyncio.to_thread(self._queue.put, bundles)
                break
            except (sqlite3.OperationalError, OSError) as e:  # no room on the disk: those before wait
                self.set_status(f"{self._queue.path}: {e}; trying again", "error")
                await asyncio.sleep(_AGAIN_S)
        for bundle in stored:
            self._adopt(bundle)
        self._wake.set()

    def _lane_of(self, message: Message) -> int:
        name = self.setting("lane", message) or message.meta.get("lane")
        lanes = self.config.lanes
        return lanes.index(name if name in lanes else self.config.other_lane)

    def _adopt(self, bundle: Bundle) -> None:
        self._lanes[bundle.lane].append(bundle)
        self._sizes[bundle.id] = bundle
        self._messages += bundle.messages
        self._bytes += bundle.size_bytes

    async def _make_room(self, messages: int, size_bytes: int) -> None:
        config = self.config
        while (config.keep_count and self._messages and self._messages + messages > config.keep_count) or (
            config.keep_bytes and self._bytes and self._bytes + size_bytes > config.keep_bytes
        ):
            victim = None
            if config.when_full == "drop_oldest":
                victim = next((lane.popleft() for lane in reversed(self._lanes) if lane), None)
            if victim is not None:
                await self._drop([victim], "full")
                continue
            self._room.clear()  # or all of it is being sent
            await self._room.wait()

    async def _drop(self, bundles: list[Bundle], why: str) -> None:
        count = sum(bundle.messages for bundle in bundles)
        self._dropped += count
        for bundle in bundles:
            self._forget(bundle.id)
        await self._tell("dropped", messages=count, why=why, dropped=self._dropped)

    def _forget(self, id_: int) -> None:
        bundle = self._sizes.pop(id_)
        self._messages -= bundle.messages
        self._bytes -= bundle.size_bytes
        self._done.append(id_)
        self._landed.set()
        self._room.set()

    # -- out ------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        next_s = 0.0
        while True:
            await self._until_something_may_be_sent()
            if (wait_s := next_s - time.monotonic()) > 0:
                await asyncio.sleep(wait_s)
            chosen = await self._choose()
            if chosen is None:
                continue
            bundle, message, size = chosen
            try:
                receipt = await self.send(message)
            except (TypeError, ValueError) as e:
                self.report(e, message)
                self._one_landed(bundle.id, None)
                continue
            receipt.position = bundle.id  # a successor makes it again from the disk: it need not be handed over
            number = next(self._numbers)
            self._sent_at_s[number] = time.monotonic()
            receipt.then(partial(self._one_landed, bundle.id, number))
            if self.config.bytes_per_s:
                next_s = max(next_s, time.monotonic()) + size / self.config.bytes_per_s

    async def _until_something_may_be_sent(self) -> None:
        while len(self._sent_at_s) >= self.config.in_flight or not (any(self._lanes) or any(self._begun)):
            self._wake.clear()
            await self._wake.wait()

    async def _choose(self) -> tuple[Bundle, Message, int] | None:
        """The next message of the most urgent lane that has one; None: a bundle could not be read."""
        for number, lane in enumerate(self._lanes):
            begun = self._begun[number]
            if begun is None and lane:
                begun = await self._read(lane.popleft())
                if begun is None:
                    return None
                self._begun[number] = begun
                if any(self._lanes[:number]) or any(self._begun[:number]):
                    return None  # something more urgent came meanwhile
            if begun is not None:
                bundle, messages = begun
                message = messages.popleft()
                if not messages:
                    self._begun[number] = None
                return bundle, message, bundle.size_bytes // bundle.messages
        return None

    async def _read(self, bundle: Bundle) -> tuple[Bundle, deque[Message]] | None:
        assert self._queue is not None
        try:
            packed = await asyncio.to_thread(self._queue.read, bundle.id)
            messages = deque(message_of(parts) for parts in kept.read(packed))
        except ValueError as e:  # Damaged is one
            self.report(e)
            self._forget(bundle.id)
            await self._tell("damaged", messages=bundle.messages)
            return None
        self._open[bundle.id] = len(messages)
        return bundle._replace(size_bytes=len(packed)), messages

    def _one_landed(self, id_: int, number: int | None) -> None:
        """A message is acked; of its bundle the last one: it is forgotten."""
        if number is not None:
            self._sent_at_s.pop(number, None)
        self._wake.set()
        self._open[id_] -= 1
        if not self._open[id_]:
            del self._open[id_]
            self._forget(id_)

    async def _remove(self) -> None:
        """Take what is done out of the file, many at once."""
        while True:
            await self._landed.wait()
            await asyncio.sleep(0.02)
            self._landed.clear()
            done, self._done = self._done, []
            try:
                if done and self._queue is not None:
                    await asyncio.to_thread(self._queue.remove, done)
            except (sqlite3.Error, OSError) as e:
                self._done += done
                self.set_status(f"can't be removed from the file: {e}; trying again", "error")
                await asyncio.sleep(_AGAIN_S)
                self._landed.set()

    # -- what people see ------------------------------------------------------------------------------------------

    async def _look(self) -> None:
        shown = ""
        while self._queue is not None:
            await self._expire()
            await self._look_at_far_end()
            await self._look_at_room()
            text, kind = self._text()
            if text != shown:
                shown = text
                self.set_status(text, kind)
            await asyncio.sleep(_LOOK_S)

    async def _expire(self) -> None:
        if self.config.keep_hours and self._queue is not None:
            old = await asyncio.to_thread(self._queue.older_than, self.now_s() - self.config.keep_hours * 3600)
            for lane in self._lanes:
                over = [bundle for bundle in itertools.takewhile(lambda one: one.id in old, lane)]
                for _ in over:
                    lane.popleft()
                if over:
                    await self._drop(over, "too old")

    async def _look_at_far_end(self) -> None:
        oldest_s = next(iter(self._sent_at_s.values()), None)
        now_s = time.monotonic()
        is_away = oldest_s is not None and now_s - oldest_s > self.config.away_after_s
        if is_away and self._away_since_s is None:
            self._away_since_s = oldest_s
            await self._tell("away")
        elif not is_away and self._away_since_s is not None:
            away_s, self._away_since_s = now_s - self._away_since_s, None
            await self._tell("back", away_s=round(away_s, 1))

    async def _look_at_room(self) -> None:
        used = self._used()
        if used >= self.config.alert_at and not self._is_near_full:
            self._is_near_full = True
            await self._tell("near_full", used=round(used, 3))
        elif used < self.config.alert_at * _ROOM_AGAIN and self._is_near_full:
            self._is_near_full = False
            await self._tell("room", used=round(used, 3))

    def _used(self) -> float:
        config = self.config
        return max(
            self._bytes / config.keep_bytes if config.keep_bytes else 0.0,
            self._messages / config.keep_count if config.keep_count else 0.0,
        )

    def _text(self) -> tuple[str, str]:
        text = f"{self._messages} waiting, {_size(self._bytes)}" if self._messages else "empty"
        if self._dropped:
            text += f", {self._dropped} dropped"
        if self._away_since_s is not None:
            return f"far end away: {text}", "error" if self._is_near_full else "warn"
        if self._is_near_full:
            return f"near full ({self._used():.0%}): {text}", "error"
        return text, "warn" if self._dropped else "ok"

    async def _tell(self, event: str, **more: Any) -> None:
        oldest_s = await asyncio.to_thread(self._queue.oldest_s) if self._queue is not None else None
        age_s = 0.0 if oldest_s is None else round(max(0.0, self.now_s() - oldest_s), 1)
        about = {"event": event, "waiting": self._messages, "size_bytes": self._bytes, "oldest_s": age_s}
        await self.send({**about, **more}, port="events", held=False)


def _joined(packed: list[bytes]) -> bytes:
    """A msgpack array of what is packed already."""
    count = len(packed)
    head = bytes([0x90 | count]) if count < 16 else b"\xdc" + count.to_bytes(2, "big")
    return head + b"".join(packed)


def _zstd() -> Any:
    try:
        return importlib.import_module(_ZSTD)
    except ImportError:
        return None


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 100_000 else f"{size_bytes / 1e3:.1f} KB"
