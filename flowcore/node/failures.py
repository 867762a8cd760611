"""What becomes of an error, and of the message that it is about: said on `.error`, handed to a catch, or kept.

How an error is written down is in `flowcore.node.reports`; whether a handler is tried again before it has failed in
`flowcore.node.handling`.

Invariant: a message that failed is acked only when a catch has it (its wire then keeps it) or it is stored as given up.
"""

from typing import TYPE_CHECKING

from flowcore.buffers import NoRoom
from flowcore.node.message import Message
from flowcore.node.reports import error_body, with_tensors, without_message

if TYPE_CHECKING:
    from flowcore.node.engine import Engine


class Failures:
    """The errors of one engine's node."""

    def __init__(self, engine: "Engine") -> None:
        self._engine = engine

    def report(self, error: BaseException, message: Message | None) -> None:
        """Publish an error; its message goes to the error port, or is stored as given up before it is acked.

        Callable from any thread.
        """
        self._engine.on_loop(self._report, error, message)

    def _report(self, error: BaseException, message: Message | None) -> None:
        engine = self._engine
        body = error_body(engine.node, error, message)
        engine.counts["errors"] += 1
        engine.around.event("error", body)
        if not self.send(body, message) and message is not None:
            self._keep_given_up(body, message)

    def _keep_given_up(self, body: dict, message: Message) -> None:
        """Store a reported message before it is acked."""
        engine, cause = self._engine, message.cause
        if cause is not None:
            cause.open += 1

        async def store() -> None:
            await engine.around.give_up(body)
            engine.counts["given_up"] += 1
            if cause is not None:
                cause.one_done()

        engine.spawn(store())

    async def fail(self, error: BaseException, message: Message, tries: int = 1) -> None:
        """A handler has failed for good: report, hand the message to a catch, or store it. The caller acks it then."""
        engine = self._engine
        body = error_body(engine.node, error, message) | {"tries": tries}
        engine.counts["errors"] += 1
        engine.around.event("error", body)
        if engine.emitter.is_wired("error"):
            await engine.emitter.wait_for_credit("error")
            if self.send(body, message):
                return
        await engine.around.give_up(body)
        engine.counts["given_up"] += 1

    def send(self, body: dict, message: Message | None) -> bool:
        """Send on the error port; False when nothing listens there, or it has no credit now, or it does not fit."""
        emitter = self._engine.emitter
        if not emitter.is_wired("error") or not emitter.ports["error"].has_credit():
            return False
        drafts = [Message(body) if message is None else message.derive(body), Message(without_message(body))]
        if message is not None and body["message"].get("is_cut"):
            drafts.insert(0, message.derive(with_tensors(body, message)))
        for draft in drafts:
            try:
                emitter.send_at_once("error", draft, message.cause if message is not None else None)
            except (TypeError, ValueError, NoRoom):  # what a handler made of it cannot be sent, or not now
                continue
            return True
        return False
