import asyncio
from datetime import UTC, datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo

from croniter import croniter
from pydantic import field_validator, model_validator

from flowcore.node import In, Message, Node, NodeConfig, Out, field
from flowcore_nodes.core.zones import TimeZone

_LONGEST_NAP_S = 60.0  # the clock of a machine can be set: look at it again this often


class Inject(Node):
    """Send a message by hand, at an interval, at times of day, or when the flow starts.

    The button is the input `button`: a message put there (`flowcore inject FLOW.NODE`, or any client) sends the
    configured payload, or its own when it has one. A time that was missed while the node was down is not made up for.
    """

    type = "core/inject"
    title = "Inject"
    category = "common"
    icon = "play"
    outside = False

    class Config(NodeConfig):
        kind: Literal["value", "now", "timestamp"] = field(
            "value",
            description="The payload: a fixed value, now as ISO 8601 text, or a timestamp in ms since 1970",
        )
        payload: Any = field(None, description="The value that is sent, for kind = value", dynamic=True)
        topic: str = field("", description="Topic of each message")
        meta: dict[str, Any] = field({}, description="Notes that travel with each message")
        at_start: bool = field(False, description="Send once when the flow starts")
        start_delay_s: float = field(0.1, ge=0, le=86_400, description="How long after the start, in seconds")
        every_s: float = field(0.0, ge=0, le=31_536_000, description="Interval in seconds; 0: none")
        cron: str = field(
            "",
            description='Times, such as "*/5 8-17 * * mon-fri" (minute hour day month weekday [second]); empty: none',
        )
        time_zone: TimeZone = field("UTC", description="Time zone of cron and of kind = now, such as Europe/Berlin")

        @field_validator("every_s")
        @classmethod
        def _not_too_fast(cls, every_s: float) -> float:
            if 0 < every_s < 0.001:
                raise ValueError("must be 0 (none) or at least 0.001 s")
            return every_s

        @field_validator("cron")
        @classmethod
        def _is_cron(cls, cron: str) -> str:
            if cron and (len(cron.split()) not in (5, 6) or not croniter.is_valid(cron)):
                raise ValueError(f"{cron!r} is no cron expression: minute hour day month weekday [second]")
            return cron

        @model_validator(mode="after")
        def _one_rhythm(self) -> "Inject.Config":
            if self.every_s and self.cron:
                raise ValueError("every_s and cron exclude each other")
            return self

    button = In(description="sends one message: the configured payload, or this one's if it has one")
    out = Out()

    run_again_on_reconfigure = True  # so that new times count from now

    def on_start(self) -> None:
        self._has_started = False

    def on_reconfigure(self, old: Any) -> None:
        """`run` is begun again and reads the new config."""

    async def on_message(self, message: Message) -> Message:
        payload = self._payload() if message.payload is None else message.payload
        return message.derive(
            payload, topic=message.topic or self.config.topic, meta={**self.config.meta, **message.meta}
        )

    async def run(self) -> None:
        if self.config.at_start and not self._has_started:
            await self._nap_until(self.now_s() + self.config.start_delay_s)
            self._has_started = True
            await self._send()
        due_s = self._next_s(self.now_s())
        while due_s is not None:
            await self._nap_until(due_s)
            await self._send()
            due_s = self._next_s(due_s)

    def _next_s(self, last_s: float) -> float | None:
        """When the next message is due after one that was due at `last_s`; times gone by are skipped."""
        if self.config.every_s:
            due_s, now_s = last_s + self.config.every_s, self.now_s()
            if due_s < now_s - self.config.every_s:  # the machine slept, or the flow pushed back
                due_s = now_s
            return due_s
        if self.config.cron:
            zone = ZoneInfo(self.config.time_zone)
            begin_s = max(last_s, self.now_s() - 1)
            return croniter(self.config.cron, datetime.fromtimestamp(begin_s, zone)).get_next(datetime).timestamp()
        return None

    async def _nap_until(self, due_s: float) -> None:
        """Wait by the node's clock."""
        while (wait_s := due_s - self.now_s()) > 0:
            woken = asyncio.Event()

            async def wake(woken: asyncio.Event = woken) -> None:
                woken.set()

            timer = self.after(min(wait_s, _LONGEST_NAP_S), wake)
            try:
                await woken.wait()
            finally:
                timer.cancel()

    async def _send(self) -> None:
        await self.send(self._payload(), topic=self.config.topic, meta=dict(self.config.meta))

    def _payload(self) -> Any:
        if self.config.kind == "timestamp":
            return int(self.now_s() * 1000)
        if self.config.kind == "now":
            return datetime.fromtimestamp(self.now_s(), UTC).astimezone(ZoneInfo(self.config.time_zone)).isoformat()
        return self.setting("payload")
