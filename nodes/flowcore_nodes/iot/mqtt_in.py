import asyncio
from typing import TYPE_CHECKING, Any, Literal

from flowcore.node import Message, Out, field, formats
from flowcore_nodes.iot.broker import LinkConfig, check_filter
from flowcore_nodes.iot.connect import Connects

if TYPE_CHECKING:
    from flowcore_nodes.iot.link import Arrived


class MqttIn(Connects):
    """Receive messages from an MQTT broker.

    The message's topic is the MQTT topic, `meta` holds `qos` and `retain`. A message of QoS 1 or 2 is confirmed to the
    broker when everything made of it in the flow is done; with `clean_session` off the broker keeps for us what is not
    confirmed, over kills and restarts, and nothing is lost. It may come twice around a crash. What comes with QoS 0
    is lost while the node is away.

    While the flow is slower than the broker, `queue` messages wait here. Beyond that QoS 1 and 2 wait at the broker
    (how many it keeps is its own setting), and with `qos` 0 the oldest is dropped.

    A payload that is not in the `format` is reported as an error of its own; the node goes on.
    """

    type = "iot/mqtt-in"
    title = "MQTT in"
    icon = "radio"
    outside = True
    mqtt_subscribe = ("topic",)
    mqtt_publish = ("birth.topic", "close.topic", "will.topic")

    class Config(LinkConfig):
        topic: str | list[str] = field(description="Topic filter or filters: '+' is one level, '#' the rest")
        qos: Literal[0, 1, 2] = field(1, description="Highest quality of service: 0, 1 or 2")
        format: formats.Format = field("auto", description="What the bytes are; auto: JSON, else text, else bytes")
        clean_session: bool = field(True, description="false: the broker keeps QoS 1 and 2 for us while we are away")
        retained: bool = field(True, description="Pass on what the broker had kept from before we subscribed")
        queue: int = field(1000, ge=1, le=60_000, description="How many messages may wait here for the flow")

    out = Out(Any, "The payload")

    async def on_start(self) -> None:
        from flowcore_nodes.iot.link import Subscription

        topics = [self.config.topic] if isinstance(self.config.topic, str) else self.config.topic
        filters = [check_filter(one) for one in topics]
        keeps = not self.config.clean_session
        self._dropped, self._said_s = 0, 0.0
        self._unconfirmed: asyncio.Queue[tuple[Any, Arrived]] = asyncio.Queue()
        self._link = self.make_link(Subscription(filters, self.config.qos, keeps, self.config.queue))
        self.spawn(self._confirm())

    async def run(self) -> None:
        self._link.open()
        try:
            while True:
                await self._pass_on(await self._link.next())
        finally:
            self._link.stop_reading()  # what was taken can still be confirmed while the wires drain

    async def _pass_on(self, arrived: "Arrived") -> None:
        if arrived.retain and not self.config.retained:
            arrived.confirm()
            return
        meta = {"qos": arrived.qos, "retain": arrived.retain}
        try:
            value = formats.read(arrived.payload, self.config.format)
            receipt = await self.send(value, topic=arrived.topic, meta=meta)
        except (ValueError, TypeError) as error:  # not in the format, or nothing that an envelope can hold
            self.report(error, Message(arrived.payload[:1024], arrived.topic, meta))
            arrived.confirm()
            return
        if arrived.qos:
            self._unconfirmed.put_nowait((receipt, arrived))
        self._say_dropped()

    async def _confirm(self) -> None:
        """Confirm in order of arrival what the flow is done with."""
        while True:
            receipt, arrived = await self._unconfirmed.get()
            await receipt
            arrived.confirm()

    def _say_dropped(self) -> None:
        if self._link.dropped > self._dropped and self.now_s() - self._said_s >= 1:
            self._dropped, self._said_s = self._link.dropped, self.now_s()
            self.set_status(f"{self._dropped} dropped: the flow is slower than the broker", "warn")
