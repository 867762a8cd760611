"""A script as its node uses it: started, called with what arrived together, killed when it overstays, started again.

    worker = ScriptWorker(socket, source, outputs=["out"], context=lambda: dict(state))
    await worker.start()                  # it compiles
    started = await worker.begin()        # its on_start has run
    results = await worker.call([(payload, topic, meta), ...])

One result a message, in order, whatever happens: a message that takes too long, or ends its worker, gets an error in
its result; what else was in the frame and has no result yet is run again in a new worker.

Invariant: a message has one result, and the changes of results given out are in every later worker's `context`.
"""

import asyncio
import signal
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from flowcore.script import frames
from flowcore.script.breaker import Breaker
from flowcore.script.channel import Channel, WorkerEnded, open_channel
from flowcore.script.errors import ScriptError, ScriptKilled, ScriptPaused, ScriptRefused, ScriptTimeout, from_worker
from flowcore.script.stand_in import pack

Item = tuple[Any, ...] | None  # payload, topic, meta, and what else its language takes; None: see `tick`
Note = tuple[str, str, Any]  # ("info" | "warning" | "error" | "status", text, extra)
_WHERE_S = 0.1  # how long a worker that will be killed has to say where it was
_ANSWER_S = 2.0  # how long flow context may take
_TRIES = 3  # workers tried for messages whose worker was lost through no fault of theirs


class SharedContext(Protocol):
    """What `flow` and `global_` need of a node's contexts."""

    def get(self, key: str, default: Any = None) -> Awaitable[Any]: ...

    def set(self, key: str, value: Any) -> Awaitable[Any]: ...


class Result:
    """What one message made.

    Attributes:
        outputs: [port, payload, topic, meta] each, in the order they were sent; port is a number.
        changes: key of context -> [value], or [] where it was taken away.
        notes: (kind, text, extra): lines printed and logged (kind info, warning, error), badges (kind status). Of an
            error that is about a message, extra is True or that message: [payload, topic, meta].
        error: why it failed; then there are no outputs and no changes.
        due_s: in how many seconds the script wants a `tick`; None: it has set no timer.
    """

    __slots__ = ("changes", "due_s", "error", "notes", "outputs")

    def __init__(
        self,
        outputs: Sequence[list] = (),
        changes: Mapping[str, list] | None = None,
        notes: Sequence[Note] = (),
        error: ScriptError | None = None,
        due_s: float | None = None,
    ) -> None:
        self.outputs = outputs
        self.changes = changes or {}
        self.notes = notes
        self.error = error
        self.due_s = due_s

    def __repr__(self) -> str:
        return f"Result({self.outputs!r}, changes={self.changes!r}, notes={self.notes!r}, error={self.error!r})"


class ScriptWorker:
    """A script, and the worker that runs it now."""

    def __init__(
        self,
        socket: str | Path,
        source: str,
        *,
        outputs: Sequence[str] = ("out",),
        env: Mapping[str, Any] | None = None,
        id: str = "",
        name: str = "",
        context: Callable[[], dict[str, Any]] = dict,
        flow_context: SharedContext | None = None,
        global_context: SharedContext | None = None,
        sandbox: str = "strict",
        memory_mb: int = 256,
        deadline_s: float = 5.0,
        breaker: Breaker | None = None,
        language: str = "python",
        options: Mapping[str, Any] | None = None,
        grace_s: float = 0.0,
    ) -> None:
        """
        Args:
            socket: where the zygote listens.
            source: the user's text.
            outputs: names of the outputs, in order.
            env: what the script sees as `env`; never put in what it must not know.
            context: gives the node's state for a new worker.
            sandbox: "strict", "weak" or "off".
            deadline_s: for each message, for compiling with `on_start`, and for `on_stop`.
            language: of `languages`; `options` are what that language takes besides.
            grace_s: how much later than its deadline a worker is killed, where it keeps the deadline itself.
        """
        self._socket = socket
        self._setup = {
            "script": source,
            "outputs": list(outputs),
            "env": dict(env or {}),
            "id": id,
            "name": name or id,
            "deadline_s": deadline_s,
            "options": dict(options or {}),
        }
        self._language, self._kill_s = language, deadline_s + grace_s
        self._ports = max(1, len(outputs))
        self._context = context
        self._shared = {"flow": flow_context, "global": global_context}
        self._sandbox, self._memory_mb, self._deadline_s = sandbox, memory_mb, deadline_s
        self._breaker = breaker or Breaker()
        self._channel: Channel | None = None
        self._has_begun = False
        self._lock = asyncio.Lock()
        self._next = 1  # number of the next message
        self._begun = _NOTHING  # what on_start made in a worker started along the way; goes with the next message
        self._where: tuple[int | None, str, list[Note]] | None = None
        self.kills = 0

    @property
    def pid(self) -> int | None:
        """The worker's process id, None while there is none."""
        return self._channel.pid if self._channel is not None else None

    @property
    def missing(self) -> list[str]:
        """Layers of the sandbox that this worker runs without."""
        return self._channel.missing if self._channel is not None else []

    async def start(self) -> None:
        """Get a locked worker and have it compile the script; nothing of the script runs yet.

        Raises:
            ScriptRefused: with the line, when it does not compile.
            SandboxMissing, ZygoteGone: no worker can be had.
        """
        async with self._lock:
            await self._new_worker()

    async def begin(self) -> Result:
        """Define the script and run its `on_start`, once: `call` does so too when nobody has.

        Returns:
            What `on_start` made; it has no error.
        Raises:
            ScriptRefused: with the line, when it fails or takes too long. And as `start`.
        """
        async with self._lock:
            if not self._has_begun:
                return await self._begin({})
            return _NOTHING

    async def call(self, messages: Sequence[Item]) -> list[Result]:
        """Run messages that arrived together; one result each, in their order. Never raises for a script's failure.

        Raises:
            SandboxMissing, ZygoteGone, ScriptRefused: there was no worker, and none could be started.
        """
        async with self._lock:
            results: list[Result | None] = [None] * len(messages)
            try:
                await self._run_all(messages, results)
            except BaseException:
                self._drop()  # cancelled in mid-call: what the worker does now belongs to nobody
                raise
            return results  # type: ignore[return-value]

    async def tick(self) -> Result:
        """Let the script run its timers: the `due_s` of the last result has passed. As `call` otherwise."""
        return (await self.call([None]))[0]

    async def stop(self) -> Result | None:
        """Run `on_stop` and end the worker; what `on_stop` made, None when there is nothing (or it failed)."""
        async with self._lock:
            channel, self._channel = self._channel, None
            if channel is None or not self._has_begun:
                if channel is not None:
                    channel.kill("stopped")
                return None
            try:
                channel.send(pack([frames.STOP]))
                async with asyncio.timeout(self._kill_s):
                    frame = await self._next_frame(channel, frames.READY)
                return _result(frame[1], self._ports)
            except (TimeoutError, WorkerEnded, ValueError):
                return None
            finally:
                channel.kill("stopped")

    def close(self) -> None:
        """End the worker now, without `on_stop`."""
        self._drop()

    # -- a worker's beginning and end

    async def _new_worker(self) -> Channel:
        self._drop()
        channel = self._channel = await open_channel(self._socket, self._sandbox, self._memory_mb, self._language)
        await self._ask_to(channel, [frames.SETUP, self._setup], "compiling it")
        return channel

    async def _begin(self, changes: dict[str, list]) -> Result:
        """Have the script defined, by a new worker if need be.

        Args:
            changes: what this call's results change beyond what `context` gives.
        """
        channel = self._channel
        if channel is None or channel.dead or self._has_begun:
            channel = await self._new_worker()
        context = dict(self._context())
        for key, change in changes.items():
            context[key] = change[0] if change else None
        context = {key: value for key, value in context.items() if value is not None}
        result = await self._ask_to(channel, [frames.BEGIN, context], "its start")
        self._has_begun = True
        return result

    async def _ask_to(self, channel: Channel, request: list, what: str) -> Result:
        """Send a request that READY or REFUSED answers, within the deadline; after a failure there is no worker."""
        try:
            channel.send(pack(request))
            async with asyncio.timeout(self._kill_s):
                frame = await self._next_frame(channel, frames.READY, frames.REFUSED)
            if frame[0] == frames.REFUSED:
                raise from_worker(frame[1], kind=ScriptRefused)
            return _result(frame[1], self._ports)
        except TimeoutError:
            await self._ask_where(channel)
            late = self._too_late()
            self._drop()
            raise ScriptRefused(f"{what}: {late}", type=late.type, line=late.line, traceback=late.traceback) from None
        except (WorkerEnded, ValueError, TypeError) as e:
            self._drop()
            raise ScriptRefused(f"{what}: the worker ended ({_fate(e)})", type="ScriptKilled") from None
        except BaseException:
            self._drop()
            raise

    async def _ask_where(self, channel: Channel) -> None:
        """Find out where a worker that overstayed is (`_where`), and end it."""
        self._where = None
        channel.ask_where()
        try:
            async with asyncio.timeout(_WHERE_S):
                await self._next_frame(channel)  # until the WHERE has come, and has ended it
        except (TimeoutError, WorkerEnded, ValueError):
            channel.kill("too long")

    def _drop(self) -> None:
        self._has_begun = False
        if self._channel is not None:
            self._channel.kill("dropped")
            self._channel = None

    # -- running

    async def _run_all(self, messages: Sequence[Item], results: list[Result | None]) -> None:
        loop = asyncio.get_running_loop()
        waiting = list(range(len(messages)))
        lost = 0
        while waiting:
            wait_s = self._breaker.open_for(loop.time())
            if wait_s:
                _fail(waiting, results, ScriptPaused(f"paused for {wait_s:.0f} s more, after {self._breaker.reason}"))
                return
            try:
                if self._channel is None or self._channel.dead or not self._has_begun:
                    changes = {
                        key: value for done in results if done is not None for key, value in done.changes.items()
                    }
                    self._begun = _merged(self._begun, await self._begin(changes))
                await self._run_share(messages, waiting[:1] if self._breaker.half_open else waiting, results)
                self._breaker.handled()
            except ScriptRefused as e:  # it started before: something it meets only now; a later call tries again
                self._breaker.killed(loop.time(), str(e))
                _fail(waiting, results, e)
                return
            except _Lost as e:
                lost += 1
                if e.innocent and lost < _TRIES:
                    continue
                self._condemn(e, results)
            waiting = [k for k in waiting if results[k] is None]

    async def _run_share(self, messages: Sequence[Item], share: list[int], results: list[Result | None]) -> None:
        """Run the messages numbered in `share`, in frames of a bounded size."""
        try:
            packed = pack([messages[k] for k in share] if len(share) != len(messages) else messages)
        except (TypeError, ValueError) as e:
            if len(share) == 1:
                results[share[0]] = Result(error=ScriptError(f"this message can't be given to a script: {e}"))
                return
            packed = b""
        if not packed or (len(packed) > frames.MAX_CALL and len(share) > 1):
            half = len(share) // 2
            await self._run_share(messages, share[:half], results)
            await self._run_share(messages, share[half:], results)
            return
        if len(packed) > frames.MAX_MESSAGE:
            most = f"{len(packed):,} bytes, at most {frames.MAX_MESSAGE:,} go to a script"
            results[share[0]] = Result(error=ScriptError(f"this message can't be given to a script: {most}"))
            return
        await self._run_frame(packed, share, results)

    async def _run_frame(self, packed: bytes, share: list[int], results: list[Result | None]) -> None:
        channel = self._channel
        assert channel is not None
        base = self._next
        self._next += len(share)
        self._where = None
        watch = _Watch(channel, base, len(share), self._kill_s)
        channel.send(_CALL + pack(base) + packed)
        have = 0
        try:
            while have < len(share):
                _, first, some = await self._next_frame(channel, frames.RESULTS)
                if first != base + have or type(some) is not list or not 0 < len(some) <= len(share) - have:
                    raise ValueError("results of nothing that was asked")
                for raw in some:
                    results[share[have]] = _result(raw, self._ports)
                    have += 1
        except (ValueError, TypeError) as e:
            channel.kill("broken")
            raise _Lost(share, base, channel.number, ScriptKilled(f"its worker broke the protocol: {e}")) from None
        except WorkerEnded as e:
            error = self._too_late() if watch.overdue else ScriptKilled(f"its worker ended: {_fate(e)}")
            innocent = e.status is None and not watch.overdue and not channel.killed
            raise _Lost(share, base, channel.number, error, innocent=innocent) from None
        finally:
            watch.stop()
        if self._begun is not _NOTHING:
            results[share[0]] = _merged(self._begun, results[share[0]] or _NOTHING)
            self._begun = _NOTHING

    def _condemn(self, lost: "_Lost", results: list[Result | None]) -> None:
        """The message that was in work gets the error; the breaker counts."""
        undone = [k for k in lost.share if results[k] is None]
        told = lost.number - lost.base  # the worker's word, so only when it can be
        guilty = lost.share[told] if 0 <= told < len(lost.share) else undone[0]
        if results[guilty] is not None:
            guilty = undone[0]
        results[guilty] = Result(notes=self._where[2] if self._where else (), error=lost.error)
        self.kills += 1
        self._breaker.killed(asyncio.get_running_loop().time(), str(lost.error))
        self._drop()

    def _too_late(self) -> ScriptTimeout:
        line, traceback, _ = self._where or (None, "", ())
        text = f"it took longer than {self._deadline_s:g} s"
        return ScriptTimeout(
            f"line {line}: {text}" if line else text, type="ScriptTimeout", line=line, traceback=f"{traceback}{text}"
        )

    # -- frames that are no results

    async def _next_frame(self, channel: Channel, *wanted: int) -> list:
        """The next frame of a wanted kind; what the script asks and says on the way is answered and kept."""
        while True:
            frame = await channel.receive()
            if frame[0] in wanted:
                return frame
            if frame[0] == frames.REQUEST and len(frame) == 5:
                channel.send(pack([frames.REPLY, *await self._answer(*frame[1:])]))
            elif frame[0] == frames.WHERE and len(frame) == 4 and channel.asked_where:
                line = frame[1] if isinstance(frame[1], int) else None
                self._where = (line, str(frame[2])[:4000], _notes(frame[3]))
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


class _Lost(Exception):
    """A worker is gone in the middle of a frame: what was in it, where the worker was, what to say of it."""

    def __init__(self, share: list[int], base: int, number: int, error: ScriptError, *, innocent: bool = False) -> None:
        super().__init__(str(error))
        self.share, self.base, self.number, self.error, self.innocent = share, base, number, error, innocent


class _Watch:
    """Looks at the page four times a second or so; when one message has been in work for too long, ends the worker."""

    def __init__(self, channel: Channel, base: int, count: int, deadline_s: float) -> None:
        self._channel, self._deadline_s = channel, deadline_s
        self._loop = asyncio.get_running_loop()
        self._seen, self._since, self._last = base, self._loop.time(), base + count - 1
        self._timer = self._loop.call_later(deadline_s / 20, self._look)
        self.overdue = False

    def stop(self) -> None:
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


_CALL = b"\x93" + pack(frames.CALL)  # the head of an array of three
_NOTHING = Result()


def _result(raw: Any, ports: int) -> Result:
    """A result as the worker sent it, looked through.

    Raises:
        ValueError, TypeError: it is not one.
    """
    if raw is None:
        return _NOTHING
    outputs, changes, notes, error, *more = raw
    due_s = float(more[0]) if more and more[0] is not None else None
    if error is not None:
        return Result(notes=_notes(notes), error=from_worker(error), due_s=due_s)
    try:
        for port, payload, topic, meta in outputs:
            if type(port) is not int or not 0 <= port < ports or type(topic) is not str or type(meta) is not dict:
                raise TypeError("no such output")
            if type(payload) is dict or type(payload) is list:
                frames.check_result(payload)
            if meta:
                frames.check_result(meta)
        if not changes and not notes:
            return Result(outputs, due_s=due_s)
        if type(changes) is not dict or not all(type(v) is list and len(v) < 2 for v in changes.values()):
            raise TypeError("no changes of context")
        frames.check_result(changes)
    except frames.TooMuch as e:
        return Result(notes=_notes(notes), error=ScriptError(str(e), type="TooMuch"), due_s=due_s)
    return Result(outputs, changes, _notes(notes), due_s=due_s)


def _notes(raw: Any) -> list[Note]:
    notes: list[Note] = []
    for kind, text, extra in raw[: frames.MAX_LOG_LINES + 1]:
        if kind in ("info", "warning", "error", "status"):
            notes.append((kind, str(text)[: frames.MAX_LOG_CHARS], _extra(extra)))
    return notes


def _extra(extra: Any) -> Any:
    """What a note is about: a word, a yes, or a message; anything else is nothing."""
    if isinstance(extra, str | bool):
        return extra
    if type(extra) is list and len(extra) == 3 and type(extra[1]) is str and type(extra[2]) is dict:
        frames.check_result(extra)
        return extra
    return None


def _merged(first: Result, second: Result) -> Result:
    if first is _NOTHING:
        return second
    return Result(
        [*first.outputs, *second.outputs],
        {**first.changes, **second.changes},
        [*first.notes, *second.notes],
        second.error,
        second.due_s,
    )


def _fail(waiting: Sequence[int], results: list[Result | None], error: ScriptError) -> None:
    for k in waiting:
        results[k] = Result(error=error)


def _fate(ended: Exception) -> str:
    """How a worker ended, for a person."""
    status = ended.status if isinstance(ended, WorkerEnded) else None
    if status is None:
        return str(ended)
    if status < 0:
        name = signal.Signals(-status).name if -status in list(signal.Signals) else f"signal {-status}"
        return f"{name}, perhaps out of memory" if name == "SIGKILL" else name
    return f"exit status {status}"
