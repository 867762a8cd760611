from typing import Any, Literal

from pydantic import field_validator, model_validator

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, bus_of, field
from flowcore.node.bus_access import is_answerable
from flowcore.node.formats import BadPayload, Format, read, write
from flowcore_nodes.core.bus_subject import check_subject, fits_subject


class NatsOut(Node):
    """Publish messages on a subject of the bus, ask for an answer, or answer a request.

    With wildcards in `subject` the message's topic is the subject, and must fit them. A request's answer goes to
    `reply`; without one in time the message is an error. To answer what a nats-in node took, set `to` = reply.
    """

    type = "core/nats-out"
    title = "NATS out"
    category = "network"
    icon = "radio-tower"
    bus_publish = ("subject",)

    class Config(NodeConfig):
        subject: str = field("", description="Subject, such as plant.cmd; or plant.cmd.> for the one in the topic")
        to: Literal["subject", "reply"] = field(
            "subject", description="Publish on the subject, or answer the request that a nats-in node took (meta.reply)"
        )
        format: Format = field(
            "json", description="How payloads are written; auto: bytes and text as they are, else JSON"
        )
        request: bool = field(False, description="Wait for an answer and send it to `reply`")
        answer_format: Format = field("auto", description="What the bytes of an answer are")
        request_timeout_s: float = field(5.0, gt=0, le=300, description="Longest wait for an answer, in seconds")

        @field_validator("subject")
        @classmethod
        def _is_subject(cls, subject: str) -> str:
            return check_subject(subject, may_write=True) if subject else subject

        @model_validator(mode="after")
        def _is_complete(self) -> "NatsOut.Config":
            if self.to == "subject" and not self.subject:
                raise ValueError("needs a subject")
            if self.to == "reply" and self.request:
                raise ValueError("an answer can't be a request")
            return self

    in_ = In()
    reply = Out(description="the answer to a request; the topic is the subject it came for")

    def on_start(self) -> None:
        self._has_wildcards = any(token in ("*", ">") for token in self.config.subject.split("."))

    async def on_message(self, message: Message) -> Message | None:
        subject = self._subject(message)
        try:
            content = write(message.payload, self.config.format)
        except BadPayload as e:
            raise GiveUp(str(e)) from None
        if self.config.to == "reply":
            self._publish(subject, content, is_reply=True)
            return None
        if not self.config.request:
            self._publish(subject, content, is_reply=False)
            return None
        answer = await bus_of(self).request(subject, content, timeout=self.config.request_timeout_s)
        try:
            payload: Any = read(answer, self.config.answer_format)
        except ValueError as e:
            raise GiveUp(f"the answer of {subject} is {e}") from None
        return message.derive(payload, topic=subject)

    def _publish(self, subject: str, content: bytes, is_reply: bool) -> None:
        bus = bus_of(self)
        sent = bus.respond(subject, content) if is_reply else bus.publish(subject, content)
        if not sent:
            raise ConnectionError(f"not connected to the bus: nothing was published on {subject}")

    def _subject(self, message: Message) -> str:
        if self.config.to == "reply":
            reply = message.meta.get("reply")
            if not isinstance(reply, str) or not is_answerable(reply):
                raise GiveUp("no meta.reply: the message does not come from a request that a nats-in node took")
            return reply
        if not self._has_wildcards:
            return self.config.subject
        try:
            check_subject(message.topic, may_write=True, may_have_wildcards=False)
        except ValueError as e:
            raise GiveUp(f"the topic must be the subject: {e}") from None
        if not fits_subject(message.topic, self.config.subject):
            raise GiveUp(f"topic {message.topic!r} does not fit the subject {self.config.subject!r}")
        return message.topic
