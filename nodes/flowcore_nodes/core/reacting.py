"""What the agents that ship have in common: events become the actions that their config names."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import field_validator

from flowcore.node import Agent, GiveUp, Message, NodeConfig, Outputs, field
from flowcore_nodes.core.places import check_places, fill_places


class Reaction(NodeConfig):
    """What is done at an event."""

    on: str = field("", description="Which event, such as raised; empty: each")
    do: list[str] = field(..., min_length=1, description="Routes of the core/actions: mqtt, mail ..; log needs none")
    topic: str = field("", description="Topic, or subject of an e-mail, with {places}; empty: that of the event")
    text: str = field("", widget="textarea", description="Payload as a text with {places}, such as {key} is at {value}")
    payload: Any = field(None, description="Payload as it is; without it and without a text: the event, a map")
    meta: dict[str, Any] = field({}, description="What the node at the end reads of meta, such as to of an e-mail")

    @field_validator("topic", "text")
    @classmethod
    def _has_paths(cls, text: str) -> str:
        return check_places(text)


def reactions_to(
    agent: Agent, reactions: Sequence[Reaction], made: Outputs | None, events: Mapping[str, str]
) -> Iterator[Outputs]:
    """What a handler yields: what it has made, and then the actions because of it.

    One that cannot be made, because a place of its text is not in the event, is reported; the others are done.

    Args:
        agent: whose actions these are.
        reactions: its config's.
        made: outputs, of which those that tell of an event have a message with a map. None: nothing has happened.
        events: output -> what its event is called in the config.
    """
    if not made:
        return
    yield made
    for port, name in events.items():
        event: Message | None = made.get(port)
        if event is None:
            continue
        for one in reactions:
            if one.on in ("", name):
                try:
                    yield Outputs(action=_action(agent, one, event))
                except GiveUp as e:
                    agent.report(e, event)


def _action(agent: Agent, reaction: Reaction, event: Message) -> Message:
    topic = fill_places(reaction.topic, event) if reaction.topic else None
    payload = event.payload if reaction.payload is None else reaction.payload
    if reaction.text:
        payload = fill_places(reaction.text, event)
    return agent.act(event, reaction.do, payload, topic=topic, **reaction.meta)
