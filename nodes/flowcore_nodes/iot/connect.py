"""What MQTT nodes have in common: how a node comes to its link, and shows how the link is doing."""

import secrets
from typing import TYPE_CHECKING, ClassVar

from flowcore.node import Node
from flowcore_nodes.iot.broker import (
    EMBEDDED,
    Address,
    BadBroker,
    LinkConfig,
    Tls,
    address_of,
    check_topic,
    tls_context,
)

if TYPE_CHECKING:
    from flowcore_nodes.iot.link import Link, Subscription


class Connects(Node):
    """Base of the nodes that speak MQTT.

    `mqtt_subscribe` and `mqtt_publish` name the config fields that hold topics: on the embedded broker the node gets
    rights for those and no others.
    """

    category = "iot"
    needs = ("aiomqtt",)
    install = "pip install 'flowcore[iot]'"
    mqtt_subscribe: ClassVar[tuple[str, ...]] = ()
    mqtt_publish: ClassVar[tuple[str, ...]] = ()

    class Config(LinkConfig):
        """See LinkConfig."""

    _link: "Link"

    def make_link(self, subscription: "Subscription | None" = None) -> "Link":
        """The link that the config describes, not yet open.

        Raises:
            BadBroker, BadTopic: the settings cannot work.
        """
        config: LinkConfig = self.config
        for notice in (config.birth, config.close, config.will):
            if notice is not None:
                check_topic(notice.topic)
        address = self._embedded_address() if config.broker.url == EMBEDDED else address_of(config.broker)
        self.set_status(f"connecting to {address}", "busy")
        from flowcore_nodes.iot.link import Link

        return Link(
            address,
            config,
            self._client_id(subscription),
            subscription=subscription,
            on_status=self.set_status,
            on_error=self.report,
        )

    async def on_stop(self) -> None:
        if hasattr(self, "_link"):
            await self._link.close()

    def _embedded_address(self) -> Address:
        found = self.embedded_mqtt
        if found is None:
            raise BadBroker("there is no embedded broker here: give broker.url as mqtt://host:port")
        # Our own broker, on this machine: its certificate is for devices elsewhere to check.
        tls = tls_context(Tls(insecure=True)) if found["tls"] else None
        return Address(found["host"], found["port"], found["user"], found["password"], tls)

    def _client_id(self, subscription: "Subscription | None") -> str:
        """A kept session needs the same name each time; any other a new one, so that no two meet at the broker."""
        if self.config.client_id:
            return self.config.client_id
        name = f"flowcore-{self.flow}-{self.id}"
        return name if subscription is not None and subscription.keep_session else f"{name}-{secrets.token_hex(3)}"
