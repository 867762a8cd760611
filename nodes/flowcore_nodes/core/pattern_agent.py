from collections.abc import AsyncIterator
from typing import Literal

from flowcore.node import Agent, Message, Outputs, field
from flowcore_nodes.core.pattern import Pattern
from flowcore_nodes.core.reacting import Reaction, reactions_to

_EVENTS = {"out": "match", "missed": "missed", "cancelled": "cancelled"}


class OnPattern(Reaction):
    """What is done when events follow each other, or do not."""

    on: Literal["", "match", "missed", "cancelled"] = field(
        "match", description="A match, one that was not in time, one that was ended by `without`; empty: each"
    )


class PatternAgent(Pattern, Agent):
    """Act when events follow each other, or when one that should follow does not come.

    It is a core/pattern (A, then B within so many seconds, and no C between) that also says what is to be done: each
    entry of `actions` is sent from `action`, to a core/actions. Texts have places for what is known: {key}, {from_s},
    {to_s} of a match, {waited_for} and {until_s} of what was missed, {events[0].payload} .., {topic}.
    """

    type = "core/pattern-agent"
    title = "Pattern agent"
    category = "agents"
    icon = "list-tree"

    class Config(Pattern.Config):
        actions: list[OnPattern] = field([], description="What is done")

    async def on_message(self, message: Message) -> AsyncIterator[Outputs]:
        async for made in super().on_message(message):
            for one in reactions_to(self, self.config.actions, made, _EVENTS):
                yield one

    async def _when_due(self) -> AsyncIterator[Outputs]:
        async for made in super()._when_due():
            for one in reactions_to(self, self.config.actions, made, _EVENTS):
                yield one
