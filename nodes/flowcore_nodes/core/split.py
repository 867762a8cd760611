import uuid
from collections.abc import Iterator
from typing import Any

from pydantic import field_validator, model_validator

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, field
from flowcore.node.paths import MessagePath
from flowcore_nodes.core.path_fields import WritePath, WritePathOrEmpty

_LONGEST_REST = 1 << 20
_REST = "rest"  # in the state: what is left of a stream, and how many parts it has had


class Split(Node):
    """Turn one message into several: the items of a list, the entries of a map, pieces of a text or of bytes.

    A text or bytes are cut at a separator or into pieces of a fixed length. Each part has `meta.parts` with id, index,
    count and what else a join needs to put the message together again; parts that the message had itself are kept in
    it, so splits may be nested. As a stream, what comes after the last separator waits for the next message: parts
    have no count then, and what waits is in the node's state.
    """

    type = "core/split"
    title = "Split"
    category = "sequence"
    icon = "split"
    stateful = True

    class Config(NodeConfig):
        path: WritePath = field("payload", description="Path of what is split, and where each part is put")
        separator: str | list[int] = field(
            "\n", description="Text and bytes: what they are cut at; bytes also as a list of numbers, such as [13, 10]"
        )
        length: int = field(
            0, ge=0, description="Text and bytes: cut into pieces of so many characters or bytes; 0: at the separator"
        )
        items: int = field(1, ge=1, description="Lists: so many items a message; with more than 1 a part is a list")
        key_to: WritePathOrEmpty = field("", description="Maps: where the key of each part is put, such as topic")
        stream: bool = field(False, description="Text and bytes: messages are pieces of one long one")

        @field_validator("separator")
        @classmethod
        def _is_something(cls, separator: str | list[int]) -> str | list[int]:
            if isinstance(separator, list) and not all(0 <= one <= 255 for one in separator):
                raise ValueError("a separator of bytes is a list of numbers from 0 to 255")
            return separator

        @model_validator(mode="after")
        def _can_cut(self) -> "Split.Config":
            if not self.separator and not self.length:
                raise ValueError("separator must not be empty, unless length is given")
            return self

    in_ = In(description="a list, map, text or bytes")
    out = Out(description="one message a part, with meta.parts")

    def on_start(self) -> None:
        config = self.config
        self._path = MessagePath(config.path)
        self._key_to = MessagePath(config.key_to) if config.key_to else None
        separator = config.separator
        self._text = separator if isinstance(separator, str) else bytes(separator).decode("latin-1")
        self._bytes = separator.encode() if isinstance(separator, str) else bytes(separator)

    def on_reconfigure(self, old: Any) -> None:
        self.on_start()

    def on_message(self, message: Message) -> Iterator[Message]:
        if message.meta.get("reset"):
            self.state.pop(_REST, None)
            return
        value = self._path.get(message)
        if isinstance(value, (str, bytes)):
            yield from self._stream(message, value) if self.config.stream else self._pieces(message, value)
        elif isinstance(value, (list, tuple)):
            size = self.config.items
            parts = value if size == 1 else [list(value[at : at + size]) for at in range(0, len(value), size)]
            about = {"type": "list"} if size == 1 else {"type": "list", "len": size}
            yield from self._numbered(message, parts, about)
        elif isinstance(value, dict):
            yield from self._entries(message, value)
        else:
            raise GiveUp(f"only a list, map, text or bytes can be split, got {type(value).__name__}")

    def _cut(self, value: Any) -> tuple[list, dict]:
        """The pieces of a text or of bytes, and what a join must know."""
        is_text, length = isinstance(value, str), self.config.length
        about: dict[str, Any] = {"type": "text" if is_text else "bytes"}
        if length:
            return [value[at : at + length] for at in range(0, len(value), length)], {
                **about,
                "joiner": "" if is_text else b"",
            }
        separator = self._text if is_text else self._bytes
        return value.split(separator), {**about, "joiner": separator}

    def _pieces(self, message: Message, value: Any) -> Iterator[Message]:
        parts, about = self._cut(value)
        yield from self._numbered(message, parts, about)

    def _numbered(self, message: Message, parts: Any, about: dict) -> Iterator[Message]:
        about = self._about(message, {**about, "count": len(parts)})
        for index, part in enumerate(parts):
            yield self._part(message, part, {**about, "index": index})

    def _entries(self, message: Message, value: dict) -> Iterator[Message]:
        about = self._about(message, {"type": "map", "count": len(value)})
        for index, (key, part) in enumerate(value.items()):
            made = self._part(message, part, {**about, "index": index, "key": key})
            if self._key_to is not None:
                self._key_to.set(made, str(key))
            yield made

    def _about(self, message: Message, about: dict) -> dict:
        outer = message.meta.get("parts")
        about = {"id": _id_of(message), **about}
        return {**about, "parts": outer} if outer is not None else about

    def _part(self, message: Message, part: Any, parts: dict) -> Message:
        made = message.derive(meta={**message.meta, "parts": parts})
        self._path.set(made, part)
        return made

    def _stream(self, message: Message, value: Any) -> Iterator[Message]:
        rest, index, known = self.state.get(_REST) or (None, 0, "")
        id_ = known or f"{self.id}:{_id_of(message)}"
        if rest is not None and type(rest) is not type(value):
            raise GiveUp(f"the stream so far is {type(rest).__name__}, this is {type(value).__name__}: reset it first")
        whole = value if rest is None else rest + value
        parts, about = self._cut(whole)
        is_cut_off = not self.config.length or (parts and len(parts[-1]) < self.config.length)
        left = parts.pop() if is_cut_off else whole[:0]
        if len(left) > _LONGEST_REST:
            raise GiveUp(f"no separator in {len(left):,} characters or bytes: is it the right one?")
        about = self._about(message, {**about, "id": id_})
        about["id"] = id_
        for part in parts:
            yield self._part(message, part, {**about, "index": index})
            index += 1
        self.state[_REST] = [left, index, id_]


def _id_of(message: Message) -> str:
    """What tells the parts of this message from those of others; what was put in from outside has no id."""
    return message.id or message.parent or uuid.uuid4().hex
