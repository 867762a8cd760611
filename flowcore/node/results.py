"""What handlers make, sent: values, lists of them, and what generators yield, piece by piece.

A generator goes on only when what it gave was sent, so that back-pressure reaches it. What a result may be, and which
port gets it, is `flowcore.node.emit`'s to know; the common case of one value goes there without a coroutine
(`Emitter.send_now`) and does not come here.

    UnknownPort             a handler named an output that its node has not
    TypeError, ValueError   what it made has no form in which it could travel
"""

import contextlib
from collections.abc import Iterator
from types import AsyncGeneratorType
from typing import TYPE_CHECKING, Any

from flowcore.node.message import Message
from flowcore.node.runs import Call, some
from flowcore.node.time_limit import TimeLimit
from flowcore.node.work import HandlerThread
from flowcore.wires.receipt import Cause

if TYPE_CHECKING:
    from flowcore.node.engine import Engine


class Results:
    """Sends what the handlers of one engine's node make.

    Everywhere `message` is what the outputs derive from (None: a timer's or a batch's, which derive from nothing), and
    `cause` what is acked only after them.
    """

    def __init__(self, engine: "Engine", limit: TimeLimit) -> None:
        self._engine, self._limit = engine, limit

    async def send(self, result: Any, message: Message | None, cause: Cause | None) -> None:
        """Send one result; None is none."""
        if result is not None:
            emitter = self._engine.emitter
            await emitter.emit(emitter.drafts(result, message), cause)

    async def send_all(self, results: list[Any], message: Message | None, cause: Cause | None) -> None:
        """Send them, in order."""
        for result in results:
            await self.send(result, message, cause)

    async def send_generated(self, results: AsyncGeneratorType, message: Message | None, cause: Cause | None) -> None:
        """Send what an async generator yields; each value has the time-out of a handler. Raises what it raises."""
        async with contextlib.aclosing(results):
            while True:
                try:
                    following = anext(results)
                    result = await (following if self._limit.seconds is None else self._limit.within(following))
                except StopAsyncIteration:
                    return
                await self.send(result, message, cause)
                del result  # or it would be in use while the next one waits for a slot

    async def send_rest(
        self, values: list, rest: Iterator | None, message: Message | None, cause: Any, thread: HandlerThread
    ) -> BaseException | None:
        """Send what a generator gave, then let it go on in the handler thread, until it has no more.

        Args:
            values: what it gave; emptied.
            rest: the generator; None: that was all.
        Returns:
            What went wrong, then with the state rolled back; None: nothing.
        """
        engine = self._engine
        while True:
            try:
                await self.send_all(values, message, cause)
            except Exception as e:
                engine.state.rollback()
                return e
            values.clear()  # or they would be in use while the next ones wait for their slots
            if rest is None:
                return None
            engine.emitter.flush()
            piece = Call(engine.tensors, some, rest, engine.tensors, message=message)
            slot = engine.around.enter(cause) if message is not None else None
            try:
                await self._limit.in_thread(thread, piece)
            finally:
                engine.around.leave(slot, 0)
            if piece.error is not None:
                engine.state.rollback()
                return piece.fault()
            values, rest = piece.values[0]

    async def pass_on(self, port: str, message: Message, cause: Cause) -> None:
        """Send a message on a port as it came; that it does not fit is an error of its own."""
        try:
            await self._engine.emitter.emit([(port, message.derive())], cause)
        except (TypeError, ValueError) as e:  # just over the largest size
            await self._engine.failures.fail(e, message)
