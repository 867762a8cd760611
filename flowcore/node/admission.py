"""Which messages a handler gets to see: those in time, and of its port's type.

    PortTypeError   the payload is not what the port takes (`flowcore.node.ports`)

Invariant: a message that is refused is counted as late (and passed on where a port for that is wired), or its error is
kept; then it may be acked.
"""

from typing import TYPE_CHECKING, Any

from flowcore.node.message import Message
from flowcore.node.policies import is_late
from flowcore.node.ports import PortTypeError
from flowcore.node.results import Results

if TYPE_CHECKING:
    from flowcore.node.engine import Engine


class Late(Exception):
    """Past its deadline: counted, not an error."""


class Admission:
    """To the handlers of one engine's node.

    Args:
        deadline: the node's setting: `age_s`, and where late ones go.
    """

    def __init__(self, engine: "Engine", deadline: dict, results: Results) -> None:
        self._engine, self._results = engine, results
        self._age_s, self._late_port = deadline.get("age_s"), deadline.get("late") == "port"

    def arrived(self, work: Any) -> tuple[Message, Exception | None]:
        """The message of a work, and why the handler must not see it; for one alone, in whatever thread."""
        message = Message.arrived(work)
        if message._deadline_ns is None and self._age_s is None and work.wire.check is None:
            return message, None
        return message, self.refusal(work, message)

    def refusal(self, work: Any, message: Message) -> Exception | None:
        """Why the handler must not see a message; also brings the payload into the port's form."""
        if (message.deadline_ns is not None or self._age_s is not None) and is_late(
            work.envelope, self._age_s, self._engine.clock.now_ns()
        ):
            return Late()
        if work.wire.check is not None:
            try:
                message.payload = work.wire.check(message.payload)
            except PortTypeError as e:
                return e
        return None

    async def refuse(self, refusal: Exception, work: Any, message: Message) -> None:
        """Count a message that a handler must not see, or keep its error."""
        engine = self._engine
        if not isinstance(refusal, Late):
            await engine.failures.fail(refusal, message)
        else:
            engine.counts["late"] += 1
            if self._late_port and "late" in engine.emitter.ports:
                await self._results.pass_on("late", message, work)
