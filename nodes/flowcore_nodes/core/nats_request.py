from typing import Any

from pydantic import field_validator

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, bus_of, field
from flowcore.node.formats import BadPayload, Format, read, write
from flowcore_nodes.core.bus_subject import check_subject, subject_of


class NatsRequest(Node):
    """Ask a program on the bus, and send its answer on.

    A request that nobody answers in time is an error: the node's retries apply, then it goes to a catch. One request is
    under way at a time, in order; with the setting `concurrency` as many as it says, and answers go on as they come.
    With wildcards in `subject` the message's topic is the subject, and must fit them.
    """

    type = "core/nats-request"
    title = "NATS request"
    category = "network"
    icon = "message-circle-question"
    outside = True
    bus_publish = ("subject",)

    class Config(NodeConfig):
        subject: str = field(
            ..., min_length=1, description="Subject that is asked, such as plant.price; or plant.> for the topic's"
        )
        timeout_s: float = field(5.0, gt=0, le=300, description="Longest wait for an answer, in seconds")
        format: Format = field(
            "json", description="How payloads are written; auto: bytes and text as they are, else JSON"
        )
        answer_format: Format = field("auto", description="What the bytes of an answer are")

        @field_validator("subject")
        @classmethod
        def _is_subject(cls, subject: str) -> str:
            return check_subject(subject, may_write=True)

    in_ = In(description="the payload is the question")
    out = Out(description="the payload is the answer, the topic the subject that was asked")

    async def on_message(self, message: Message) -> Message:
        subject = subject_of(message, self.config.subject)
        try:
            content = write(message.payload, self.config.format)
        except BadPayload as e:
            raise GiveUp(str(e)) from None
        answer = await bus_of(self).request(subject, content, timeout=self.config.timeout_s)
        try:
            payload: Any = read(answer, self.config.answer_format)
        except ValueError as e:
            raise GiveUp(f"the answer of {subject} is {e}") from None
        return message.derive(payload, topic=subject)
