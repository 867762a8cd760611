"""A script as its node uses it: started, called with what arrived together, killed when it overstays, started again.

    worker = ScriptWorker(socket, source, outputs=["out"], context=lambda: dict(state))
    await worker.start()                  # it compiles
    started = await worker.begin()        # its on_start has run
    results = await worker.call([(payload, topic, meta), ...])

One result a message, in order, whatever happens: a message that takes too long, or ends its worker, gets an error in
its result; what else was in the frame and has no result yet is run again in a new worker.

What one worker is asked and says is in `flowcore.script.conversation`, what a result may hold in
`flowcore.script.results`, when a script is paused in `flowcore.script.breaker`.

    ScriptRefused, SandboxMissing, ZygoteGone   there is no worker to call; see `flowcore.script.errors`

Invariant: a message has one result, and the changes of results given out are in every later worker's `context`.
"""

import asyncio
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from flowcore.script import frames
from flowcore.script.breaker import Breaker
from flowcore.script.channel import WorkerEnded, open_channel
from flowcore.script.conversation import Conversation, SharedContext, Watch
from flowcore.script.errors import ScriptError, ScriptKilled, ScriptPaused, ScriptRefused, from_worker
from flowcore.script.results import NOTHING, Result, merged, read_result
from flowcore.script.stand_in import pack

Item = tuple[Any, ...] | None  # payload, topic, meta, and what else its language takes; None: see `tick`
_TRIES = 3  # workers tried for messages whose worker was lost through no fault of theirs


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
        self._talk: Conversation | None = None  # with the worker that there is
        self._has_begun = False
        self._lock = asyncio.Lock()
        self._next = 1  # number of the next message
        self._begun = NOTHING  # what on_start made in a worker started along the way; goes with the next message
        self.kills = 0

    @property
    def pid(self) -> int | None:
        """The worker's process id, None while there is none."""
        return self._talk.channel.pid if self._talk is not None else None

    @property
    def missing(self) -> list[str]:
        """Layers of the sandbox that this worker runs without."""
        return self._talk.channel.missing if self._talk is not None else []

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
            return NOTHING

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
            talk, self._talk = self._talk, None
            if talk is None or not self._has_begun:
                if talk is not None:
                    talk.channel.kill("stopped")
                return None
            try:
                talk.channel.send(pack([frames.STOP]))
                async with asyncio.timeout(self._kill_s):
                    frame = await talk.next_frame(frames.READY)
                return read_result(frame[1], self._ports)
            except (TimeoutError, WorkerEnded, ValueError):
                return None
            finally:
                talk.channel.kill("stopped")

    def close(self) -> None:
        """End the worker now, without `on_stop`."""
        self._drop()

    # -- a worker's beginning and end

    async def _new_worker(self) -> Conversation:
        self._drop()
        channel = await open_channel(self._socket, self._sandbox, self._memory_mb, self._language)
        talk = self._talk = Conversation(channel, self._shared, self._deadline_s)
        await self._ask_to(talk, [frames.SETUP, self._setup], "compiling it")
        return talk

    async def _begin(self, changes: dict[str, list]) -> Result:
        """Have the script defined, by a new worker if need be.

        Args:
            changes: what this call's results change beyond what `context` gives.
        """
        talk = self._talk
        if talk is None or talk.channel.dead or self._has_begun:
            talk = await self._new_worker()
        context = dict(self._context())
        for key, change in changes.items():
            context[key] = change[0] if change else None
        context = {key: value for key, value in context.items() if value is not None}
        result = await self._ask_to(talk, [frames.BEGIN, context], "its start")
        self._has_begun = True
        return result

    async def _ask_to(self, talk: Conversation, request: list, what: str) -> Result:
        """Send a request that READY or REFUSED answers, within the deadline; after a failure there is no worker."""
        try:
            talk.channel.send(pack(request))
            async with asyncio.timeout(self._kill_s):
                frame = await talk.next_frame(frames.READY, frames.REFUSED)
            if frame[0] == frames.REFUSED:
                raise from_worker(frame[1], kind=ScriptRefused)
            return read_result(frame[1], self._ports)
        except TimeoutError:
            await talk.ask_where()
            late = talk.too_late()
            self._drop()
            raise ScriptRefused(f"{what}: {late}", type=late.type, line=late.line, traceback=late.traceback) from None
        except (WorkerEnded, ValueError, TypeError) as e:
            self._drop()
            raise ScriptRefused(f"{what}: the worker ended ({_fate(e)})", type="ScriptKilled") from None
        except BaseException:
            self._drop()
            raise

    def _drop(self) -> None:
        self._has_begun = False
        if self._talk is not None:
            self._talk.channel.kill("dropped")
            self._talk = None

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
                if self._talk is None or self._talk.channel.dead or not self._has_begun:
                    changes = {
                        key: value for done in results if done is not None for key, value in done.changes.items()
                    }
                    self._begun = merged(self._begun, await self._begin(changes))
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
        talk = self._talk
        assert talk is not None
        channel = talk.channel
        base = self._next
        self._next += len(share)
        watch = Watch(channel, base, len(share), self._kill_s)
        channel.send(_CALL + pack(base) + packed)
        have = 0
        try:
            while have < len(share):
                _, first, some = await talk.next_frame(frames.RESULTS)
                if first != base + have or type(some) is not list or not 0 < len(some) <= len(share) - have:
                    raise ValueError("results of nothing that was asked")
                for raw in some:
                    results[share[have]] = read_result(raw, self._ports)
                    have += 1
        except (ValueError, TypeError) as e:
            channel.kill("broken")
            raise _Lost(share, base, talk, ScriptKilled(f"its worker broke the protocol: {e}")) from None
        except WorkerEnded as e:
            error = talk.too_late() if watch.overdue else ScriptKilled(f"its worker ended: {_fate(e)}")
            innocent = e.status is None and not watch.overdue and not channel.killed
            raise _Lost(share, base, talk, error, innocent=innocent) from None
        finally:
            watch.stop()
        if self._begun is not NOTHING:
            results[share[0]] = merged(self._begun, results[share[0]] or NOTHING)
            self._begun = NOTHING

    def _condemn(self, lost: "_Lost", results: list[Result | None]) -> None:
        """The message that was in work gets the error; the breaker counts."""
        undone = [k for k in lost.share if results[k] is None]
        told = lost.number - lost.base  # the worker's word, so only when it can be
        guilty = lost.share[told] if 0 <= told < len(lost.share) else undone[0]
        if results[guilty] is not None:
            guilty = undone[0]
        results[guilty] = Result(notes=lost.notes, error=lost.error)
        self.kills += 1
        self._breaker.killed(asyncio.get_running_loop().time(), str(lost.error))
        self._drop()


class _Lost(Exception):
    """A worker is gone in the middle of a frame: what was in it, where the worker was, what to say of it."""

    def __init__(
        self, share: list[int], base: int, talk: Conversation, error: ScriptError, *, innocent: bool = False
    ) -> None:
        super().__init__(str(error))
        self.share, self.base, self.error, self.innocent = share, base, error, innocent
        self.number, self.notes = talk.channel.number, talk.last_notes


_CALL = b"\x93" + pack(frames.CALL)  # the head of an array of three


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
