"""What a node and one worker say to each other: questions answered on the way, and where a worker is that overstays.

Stands between the bytes (`flowcore.script.channel`) and the batches (`flowcore.script.client`). The deadline is kept
from outside: a `Watch` sees on the shared page that one message has been in work for too long, asks the worker where
it is, and kills it. What becomes of the messages is not decided here.

    ValueError, TypeError   the worker said what was not due, or what makes no sense
    WorkerEnded             it is gone

Invariant: a worker that was asked where it is gets no further frame: it has been killed, or is a moment later.
"""

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from typing import Any, Protocol

from flowcore.script import frames
from flowcore.script.channel import Channel, WorkerEnded
from flowcore.script.errors import ScriptTimeout
from flowcore.script.results import Note, read_notes
from flowcore.script.stand_in import pack

_WHERE_S = 0.1  # how long a worker that will be killed has to say where it was
_ANSWER_S = 2.0  # how long flow context may take


class SharedContext(Protocol):
    """What `flow` and `global_` need of a node's contexts."""

    def get(self, key: str, default: Any = None) -> Awaitable[Any]: ...

    def set(self, key: str, value: Any) -> Awaitable[Any]: ...


class Conversation:
    """With one worker, from its first frame to its last.

    Args:
        channel: to the worker.
        shared: scope ("flow", "global") -> the context that the script reaches by it, None where it may not.
        deadline_s: what one message may take; half of it is what an answer may take.
    """

    def __init__(self, channel: Channel, shared: Mapping[str, SharedContext | None], deadline_s: float) -> None:
        self.channel = channel
        self.last_notes: Sequence[Note] = ()  # of the message in which a worker was that overstayed
        self._shared, self._deadline_s = shared, deadline_s
        self._line: int | None = None
        self._traceback = ""

    async def next_frame(self, *wanted: int) -> list:
        """The next frame of a wanted kind; what the script asks and says on the way is answered and kept.

        Raises:
            WorkerEnded: there is none to come.
            ValueError, TypeError: the worker said something else.
        """
        channel = self.channel
        while True:
            frame = await channel.receive()
            if frame[0] in wanted:
                return frame
            if frame[0] == frames.REQUEST and len(frame) == 5:
                channel.send(pack([frames.REPLY, *await self._answer(*frame[1:])]))
            elif frame[0] == frames.WHERE and len(frame) == 4 and channel.asked_where:
                self.last_notes = read_notes(frame[3])
                self._line = frame[1] if isinstance(frame[1], int) else None
                self._traceback = str(frame[2])[:4000]
                channel.kill("too long")
            else:
                raise ValueError(f"a frame of kind {str(frame[0])[:20]} where none was due")

    async def _answer(self, scope: Any, op: Any, key: Any, value: Any) -> tuple[str | None, Any]:
        shared = self._shared.get(scope) if isinstance(scope, str) else None
        if shared is None:
            return f"this node has no {str(scope)[:20]} context", None
        try:
            frames.check_result(value)
            async with asyncio.timeout(min(_ANSWER_S, self._deadline_s / 2)):
                if op == "get":
                    got = await shared.get(str(key), None)
                    pack(got)
                    return None, got
                await shared.set(str(key), value)
                return None, None
        except TimeoutError:
            return "no answer in time", None
        except Exception as e:  # whatever the bus says is the script's to know
            return f"{type(e).__name__}: {e}"[:500], None

    async def ask_where(self) -> None:
        """Find out where a worker that overstayed is, and end it."""
        self.channel.ask_where()
        try:
            async with asyncio.timeout(_WHERE_S):
                await self.next_frame()  # until the WHERE has come, and has ended it
        except (TimeoutError, WorkerEnded, ValueError):
            self.channel.kill("too long")

    def too_late(self) -> ScriptTimeout:
        """The error of a worker that overstayed, with its line and traceback where it has said them."""
        text = f"it took longer than {self._deadline_s:g} s"
        return ScriptTimeout(
            f"line {self._line}: {text}" if self._line else text,
            type="ScriptTimeout",
            line=self._line,
            traceback=f"{self._traceback}{text}",
        )


class Watch:
    """Looks at the page four times a second or so; when one message has been in work for too long, ends the worker.

    Args:
        base, count: number of the first message that was sent to be run, and how many they are.
        deadline_s: after which a message's worker is ended.
    """

    def __init__(self, channel: Channel, base: int, count: int, deadline_s: float) -> None:
        self._channel, self._deadline_s = channel, deadline_s
        self._loop = asyncio.get_running_loop()
        self._seen, self._since, self._last = base, self._loop.time(), base + count - 1
        self._timer = self._loop.call_later(deadline_s / 20, self._look)
        self.overdue = False

    def stop(self) -> None:
        """Look no more."""
        self._timer.cancel()

    def _look(self) -> None:
        now = self._loop.time()
        if self.overdue:
            self._channel.kill("too long")
            return
        number = min(self._channel.number, self._last)
        if number > self._seen:  # only forward, and no further: who plays with the number gets no more than its share
            self._seen, self._since = number, now
        elif now - self._since >= self._deadline_s:
            self.overdue = True
            self._channel.ask_where()
        self._timer = self._loop.call_later(_WHERE_S if self.overdue else self._deadline_s / 20, self._look)
