from collections.abc import AsyncIterator
from typing import Literal

from flowcore.node import Agent, Message, Outputs, field
from flowcore_nodes.core.reacting import Reaction, reactions_to
from flowcore_nodes.core.threshold import Threshold

_EVENTS = {"raised": "raised", "cleared": "cleared"}


class OnThreshold(Reaction):
    """What is done at an alarm."""

    on: Literal["", "raised", "cleared"] = field("", description="When it is raised, or cleared; empty: both")


class ThresholdAgent(Threshold, Agent):
    """Act when a number crosses a limit, and when it has come back.

    It is a core/threshold, with hysteresis, hold time and cooldown, that also says what is to be done: each entry of
    `actions` is sent from `action`, to a core/actions. Texts have places for what is known of the alarm: {key},
    {value}, {limit}, {side}, {state}, {at_s}, {topic}.
    """

    type = "core/threshold-agent"
    title = "Threshold agent"
    category = "agents"
    icon = "bell-ring"

    class Config(Threshold.Config):
        actions: list[OnThreshold] = field([], description="What is done at an alarm")

    async def on_message(self, message: Message) -> AsyncIterator[Outputs]:  # type: ignore[override]
        for made in reactions_to(self, self.config.actions, await super().on_message(message), _EVENTS):
            yield made

    async def _held(self, key: str) -> AsyncIterator[Outputs]:  # type: ignore[override]
        for made in reactions_to(self, self.config.actions, await super()._held(key), _EVENTS):
            yield made
