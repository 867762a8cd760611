"""A script in JavaScript, as `core/javascript` runs it: the body of a function node of Node-RED.

The files in `js` make what a function node sees, in the script's own context; this side feeds messages in as JSON and
reads results, which it trusts no more than the client trusts this process. A message that runs past its deadline is
stopped by the engine, and the worker lives on.
"""

import base64
import gc
import json
import os
import re
import resource
import secrets
import signal
import time
from importlib import resources
from typing import Any

from flowcore.script import frames, inside
from flowcore.script.quickjs import Context, Function, JSException, Stopped
from flowcore.script.source import ScriptSyntax, render
from flowcore.script.stand_in import StandIn
from flowcore.script.worker import Results, Worker, plain

_FILES = tuple(
    (resources.files("flowcore.script") / "js" / name).read_text("utf-8")
    for name in ("buffer.js", "packing.js", "util.js", "context.js", "timers.js", "host.js")
)
_FIRST_LINE = 10_000  # the script's text begins there, so that its lines can be told from those of our own files
_STACK_BYTES = 4 << 20
_LARGE = 2**53 - 1
_AFTER_S = 0.2  # for taking back what a message did that was stopped
_KEPT_STAND_INS = 1000  # tensors that the script may still pass on
_NO_MESSAGE = inside.Msg()
_LONG = re.compile(r"\d{16}")
_LONG_NUMBER = re.compile(r"(?<![.\d])\d{16,}(?![\d.eE])")  # a whole number that may be beyond 2^53
_PLACE = re.compile(r"^\s*at (?:(.*?) \()?<input>:(\d+)(?::\d+)?\)?$", re.MULTILINE)
_AWAITS = re.compile(r"\bawait\b")
_PROMISES = re.compile(r"\b(?:await|async|Promise|then|queueMicrotask|promisify)\b")
_FUNCTIONS = (
    "define", "start", "handle", "poll", "tick", "fire", "now", "ticked", "undone", "close", "restore", "revert",
)  # fmt: skip


class JavaScriptWorker(Worker):
    """Runs a script in QuickJS."""

    def __init__(self, page: memoryview, memory_bytes: int) -> None:
        super().__init__(page, memory_bytes)
        soft, _ = resource.getrlimit(resource.RLIMIT_STACK)
        stack = _STACK_BYTES if soft == resource.RLIM_INFINITY else min(_STACK_BYTES, soft // 2)
        # A little less than the process may have: then the script is told, and not the worker ended.
        self._js = Context(memory_bytes - memory_bytes // 8, stack)
        self._mark = f"\x01{secrets.token_hex(6)}"
        self._mark_in_json = self._mark.replace("\x01", "\\u0001")
        self._stand_ins: dict[int, StandIn] = {}
        self._stand_in_number = 0
        self._deadline_s = 5.0
        self._host: dict[str, Function] = {}
        self._parts: list[tuple[int, str, list[str]]] = []  # first line, name and lines of each text of the user's
        self._error: list | None = None  # of the last message
        self._is_marked = False
        self._encode = json.JSONEncoder(
            ensure_ascii=False, check_circular=False, allow_nan=False, separators=(",", ":"), default=self._without_form
        ).encode

    # -- its life

    def prepare(self, setup: dict[str, Any]) -> None:
        self._deadline_s = setup["deadline_s"]
        options = setup["options"]
        js = self._js
        js.deadline = time.monotonic() + self._deadline_s
        host = js.evaluate("({})")
        ask = js.add("ask", self._answer)
        limits = json.dumps({
            "id": setup["id"], "name": setup["name"], "flowId": options.get("flow", ""), "env": setup["env"],
            "outputs": len(setup["outputs"]), "mostOutputs": frames.MAX_OUTPUTS, "mostChars": frames.MAX_REPLY,
            "mostNotes": frames.MAX_LOG_LINES + 1, "mostNoteChars": frames.MAX_LOG_CHARS,
        })  # fmt: skip
        given = {"packing": self._mark, "context": ask, "host": limits}
        names = ("buffer", "packing", "util", "context", "timers", "host")
        for name, text in zip(names, _FILES, strict=True):
            file = js.evaluate(text)
            if file is not None:
                js.run(file, host, *([given[name]] if name in given else []))
        member = js.evaluate("(host, name) => host[name]")
        self._host = {name: js.run(member, host, name) for name in _FUNCTIONS}
        body = self._compiled("the function", setup["script"], "msg, node")
        cleanup = self._compiled("on_stop", options.get("on_stop", ""), "node")
        self._setup = self._compiled("on_start", options.get("on_start", ""), "node")
        uses_promises = any(_PROMISES.search(line) for _, _, lines in self._parts for line in lines)
        js.run(self._host["define"], body, cleanup, uses_promises)
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)  # the client asks where we are: in the engine, we can't tell
        gc.collect()
        gc.freeze()

    def _compiled(self, part: str, source: str, arguments: str) -> Function:
        """A function of the user's text, whose first line is the first of its part."""
        lines = source.splitlines()
        first = self._parts[-1][0] + len(self._parts[-1][2]) + 10 if self._parts else _FIRST_LINE
        self._parts.append((first, part, lines))
        if "\0" in source:
            raise ScriptSyntax("the text has a null character")
        kind = "async function" if _AWAITS.search(source) else "function"
        padding = "\n" * (first - 2)
        try:
            return self._js.evaluate(f"{padding}({kind} ({arguments}) {{\n{source}\n}})")
        except JSException as e:
            text, line = self._syntax_error(str(e))
            raise ScriptSyntax(text if part == "the function" else f"{part}: {text}", line) from None

    def _syntax_error(self, said: str) -> tuple[str, int | None]:
        text, _, stack = said.partition("\n")
        first, _, lines = self._parts[-1]
        found = _PLACE.search(stack)
        line = int(found[2]) - first + 1 if found else None
        if line is not None and not 1 <= line <= len(lines):  # our closing bracket: something is left open
            line, text = max(1, len(lines)), f"{text} (a bracket is not closed, or closed once too often)"
        shown = lines[line - 1].strip()[:200] if line and lines else ""
        return f"{text.removeprefix('SyntaxError: ')}{f': {shown}' if shown else ''}", line

    def begin(self, context: dict[str, Any]) -> bytes:
        self._js.deadline = time.monotonic() + self._deadline_s
        text, is_marked = self._json(context)
        self._js.run(self._host["restore"], text, is_marked)
        packed = self._settled("start", self._setup)
        if self._error is not None:
            raise _Failed(self._error)
        return packed

    def _described(self, error: BaseException) -> list:
        return error.args[0] if isinstance(error, _Failed) else super()._described(error)

    def call(self, base: int, items: list) -> None:
        page, js, turn = self._page, self._js, self._turn
        results = Results(self, base)
        for number, item in enumerate(items, base):
            page[0] = number
            js.deadline = time.monotonic() + self._deadline_s
            turn.begin(_NO_MESSAGE)
            if item is None:
                results.add(self._ticked())
                continue
            payload, topic, meta, trace = item
            try:
                text, is_marked = self._json({**meta, "_msgid": trace, "payload": payload, "topic": topic})
            except (TypeError, ValueError, RecursionError) as e:
                results.add(self._failed([type(e).__name__, f"this message can't be given to a script: {e}", None, ""]))
            else:
                results.add(self._settled("handle", text, is_marked))
        results.flush()

    def stop(self) -> bytes:
        self._js.deadline = time.monotonic() + self._deadline_s
        self._turn.begin(_NO_MESSAGE)
        return self._settled("close")

    # -- one message

    def _settled(self, name: str, *arguments: Any) -> bytes:
        """Call a function of the host, wait for what it awaits; the result, packed."""
        self._error = None
        try:
            text = self._js.run(self._host[name], *arguments)
            return self._made(self._awaited() if text is None else text)
        except Stopped as e:
            return self._stopped(str(e))
        except Exception as e:  # it has not come to a result: out of memory, or a script that has spoilt the host
            return self._failed(self._about(*_parted(str(e))))

    def _awaited(self) -> str:
        """Run promises, and timers as they fall due, until there is a result. What is awaited holds up the others."""
        js, host = self._js, self._host
        while True:
            js.run_jobs()
            said = js.run(host["poll"])
            if type(said) is str:
                return said
            if said is None:
                error = ["Error", "it waits for a promise that nothing is left to settle", ""]
                js.run(host["undone"])
                return json.dumps({"e": error})
            if time.monotonic() + said / 1000 > js.deadline:
                raise Stopped("")
            time.sleep(said / 1000)
            self._fire(js.run(host["now"]))

    def _fire(self, until: float) -> None:
        fire = self._host["fire"]
        while self._js.run(fire, until):
            self._js.run_jobs()

    def _ticked(self) -> bytes:
        """Run the timers that are due."""
        try:
            self._fire(self._js.run(self._host["tick"]))
        except Stopped as e:
            return self._stopped(str(e))
        return self._settled("ticked")

    def _stopped(self, stack: str) -> bytes:
        """The result of what ran past its deadline."""
        self._js.deadline = time.monotonic() + _AFTER_S
        if not self._js.drop_jobs():
            os._exit(71)  # promises without end would stop every message to come
        described = self._about("ScriptTimeout", f"it took longer than {self._deadline_s:g} s", stack)
        return self._failed(described)

    def _failed(self, described: list) -> bytes:
        """The result of a message that came to none: its changes are undone, what it has said stays."""
        try:
            made = json.loads(self._js.run(self._host["undone"]))
        except Exception as e:  # as above
            made = {}
            described[1] += f" ({str(e).partition(chr(10))[0]})"
        self._error = described
        if "out of memory" in described[1]:
            self._js.collect()
        self._turn.outputs, self._turn.changes = [], {}
        self._say(made.get("n", ()))
        return self._packed(described, _seconds(made.get("d")))

    def _made(self, text: str) -> bytes:
        """A result of the host, as text, made into one for the client."""
        turn = self._turn
        try:
            made = self._python(text)
            if type(made) is not dict:
                raise TypeError("the script has spoilt what it needs itself")
            if "e" in made:
                return self._failed_by_itself(made)
            for port, msg in made["o"]:
                if type(msg) is not dict:
                    raise TypeError(f"a message is an object, this became {type(msg).__name__}")
                payload, topic = msg.pop("payload", None), msg.pop("topic", "")
                msg.pop("_msgid", None)
                self._add(port, payload, topic, msg)
            if len(made) == 1:
                return plain(turn.outputs)
            turn.changes = made.get("c", {})
            self._say(made.get("n", ()))
            return self._packed(None, _seconds(made.get("d")))
        except (TypeError, ValueError, LookupError, RecursionError) as e:
            self._js.run(self._host["revert"])
            return self._failed([type(e).__name__, str(e), None, ""])

    def _failed_by_itself(self, made: dict) -> bytes:
        name, message, stack = made["e"]
        self._error = described = self._about(str(name), str(message), str(stack))
        if described[1] == "null" and self._js.is_full():  # there was none left to make an error of
            described = self._error = self._about("InternalError", "out of memory", str(stack))
        if "out of memory" in described[1]:
            described[1] += f": the script may use {self._memory_bytes >> 20} MB"
            self._js.collect()
        self._say(made.get("n", ()))
        return self._packed(described, _seconds(made.get("d")))

    def _add(self, port: int, payload: Any, topic: Any, meta: dict) -> None:
        topic = topic if type(topic) is str else "" if topic is None else json.dumps(topic)
        try:
            self._turn.add(port, payload, topic, meta)
        except UnicodeEncodeError:  # half a character: what JavaScript cuts a text to
            self._turn.add(port, *_well_formed([payload, topic, meta]))

    def _say(self, notes: Any) -> None:
        for kind, text, *extra in notes:
            about = extra[0] if extra else None
            if kind == "status":
                about = inside.FILLS.get(str(about), "ok" if text else "off")
            elif type(about) is dict:
                about.pop("_msgid", None)
                topic = about.pop("topic", "")
                about = [about.pop("payload", None), topic if type(topic) is str else json.dumps(topic), about]
            self._turn.note(kind, text, about)

    # -- what is said of an error

    def _about(self, name: str, message: str, stack: str) -> list:
        """[type, text, line, traceback], with the lines of the user's texts alone."""
        found = []
        for function, number in _PLACE.findall(stack):
            for first, part, lines in reversed(self._parts):
                if int(number) >= first:
                    at = int(number) - first + 1
                    named = function if function not in ("", "<anonymous>", "<eval>") else ""
                    shown = lines[at - 1].strip()[:200] if at <= len(lines) else ""
                    found.append((at, named or ("" if part == "the function" else part), shown))
                    break
        found.reverse()
        line = found[-1][0] if found else None
        last = message if name == "ScriptTimeout" else f"{name}: {message}"
        return [name[:100], message[:2000], line, render(found, last)]

    # -- values, there and back

    def _json(self, value: Any) -> tuple[str, bool]:
        """A value as the host reads it, and whether there are marks in it (`js/packing.js`).

        Raises:
            TypeError, ValueError: something in it has no form in JavaScript.
        """
        self._is_marked = False
        try:
            text = self._encode(value)
            if not _has_long_number(text):
                return text, self._is_marked
        except ValueError:  # NaN
            pass
        return self._encode(self._with_marks(value)), True

    def _without_form(self, value: Any) -> str:
        self._is_marked = True
        if isinstance(value, bytes | bytearray):
            return f"{self._mark}b{base64.b64encode(value).decode()}"
        if isinstance(value, StandIn):
            self._stand_in_number += 1
            if len(self._stand_ins) >= _KEPT_STAND_INS:
                del self._stand_ins[next(iter(self._stand_ins))]
            self._stand_ins[self._stand_in_number] = value
            about = {"number": self._stand_in_number, "shape": value.shape, "dtype": value.dtype}
            return f"{self._mark}t{json.dumps(about | {'device': value.device, 'nbytes': value.nbytes})}"
        raise TypeError(f"{type(value).__name__} has no form in JavaScript")

    def _with_marks(self, value: Any) -> Any:
        kind = type(value)
        if kind is dict:
            return {key: self._with_marks(each) for key, each in value.items()}
        if kind is list:
            return [self._with_marks(each) for each in value]
        if kind is int and not -_LARGE <= value <= _LARGE:
            return f"{self._mark}i{value}"
        if kind is float and value - value != 0:
            return f"{self._mark}f{'NaN' if value != value else 'Infinity' if value > 0 else '-Infinity'}"
        return value

    def _python(self, text: str) -> Any:
        """What the host has written.

        Raises:
            ValueError: a number too large to travel, a tensor of another message.
        """
        made, _ = (_DECODE_CAREFULLY if _has_long_number(text) else _DECODE)(text)
        return self._without_marks(made) if self._mark_in_json in text else made

    def _without_marks(self, value: Any) -> Any:
        kind = type(value)
        if kind is dict:
            return {key: self._without_marks(each) for key, each in value.items()}
        if kind is list:
            return [self._without_marks(each) for each in value]
        if kind is not str or not value.startswith(self._mark):
            return value
        mark, rest = value[len(self._mark) : len(self._mark) + 1], value[len(self._mark) + 1 :]
        if mark == "b":
            return base64.b64decode(rest)
        if mark == "i":
            if len(rest) > 21:
                raise ValueError(f"a whole number of {len(rest)} digits does not fit 64 bits")
            return int(rest)
        if mark == "f":
            return float(rest)
        found = self._stand_ins.get(int(rest)) if mark == "t" else None
        if found is None:
            raise ValueError("the script sent a tensor that did not come with its message")
        return found

    def _answer(self, scope: str, op: str, key: str, text: str) -> str:
        """The host's question for flow or global context; a letter says what the answer is. Never raises."""
        try:
            found = self._ask(scope, op, key, self._python(text))
            if found is None:
                return "n"
            text, is_marked = self._json(found)
            return f"{'m' if is_marked else 'v'}{text}"
        except BaseException as e:  # what is raised here would be lost in the engine
            return f"e{e}"


class _Failed(Exception):
    """on_start has failed; has the description."""


def _parted(said: str) -> tuple[str, str, str]:
    """`Name: message`, and the stack below, as the engine says it."""
    first, _, stack = said.partition("\n")
    name, colon, message = first.partition(": ")
    return (name, message, stack) if colon else ("Error", first, stack)


def _seconds(due_ms: Any) -> float | None:
    return due_ms / 1000 if isinstance(due_ms, int | float) else None


def _has_long_number(text: str) -> bool:
    """True when there may be a whole number beyond 2^53 in some JSON. The first look is the quick one."""
    return _LONG.search(text) is not None and _LONG_NUMBER.search(text) is not None


def _whole(digits: str) -> int | float:
    """A whole number that JavaScript wrote: beyond 2^53 it is a float, as it was there."""
    number = int(digits)
    return number if -_LARGE <= number <= _LARGE else float(digits)


def _well_formed(value: Any) -> Any:
    """A value whose texts can be written as UTF-8."""
    if isinstance(value, dict):
        return {_well_formed(key): _well_formed(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_well_formed(each) for each in value]
    return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace") if isinstance(value, str) else value


_DECODE, _DECODE_CAREFULLY = json.JSONDecoder().raw_decode, json.JSONDecoder(parse_int=_whole).raw_decode
