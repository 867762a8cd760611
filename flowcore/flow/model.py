"""The flow document as pydantic models: the shape of a flow file, from which `flow.schema.json` is generated.

Only shape lives here: that ids are unique, ports exist and types fit is `validate`'s. Each field's description becomes
help in the editor and in the published schema; `says` is what an error calls the wanted form where a pattern alone
would tell a reader nothing.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, field_validator
from pydantic_core import PydanticCustomError

FORMAT = 1
"""The version of the flow file that this flowcore reads and writes."""

ID = r"[a-z0-9][a-z0-9_-]{0,63}"
PORT = r"[a-z0-9_]{1,64}"
ENV_NAME = r"[A-Za-z_][A-Za-z0-9_]*"

MAIN_HOST = "main"
"""What the host without a name is called where every host needs one; a flow file may use it, too."""


def _like(pattern: str, says: str) -> Any:
    return Field(pattern=f"^{pattern}$", json_schema_extra={"says": says})


Id = Annotated[str, _like(ID, "must be 1 to 64 of a-z, 0-9, '_' and '-', beginning with a letter or a digit")]
TypeName = Annotated[
    str,
    _like(
        rf"(subflow:{ID}|[a-z0-9][a-z0-9_.-]*/[a-z0-9][a-z0-9_.-]*)", "must be '<plug-in>/<name>' or 'subflow:<name>'"
    ),
]
Endpoint = Annotated[str, _like(rf"{ID}\.{PORT}", "must be '<node>.<port>'")]
EnvName = Annotated[str, _like(ENV_NAME, "must be letters, digits and '_', not beginning with a digit")]
HostName = Annotated[str, _like(rf"({ID})?", "must be the name of a host: a-z, 0-9, '_' and '-', or empty")]
PortName = Annotated[str, _like(PORT, "must be 1 to 64 of a-z, 0-9 and '_'")]


class Strict(BaseModel):
    """A part of the document: unknown fields are refused, and it knows where in the file it stands."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)
    _pointer: str = PrivateAttr("")

    @property
    def pointer(self) -> str:
        """JSON pointer of this part in its document; empty when it was made in code."""
        return self._pointer


class Retry(Strict):
    """How often a message whose handler failed is tried again, and how long between."""

    times: int = Field(default=0, ge=0, le=1000, description="Further tries after the first failed")
    backoff_s: float = Field(
        default=0.5, ge=0, le=86400, description="Wait before the first further try; doubles each time"
    )
    max_s: float = Field(default=30, ge=0, le=86400, description="Longest wait between two tries")
    jitter: float = Field(default=0.2, ge=0, le=1, description="Share of the wait that is random")


class Breaker(Strict):
    """A circuit breaker: after many failures the node rests, then lets one message through to see."""

    failures: int = Field(
        default=0, ge=0, le=100_000, description="Failures within the window that open it; 0: no breaker"
    )
    window_s: float = Field(default=60, gt=0, le=86400, description="Seconds over which failures are counted")
    open_s: float = Field(default=30, gt=0, le=86400, description="Seconds it stays open before one message is tried")


class Deadline(Strict):
    """How old a message may be when its handler begins, and what happens to one that is older."""

    age_s: float | None = Field(default=None, gt=0, description="Oldest age in seconds; null: only the message's own")
    late: Literal["drop", "port"] = Field(
        default="drop", description="drop and count it, or send it from the port `late`"
    )


class Restart(Strict):
    """When a process that died is started again, and when the node is given up as failed."""

    limit: int = Field(default=5, ge=0, le=10_000, description="Restarts within the window before the node has failed")
    window_s: float = Field(default=60, gt=0, le=86400, description="Seconds over which restarts are counted")
    backoff_s: float = Field(default=0.1, ge=0, le=3600, description="Wait before the first restart; doubles each time")
    max_s: float = Field(default=10, ge=0, le=3600, description="Longest wait before a restart")


class NodeSettings(Strict):
    """What the engine does for every node, whatever its type."""

    ack: Literal["through", "sent"] = Field(
        default="through", description="A message is done when all its outputs are acked (through) or published (sent)"
    )
    replicas: int = Field(default=1, ge=1, le=64, description="Processes that share the input")
    share: Literal["any", "key"] = Field(default="any", description="Messages go to the freest replica, or by topic")
    concurrency: int = Field(default=1, ge=1, le=10_000, description="Messages in the handler at once")
    timeout_s: float | None = Field(default=None, gt=0, description="Longest time a handler may take; null: no limit")
    retry: Retry = Field(default_factory=Retry)
    breaker: Breaker = Field(default_factory=Breaker)
    deadline: Deadline = Field(default_factory=Deadline)
    memory_mb: int | None = Field(default=None, ge=16, description="Memory limit of the process in MiB; null: no limit")
    restart: Restart = Field(default_factory=Restart)
    full: Literal["block", "drop_oldest", "drop_newest", "throttle"] = Field(
        default="block", description="What a source does when a wire is full"
    )
    throttle_hz: float | None = Field(
        default=None, gt=0, description="Messages a second that a throttled source sends at most"
    )
    queue: int = Field(default=1000, ge=1, le=1_000_000, description="Messages from outside (`in`) that may wait")
    drain_timeout_s: float = Field(
        default=5, ge=0, le=3600, description="How long it may take to finish when it is stopped"
    )
    pool_mb: int = Field(
        default=256, ge=1, le=1_048_576, description="Shared memory for the frames and tensors it makes, in MiB"
    )
    max_held: int = Field(default=1000, ge=1, le=10_000_000, description="Messages a node may hold in its state")
    sandbox: Literal["strict", "weak", "off"] = Field(default="strict", description="How a script is shut in")
    host: HostName = Field(
        default="", description="Host that runs it, as `flowcore up --host` names it; empty: the main host"
    )

    @field_validator("host")
    @classmethod
    def _main_has_no_name(cls, value: str) -> str:
        return "" if value == MAIN_HOST else value


class Durable(Strict):
    """The stream behind a durable wire."""

    max_bytes: int = Field(default=67_108_864, ge=65_536, description="Largest size on disk")
    max_age_s: float | None = Field(default=None, gt=0, description="Oldest message kept; null: no limit")
    max_msgs: int | None = Field(default=None, ge=1, description="Most messages kept; null: no limit")
    fsync: bool = Field(default=True, description="Write through to the disk before a message counts as stored")
    retention: Literal["work", "history"] = Field(
        default="work", description="Forget what was handled, or keep it for replay"
    )
    start: Literal["all", "new"] = Field(default="all", description="Where a new consumer begins")


class Jpeg(Strict):
    """Frames as JPEG: small, and not quite what they were."""

    kind: Literal["jpeg"]
    quality: int = Field(default=90, ge=1, le=100, description="100: hardly a loss; below 50 it shows")


class Zstd(Strict):
    """Tensors and large payloads with zstd: byte for byte what they were."""

    kind: Literal["zstd"]
    level: int = Field(default=1, ge=1, le=19, description="Higher is smaller and slower")


class WireDef(Strict):
    """A wire from an output port to an input port."""

    from_: Endpoint = Field(alias="from", description="Where it begins: '<node>.<port>'")
    to: Endpoint = Field(description="Where it ends: '<node>.<port>'")
    delivery: Literal["reliable", "latest", "durable"] = Field(default="reliable", description="What it promises")
    window: int = Field(default=1024, ge=1, le=1_000_000, description="Messages that may be un-acked")
    window_bytes: int = Field(default=4_194_304, ge=1024, le=4_294_967_296, description="Bytes that may be un-acked")
    keep: int = Field(default=1, ge=1, le=100_000, description="How many of the newest a `latest` wire keeps")
    feedback: bool | None = Field(
        default=None, description="This wire closes a cycle: it never blocks; null: found by itself"
    )
    bound: int = Field(
        default=1024, ge=1, le=1_000_000, description="Messages that may wait on a wire that closes a cycle"
    )
    when_failed: Literal["block", "drop"] = Field(
        default="block", description="What happens while the consumer has failed"
    )
    disabled: bool = Field(default=False, description="The wire is there and carries nothing")
    durable: Durable | None = Field(default=None, description="The stream of a durable wire")
    encode: Literal["jpeg", "zstd"] | Jpeg | Zstd | None = Field(
        default=None,
        description="How tensors travel where they do: to another host, into a durable stream. In one host's shared "
        "memory they do not",
    )


class NodeDef(Strict):
    """A node; with type `subflow:<name>` an instance of a subflow, whose config gives its parameters."""

    id: Id = Field(description="Name of the node, unique in its flow or subflow")
    type: TypeName = Field(description="Its type, such as core/switch, or subflow:<name>")
    version: int = Field(default=1, ge=1, description="Version of its type for which its config was written")
    name: str = Field(default="", max_length=200, description="What the editor calls it")
    config: dict[str, Any] = Field(default_factory=dict, description="The fields that its type asks for")
    settings: NodeSettings = Field(default_factory=NodeSettings)
    env: dict[EnvName, Any] = Field(
        default_factory=dict, description="Of an instance: values used inside as ${NAME}, over those of the subflow"
    )
    disabled: bool = Field(default=False, description="The node is there and does not run")
    group: Id | None = Field(default=None, description="The group it stands in")
    ui: dict[str, Any] = Field(default_factory=dict, description="Where it stands on the canvas; restarts nothing")
    note: str = Field(default="", description="Remarks for people")


class GroupDef(Strict):
    """Nodes that belong together: one frame on the canvas, one scope for catch, one switch to turn them off."""

    id: Id = Field(description="Name of the group, which nodes give as their `group`")
    name: str = Field(default="", max_length=200)
    disabled: bool = Field(default=False, description="None of its nodes run")
    ui: dict[str, Any] = Field(default_factory=dict)
    note: str = ""


class Option(Strict):
    """One choice of a select."""

    value: Any = Field(description="What `${NAME}` becomes")
    label: str = Field(default="", max_length=200, description="What a form calls it; empty: the value")


class ParameterDef(Strict):
    """A parameter of a subflow, used inside as `${NAME}`."""

    type: Literal["any", "bool", "number", "text", "list", "map", "select", "env", "secret", "resource"] = Field(
        default="any",
        description="What an instance gives: a value of this kind; `select`: one of the options; `env`: the name of a "
        'value of the environment; `secret`: {"$secret": "name"}; `resource`: the name of a resource, for '
        '{"$use": "${NAME}"}',
    )
    title: str = Field(default="", max_length=200, description="What a form calls it; empty: its name")
    description: str = Field(default="", description="What it is, with its unit")
    default: Any = Field(
        default=None, description="Its value when an instance gives none; without it each instance must"
    )
    options: list[Annotated[Option | Any, Field(union_mode="left_to_right")]] | None = Field(
        default=None, min_length=1, description='Of a select: its values, or {"value": .., "label": ".."}'
    )
    min: float | None = Field(default=None, description="Of a number: the smallest")
    max: float | None = Field(default=None, description="Of a number: the largest")
    of: TypeName | None = Field(default=None, description="Of a resource: its type, where only that will do")


class SubflowDef(Strict):
    """A part of a flow that is used by name, as often as one likes; expanded at deploy."""

    name: str = Field(default="", max_length=200)
    description: str = ""
    params: dict[EnvName, ParameterDef] = Field(default_factory=dict, description="What instances may set")
    env: dict[EnvName, Any] = Field(default_factory=dict, description="Values used inside as ${NAME}")
    inputs: dict[PortName, list[Endpoint]] = Field(
        default_factory=dict, description="Input ports, and the ports of inner nodes that each leads to"
    )
    outputs: dict[PortName, list[Endpoint]] = Field(
        default_factory=dict, description="Output ports, and the ports of inner nodes that each comes from"
    )
    nodes: list[NodeDef] = Field(default_factory=list)
    wires: list[WireDef] = Field(default_factory=list)
    groups: list[GroupDef] = Field(default_factory=list)
    ui: dict[str, Any] = Field(default_factory=dict)


class ResourceDef(Strict):
    """Named settings that nodes share, by `{"$use": "<name>"}`."""

    type: TypeName | None = Field(default=None, description="The type whose config this is; checked where it is known")
    version: int = Field(default=1, ge=1, description="Version of the type for which it was written")
    config: dict[str, Any] = Field(default_factory=dict)
    note: str = ""


class FlowDocument(Strict):
    """A flow: nodes joined by wires."""

    schema_: str | None = Field(default=None, alias="$schema", description="Where editors find this schema")
    flowcore: Literal[1] = Field(description="Version of this format: 1")
    id: Id = Field(description="Name of the flow, first part of its subjects on the bus")
    name: str = Field(default="", max_length=200, description="What the editor writes on its tab")
    description: str = ""
    env: dict[EnvName, Any] = Field(default_factory=dict, description="Values used in configs as ${NAME}")
    nodes: list[NodeDef] = Field(default_factory=list)
    wires: list[WireDef] = Field(default_factory=list)
    subflows: dict[Id, SubflowDef] = Field(default_factory=dict)
    groups: list[GroupDef] = Field(default_factory=list)
    resources: dict[Id, ResourceDef] = Field(default_factory=dict)
    ui: dict[str, Any] = Field(default_factory=dict, description="How the editor shows it; changes restart nothing")

    @field_validator("id")
    @classmethod
    def _is_free(cls, value: str) -> str:
        if value == "global":  # its shared values would have the keys of the global context
            raise PydanticCustomError("reserved", "'global' is the context of all flows; name the flow otherwise")
        return value

    def model_post_init(self, context: Any) -> None:
        """Tell every part where it stands, for the errors."""
        _stamp_scope(self, "")
        for name, subflow in self.subflows.items():
            subflow._pointer = f"/subflows/{name}"
            _stamp_scope(subflow, subflow._pointer)
        for name, resource in self.resources.items():
            resource._pointer = f"/resources/{name}"


def _stamp_scope(scope: FlowDocument | SubflowDef, base: str) -> None:
    for kind in ("nodes", "wires", "groups"):
        for index, part in enumerate(getattr(scope, kind)):
            part._pointer = f"{base}/{kind}/{index}"
