import asyncio
from typing import Any, Literal

from flowcore.node import In, Message, field, formats
from flowcore_nodes.iot.broker import EMBEDDED, BadTopic, LinkConfig, check_filter, check_topic, fits
from flowcore_nodes.iot.connect import Connects


class MqttOut(Connects):
    """Publish messages to an MQTT broker.

    A message is done when the broker has confirmed it (QoS 1 and 2), or when it is written (QoS 0). While the broker is
    away messages wait, and the wire behind them fills; nothing is lost. After a cut in the middle of a publish the
    broker may get it twice.

    A payload that does not fit the `format`, or a topic that is not allowed, is reported; the node goes on.
    """

    type = "iot/mqtt-out"
    title = "MQTT out"
    icon = "radio-tower"
    outside = True
    mqtt_publish = ("topic", "allow", "birth.topic", "close.topic", "will.topic")

    class Config(LinkConfig):
        topic: str = field("", dynamic=True, description="Topic to publish to; empty: the message's topic")
        allow: list[str] = field(
            [],
            description="Filters of the topics that a message may choose; empty: any. The embedded broker needs them "
            "where the topic comes from the message",
        )
        qos: Literal[0, 1, 2] = field(1, description="Quality of service: 0 at most, 1 at least, 2 exactly once")
        retain: bool = field(
            False,
            dynamic=True,
            description="The broker keeps the newest for later subscribers; taken from a message that has none: no",
        )
        format: formats.Format = field("auto", description="auto: bytes and text as they are, all else as JSON")

    in_ = In(Any, "What to publish")

    async def on_start(self) -> None:
        topic, allow = self.config.topic, [check_filter(one) for one in self.config.allow]
        self._chosen_by_message = not (isinstance(topic, str) and topic)
        self._embedded = self.config.broker.url == EMBEDDED
        if not self._chosen_by_message:
            self._check(topic)
        elif self._embedded and not allow:
            raise BadTopic(
                "the topic comes from the message: say in `allow` which topics it may choose, "
                'for example ["actuators/#"], so that the embedded broker can be told to let only those through'
            )
        self._link = self.make_link()
        self._link.open()

    async def on_batch(self, messages: list[Message]) -> None:
        await asyncio.gather(*(self._publish(message) for message in messages))

    async def _publish(self, message: Message) -> None:
        try:
            topic = self._check(self.setting("topic", message) or message.topic)
            data = formats.write(message.payload, self.config.format)
            await self._link.publish(topic, data, self.config.qos, self._is_retained(message))
        except (ValueError, LookupError) as error:
            self.report(error, message)

    def _is_retained(self, message: Message) -> bool:
        try:
            return bool(self.setting("retain", message))
        except LookupError:
            return False  # most messages say nothing of it

    def _check(self, topic: str) -> str:
        """The topic, if it may be published to.

        Raises:
            BadTopic: MQTT, the embedded broker or `allow` forbids it.
        """
        check_topic(topic)
        if self._embedded and any(c.isspace() for c in topic):
            raise BadTopic(f"topic {topic!r}: the embedded broker takes no blanks in topics")
        if self._chosen_by_message and self.config.allow and not fits(topic, self.config.allow):
            raise BadTopic(f"topic {topic!r} is none of those in `allow`: {', '.join(self.config.allow)}")
        return topic
