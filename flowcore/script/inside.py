"""What a script sees: `msg`, `node`, `context`, `flow`, `global_`, `env`, and how what it returns is read.

Runs only inside the worker. Nothing here guards anything (the kernel does); it is made to be quick and to feel like a
function node.
"""

from collections.abc import Callable, Iterator
from types import GeneratorType
from typing import Any

from flowcore.script import frames
from flowcore.script.stand_in import pack

_MESSAGE_KEYS = frozenset(("payload", "topic", "meta"))
FILLS = {"red": "error", "yellow": "warn", "green": "ok", "blue": "busy", "grey": "off", "gray": "off"}


class Msg:
    """A message: `payload`, `topic`, `meta`. Any other attribute is an entry of `meta`: `msg.n` is `msg.meta["n"]`."""

    def __init__(self, payload: Any = None, topic: str = "", meta: dict | None = None) -> None:
        self.payload = payload
        self.topic = topic
        self.meta = {} if meta is None else meta

    def __getattr__(self, name: str) -> Any:
        try:
            return self.__dict__["meta"][name]
        except (KeyError, TypeError):
            raise AttributeError(f"msg has no '{name}' (it has payload, topic, meta, and what is in meta)") from None

    def __getitem__(self, name: str) -> Any:
        try:
            return getattr(self, name)
        except AttributeError:
            raise KeyError(name) from None

    def __setitem__(self, name: str, value: Any) -> None:
        setattr(self, name, value)

    def __contains__(self, name: str) -> bool:
        return name in self.__dict__ or name in self.meta

    def get(self, name: str, default: Any = None) -> Any:
        """`msg[name]`, or `default` where there is none."""
        return getattr(self, name, default)

    def copy(self) -> "Msg":
        """Another message with the same payload and topic, and a copy of meta."""
        copied = Msg(self.payload, self.topic, dict(self.meta))
        copied.__dict__.update((k, v) for k, v in self.__dict__.items() if k not in _MESSAGE_KEYS)
        return copied

    def derive(self, payload: Any, *, topic: str | None = None, meta: dict | None = None) -> "Msg":
        """A copy with another payload (and topic, and meta)."""
        derived = self.copy()
        derived.payload = payload
        if topic is not None:
            derived.topic = topic
        if meta is not None:
            derived.meta = meta
        return derived

    def __repr__(self) -> str:
        return f"Msg({self.payload!r}, topic={self.topic!r}, meta={self.meta!r})"


class Outputs(dict):
    """What goes to which output, by name: `return Outputs(alarm=msg, normal=None)`."""


class Turn:
    """What one message makes: outputs (packed when sent: the script may change them afterwards), changes, notes."""

    def __init__(self, ports: list[str]) -> None:
        self.ports = {name: k for k, name in enumerate(ports)}
        self.several = len(ports) != 1
        self.current = Msg()
        self.outputs: list[bytes] = []
        self.bytes = 0
        self.changes: dict[str, list] = {}
        self.undo: dict[str, list] = {}
        self.notes: list[list] = []
        self.note_chars = 0
        self.notes_dropped = 0

    def begin(self, msg: Msg) -> None:
        """A new message: forget what the last one made."""
        self.current = msg
        if self.outputs:
            self.outputs = []
            self.bytes = 0
        if self.changes:
            self.changes = {}
            self.undo = {}
        if self.notes:
            self.notes = []
            self.note_chars = self.notes_dropped = 0

    def take(self, returned: Any) -> None:
        """What a handler returned, yielded or gave to `node.send`."""
        if returned is None:
            return
        kind = type(returned)
        if kind is Msg:
            self.put(0, returned)
        elif kind is GeneratorType:
            for each in returned:
                self.take(each)
        elif kind is Outputs:
            for name, value in returned.items():
                self.put_all(self.index(name), value)
        elif self.several and (kind is list or kind is tuple):
            if len(returned) > len(self.ports):
                raise IndexError(f"{len(returned)} values for {len(self.ports)} outputs")
            for k, value in enumerate(returned):
                self.put_all(k, value)
        else:
            self.put(0, returned)

    def put_all(self, port: int, value: Any) -> None:
        """One value, or a list of several, for an output."""
        if type(value) is list:
            for each in value:
                if each is not None:
                    self.put(port, each)
        elif value is not None:
            self.put(port, value)

    def put(self, port: int, value: Any) -> None:
        """One message or value for an output.

        Raises:
            TypeError, ValueError: what has no msgpack form, or is too large.
        """
        if port >= len(self.ports):
            raise LookupError("this node has no output")
        if type(value) is Msg:
            payload, topic, meta = value.payload, value.topic, value.meta
            own = value.__dict__
            if len(own) > 3:  # msg.count = 1 is an entry of meta
                meta = {**meta, **{name: own[name] for name in own if name not in _MESSAGE_KEYS}}
        elif type(value) is dict and "payload" in value and value.keys() <= _MESSAGE_KEYS:
            payload = value["payload"]
            topic = value.get("topic", self.current.topic)
            meta = value.get("meta", self.current.meta)
        else:
            payload, topic, meta = value, self.current.topic, self.current.meta
        if type(topic) is not str:
            topic = "" if topic is None else str(topic)
        if type(meta) is not dict:
            raise TypeError(f"msg.meta must be a dict, is {type(meta).__name__}")
        self.add(port, payload, topic, meta)

    def add(self, port: int, payload: Any, topic: str, meta: dict) -> None:
        """One message for an output, in its parts. Raises as `put`."""
        packed = pack((port, payload, topic, meta))
        size = len(packed)
        if size > frames.MAX_OUTPUT:
            raise ValueError(f"a message of {size:,} bytes; at most {frames.MAX_OUTPUT:,} can be sent")
        self.bytes += size
        if self.bytes > frames.MAX_RESULT or len(self.outputs) >= frames.MAX_OUTPUTS:
            raise ValueError(
                f"one message made more than {frames.MAX_OUTPUTS:,} messages or {frames.MAX_RESULT:,} bytes"
            )
        self.outputs.append(packed)

    def index(self, name: str | int) -> int:
        """The number of an output, given its name or its number."""
        if type(name) is int and 0 <= name < len(self.ports):
            return name
        found = self.ports.get(name) if type(name) is str else None
        if found is None:
            raise LookupError(f"no output {name!r} (there is: {', '.join(self.ports)})")
        return found

    def note(self, kind: str, text: str, extra: Any = None) -> None:
        """Something for the node's log, badge or error feed; bounded, then only counted."""
        text = text[: frames.MAX_LOG_CHARS]
        if len(self.notes) >= frames.MAX_LOG_LINES or self.note_chars + len(text) > frames.MAX_LOG_CHARS:
            self.notes_dropped += 1
            return
        self.note_chars += len(text)
        self.notes.append([kind, text, extra])

    def all_notes(self) -> list[list]:
        """The notes, and how many more there would have been."""
        if self.notes_dropped:
            return [*self.notes, ["warn", f"{self.notes_dropped:,} more lines were dropped", None]]
        return self.notes


class NodeInScript:
    """`node` in a script: send, log, status."""

    def __init__(self, turn: Turn, id: str, name: str) -> None:
        self._turn = turn
        self.id = id
        self.name = name

    def send(self, value: Any, output: str | int | None = None) -> None:
        """Send now (in order with what is returned); `output` by name or number, None: as `return` would."""
        if output is None:
            self._turn.take(value)
        else:
            self._turn.put_all(self._turn.index(output), value)

    def log(self, *values: Any) -> None:
        """A line in the node's log."""
        self._turn.note("info", " ".join(map(str, values)))

    debug = log

    def warn(self, *values: Any) -> None:
        """A warning in the node's log."""
        self._turn.note("warning", " ".join(map(str, values)))

    def error(self, text: Any, msg: Msg | None = None) -> None:
        """An error: in the log, and, with the message it is about, to `catch` nodes too."""
        self._turn.note("error", str(text), msg is not None)

    def status(self, text: Any = "", kind: str = "ok") -> None:
        """The node's badge: a text and one of ok, busy, warn, error, off; or Node-RED's {"fill": ..., "text": ...}."""
        if isinstance(text, dict):
            kind = FILLS.get(str(text.get("fill", "")), "ok" if text else "off")
            text = text.get("text", "")
        if kind not in ("ok", "busy", "warn", "error", "off"):
            raise ValueError(f"status kind {kind!r}; there is: ok, busy, warn, error, off")
        self._turn.note("status", str(text)[:200], kind)


class NodeContext:
    """`context` in a script: the node's own persistent state. A stored list or dict that changes must be set again."""

    def __init__(self, turn: Turn, values: dict[str, Any]) -> None:
        self._turn = turn
        self._values = values

    def get(self, key: str, default: Any = None) -> Any:
        """A stored value."""
        return self._values.get(key, default)

    def set(self, key: str, value: Any) -> None:
        """Store a value, anything msgpack holds; None takes it away, as in Node-RED."""
        if type(key) is not str:
            raise TypeError(f"a key of context is a string, got {type(key).__name__}")
        self._turn.undo.setdefault(key, [self._values[key]] if key in self._values else [])
        if value is None:
            self._values.pop(key, None)
            self._turn.changes[key] = []
        else:
            self._values[key] = value
            self._turn.changes[key] = [value]

    __setitem__ = set

    def delete(self, key: str) -> None:
        """Take a value away."""
        self.set(key, None)

    __delitem__ = delete

    def keys(self) -> list[str]:
        """The names of all stored values."""
        return list(self._values)

    def __getitem__(self, key: str) -> Any:
        return self._values[key]

    def __contains__(self, key: str) -> bool:
        return key in self._values

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def undo(self) -> None:
        """Put back what a failed message changed."""
        for key, old in self._turn.undo.items():
            if old:
                self._values[key] = old[0]
            else:
                self._values.pop(key, None)
        self._turn.changes, self._turn.undo = {}, {}


class SharedContext:
    """`flow` and `global_` in a script: values shared with other nodes; each call asks the node and waits."""

    def __init__(self, ask: Callable[[str, str, str, Any], Any], scope: str) -> None:
        self._ask = ask
        self._scope = scope

    def get(self, key: str, default: Any = None) -> Any:
        """The shared value, or `default`."""
        value = self._ask(self._scope, "get", str(key), None)
        return default if value is None else value

    def set(self, key: str, value: Any) -> None:
        """Store a value for all nodes; None takes it away."""
        self._ask(self._scope, "set", str(key), value)
