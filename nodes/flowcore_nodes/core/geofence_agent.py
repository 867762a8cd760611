from collections.abc import AsyncIterator, Iterator
from typing import Literal

from flowcore.node import Agent, Message, Outputs, field
from flowcore_nodes.core.geofence import Geofence
from flowcore_nodes.core.reacting import Reaction, reactions_to

_EVENTS = {"enter": "enter", "exit": "exit", "dwell": "dwell"}


class OnCrossing(Reaction):
    """What is done at a crossing."""

    on: Literal["", "enter", "exit", "dwell"] = field("", description="Which crossing; empty: each")


class GeofenceAgent(Geofence, Agent):
    """Act when a thing enters an area on the earth, leaves it, or stays there.

    It is a core/geofence that also says what is to be done: each entry of `actions` is sent from `action`, to a
    core/actions. Texts have places for what is known of the crossing: {event}, {thing}, {area}, {at_s}, {for_s},
    {longitude}, {latitude}, {topic}.
    """

    type = "core/geofence-agent"
    title = "Geofence agent"
    category = "agents"
    icon = "map-pinned"

    class Config(Geofence.Config):
        actions: list[OnCrossing] = field([], description="What is done at a crossing")

    def on_message(self, message: Message) -> Iterator[Outputs]:
        for made in super().on_message(message):
            yield from reactions_to(self, self.config.actions, made, _EVENTS)

    async def _when_due(self) -> AsyncIterator[Outputs]:
        async for made in super()._when_due():
            for one in reactions_to(self, self.config.actions, made, _EVENTS):
                yield one
