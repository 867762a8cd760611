from typing import Literal

from pydantic import field_validator, model_validator

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, bus_of, field
from flowcore.node.bus_access import is_answerable
from flowcore.node.formats import BadPayload, Format, write
from flowcore_nodes.core.bus_subject import check_subject, subject_of


class NatsOut(Node):
    """Publish messages on a subject of the bus, or answer a request.

    With wildcards in `subject` the message's topic is the subject, and must fit them. To answer what a nats-in node
    took, set `to` = reply. A nats-request node asks and waits for the answer.
    """

    type = "core/nats-out"
    title = "NATS out"
    category = "network"
    icon = "radio-tower"
    outside = True
    bus_publish = ("subject",)

    class Config(NodeConfig):
        subject: str = field("", description="Subject, such as plant.cmd; or plant.cmd.> for the one in the topic")
        to: Literal["subject", "reply"] = field(
            "subject", description="Publish on the subject, or answer the request that a nats-in node took (meta.reply)"
        )
        format: Format = field(
            "json", description="How payloads are written; auto: bytes and text as they are, else JSON"
        )

        @field_validator("subject")
        @classmethod
        def _is_subject(cls, subject: str) -> str:
            return check_subject(subject, may_write=True) if subject else subject

        @model_validator(mode="after")
        def _is_complete(self) -> "NatsOut.Config":
            if self.to == "subject" and not self.subject:
                raise ValueError("needs a subject")
            return self

    in_ = In()

    async def on_message(self, message: Message) -> None:
        subject = self._subject(message)
        try:
            content = write(message.payload, self.config.format)
        except BadPayload as e:
            raise GiveUp(str(e)) from None
        bus = bus_of(self)
        sent = (bus.respond if self.config.to == "reply" else bus.publish)(subject, content)
        if not sent:
            raise ConnectionError(f"not connected to the bus: nothing was published on {subject}")

    def _subject(self, message: Message) -> str:
        if self.config.to == "reply":
            reply = message.meta.get("reply")
            if not isinstance(reply, str) or not is_answerable(reply):
                raise GiveUp("no meta.reply: the message does not come from a request that a nats-in node took")
            return reply
        return subject_of(message, self.config.subject)
