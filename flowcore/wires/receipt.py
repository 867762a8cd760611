"""What an ack must wait for: the message a handler had, or the receipt of a source's send.

A **cause** is done when its handler has finished and every output made from it is acked by every reliable wire it went
to (`through`). Each of these is one part; the cause counts them down.
"""

import asyncio
from collections.abc import Callable, Generator
from typing import Any


class Cause:
    """Counts the parts that are still open; at none, `finished` is called once."""

    __slots__ = ("open",)

    def __init__(self) -> None:
        self.open = 1  # the handler itself, or the send

    def one_done(self) -> None:
        """One part is done."""
        self.open -= 1
        if self.open == 0:
            self.finished()

    def finished(self) -> None:
        """All parts are done."""


class Receipt(Cause):
    """What `await node.send(...)` returns: `await receipt` means done by everyone.

    A source that can replay confirms to its own source at the receipt, not at the send.
    """

    __slots__ = ("_future", "_then", "input", "is_for_input", "position")

    def __init__(self) -> None:
        super().__init__()
        self.is_for_input = False  # sent by a handler: its un-acked input makes it again
        self.input: Cause | None = None  # that does not wait for it, and makes it again until it is acked
        self.position: Any = None  # of a source that can replay: it makes the message again
        self._future: asyncio.Future | None = None
        self._then: list[Callable[[], None]] | None = None

    @property
    def is_done(self) -> bool:
        """True when every reliable consumer, and what it made of the message, is done."""
        return self.open == 0

    @property
    def comes_again(self) -> bool:
        """True when an input that is not acked would make the message again."""
        return self.is_for_input or (self.input is not None and self.input.open > 0)

    def then(self, function: Callable[[], None]) -> None:
        """Call `function` when done; at once when it is."""
        if self.open == 0:
            function()
        elif self._then is None:
            self._then = [function]
        else:
            self._then.append(function)

    def finished(self) -> None:
        if self._then is not None:
            for function in self._then:
                function()
            self._then = None
        if self._future is not None and not self._future.done():
            self._future.set_result(None)

    def __await__(self) -> Generator[Any, None, None]:
        if self.open:
            if self._future is None:
                self._future = asyncio.get_running_loop().create_future()
            yield from asyncio.shield(self._future).__await__()


class Joined(Cause):
    """The cause of an output that was made from several messages: it keeps all of them open."""

    __slots__ = ("_parts",)

    def __init__(self, parts: list[Cause]) -> None:
        super().__init__()
        self._parts = parts
        for part in parts:
            part.open += 1

    def finished(self) -> None:
        for part in self._parts:
            part.one_done()
