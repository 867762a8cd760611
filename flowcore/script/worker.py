"""The worker: one forked process that runs one script, after it has locked itself in for good.

Here are the process, its socket and the order of its life; what a script is, its language says (`languages`), in a
subclass of `Worker`. Descriptors: 0 to 2 are /dev/null, 3 is the socket to the client. What it knows of deadlines is a
page shared with the client, where it writes the number of the message in work; the client does the killing.
"""

import mmap
import os
import signal
import sys
import time
from typing import Any, NoReturn

from flowcore.bus.envelope import join, unpack
from flowcore.script import frames, inside, lockdown, stand_in
from flowcore.script.frames import HEAD
from flowcore.script.source import ScriptSyntax, describe
from flowcore.script.stand_in import pack

SOCKET = 3
_NIL = pack(None)
_HEAD_ONE, _TAIL = b"\x94\x91", pack({}) + pack([]) + pack(None)  # [[output], {}, [], nil] around one packed output
_FLUSH_S = 0.02  # what is done is sent at least this often
_HIDDEN = ("ctypes", "_ctypes", "mmap", "socket", "_socket", "selectors", "resource", "platform")


def become_worker(
    connection: int, page: int, parent: int, memory_bytes: int, sandbox: str, language: "type[Worker]"
) -> NoReturn:
    """Turn this freshly forked process into a worker; never returns.

    Args:
        connection, page: descriptors of the socket to the client and of the shared page.
        parent: process id of the zygote.
        memory_bytes, sandbox: see `lockdown.lock`.
        language: the worker's class.
    """
    status = 1
    try:
        os.dup2(connection, 100)  # out of the way of 0 to 3
        os.dup2(page, 101)
        devnull = os.open("/dev/null", os.O_RDWR)
        for standard in (0, 1, 2):
            os.dup2(devnull, standard)
        os.dup2(100, SOCKET)
        numbers = memoryview(mmap.mmap(101, frames.PAGE_BYTES)).cast("Q")
        os.closerange(SOCKET + 1, 1 << 16)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        worker = language(numbers, memory_bytes)
        try:
            lockdown.lock(memory_bytes, parent, sandbox)
        except lockdown.LockFailed as e:
            _send(pack([frames.REFUSED, ["SandboxMissing", f"the sandbox could not be closed: {e}", None, ""]]))
        else:
            for name in _HIDDEN:
                sys.modules.pop(name, None)
            status = worker.run()
    except BaseException:
        status = 70
    finally:
        os._exit(status)


class Worker:
    """A script and the loop that feeds it. A language fills in `prepare`, `begin`, `call` and `stop`.

    It is made before the process is locked in, and everything else is called after.
    """

    def __init__(self, page: memoryview, memory_bytes: int) -> None:
        self._page = page
        self._memory_bytes = memory_bytes
        self._buffer = b""
        self._lines: list[str] = []
        self._sending = False
        self._turn = inside.Turn(["out"])

    # -- what a language fills in

    def prepare(self, setup: dict[str, Any]) -> None:
        """Compile the script; nothing of it runs.

        Raises:
            ScriptSyntax: with the line.
        """
        raise NotImplementedError

    def begin(self, context: dict[str, Any]) -> bytes:
        """Define the script with the node's state, run what runs first; what that made, packed."""
        raise NotImplementedError

    def call(self, base: int, items: list) -> None:
        """Run messages, the first of which is number `base`; send a result for each."""
        raise NotImplementedError

    def stop(self) -> bytes:
        """Run what runs last; what that made, packed."""
        return _NIL

    # -- the order of its life

    def run(self) -> int:
        """Serve until the client hangs up; the exit status."""
        try:
            if (setup := self._receive()) is None:
                return 0
            self._lines = setup[1]["script"].splitlines()
            self._turn = inside.Turn(setup[1]["outputs"])
            self.prepare(setup[1])
            self._send([frames.READY, None])
            if (begin := self._receive()) is None or begin[0] != frames.BEGIN:
                return 0
            first = self.begin(begin[1])
        except BaseException as e:
            self._send([frames.REFUSED, self._described(e), self._turn.all_notes()])
            return 0
        self._send_packed(join([pack(frames.READY), first]))
        while (request := self._receive()) is not None:
            if request[0] == frames.CALL:
                self.call(request[1], request[2])
            elif request[0] == frames.STOP:
                self._send_packed(join([pack(frames.READY), self.stop()]))
                return 0
        return 0

    def _described(self, error: BaseException) -> list:
        """[type, text, line, traceback] of what went wrong."""
        if isinstance(error, ScriptSyntax):
            return ["SyntaxError", str(error), error.line, ""]
        return describe(error, self._lines)

    def _packed(self, error: list | None, *more: Any) -> bytes:
        """[outputs, changes, notes, error, *more] of the turn, packed.

        Raises:
            TypeError, ValueError: something put into context has no msgpack form, or is too large.
        """
        turn = self._turn
        changes = pack(turn.changes)
        if len(changes) > frames.MAX_RESULT:
            raise ValueError(f"{len(changes):,} bytes put into context by one message; at most {frames.MAX_RESULT:,}")
        return join([join(turn.outputs), changes, pack(turn.all_notes()), pack(error), *map(pack, more)])

    # -- the socket

    def _receive(self) -> list | None:
        """The next frame, or None when the client has hung up."""
        data = self._buffer
        while len(data) < 4 or len(data) < 4 + HEAD.unpack_from(data)[0]:
            more = os.read(SOCKET, 262_144)
            if not more:
                return None
            if data and len(data) >= 4 and HEAD.unpack_from(data)[0] > 524_288:
                return self._receive_large(data + more)
            data = data + more if data else more
        end = 4 + HEAD.unpack_from(data)[0]
        self._buffer = data[end:]
        return unpack(data[4:end], limit=frames.MAX_REQUEST, ext_hook=stand_in.decode)

    def _receive_large(self, data: bytes) -> list | None:
        end = 4 + HEAD.unpack_from(data)[0]
        parts, have = [data], len(data)
        while have < end:
            more = os.read(SOCKET, 1 << 20)
            if not more:
                return None
            parts.append(more)
            have += len(more)
        whole = b"".join(parts)
        self._buffer = whole[end:]
        return unpack(whole[4:end], limit=frames.MAX_REQUEST, ext_hook=stand_in.decode)

    def _send(self, frame: list) -> None:
        self._send_packed(pack(frame))

    def _send_packed(self, packed: bytes) -> None:
        self._sending = True
        _send(packed)
        self._sending = False

    def _ask(self, scope: str, op: str, key: str, value: Any) -> Any:
        """A question to the node (flow and global context); waits for the answer."""
        packed = pack([frames.REQUEST, scope, op, key, value])
        if len(packed) > frames.MAX_OUTPUT:
            raise ValueError(f"{len(packed):,} bytes for {scope} context; at most {frames.MAX_OUTPUT:,}")
        self._send_packed(packed)
        answer = self._receive()
        if answer is None:
            os._exit(0)
        if answer[1] is not None:
            raise RuntimeError(f"{scope}.{op}({key!r}): {answer[1]}")
        return answer[2]


class Results:
    """What is done of a frame of messages: sent when it is much, or when some time has passed."""

    def __init__(self, worker: Worker, base: int) -> None:
        self._worker, self._base = worker, base
        self._done: list[bytes] = []
        self._size = 0
        self._flush_at = time.monotonic() + _FLUSH_S

    def add(self, result: bytes) -> None:
        """One more result, packed."""
        self._done.append(result)
        self._size += len(result)
        if self._size > frames.FLUSH_BYTES or time.monotonic() > self._flush_at:
            self.flush()

    def flush(self) -> None:
        """Send what has not been sent."""
        if self._done:
            self._worker._send_packed(join([pack(frames.RESULTS), pack(self._base), join(self._done)]))
            self._base += len(self._done)
            self._done, self._size = [], 0
            self._flush_at = time.monotonic() + _FLUSH_S


def plain(outputs: list[bytes]) -> bytes:
    """The common result, without changes, notes or error, around packed outputs."""
    if len(outputs) == 1:
        return _HEAD_ONE + outputs[0] + _TAIL
    return b"\x94" + join(outputs) + _TAIL if outputs else _NIL


def _send(packed: bytes) -> None:
    data = HEAD.pack(len(packed)) + packed
    written = os.write(SOCKET, data)
    while written < len(data):
        written += os.write(SOCKET, memoryview(data)[written:])
