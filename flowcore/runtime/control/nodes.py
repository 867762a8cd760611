"""Control services for what runs: look at it, steer it, put a message in, see the newest; end the host."""

import dataclasses
import json
import os
from typing import TYPE_CHECKING, Any

from pydantic import Field

from flowcore import __version__
from flowcore.bus.envelope import unpack
from flowcore.bus.jsonable import from_jsonable, jsonable
from flowcore.runtime.control.documents import Deployed, FlowAsked
from flowcore.runtime.control.errors import ControlError
from flowcore.runtime.control.operation import Answer, Done, Nothing, Request, operation
from flowcore.runtime.instances import Shown, instances, speakers
from flowcore.runtime.results import FlowStatus

if TYPE_CHECKING:
    from flowcore.runtime.host import Host


class StatusRequest(Request):
    """All flows, or one."""

    flow: str | None = Field(None, description="null: all")


class Node(Answer):
    """One process of a node."""

    flow: str
    node: str
    process: str = Field(description="The node's id, or `<node>#<k>` for replica k")
    type: str
    state: str = Field(
        description="starting, running, paused, bypassed, replacing, restarting, failed, stopping, stopped, "
        "or away: its host is not connected"
    )
    host: str = Field("", description="Empty: the main host")
    pid: int | None
    inc: int
    restarts: int
    reason: str = Field(description="Why it is failed or restarting")
    badge: str
    badge_kind: str
    since_ns: int
    ready_ms: float = Field(description="What its start took, from fork to connected and subscribed")
    cpu: float = Field(description="Share of one core")
    rss_bytes: int
    handled: int
    stats: dict[str, Any] = Field(description="The newest `.stats` of the process; may be empty")


class Instance(Answer):
    """An instance of a subflow."""

    instance: str = Field(description="Its id in the flow")
    text: str = Field(description="What it shows: what a node inside says for it, else the worst that one shows")
    kind: str = Field(description="ok, busy, warn, error or off; empty with no text")
    node: str = Field(description="The node it has that from")


class FlowNow(Answer):
    """One flow and its processes."""

    flow: str
    name: str
    revision: int
    wanted: str
    nodes: list[Node]
    instances: list[Instance] = Field(default_factory=list, description="Of subflows")
    notes: list[str] = Field(default_factory=list)


class HostNow(Answer):
    """The host itself."""

    version: str
    pid: int
    folder: str
    url: str
    mqtt_port: int | None
    log: str
    host: str = Field("", description="Its name; empty: the main host")


class OtherHost(Answer):
    """A host that shares the bus, or that nodes are placed on."""

    name: str
    connected: bool
    nodes: int = Field(description="How many are placed on it")
    machine: str = Field(description="Empty, with what follows, when it never came")
    version: str
    pid: int
    since_ns: int


class Status(Answer):
    """A snapshot."""

    host: HostNow
    flows: list[FlowNow]
    hosts: list[OtherHost] = Field(default_factory=list, description="The other hosts")


@operation("status")
async def status(host: "Host", ask: StatusRequest) -> Status:
    """The host, its flows and the state of every process on all hosts, from what is known; asks no node."""
    return Status(
        host=host_now(host),
        flows=[_flow_now(host, flow) for flow in await host.everywhere(ask.flow)],
        hosts=[OtherHost(**dataclasses.asdict(one)) for one in host.hosts()],
    )


def _flow_now(host: "Host", flow: FlowStatus) -> FlowNow:
    shown = [
        Shown(one.node, one.type, one.badge, one.badge_kind, one.reason if one.state == "failed" else "")
        for one in flow.nodes
    ]
    found = [dataclasses.asdict(one) for one in instances(shown, speakers(host.types))]
    return FlowNow.model_validate({**jsonable(dataclasses.asdict(flow)), "instances": found})


def host_now(host: "Host") -> HostNow:
    """Where the host is reached and where it writes."""
    mqtt_port = host.bus.server.mqtt_port if host.bus.server is not None else None
    return HostNow(
        version=__version__,
        pid=os.getpid(),
        folder=str(host.folder.resolve()),
        url=host.bus.url,
        mqtt_port=mqtt_port,
        log=str(host.log_file.absolute()),
        host=host.options.host,
    )


class Target(FlowAsked):
    """A flow, or one node of it."""

    node: str | None = Field(None, description="null: the whole flow")


class NodeAsked(FlowAsked):
    """One node."""

    node: str


@operation("start")
async def start(host: "Host", ask: Target) -> Deployed:
    """Run a stopped flow again; with a node: enable that node in the document, as a new revision."""
    if ask.node is not None:
        return await _set_disabled(host, ask.flow, ask.node, False)
    return Deployed.of(await host.steer.start_flow(ask.flow))


@operation("stop")
async def stop(host: "Host", ask: Target) -> Deployed:
    """Stop a flow, upstream first; it stays stopped over restarts. With a node: disable that node in the document."""
    if ask.node is not None:
        return await _set_disabled(host, ask.flow, ask.node, True)
    return Deployed.of(await host.steer.stop_flow(ask.flow))


@operation("restart")
async def restart(host: "Host", ask: Target) -> Done:
    """Replace the processes of a node (null: of all) without loss; a failed node is started anew."""
    await host.steer.restart(ask.flow, ask.node)
    return Done()


@operation("pause")
async def pause(host: "Host", ask: Target) -> Done:
    """Handle nothing more: queues fill and push back."""
    await host.steer.pause(ask.flow, ask.node)
    return Done()


@operation("resume")
async def resume(host: "Host", ask: Target) -> Done:
    """Undo `pause`."""
    await host.steer.resume(ask.flow, ask.node)
    return Done()


class Switch(NodeAsked):
    """One node, on or off."""

    on: bool = True


@operation("bypass")
async def bypass(host: "Host", ask: Switch) -> Done:
    """Send what comes in on to the first output of a fitting type, without the node's handler."""
    await host.steer.bypass(ask.flow, ask.node, ask.on)
    return Done()


@operation("disable")
async def disable(host: "Host", ask: Switch) -> Deployed:
    """Disable a node in the document (or enable it with on: false), as a new revision: its process and wires go."""
    return await _set_disabled(host, ask.flow, ask.node, ask.on)


async def _set_disabled(host: "Host", flow: str, node: str, disabled: bool) -> Deployed:
    current = await host.documents.read(flow)
    document = current["document"]
    there = {each["id"]: each for each in document.get("nodes", [])}
    if node not in there:
        inside = node.partition(":")[0]
        do = f"Disable the instance: {flow}.{inside}" if inside in there else f"It has: {', '.join(there)}"
        raise ControlError(
            "unknown_node", f"the document of {flow!r} has no node {node!r}", where=f"{flow}.{node}", do=do
        )
    if disabled:
        there[node]["disabled"] = True
    else:
        there[node].pop("disabled", None)
    text = json.dumps(document, ensure_ascii=False)
    source = current.get("source") or f"flow {flow}"
    return Deployed.of(await host.documents.deploy(text, source, based_on=current["revision"]))


class Killed(Answer):
    """What was killed."""

    pids: list[int]


@operation("kill")
async def kill(host: "Host", ask: NodeAsked) -> Killed:
    """SIGKILL a node's processes, as a crash would; the supervisor restarts them."""
    return Killed(pids=await host.steer.kill(ask.flow, ask.node))


class Injected(NodeAsked):
    """A message for a node."""

    port: str | None = Field(None, description="An input; null: the first. A source's button needs none")
    payload: Any = None
    topic: str = ""


@operation("inject")
async def inject(host: "Host", ask: Injected) -> Done:
    """Put a message into a node's input, or press the button of a source."""
    try:
        payload = from_jsonable(ask.payload)
    except ValueError as e:
        raise ControlError("invalid_request", str(e), where="payload") from None
    await host.steer.inject(ask.flow, ask.node, ask.port, payload, ask.topic)
    return Done()


class LastAsked(NodeAsked):
    """One output port."""

    port: str | None = Field(None, description="null: the first")


class Last(Answer):
    """The newest envelope of a port."""

    message: dict[str, Any] | None = Field(description="null: nothing was sent yet. Bytes are {'$bytes': base64}")


@operation("last")
async def last(host: "Host", ask: LastAsked) -> Last:
    """The newest message of an output port."""
    envelope: Any = await host.steer.last(ask.flow, ask.node, ask.port)
    if isinstance(envelope, bytes):
        envelope = unpack(envelope)
    return Last(message=None if envelope is None else jsonable(envelope))


class Ending(Done):
    """The host ends, and alone."""

    members: list[str] = Field(description="The other hosts that are connected: their nodes go on")


@operation("down")
async def down(host: "Host", ask: Nothing) -> Ending:
    """End the host in order: sources stop, wires drain, then every process ends. Answers before it does."""
    host.request_stop()
    return Ending(members=[one.name for one in host.hosts() if one.connected])
