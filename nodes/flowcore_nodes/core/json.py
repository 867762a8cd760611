import json
from typing import Any, Literal

from flowcore.node import In, Message, Node, NodeConfig, Out, field
from flowcore.node.paths import MessagePath
from flowcore_nodes.core.bounded_text import bounded_text
from flowcore_nodes.core.path_fields import WritePath


class Json(Node):
    """Turn JSON text into a value, or a value into JSON text.

    NaN and infinity are not JSON and are refused both ways, and so is a key that is there twice: one of the two
    values would be lost.
    """

    type = "core/json"
    title = "JSON"
    category = "parser"
    icon = "braces"

    class Config(NodeConfig):
        action: Literal["auto", "parse", "stringify"] = field(
            "auto", description="auto: text and bytes are parsed, anything else becomes text"
        )
        path: WritePath = field("payload", description="What is converted: payload, payload.body ...")
        indent: int = field(0, ge=0, le=8, description="Blanks a level in the text; 0: all on one line")
        max_bytes: int = field(1_048_576, gt=0, le=67_108_864, description="Longest text that is parsed, in bytes")
        max_depth: int = field(64, gt=0, le=500, description="Deepest nesting of maps and lists that is parsed")

    in_ = In()
    out = Out()

    def on_start(self) -> None:
        self._path = MessagePath(self.config.path)

    def on_reconfigure(self, old: Any) -> None:
        self.on_start()

    async def on_message(self, message: Message) -> Message:
        value = self._path.get(message)
        action = self.config.action
        if isinstance(value, (str, bytes)):
            new = value if action == "stringify" and isinstance(value, str) else self._parse(value)
        else:
            new = value if action == "parse" else self._stringify(value)
        converted = message.derive()
        self._path.set(converted, new)
        return converted

    def _parse(self, text: str | bytes) -> Any:
        text = bounded_text(text, self.config.max_bytes)
        if text.count("[") + text.count("{") > self.config.max_depth:
            self._check_depth(text)
        try:
            return json.loads(text, parse_constant=_refuse_constant, object_pairs_hook=_unique)
        except json.JSONDecodeError as e:
            raise ValueError(f"not JSON: {e.msg} at line {e.lineno} column {e.colno}") from None

    def _check_depth(self, text: str) -> None:
        """Raises before the parser is sent down too deep."""
        depth, in_text, escaped = 0, False, False
        for character in text:
            if in_text:
                if escaped:
                    escaped = False
                elif character == "\\":
                    escaped = True
                elif character == '"':
                    in_text = False
            elif character == '"':
                in_text = True
            elif character in "[{":
                depth += 1
                if depth > self.config.max_depth:
                    raise ValueError(f"nested deeper than max_depth = {self.config.max_depth}")
            elif character in "]}":
                depth -= 1

    def _stringify(self, value: Any) -> str:
        try:
            return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=self.config.indent or None)
        except ValueError as e:
            raise ValueError(f"can't be written as JSON: {e}") from None
        except TypeError as e:
            raise TypeError(f"can't be written as JSON: {e}") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ValueError(f"the key {twice!r} is there twice")
    return made
