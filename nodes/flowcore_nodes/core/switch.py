from collections.abc import Awaitable, Callable
from typing import Any, Literal

from pydantic import field_validator, model_validator

from flowcore.node import In, Message, Node, NodeConfig, Outputs, field
from flowcore.node.paths import MessagePath
from flowcore.node.patterns import Pattern
from flowcore_nodes.core.comparisons import (
    COMPARISONS,
    KINDS,
    OF_SEQUENCE,
    TAKES_NO_VALUE,
    TAKES_TWO_VALUES,
    Comparison,
)
from flowcore_nodes.core.values import Operand, check_value, reference_kind

_VALUE = 'A literal, {"$message": path}, {"$flow": key}, {"$global": key} or {"$previous": true}'
_CONTEXTS = ("flow", "global")
_NONE_YET = object()  # equals nothing

Quick = Callable[[Any, Message], bool]
Slow = Callable[[Any, Message], Awaitable[bool]]


class Rule(NodeConfig):
    """One rule of a switch: an operator and what the value is compared with."""

    op: Literal[
        "==", "!=", "<", "<=", ">", ">=", "has key", "between", "contains", "matches", "true", "false", "null",
        "not null", "is type", "empty", "not empty", "head", "tail", "index between", "otherwise",
    ] = field(
        description="Operator; head, tail and index between ask for the place in a sequence (meta.parts); otherwise: "
        "no rule before it matched"
    )  # fmt: skip
    value: Any = field(None, description=f"What is compared with; of between: one end. {_VALUE}", dynamic=True)
    value2: Any = field(None, description="The other end of between and index between", dynamic=True)
    ignore_case: bool = field(False, description="Letters match in both cases, for matches")

    @model_validator(mode="after")
    def _complete(self) -> "Rule":
        if self.op in TAKES_NO_VALUE:
            return self
        if self.value is None and self.op not in ("==", "!="):
            raise ValueError(f"the rule {self.op!r} needs a value")
        if self.op in TAKES_TWO_VALUES and self.value2 is None:
            raise ValueError(f"the rule {self.op!r} needs value2")
        for value in (self.value, self.value2):
            check_value(value)
        if self.op == "is type" and self.value not in KINDS:
            raise ValueError(f"no type {self.value!r}; it has: {', '.join(KINDS)}")
        if self.op == "matches" and reference_kind(self.value) is None:
            if not isinstance(self.value, str):
                raise ValueError("the rule 'matches' needs a regular expression as text")
            Pattern(self.value)
        return self


class Switch(Node):
    """Send each message out where its rules match: rule 1 to out1, rule 2 to out2, and so on.

    A number and a text that holds one compare as numbers, as in Node-RED. A part that is not there is null. The
    previous value (`{"$previous": true}`) is that of the message before; after a restart there is none, and nothing
    matches it.
    """

    type = "core/switch"
    title = "Switch"
    category = "function"
    icon = "split"
    outputs_from = "rules"
    context = ("flow", "global")

    class Config(NodeConfig):
        path: str = field(
            "payload",
            description="What is looked at: payload.temp_c, topic, meta.x, or flow.key and global.key for the contexts",
        )
        rules: list[Rule] = field([], description="Rules, one an output", max_length=256)
        first_match: bool = field(False, description="Stop at the first rule that matches; else try all")
        pattern_limit_s: float = field(1.0, gt=0, le=60, description="Longest time for one regular expression, seconds")

        @field_validator("path")
        @classmethod
        def _is_path(cls, path: str) -> str:
            root, _, key = path.partition(".")
            MessagePath(key if root in _CONTEXTS and key else path)
            return path

    in_ = In()

    def on_start(self) -> None:
        self._previous: Any = _NONE_YET
        self._read_config()

    def on_reconfigure(self, old: Any) -> None:
        self._read_config()

    def _read_config(self) -> None:
        root, _, key = self.config.path.partition(".")
        self._looked_at = Operand(
            self, {f"${root}": key} if root in _CONTEXTS and key else {"$message": self.config.path}
        )
        self._tests = [self._prepare(rule) for rule in self.config.rules]

    def _prepare(self, rule: Rule) -> tuple[Quick | None, Slow | None]:
        """The rule as a function; as an async one when it has to fetch a value or may take long; neither: otherwise."""
        if rule.op == "otherwise":
            return None, None
        first, second = self._operand(rule.value), self._operand(rule.value2)
        if rule.op == "matches":
            return None, self._pattern_test(rule, first)
        compare = _of_sequence(COMPARISONS[rule.op]) if rule.op in OF_SEQUENCE else COMPARISONS[rule.op]
        if first.is_literal and second.is_literal:
            a, b = rule.value, rule.value2
            if rule.op in OF_SEQUENCE:
                return (lambda value, message: compare(message.meta, a, b)), None
            return (lambda value, message: compare(value, a, b)), None

        async def fetch_and_compare(value: Any, message: Message) -> bool:
            looked_at = message.meta if rule.op in OF_SEQUENCE else value
            return compare(looked_at, await first.fetch(message), await second.fetch(message))

        return None, fetch_and_compare

    def _operand(self, value: Any) -> Operand:
        if reference_kind(value) != "$previous":
            return Operand(self, value)
        operand = Operand(self, None)
        operand.is_literal, operand.read = False, lambda message: self._previous
        return operand

    def _pattern_test(self, rule: Rule, source: Operand) -> Slow:
        limits: dict[str, Any] = {"ignore_case": rule.ignore_case, "limit_s": self.config.pattern_limit_s}
        fixed = Pattern(rule.value, **limits) if source.is_literal else None

        async def matches(value: Any, message: Message) -> bool:
            if value is None or isinstance(value, (dict, list)):
                return False
            pattern = fixed or Pattern(str(await source.fetch(message)), **limits)
            text = value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
            return await pattern.matches(text)

        return matches

    async def on_message(self, message: Message) -> Outputs | None:
        read = self._looked_at.read
        value = await self._looked_at.fetch(message) if read is None else read(message)
        hits: dict[str, Message] = {}
        for number, (quick, slow) in enumerate(self._tests, 1):
            if quick is not None:
                hit = quick(value, message)
            elif slow is not None:
                hit = await slow(value, message)
            else:
                hit = not hits
            if hit:
                hits[f"out{number}"] = message
                if self.config.first_match:
                    break
        self._previous = value
        return Outputs(hits) if hits else None


def _of_sequence(compare: Comparison) -> Comparison:
    return lambda meta, a, b: compare(meta.get("parts"), a, b)
