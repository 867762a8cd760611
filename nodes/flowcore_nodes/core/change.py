import copy
from typing import Any, Literal

from pydantic import model_validator

from flowcore.node import In, Message, Node, NodeConfig, Out, field
from flowcore.node.paths import MessagePath, PathError, get_in, parse_path, set_in
from flowcore.node.patterns import Pattern
from flowcore_nodes.core.values import Operand, check_value, reference_kind

_WHERE = "payload.a.b[0], topic, meta.x, or flow.key and global.key for the shared contexts"
_CONTEXTS = ("flow", "global")


class Rule(NodeConfig):
    """One change: what is done, where, and with what."""

    action: Literal["set", "change", "delete", "move"] = field(description="What is done with the part at `path`")
    path: str = field("payload", description=f"Where: {_WHERE}")
    value: Any = field(
        None,
        description="set: the new value; change: what is put in place of `search`. "
        'A literal or {"$message": path}, {"$flow": key}, {"$global": key}',
        dynamic=True,
    )
    to: str = field("", description="move: where to")
    search: Any = field(
        None, description="change: what is looked for; in a text each place, a number or bool as a whole", dynamic=True
    )
    regex: bool = field(False, description=r"change: `search` is a regular expression, `value` may use \1")
    ignore_case: bool = field(False, description="change: letters match in both cases, for regular expressions")

    @model_validator(mode="after")
    def _complete(self) -> "Rule":
        _check_place(self.path)
        check_value(self.value)
        if self.action == "move":
            if not self.to:
                raise ValueError("move needs `to`")
            _check_place(self.to)
        if self.action == "change":
            if self.search is None:
                raise ValueError("change needs `search`")
            check_value(self.search)
            if self.regex and reference_kind(self.search) is None:
                if not isinstance(self.search, str):
                    raise ValueError("`search` must be a regular expression as text")
                Pattern(self.search)
        return self


def _check_place(path: str) -> None:
    if parse_path(path)[0] not in _CONTEXTS:
        MessagePath(path).check_writable()
    elif len(parse_path(path)) < 2 or not isinstance(parse_path(path)[1], str):
        raise ValueError(f"{path!r} names no key of the context")


class Change(Node):
    """Set, change, delete or move parts of a message, one rule after the other.

    As in Node-RED, with nested paths. `change` replaces a text inside a text everywhere, a number or a bool only as
    a whole. Maps and lists on the way are made when they are missing; a value that is not there is set as null.
    Rules see what the rules before them did; when one fails nothing is sent.
    """

    type = "core/change"
    title = "Change"
    category = "function"
    icon = "pencil"
    context = ("flow", "global")

    class Config(NodeConfig):
        rules: list[Rule] = field([], description="Rules, from first to last", max_length=256)
        pattern_limit_s: float = field(1.0, gt=0, le=60, description="Longest time for one regular expression, seconds")

    in_ = In()
    out = Out()

    def on_start(self) -> None:
        self._steps = [_Step(self, rule, self.config.pattern_limit_s) for rule in self.config.rules]

    def on_reconfigure(self, old: Any) -> None:
        self.on_start()

    async def on_message(self, message: Message) -> Message:
        changed = message.derive()
        for step in self._steps:
            if step.quick is not None:
                step.place.path.set(changed, step.quick(changed))
            else:
                await step.apply(changed)
        return changed


class _Place:
    """A part of a message, or of a shared context."""

    def __init__(self, node: Node, text: str) -> None:
        parts = parse_path(text)
        self.in_context = parts[0] in _CONTEXTS
        self.path = MessagePath("payload" if self.in_context else text)
        if self.in_context:
            self._context = node.flow_context if parts[0] == "flow" else node.global_context
            self._key, self._rest = str(parts[1]), parts[2:]

    async def get(self, message: Message) -> Any:
        if not self.in_context:
            return self.path.find(message)
        try:
            return get_in(await self._context.get(self._key, None), self._rest)
        except PathError:
            return None

    async def set(self, message: Message, value: Any) -> None:
        if not self.in_context:
            self.path.set(message, value)
        elif self._rest:
            await self._context.update(self._key, lambda kept: set_in(kept, self._rest, value))
        else:
            await self._context.set(self._key, value)

    async def delete(self, message: Message) -> None:
        if self.in_context:
            await self.set(message, None)
        else:
            self.path.delete(message)


class _Step:
    """A rule, prepared. `quick` gives the new value of a `set` that has nothing to wait for."""

    def __init__(self, node: Node, rule: Rule, limit_s: float) -> None:
        self.rule, self._limit_s = rule, limit_s
        self.place = _Place(node, rule.path)
        self._to = _Place(node, rule.to) if rule.to else self.place
        self._value, self._search = Operand(node, rule.value), Operand(node, rule.search)
        self._pattern = self._compile(rule.search) if rule.regex and self._search.is_literal else None
        self.quick = None
        if rule.action == "set" and not self.place.in_context:
            self.quick = self._value.read
            if self._value.is_literal and isinstance(rule.value, (dict, list)):
                self.quick = lambda message: copy.deepcopy(rule.value)

    async def apply(self, message: Message) -> None:
        match self.rule.action:
            case "set":
                await self.place.set(message, await self._value.fetch(message))
            case "delete":
                await self.place.delete(message)
            case "move":
                value = await self.place.get(message)
                await self.place.delete(message)
                await self._to.set(message, value)
            case "change":
                await self._change(message)

    async def _change(self, message: Message) -> None:
        now = await self.place.get(message)
        search = await self._search.fetch(message)
        value = await self._value.fetch(message)
        if isinstance(now, str):
            if self.rule.regex:
                new: Any = await (self._pattern or self._compile(search)).replace(now, _as_text(value))
            elif now == _as_text(search):
                new = value  # the whole text: the new value keeps its type
            elif isinstance(search, str) and search:
                new = now.replace(search, _as_text(value))
            else:
                return
        elif isinstance(now, bool) == isinstance(search, bool) and now == search:
            new = value
        else:
            return
        await self.place.set(message, new)

    def _compile(self, search: Any) -> Pattern:
        if not isinstance(search, str):
            raise ValueError(f"`search` must be a regular expression as text, got {type(search).__name__}")
        return Pattern(search, ignore_case=self.rule.ignore_case, limit_s=self._limit_s)


def _as_text(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
