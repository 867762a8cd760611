"""The worker: one forked process that runs one script, after it has locked itself in for good.

Descriptors: 0 to 2 are /dev/null, 3 is the socket to the client. What it knows of deadlines is a page shared with the
client, where it writes the number of the message in work; the client does the killing.
"""

import builtins
import gc
import mmap
import os
import signal
import sys
import time
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, NoReturn

from flowcore.bus.envelope import join, unpack
from flowcore.script import frames, inside, lockdown, stand_in
from flowcore.script.frames import HEAD
from flowcore.script.source import FILE, ScriptSyntax, compile_script, describe, place, render
from flowcore.script.stand_in import pack

SOCKET = 3
_NIL = pack(None)
_HEAD_ONE, _TAIL = b"\x94\x91", pack({}) + pack([]) + pack(None)  # [[output], {}, [], nil] around one packed output
_RESERVE = 2 << 20
_FLUSH_S = 0.02  # what is done is sent at least this often
_HIDDEN = ("ctypes", "_ctypes", "mmap", "socket", "_socket", "selectors", "resource", "platform")


def become_worker(connection: int, page: int, parent: int, memory_bytes: int, sandbox: str) -> NoReturn:
    """Turn this freshly forked process into a worker; never returns.

    Args:
        connection, page: descriptors of the socket to the client and of the shared page.
        parent: process id of the zygote.
        memory_bytes, sandbox: see `lockdown.lock`.
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
        try:
            missing = lockdown.lock(memory_bytes, parent, sandbox)
        except lockdown.LockFailed as e:
            _send(pack([frames.REFUSED, ["SandboxMissing", f"the sandbox could not be closed: {e}", None, ""]]))
        else:
            for name in _HIDDEN:
                sys.modules.pop(name, None)
            status = Worker(numbers, missing, memory_bytes).run()
    except BaseException:
        status = 70
    finally:
        os._exit(status)


class Worker:
    """A script and the loop that feeds it."""

    def __init__(self, page: memoryview, missing: list[str], memory_bytes: int) -> None:
        self._page = page
        self._memory_bytes = memory_bytes
        self._missing = missing
        self._buffer = b""
        self._lines: list[str] = []
        self._sending = False
        self._running = False
        self._turn = inside.Turn(["out"])
        self._printed = _LineWriter(self._turn)
        self._reserve: bytes | bytearray = bytearray(
            _RESERVE
        )  # given back when memory ran out, so that there is some to say so

    def run(self) -> int:
        """Serve until the client hangs up; the exit status."""
        try:
            if (setup := self._receive()) is None:
                return 0
            code, names = self._compile(setup[1])
            self._send([frames.READY, None])
            if (begin := self._receive()) is None or begin[0] != frames.BEGIN:
                return 0
            context = inside.NodeContext(self._turn, begin[1])
            names["context"] = context
            first = self._define(code, names)
        except BaseException as e:
            line = e.line if isinstance(e, ScriptSyntax) else None
            error = ["SyntaxError", str(e), line, ""] if isinstance(e, ScriptSyntax) else describe(e, self._lines)
            self._printed.flush()
            self._send([frames.REFUSED, error, self._turn.all_notes()])
            return 0
        self._send_packed(join([pack(frames.READY), first]))
        on_message, on_stop = names["on_message"], names.get("on_stop") or (lambda: None)
        while (request := self._receive()) is not None:
            if request[0] == frames.CALL:
                self._call(on_message, context, request[1], request[2])
            elif request[0] == frames.STOP:
                self._send_packed(join([pack(frames.READY), self._stop(on_stop, context)]))
                return 0
        return 0

    def _compile(self, setup: dict[str, Any]) -> tuple[CodeType, dict[str, Any]]:
        """The script's code, and the names it sees (without its context)."""
        source = setup["script"]
        self._lines = source.splitlines()
        self._turn = turn = inside.Turn(setup["outputs"])
        self._printed = _LineWriter(turn)
        sys.stdout = sys.stderr = self._printed
        sys.meta_path.insert(0, _NotHere())
        signal.signal(signal.SIGUSR1, self._say_where)
        names = {
            "__name__": "script",
            "__builtins__": builtins,
            "node": inside.NodeInScript(turn, setup["id"], setup["name"]),
            "flow": inside.SharedContext(self._ask, "flow"),
            "global_": inside.SharedContext(self._ask, "global"),
            "env": setup["env"],
            "Message": inside.Msg,
            "Outputs": inside.Outputs,
            **{name: sys.modules[name] for name in AT_HAND},
        }
        code = compile_script(source)
        gc.collect()
        gc.freeze()
        return code, names

    def _define(self, code: CodeType, names: dict[str, Any]) -> bytes:
        """Run the module's code and `on_start`; what both made, packed."""
        self._running = True
        exec(code, names)
        started = names.get("on_start")
        if started is not None:
            self._turn.take(started())
        self._printed.flush()
        self._running = False
        return self._packed(None)

    def _stop(self, on_stop: Callable[[], Any], context: inside.NodeContext) -> bytes:
        self._turn.begin(inside.Msg())
        self._running = True
        try:
            self._turn.take(on_stop())
            self._printed.flush()
            return self._packed(None)
        except BaseException as e:
            return self._failed(e, context)
        finally:
            self._running = False

    def _call(self, on_message: Callable, context: inside.NodeContext, base: int, items: list) -> None:
        page, turn = self._page, self._turn
        begin, take, packed, monotonic, message = turn.begin, turn.take, self._packed, time.monotonic, inside.Msg
        printed = self._printed
        done: list[bytes] = []
        sent = size = 0
        flush_at = monotonic() + _FLUSH_S
        self._running = True
        for number, (payload, topic, meta) in enumerate(items, base):
            page[0] = number
            msg = message(payload, topic, meta)
            begin(msg)
            try:
                take(on_message(msg))
                if turn.changes or turn.notes or printed.partial:
                    self._printed.flush()
                    result = packed(None)
                else:
                    result = _plain(turn.outputs)
            except BaseException as e:
                result = self._failed(e, context)
            done.append(result)
            size += len(result)
            if size > frames.FLUSH_BYTES or monotonic() > flush_at:
                self._results(base + sent, done)
                sent += len(done)
                done, size = [], 0
                flush_at = monotonic() + _FLUSH_S
        self._running = False
        if done:
            self._results(base + sent, done)

    def _results(self, base: int, done: list[bytes]) -> None:
        self._send_packed(join([pack(frames.RESULTS), pack(base), join(done)]))

    def _failed(self, error: BaseException, context: inside.NodeContext) -> bytes:
        """The result of a message whose handler raised: no outputs, no changes, but what it printed."""
        self._reserve = b""
        context.undo()
        self._turn.outputs = []
        described = describe(error, self._lines)
        error.__traceback__ = None  # its frames hold what the handler allocated
        if isinstance(error, MemoryError):
            gc.collect()
            described[1] = described[1] or f"the script may use {self._memory_bytes >> 20} MB"
        self._printed.flush()
        packed = self._packed(described)
        self._reserve = bytearray(_RESERVE)
        return packed

    def _packed(self, error: list | None) -> bytes:
        """[outputs, changes, notes, error] of the turn, packed.

        Raises:
            TypeError, ValueError: something put into context has no msgpack form, or is too large.
        """
        turn = self._turn
        changes = pack(turn.changes)
        if len(changes) > frames.MAX_RESULT:
            raise ValueError(f"{len(changes):,} bytes put into context by one message; at most {frames.MAX_RESULT:,}")
        return join([join(turn.outputs), changes, pack(turn.all_notes()), pack(error)])

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

    def _say_where(self, number: int, frame: FrameType | None) -> None:
        """SIGUSR1: the deadline has passed. Tell where the script is and what it printed; the kill follows."""
        if self._sending or not self._running:
            return
        found = []
        while frame is not None:
            if frame.f_code.co_filename == FILE:
                found.append(place(frame.f_lineno, frame.f_code.co_name, self._lines))
            frame = frame.f_back
        found.reverse()
        line = found[-1][0] if found else None
        self._send([frames.WHERE, line, render(found, "")[:4000], self._turn.all_notes()])


def _plain(outputs: list[bytes]) -> bytes:
    """The common result, without changes, notes or error."""
    if len(outputs) == 1:
        return _HEAD_ONE + outputs[0] + _TAIL
    return b"\x94" + join(outputs) + _TAIL if outputs else _NIL


def _send(packed: bytes) -> None:
    data = HEAD.pack(len(packed)) + packed
    written = os.write(SOCKET, data)
    while written < len(data):
        written += os.write(SOCKET, memoryview(data)[written:])


class _LineWriter:
    """`sys.stdout` of a script: whole lines become notes of the message in work."""

    encoding = "utf-8"

    def __init__(self, turn: inside.Turn) -> None:
        self._turn = turn
        self.partial = ""

    def write(self, text: str) -> int:
        *lines, self.partial = (self.partial + text[: frames.MAX_LOG_CHARS]).split("\n")
        for line in lines:
            self._turn.note("info", line)
        self.partial = self.partial[: frames.MAX_LOG_CHARS]
        return len(text)

    def flush(self) -> None:
        if self.partial:
            line, self.partial = self.partial, ""
            self._turn.note("info", line)

    def isatty(self) -> bool:
        return False


class _NotHere:
    """The last word on imports: what the zygote did not load can't be loaded, there are no files."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> NoReturn:
        raise ModuleNotFoundError(f"'{name}' can't be imported in a function script; the modules there are: "
                                  f"{', '.join(sorted(MODULES))}", name=name)  # fmt: skip


# What a script may import; the names of the first line are there without an import.
AT_HAND = ("json", "math", "re", "datetime", "time", "random", "statistics")
MODULES = (
    *AT_HAND,
    "array", "base64", "binascii", "bisect", "calendar", "cmath", "collections", "colorsys", "contextlib", "copy",
    "csv", "dataclasses", "decimal", "difflib", "enum", "fractions", "functools", "hashlib", "heapq", "hmac", "html",
    "io", "ipaddress", "itertools", "numbers", "operator", "secrets", "string", "struct", "textwrap", "traceback",
    "types", "typing", "unicodedata", "urllib.parse", "uuid", "zlib", "zoneinfo",
)  # fmt: skip
