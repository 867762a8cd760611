"""Plays devices over MQTT: an ordinary client that publishes readings at a steady rate and hands on commands.

    NoBroker   the broker could not be reached, or it refused us, at the start

Knows nothing of flowcore: any broker will do. After the start a lost connection is made again for ever. While the
broker is away the devices' time stands still; readings of QoS 1 and 2 that it has not confirmed are published again.
"""

import asyncio
import json
import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import aiomqtt

from flowcore.simulate.devices import Device

_IN_FLIGHT = 500
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.2, 5.0


class NoBroker(ConnectionError):
    """No broker, or it lets us not in."""


@dataclass(frozen=True)
class Broker:
    """Where to publish, and as whom."""

    host: str
    port: int
    user: str | None = None
    password: str | None = None
    tls: Any = None


@dataclass
class Played:
    """What was done."""

    published: int = 0
    commands: int = 0
    reconnects: int = 0


class Player:
    """Plays some devices.

    Args:
        rate_hz: how often each device is asked for its readings, a second.
        count: end after so many readings in all; None: go on.
        on_event: called with a line for people: a command that was obeyed, a connection lost and made again.
    """

    def __init__(
        self,
        broker: Broker,
        devices: Sequence[Device],
        *,
        rate_hz: float = 1.0,
        count: int | None = None,
        qos: int = 1,
        on_event: Callable[[str], None] = lambda line: None,
    ) -> None:
        self.played = Played()
        self._broker, self._devices, self._rate_hz, self._count, self._qos = broker, devices, rate_hz, count, qos
        self._on_event = on_event
        self._readings = self._all_readings()
        self._waiting: deque[_Due] = deque()  # said, and not known to be with the broker

    async def run(self) -> Played:
        """Play until `count` is reached, or until cancelled.

        Raises:
            NoBroker: at the first try only.
        """
        wait_s, has_been_up = _FIRST_WAIT_S, False
        while True:
            try:
                async with self._client() as client:
                    if has_been_up:
                        self.played.reconnects += 1
                        self._on_event("connected again")
                    has_been_up, wait_s = True, _FIRST_WAIT_S
                    await self._play(client)
                    return self.played
            except (aiomqtt.MqttError, OSError) as error:
                if not has_been_up:
                    raise NoBroker(f"no MQTT broker at {self._broker.host}:{self._broker.port}: {error}") from None
                if wait_s == _FIRST_WAIT_S:
                    self._on_event(f"the broker is away: {error}")
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.5))
            wait_s = min(wait_s * 2, _LONGEST_WAIT_S)

    def _client(self) -> aiomqtt.Client:
        broker = self._broker
        client = aiomqtt.Client(
            broker.host, broker.port, username=broker.user, password=broker.password, tls_context=broker.tls
        )
        client.pending_calls_threshold = _IN_FLIGHT * 2
        return client

    async def _play(self, client: aiomqtt.Client) -> None:
        filters = sorted({one for device in self._devices for one in device.commands})
        if filters:
            await client.subscribe([(one, 1) for one in filters])
        listening = asyncio.create_task(self._listen(client))
        playing = asyncio.create_task(self._publish(client))
        try:
            await asyncio.wait([listening, playing], return_when=asyncio.FIRST_COMPLETED)
            if playing.done():
                playing.result()
            else:
                listening.result()
        finally:
            for task in (listening, playing):
                task.cancel()
            await asyncio.gather(listening, playing, return_exceptions=True)

    async def _listen(self, client: aiomqtt.Client) -> None:
        async for message in client.messages:
            payload = message.payload if isinstance(message.payload, bytes) else str(message.payload).encode()
            for device in self._devices:
                done = device.command(message.topic.value, payload)
                if done is not None:
                    self.played.commands += 1
                    self._on_event(done)

    async def _publish(self, client: aiomqtt.Client) -> None:
        """Publish what the devices say; many may be on their way, in the order in which they were said."""
        room, loop = asyncio.Semaphore(_IN_FLIGHT), asyncio.get_running_loop()
        sending: dict[asyncio.Task, _Due] = {}  # in order
        failures: list[BaseException] = []

        def sent(task: asyncio.Task) -> None:
            room.release()
            if task.cancelled():
                return
            if (error := task.exception()) is not None:
                failures.append(error)
                return
            del sending[task]
            self.played.published += 1

        try:
            start_s = None
            while (due := self._next()) is not None:
                start_s = loop.time() - due.at_s if start_s is None else start_s
                await asyncio.sleep(max(0.0, start_s + due.at_s - loop.time()))
                await room.acquire()
                if failures:
                    raise failures[0]
                self._waiting.popleft()
                task = loop.create_task(client.publish(due.topic, due.data, self._qos, due.retain))
                sending[task] = due
                task.add_done_callback(sent)
            await asyncio.gather(*sending)
        finally:
            for task in sending:
                task.cancel()
            await asyncio.gather(*sending, return_exceptions=True)
            self._waiting.extendleft(reversed(list(sending.values())))

    def _next(self) -> "_Due | None":
        """What is published next; it stays in `_waiting` until it is on its way."""
        if not self._waiting:
            due = next(self._readings, None)
            if due is None:
                return None
            self._waiting.append(due)
        return self._waiting[0]

    def _all_readings(self) -> "Iterator[_Due]":
        """What the devices say, for as long as `count` says."""
        left, tick = self._count, 0
        while left != 0:
            at_s = tick / self._rate_hz
            for device in self._devices:
                for topic, payload, *retain in device.play(at_s):
                    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
                    yield _Due(at_s, topic, data, bool(retain and retain[0]))
                    left = None if left is None else left - 1
                    if left == 0:
                        return
            tick += 1


@dataclass(frozen=True, slots=True, eq=False)
class _Due:
    """One reading, and when it is due in seconds of the devices' time."""

    at_s: float
    topic: str
    data: bytes
    retain: bool
