"""A script in Python, as `core/function` runs it: the body of a function of `msg`, or handlers of its own."""

import builtins
import gc
import signal
import sys
from types import CodeType, FrameType
from typing import Any, NoReturn

from flowcore.script import frames, inside, languages
from flowcore.script.source import FILE, compile_script, place, render
from flowcore.script.worker import Results, Worker, plain

_RESERVE = 2 << 20


class PythonWorker(Worker):
    """Runs a Python script."""

    has_only_python = True  # what was imported for other languages is not there

    def __init__(self, page: memoryview, memory_bytes: int) -> None:
        super().__init__(page, memory_bytes)
        self._running = False
        self._printed = _LineWriter(self._turn)
        self._context = inside.NodeContext(self._turn, {})
        self._names: dict[str, Any] = {}
        # Given back when memory ran out, so that there is some to say so.
        self._reserve: bytes | bytearray = bytearray(_RESERVE)

    def prepare(self, setup: dict[str, Any]) -> None:
        if self.has_only_python:
            languages.forget_others()
        turn = self._turn
        self._printed = _LineWriter(turn)
        sys.stdout = sys.stderr = self._printed
        sys.meta_path.insert(0, _NotHere())
        signal.signal(signal.SIGUSR1, self._say_where)
        self._names = {
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
        self._code = self._compiled(setup)
        gc.collect()
        gc.freeze()

    def _compiled(self, setup: dict[str, Any]) -> CodeType:
        return compile_script(setup["script"])

    def begin(self, context: dict[str, Any]) -> bytes:
        names = self._names
        names["context"] = self._context = inside.NodeContext(self._turn, context)
        self._running = True
        try:
            exec(self._code, names)
            started = names.get("on_start")
            if started is not None:
                self._turn.take(started())
        finally:
            self._printed.flush()
        self._running = False
        return self._packed(None)

    def call(self, base: int, items: list) -> None:
        page, turn, context = self._page, self._turn, self._context
        begin, take, packed, message = turn.begin, turn.take, self._packed, inside.Msg
        on_message = self._names["on_message"]
        printed = self._printed
        results = Results(self, base)
        self._running = True
        for number, (payload, topic, meta) in enumerate(items, base):
            page[0] = number
            msg = message(payload, topic, meta)
            begin(msg)
            try:
                take(on_message(msg))
                if turn.changes or turn.notes or printed.partial:
                    printed.flush()
                    result = packed(None)
                else:
                    result = plain(turn.outputs)
            except BaseException as e:
                result = self._failed(e, context)
            results.add(result)
        self._running = False
        results.flush()

    def stop(self) -> bytes:
        self._turn.begin(inside.Msg())
        self._running = True
        try:
            on_stop = self._names.get("on_stop")
            if on_stop is not None:
                self._turn.take(on_stop())
            self._printed.flush()
            return self._packed(None)
        except BaseException as e:
            return self._failed(e, self._context)
        finally:
            self._running = False

    def _failed(self, error: BaseException, context: inside.NodeContext) -> bytes:
        """The result of a message whose handler raised: no outputs, no changes, but what it printed."""
        self._reserve = b""
        context.undo()
        self._turn.outputs = []
        described = self._described(error)
        error.__traceback__ = None  # its frames hold what the handler allocated
        if isinstance(error, MemoryError):
            gc.collect()
            described[1] = described[1] or f"the script may use {self._memory_bytes >> 20} MB"
        self._printed.flush()
        packed = self._packed(described)
        self._reserve = bytearray(_RESERVE)
        return packed

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
