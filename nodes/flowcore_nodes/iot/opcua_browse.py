import re
from collections import Counter
from collections.abc import Callable
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any, Literal

from pydantic import field_validator, model_validator

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, field
from flowcore_nodes.iot.opcua import Server, split, text_of

if TYPE_CHECKING:
    from flowcore_nodes.iot.opcua_tree import Found

_CLASSES = {"variables": "Variable", "objects": "Object", "methods": "Method"}


class OpcuaBrowse(Node):
    """List what an OPC UA server has: its variables with type, value and access, its objects and methods.

    Each message asks once, over a connection of its own. A node is listed once, however many ways lead to it, by its
    shortest path; what is nearest to `under` goes first where there is more than `most`. Of `Server`, the object in
    which servers tell about themselves, there is the name alone, unless `under` is there. A server that is away, or
    refuses us, is an error of the message: the setting `retry` tries again.
    """

    type = "iot/opcua-browse"
    title = "OPC UA browse"
    category = "iot"
    icon = "folder-tree"
    needs = ("asyncua",)
    install = "pip install 'flowcore[opcua]'"

    class Config(NodeConfig):
        server: Server = field(Server(), description='The server, or {"$use": "name"} of a resource iot/opcua-server')
        under: str = field(
            "i=85", dynamic=True, description="Node id beneath which it looks; i=85: the folder Objects, i=84: the root"
        )
        depth: int = field(5, ge=1, le=100, description="How many levels down")
        most: int = field(1000, ge=1, le=50_000, description="Nodes listed at most; `cut` says that there are more")
        what: Literal["all", "variables", "objects", "methods"] = field("all", description="What is listed")
        match: str = field(
            "",
            dynamic=True,
            description="Only names that fit, such as `*temp*` (capitals do not count); with a / in it: paths, such as "
            "`Line?/*/Speed`; empty: all",
        )
        properties: bool = field(
            False, description="List properties of nodes, too, such as EngineeringUnits, EURange, InputArguments"
        )
        values: bool = field(True, description="Read the values of variables, too")
        output: Literal["nodes", "values"] = field(
            "nodes",
            description="nodes: all about each; values: name and node id of each variable that can be read, as the "
            "other OPC UA nodes take them in `values`",
        )

        @field_validator("under")
        @classmethod
        def _is_node_id(cls, under: str) -> str:
            split(under)
            return under

        @model_validator(mode="after")
        def _fits(self) -> "OpcuaBrowse.Config":
            if self.output == "values" and self.what not in ("all", "variables"):
                raise ValueError(f"output: values lists variables; what is {self.what}")
            return self

    in_ = In(description="asks once")
    out = Out(
        dict,
        description="nodes: path, node (its id), class, name, of variables type, readable, writable and value; where "
        "there is one display_name, description, unit (of variables above `depth`) and status (of values that are not "
        "good). Or values: name, node. cut: whether there are more; deeper: how many nodes at `depth` were not looked "
        "into; errors: node -> why it could not be",
    )

    async def on_message(self, message: Message) -> Message:
        server, under, match = self.config.server, self._text("under", message), self._text("match", message)
        try:
            split(under)
        except ValueError as e:
            raise GiveUp(f"under: {e}") from None
        self.set_status(f"looking: {server}", "busy")
        try:
            payload = await self._browse(under, match)
        except GiveUp as e:
            self.set_status(str(e), "error")
            raise
        except OSError as e:
            is_late = isinstance(e, TimeoutError)
            why = f"no answer within {server.timeout_s:g} s" if is_late else e.strerror or str(e) or type(e).__name__
            self.set_status(f"{server}: {why}", "error")
            raise (TimeoutError if is_late else ConnectionError)(f"{server}: {why}") from None
        found = f"{len(payload[self.config.output])} {self.config.output}"
        if payload["cut"]:
            self.set_status(f"{found}, and there are more: {server}", "warn")
        else:
            self.set_status(f"{found}: {server}")
        return message.derive(payload)

    def _text(self, name: str, message: Message) -> str:
        value = self.setting(name, message)
        if not isinstance(value, str):
            raise GiveUp(f"{name}: a text is needed, got {type(value).__name__}")
        return value

    async def _browse(self, under: str, match: str) -> dict[str, Any]:
        from flowcore_nodes.iot.opcua_link import opened, written
        from flowcore_nodes.iot.opcua_tree import Tree

        config = self.config
        async with opened(config.server) as link:
            start = await link.node_id(under)
            if start is None:
                raise GiveUp(f"under: {config.server} has no namespace of {under}")
            tree = Tree(link)
            await tree.begin()
            walked = await tree.walk(
                start, config.depth, config.most, self._wanted(match), properties=config.properties
            )
            if start in walked.errors and not walked.found:
                raise GiveUp(f"under: {config.server} does not show {under}: {walked.errors[start]}")
            errors = {text_of(written(node, await link.namespaces())): why for node, why in walked.errors.items()}
            walked.found.sort(key=lambda one: _in_order(one.path))
            nodes = await tree.about(walked, values=config.values and config.output == "nodes")
        listed = {"nodes": nodes} if config.output == "nodes" else {"values": _values(nodes)}
        return listed | {"cut": walked.is_cut, "deeper": walked.deeper} | ({"errors": errors} if errors else {})

    def _wanted(self, match: str) -> Callable[["Found"], bool]:
        match = match.lower()
        node_class = _CLASSES.get("variables" if self.config.output == "values" else self.config.what)

        def is_wanted(one: "Found") -> bool:
            if node_class is not None and one.node_class.name != node_class:
                return False
            texts = {one.path} if "/" in match else {one.name, one.display_name}
            return not match or any(fnmatchcase(text.lower(), match) for text in texts)

        return is_wanted


def _in_order(path: str) -> list[list[str]]:
    """By this what is beneath something follows it, and Joint10 Joint9."""
    parts = (re.split(r"([0-9]+)", part.lower()) for part in path.split("/"))
    return [[one.zfill(20) if at % 2 else one for at, one in enumerate(part)] for part in parts]


def _values(nodes: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Those that can be read, each with a name of its own."""
    readable = [one for one in nodes if one["readable"] is not False]
    times = Counter(one["name"] for one in readable)
    paths = Counter(one["path"] for one in readable)

    def name_of(one: dict[str, Any]) -> str:
        return one["name"] if times[one["name"]] == 1 else one["path"] if paths[one["path"]] == 1 else one["node"]

    return [{"name": name_of(one), "node": one["node"]} for one in readable]
