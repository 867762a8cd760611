import re
from typing import Any

import yaml

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, field
from flowcore.node.paths import MessagePath, PathError
from flowcore_nodes.core.bounded_text import bounded_text
from flowcore_nodes.core.path_fields import WritePath


class Yaml(Node):
    """Turn YAML text into a value, or a value into YAML text.

    Read as YAML 1.2: `no` and `on` are texts, a date stays the text it is, keys become texts. Only plain values are
    made, never objects. Aliases that would blow a small text up, and a key that is there twice, are refused.
    """

    type = "core/yaml"
    title = "YAML"
    category = "parser"
    icon = "file-text"

    class Config(NodeConfig):
        path: WritePath = field("payload", description="What is converted: payload, payload.body ...")
        documents: bool = field(
            False, description="The text may hold several documents, and becomes a list of them; a list is written so"
        )
        max_bytes: int = field(1_048_576, gt=0, le=16_777_216, description="Longest text that is read, in bytes")
        max_depth: int = field(64, gt=0, le=200, description="Deepest nesting of maps and lists that is read")
        max_values: int = field(
            100_000, gt=0, le=10_000_000, description="Most values in what is read, with aliases written out"
        )

    in_ = In()
    out = Out()

    def on_start(self) -> None:
        self._path = MessagePath(self.config.path)

    def on_reconfigure(self, old: Any) -> None:
        self.on_start()

    def on_message(self, message: Message) -> Message:
        try:
            value = self._path.get(message)
        except PathError:
            return message
        made = message.derive()
        self._path.set(made, self._parsed(value) if isinstance(value, (str, bytes)) else self._written(value))
        return made

    def _parsed(self, text: str | bytes) -> Any:
        try:
            loader = _Loader(bounded_text(text, self.config.max_bytes), self.config.max_depth, self.config.max_values)
            if not self.config.documents:
                return loader.get_single_data()
            found = []
            while loader.check_data():
                found.append(loader.get_data())
            return found
        except yaml.MarkedYAMLError as e:
            where = e.problem_mark or e.context_mark
            at = f" at line {where.line + 1} column {where.column + 1}" if where else ""
            raise GiveUp(f"not YAML: {e.problem or e.context}{at}") from None
        except (yaml.YAMLError, ValueError) as e:
            raise GiveUp(f"not YAML: {' '.join(str(e).split())}") from None

    def _written(self, value: Any) -> str:
        documents = value if self.config.documents and isinstance(value, list) else [value]
        try:
            return yaml.dump_all(documents, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=80)
        except yaml.YAMLError as e:
            raise GiveUp(f"can't be written as YAML: {e.args[0]} {type(e.args[-1]).__name__}") from None


_PLAIN: dict[str, tuple[str, str]] = {  # YAML 1.2's core schema: what a text without quotes is, by how it begins
    "tag:yaml.org,2002:null": (r"~|null|Null|NULL|", "~nN\0"),
    "tag:yaml.org,2002:bool": (r"true|True|TRUE|false|False|FALSE", "tTfF"),
    "tag:yaml.org,2002:int": (r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", "-+0123456789"),
    "tag:yaml.org,2002:float": (
        r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)",
        "-+.0123456789",
    ),
    "tag:yaml.org,2002:merge": ("<<", "<"),
}
_TAGS = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("str", "null", "bool", "int", "float", "seq", "map", "binary")
)


class _Loader(yaml.SafeLoader):
    """Plain values only, YAML 1.2's scalars, bounded."""

    def __init__(self, text: str, max_depth: int, max_values: int) -> None:
        super().__init__(text)
        self._max_depth, self._left = max_depth, max_values
        self._depth = 0
        self._sizes: dict[int, int] = {}  # of nodes, with their aliases written out

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            node: Any = super().compose_node(parent, index)
            if id(node) not in self._sizes:
                raise yaml.MarkedYAMLError(
                    problem="an alias inside of what it stands for", problem_mark=node.start_mark
                )
            self._take(self._sizes[id(node)])
            return node
        left = self._left
        self._take(1)
        self._depth += 1
        if self._depth > self._max_depth:
            raise ValueError(f"nested deeper than max_depth = {self._max_depth}")
        node = super().compose_node(parent, index)
        self._depth -= 1
        self._sizes[id(node)] = left - self._left
        return node

    def _take(self, values: int) -> None:
        self._left -= values
        if self._left < 0:
            raise ValueError("more than max_values values, aliases written out")

    def construct_mapping(self, node: Any, deep: bool = False) -> dict:
        seen: set[str] = set()
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise yaml.MarkedYAMLError(problem="a key must be a text", problem_mark=key_node.start_mark)
            if key_node.value in seen:
                problem = f"the key {key_node.value!r} is there twice"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=key_node.start_mark)
            if key_node.tag != "tag:yaml.org,2002:merge":
                seen.add(key_node.value)
        self.flatten_mapping(node)
        return {key_node.value: self.construct_object(value_node, deep=True) for key_node, value_node in node.value}


def _construct_map(loader: _Loader, node: Any) -> dict:
    return loader.construct_mapping(node)


def _construct_list(loader: _Loader, node: Any) -> list:
    return loader.construct_sequence(node, deep=True)


def _construct_int(loader: _Loader, node: Any) -> int:
    text = node.value
    try:
        number = int(text, 0) if text.startswith(("0x", "0o")) else int(text)
    except ValueError:
        raise yaml.MarkedYAMLError(problem=f"{text!r} is no whole number", problem_mark=node.start_mark) from None
    if not -(2**63) <= number < 2**64:
        raise yaml.MarkedYAMLError(problem=f"{text} has more than 64 bits", problem_mark=node.start_mark)
    return number


def _refuse(loader: _Loader, node: Any) -> Any:
    raise yaml.MarkedYAMLError(problem=f"the tag {node.tag} makes no plain value", problem_mark=node.start_mark)


_Loader.yaml_implicit_resolvers = {}
_Loader.yaml_constructors = {
    tag: make for tag, make in yaml.SafeLoader.yaml_constructors.items() if tag is None or tag in _TAGS
}
_Loader.add_constructor("tag:yaml.org,2002:map", _construct_map)
_Loader.add_constructor("tag:yaml.org,2002:seq", _construct_list)
_Loader.add_constructor("tag:yaml.org,2002:int", _construct_int)
_Loader.add_constructor(None, _refuse)


class _Dumper(yaml.SafeDumper):
    """Texts that would be read as something else are quoted, in YAML 1.1 and 1.2."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


for _tag, (_pattern, _first) in _PLAIN.items():
    _compiled = re.compile(rf"(?:{_pattern})\Z")
    _Loader.add_implicit_resolver(_tag, _compiled, [letter.strip("\0") for letter in _first])
    if _tag != "tag:yaml.org,2002:merge":
        _Dumper.add_implicit_resolver(_tag, _compiled, [letter.strip("\0") for letter in _first])
