import asyncio
import contextlib
import time
from typing import Any, Literal

from flowcore.node import Message, Node, NodeConfig, Out, field, formats
from flowcore_nodes.core.again import Again
from flowcore_nodes.core.confirming import Confirmations
from flowcore_nodes.core.jetstream import JetStream, NatsServer
from flowcore_nodes.core.patience import Away, Refused

_WAIT_S = 0.5
_AT_ONCE = 200
_ACK, _IN_WORK, _BAD = b"+ACK", b"+WPI", b"+TERM"


class JetstreamIn(Node):
    """Take the messages of a JetStream stream on a NATS server elsewhere; each is confirmed when the flow is done.

    The server keeps a durable consumer of this name, and what is not confirmed it sends again after `ack_wait_s`, over
    kills of this node and restarts of the server: nothing is lost; around a crash a message may come twice, and behind
    newer ones. meta.jetstream has stream, sequence and delivered (how often it was sent).

    What is not in the `format` is an error, and is not sent again.
    """

    type = "core/jetstream-in"
    title = "JetStream in"
    category = "network"
    icon = "database-zap"
    outside = True

    class Config(NodeConfig):
        server: NatsServer = field(NatsServer(), description='The server, or {"$use": "name"} of a core/nats-server')
        stream: str = field(..., min_length=1, description="The stream; while it is not there it is waited for")
        subject: str = field(">", min_length=1, description="Of the stream's messages those with this subject")
        consumer: str = field(
            "", pattern=r"^[\w-]*$", description="Name of the durable consumer, which is made; empty: FLOW-NODE"
        )
        begin: Literal["new", "oldest"] = field(
            "oldest", description="Where a consumer that is made here begins: what comes from now on, or all there is"
        )
        format: formats.Format = field("auto", description="What the bytes are; auto: JSON, else text, else bytes")
        in_flight: int = field(1000, ge=1, le=50_000, description="Most messages that are taken and not confirmed yet")
        ack_wait_s: float = field(
            10.0, ge=1, le=3600, description="The server sends again what it has not heard of for so long, in seconds"
        )

    out = Out(description="the payload; the topic is the subject")

    async def on_start(self) -> None:
        config, name = self.config, f"{self.flow}-{self.id}".replace(":", "_")
        self._consumer = config.consumer or name
        self._jetstream = JetStream(config.server, f"flowcore {self.flow}.{self.id}")
        self._link = Again(self, f"{config.server} {config.stream}")
        self._open: dict[int, str] = {}  # sequence -> where it is confirmed
        self._room = asyncio.Event()
        self._done = Confirmations[tuple[int, bytes]](self._confirm)  # sequence and word
        self.spawn(self._done.run())

    async def run(self) -> None:
        await self._link.run(self._session)

    async def on_stop(self) -> None:
        if hasattr(self, "_jetstream"):
            with contextlib.suppress(Away, Refused):  # the server sends them again
                await self._done.tell_all()
            await self._jetstream.close()

    async def _session(self) -> None:
        try:
            await self._read_on()
        except Refused as e:  # a consumer that is of another kind, no right to: that may be mended
            raise Away(str(e)) from None

    async def _read_on(self) -> None:
        from nats import errors
        from nats.js.api import AckPolicy, ConsumerConfig, DeliverPolicy

        config, jetstream = self.config, self._jetstream
        wanted = ConsumerConfig(
            durable_name=self._consumer, filter_subject=config.subject, ack_policy=AckPolicy.EXPLICIT,
            ack_wait=config.ack_wait_s, max_ack_pending=config.in_flight,
            deliver_policy=DeliverPolicy.ALL if config.begin == "oldest" else DeliverPolicy.NEW,
        )  # fmt: skip
        async with jetstream.answers():
            context = await jetstream.context()
            await context.stream_info(config.stream)
            found = await context.pull_subscribe(
                config.subject, durable=self._consumer, stream=config.stream, config=wanted
            )
        self._link.up()
        said_s = time.monotonic()
        while True:
            self._link.go_on()
            while len(self._open) >= config.in_flight:
                self._room.clear()
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_WAIT_S):
                        await self._room.wait()
                said_s = await self._say_in_work(said_s)
            said_s = await self._say_in_work(said_s)
            messages: list = []
            async with jetstream.answers(waits_s=_WAIT_S):
                with contextlib.suppress(errors.TimeoutError):
                    messages = await found.fetch(min(_AT_ONCE, config.in_flight - len(self._open)), timeout=_WAIT_S)
            if not messages:  # a fetch ends so as well when the connection is gone
                async with jetstream.answers():
                    if (await jetstream.client()) is not context._nc:
                        raise errors.ConnectionClosedError
            for message in messages:
                await self._pass_on(message)

    async def _say_in_work(self, said_s: float) -> float:
        """Now and then tell the server that what we have is not lost."""
        if time.monotonic() - said_s < self.config.ack_wait_s / 3:
            return said_s
        async with self._jetstream.answers():
            client = await self._jetstream.client()
            for reply in list(self._open.values()):
                await client.publish(reply, _IN_WORK)
            await client.flush()
        return time.monotonic()

    async def _pass_on(self, message: Any) -> None:
        about = message.metadata
        sequence = about.sequence.stream
        is_known = sequence in self._open
        self._open[sequence] = message.reply
        if is_known:
            return
        told = {"stream": about.stream, "sequence": sequence, "delivered": about.num_delivered}
        meta = {"jetstream": told | ({"headers": dict(message.headers)} if message.headers else {})}
        try:
            payload = formats.read(message.data, self.config.format)
            receipt = await self.send(payload, topic=message.subject, meta=meta)
        except (ValueError, TypeError) as error:  # not in the format, or nothing that an envelope can hold
            text = f"{self.config.stream} {sequence}: {error}"
            self.report(ValueError(text), Message(message.data[:1024], message.subject, meta))
            self._done.add((sequence, _BAD))
        else:
            receipt.then(lambda: self._done.add((sequence, _ACK)))

    async def _confirm(self, done: list[tuple[int, bytes]]) -> None:
        async with self._jetstream.answers():
            client = await self._jetstream.client()
            for sequence, word in done:
                await client.publish(self._open[sequence], word)
            await client.flush()
        for sequence, _ in done:
            self._open.pop(sequence, None)
        self._room.set()
