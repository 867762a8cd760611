import asyncio
from typing import Any

from pydantic import field_validator

from flowcore.node import Node, NodeConfig, Out, bus_of, field
from flowcore.node.formats import Format, read
from flowcore_nodes.core.bus_subject import check_subject


class NatsIn(Node):
    """Subscribe to a subject of the bus, for messages of programs outside or of other flows.

    As with any NATS subscription a message is delivered at most once. What comes faster than the flow takes it waits,
    up to `max_waiting`; then the newest is dropped and counted in the status. A request's reply subject is in
    `meta.reply`: a nats-out node with `to` = reply answers it.
    """

    type = "core/nats-in"
    title = "NATS in"
    category = "network"
    icon = "radio-receiver"
    outside = True
    bus_subscribe = ("subject",)

    class Config(NodeConfig):
        subject: str = field(..., min_length=1, description="Subject, such as plant.*.temp or orders.>")
        format: Format = field("auto", description="What the bytes are; auto: JSON, else text, else bytes")
        queue_group: str = field(
            "", description="Of several subscribers with the same group one gets each message; empty: all get it"
        )
        max_waiting: int = field(1000, ge=1, le=100_000, description="Most messages that wait for the flow")

        @field_validator("subject")
        @classmethod
        def _is_subject(cls, subject: str) -> str:
            return check_subject(subject, may_write=False)

        @field_validator("queue_group")
        @classmethod
        def _is_word(cls, name: str) -> str:
            return check_subject(name, may_write=False, may_have_wildcards=False) if name else name

    out = Out(description="the payload; the topic is the subject, meta.reply where an answer is wanted")

    async def run(self) -> None:
        config = self.config
        waiting: asyncio.Queue[tuple[str, bytes, str]] = asyncio.Queue(config.max_waiting)
        dropped = 0

        def arrived(subject: str, content: bytes, reply: str) -> None:
            nonlocal dropped
            try:
                waiting.put_nowait((subject, content, reply))
            except asyncio.QueueFull:
                dropped += 1
                if dropped & (dropped - 1) == 0:  # at 1, 2, 4, 8 ...: a flood of drops is no flood of statuses
                    self.set_status(f"{dropped} dropped: the flow takes less than comes", "warn")

        subscription = await bus_of(self).subscribe(config.subject, arrived, queue=config.queue_group)
        self.set_status(f"listening to {config.subject}")
        try:
            while True:
                subject, content, reply = await waiting.get()
                try:
                    payload: Any = read(content, config.format)
                    await self.send(payload, topic=subject, meta={"reply": reply} if reply else {})
                except (TypeError, ValueError) as e:  # not in its format, or too large or too deep for a wire
                    self.report(ValueError(f"{subject}: {e}"))
        finally:
            await subscription.close()
