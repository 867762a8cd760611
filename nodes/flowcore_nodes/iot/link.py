"""A line to an MQTT broker that comes back by itself, whatever happens, and loses nothing that was promised.

    Refused   the broker accepts neither us nor a subscription; the line keeps trying

A message with QoS 1 or 2 is owed to the broker from its arrival until `Arrived.confirm()`. Confirmations leave in the
order of arrival, as MQTT wants. What is unconfirmed the broker of a persistent session sends again after a reconnect,
and nats-server also while the connection lives, each `ack_wait`: what is still in work here is then not passed on a
second time, and is confirmed over the newest connection.

Invariant: at most `queue` messages wait here. Beyond it QoS 0 loses its oldest (counted); with QoS 1 and 2 nothing more
is read, and the rest waits at the broker.
"""

import asyncio
import contextlib
import math
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import aiomqtt
from paho.mqtt.client import MQTTMessage

from flowcore_nodes.iot.broker import Address, LinkConfig, Notice, fits
from flowcore_nodes.iot.held_client import HeldClient

FIRST_WAIT_S = 0.2
CLOSE_S = 2.0


class Refused(Exception):
    """The broker refused something; says what."""


@dataclass(slots=True, eq=False)
class Arrived:
    """A message from the broker, owed to it until `confirm` when its QoS is above 0."""

    topic: str
    payload: bytes
    qos: int
    retain: bool
    mid: int
    link: "Link"
    client: HeldClient
    is_done: bool = False

    def confirm(self) -> None:
        """This message is safe; the broker hears it when all that came before it is safe too."""
        self.is_done = True
        if self.qos:
            self.link._confirm_done()


@dataclass
class Subscription:
    """What a link listens to.

    Attributes:
        filters: topic filters.
        keep_session: the broker keeps subscriptions, and messages of QoS 1 and 2, while we are away.
        queue: how many messages may wait here.
    """

    filters: list[str]
    qos: int = 1
    keep_session: bool = False
    queue: int = 1000
    waiting: deque[Arrived] = field(default_factory=deque)


class Link:
    """One connection to one broker, made again for ever.

    Args:
        address: where to.
        subscription: None for a link that only publishes.
        on_status: called with (text, kind) when something changed that a person wants to know.
        on_error: called once for each different trouble, with an exception.
    """

    def __init__(
        self,
        address: Address,
        config: LinkConfig,
        client_id: str,
        *,
        subscription: Subscription | None = None,
        on_status: Callable[[str, str], None],
        on_error: Callable[[Exception], None],
    ) -> None:
        self.address, self.config, self.client_id = address, config, client_id
        self.dropped = 0  # QoS 0 messages for which there was no room
        self._subscription = subscription
        self._on_status, self._on_error = on_status, on_error
        self._client: HeldClient | None = None
        self._up = asyncio.Event()
        self._gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()  # of the present connection
        self._arrived = asyncio.Event()
        self._owed: deque[Arrived] = deque()
        self._in_work: dict[int, Arrived] = {}  # by message id, until confirmed
        self._confirmed: dict[int, Arrived] = {}  # QoS 2, until the broker has let go
        self._closing = False
        self._task: asyncio.Task | None = None
        self._trouble = ""

    # Life

    def open(self) -> None:
        """Begin to connect, and go on for ever in the background; after `stop_reading`: read again."""
        self._closing = False
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._run())
        elif self._client is not None:
            self._client.resume()

    def stop_reading(self) -> None:
        """Take nothing more; what was taken can still be confirmed."""
        self._closing = True
        if self._client is not None:
            self._client.pause()

    async def close(self) -> None:
        """Publish the closing notice and disconnect in good order."""
        self._closing = True
        with contextlib.suppress(aiomqtt.MqttError, TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                if self._client is not None and self._up.is_set() and self.config.close is not None:
                    await self._notify(self._client, self.config.close)
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=CLOSE_S)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        wait_s = FIRST_WAIT_S
        while True:
            began_s = loop.time()
            try:
                await self._connect_once()
            except (aiomqtt.MqttError, OSError, ValueError) as error:
                self._say_trouble(error)
            if loop.time() - began_s > self.config.broker.longest_wait_s:
                wait_s = FIRST_WAIT_S  # it held for a while: this is a new trouble
            await asyncio.sleep(wait_s * random.uniform(0.5, 1.5))
            wait_s = min(wait_s * 2, self.config.broker.longest_wait_s)

    async def _connect_once(self) -> None:
        client = self._new_client()
        self._client = client  # before connecting: a kept session delivers at once
        self._gone = asyncio.get_running_loop().create_future()
        try:
            async with client:
                refused = await self._subscribe(client)
                if self.config.birth is not None:
                    await self._notify(client, self.config.birth)
                self._up.set()
                if not refused:
                    self._trouble = ""
                    self._on_status(f"connected to {self.address}", "ok")
                await self._until_gone(client, refused)
        finally:
            self._up.clear()
            self._client = None
            self._gone.set_result(None)
            client.abandon()

    def _new_client(self) -> HeldClient:
        will = self.config.will
        subscription = self._subscription
        return HeldClient(
            self.address.host,
            self.address.port,
            username=self.address.user,
            password=self.address.password,
            identifier=self.client_id,
            clean_session=not (subscription is not None and subscription.keep_session),
            keepalive=self.config.broker.keepalive_s,
            tls_context=self.address.tls,
            will=aiomqtt.Will(will.topic, will.payload, will.qos, will.retain) if will is not None else None,
            listener=self,
        )

    async def _until_gone(self, client: HeldClient, refused: list[str]) -> None:
        """Wait for the end of the connection; ask now and then for what was refused: rights may come later."""
        gone = asyncio.ensure_future(_drain(client))
        try:
            while refused:
                done, _ = await asyncio.wait([gone], timeout=self.config.broker.longest_wait_s)
                if done:
                    break
                refused = await self._subscribe(client, refused)
                if not refused:
                    self._trouble = ""
                    self._on_status(f"connected to {self.address}", "ok")
            await gone
        finally:
            gone.cancel()

    def _say_trouble(self, error: Exception) -> None:
        text = str(error).removeprefix("[code:").partition("] ")[2] or str(error) or type(error).__name__
        if "authori" in text or "password" in text:  # it is there, and does not know us
            says = f"{self.address} refused: {text}; is there a user and password for it?"
        else:
            says = f"no broker at {self.address}: {text}; trying again"
        self._on_status(says, "error")
        if text != self._trouble:  # one report for each different trouble, not one for each try
            self._trouble = text
            self._on_error(Refused(f"{self.address}: {text}"))

    # Listening

    async def _subscribe(self, client: HeldClient, filters: list[str] | None = None) -> list[str]:
        """Subscribe; returns the filters that the broker refused."""
        subscription = self._subscription
        if subscription is None:
            return []
        filters = subscription.filters if filters is None else filters
        codes = await client.subscribe([(one, subscription.qos) for one in filters])
        refused = [one for one, code in zip(filters, codes, strict=True) if _is_failure(code)]
        if refused:
            text = f"the broker refuses to let us listen to {', '.join(refused)}"
            self._on_status(text, "error")
            if text != self._trouble:
                self._trouble = text
                self._on_error(Refused(f"{self.address}: {text}; its permissions may not allow it"))
        return refused

    def session_began(self, kept: bool) -> None:
        """A broker that has forgotten our session counts its messages from 1 again."""
        if not kept:
            self._in_work.clear()
            self._confirmed.clear()

    def arrived(self, client: HeldClient, message: MQTTMessage) -> None:
        """Queue a message, unless it is one that we already have."""
        subscription = self._subscription
        if subscription is None or client is not self._client:
            return
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""
        arrived = Arrived(topic, bytes(message.payload), message.qos, message.retain, message.mid, self, client)
        if message.qos and message.dup and self._is_known(arrived):
            return
        if message.qos:
            self._confirmed.pop(message.mid, None)
            self._owed.append(arrived)
            self._in_work[message.mid] = arrived
        if not fits(topic, subscription.filters):  # a kept session remembers what an earlier config subscribed to
            arrived.confirm()
            return
        waiting = subscription.waiting
        waiting.append(arrived)
        if len(waiting) > subscription.queue and not waiting[0].qos:
            waiting.popleft()
            self.dropped += 1
        if self._closing or (len(waiting) >= subscription.queue and subscription.qos):
            client.pause()
        self._arrived.set()

    def _is_known(self, again: Arrived) -> bool:
        """Whether a message that the broker sends once more was taken before; its confirmation goes the new way."""
        before = self._in_work.get(again.mid) or self._confirmed.get(again.mid)
        if before is None or (before.topic, before.payload) != (again.topic, again.payload):
            return False
        before.client = again.client
        if before.mid in self._confirmed:  # QoS 2: our word was lost on the way, or crossed this
            self._owed.append(before)
            self._confirm_done()
        return True

    def released(self, mid: int) -> None:
        """The id of a confirmed QoS 2 message is free."""
        self._confirmed.pop(mid, None)

    def _confirm_done(self) -> None:
        owed = self._owed
        while owed and owed[0].is_done:
            arrived = owed.popleft()
            if self._in_work.get(arrived.mid) is arrived:
                del self._in_work[arrived.mid]
            if arrived.qos == 2:
                self._confirmed[arrived.mid] = arrived
            if arrived.client is self._client:
                arrived.client.confirm(arrived.mid, arrived.qos)

    async def next(self) -> Arrived:
        """The next message, in order of arrival."""
        assert self._subscription is not None
        waiting = self._subscription.waiting
        while not waiting:
            self._arrived.clear()
            await self._arrived.wait()
        arrived, client = waiting.popleft(), self._client
        if client is not None and not self._closing and len(waiting) <= self._subscription.queue // 2:
            client.resume()
        return arrived

    # Speaking

    @property
    def is_up(self) -> bool:
        """True while there is a connection and all that was to be said at its start is said."""
        return self._up.is_set()

    async def publish(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        """Publish, over as many connections as it takes; returns when the broker has it (QoS 0: when it is written).

        Raises:
            ValueError: MQTT cannot carry it (more than 256 MB, a topic with wildcards).
        """
        while True:
            await self._up.wait()
            client, gone = self._client, self._gone
            if client is None or gone.done():
                await asyncio.sleep(0)
                continue
            sending = asyncio.ensure_future(client.publish(topic, payload, qos, retain, timeout=math.inf))
            try:
                await asyncio.wait([sending, gone], return_when=asyncio.FIRST_COMPLETED)
                if sending.done() and not isinstance(sending.exception(), aiomqtt.MqttError):
                    return sending.result()
            finally:
                sending.cancel()
            await asyncio.wait([gone], timeout=1)  # the next line will do; all that waited go on in their order

    async def _notify(self, client: HeldClient, notice: Notice) -> None:
        await client.publish(notice.topic, notice.payload, notice.qos, notice.retain)


async def _drain(client: HeldClient) -> None:
    """Wait for the connection's end: nothing is ever in this queue.

    Raises:
        MqttError: the connection was lost.
    """
    async for _ in client.messages:
        pass


def _is_failure(code: object) -> bool:
    failed = getattr(code, "is_failure", None)
    return bool(failed) if failed is not None else code == 0x80
