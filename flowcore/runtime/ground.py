"""What flows and their processes stand on: fork servers, incarnations, rights, secrets, streams, and who is told what.

One for each host. `supervise`, `flowrun` and `reconcile` say in protocols what they need; this is it.
"""

import asyncio
import json
import logging
import os
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from flowcore.bus import storage, subjects
from flowcore.bus.connection import Connection
from flowcore.bus.envelope import pack
from flowcore.bus.secrets import SecretStore
from flowcore.bus.wire_ends import wire_id
from flowcore.flow.model import MAIN_HOST
from flowcore.flow.references import settle
from flowcore.flow.resolved import ResolvedFlow, WireSpec
from flowcore.flow.types import NodeTypeInfo
from flowcore.runtime.busrights import BusRights, shared_bus
from flowcore.runtime.environment import for_nodes
from flowcore.runtime.forkclient import ForkServer
from flowcore.runtime.handover import Handovers
from flowcore.runtime.hosts.notices import WireNotice
from flowcore.runtime.hosts.shared import SharedBus
from flowcore.runtime.incarnation import Incarnations
from flowcore.runtime.instances import Shown, around, instances, speakers
from flowcore.runtime.logs import event
from flowcore.runtime.plans import MqttFields, durable_wires
from flowcore.runtime.process import StartFailed
from flowcore.runtime.processplan import ProcessPlan
from flowcore.runtime.results import DeployResult
from flowcore.runtime.supervise import Supervised
from flowcore.runtime.typelist import TypeList
from flowcore.runtime.upgrades import Upgrades
from flowcore.runtime.zygote import ScriptZygote

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_SAID = {  # event of a supervised process -> level; others are no news
    "crashed": logging.WARNING,
    "start failed": logging.WARNING,
    "killed": logging.WARNING,
    "replace failed": logging.ERROR,
    "failed": logging.ERROR,
    "restarted": logging.INFO,
    "recovered": logging.INFO,
}


@dataclass
class Ground:
    """See the module. `find` gives the processes of a node that runs, for telling its neighbours."""

    connection: Connection
    rights: BusRights
    secrets: SecretStore
    incarnations: Incarnations
    handovers: Handovers
    zygote: ScriptZygote
    type_list: Callable[[], TypeList]
    find: Callable[[str, str], list[Supervised]]
    of_flow: Callable[[str], Iterable[Supervised]]
    upgrades: Upgrades
    shared: SharedBus
    host: str  # "" for the main host
    host_id: str  # what stands for this machine in handles of shared memory; "": what the machine is
    bus_url: str
    own_server: bool
    folder: Path  # the data folder
    bus_trust: str
    runner: str
    start_timeout_s: float
    heartbeat_s: float
    drain_s: float
    clock: Callable[[], str]  # the file by which nodes that start tell the time, moved by hand; "": the real time
    nodes_environ: Mapping[str, str]  # what node processes have in their environment besides
    starts: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(2 * (os.cpu_count() or 2)))
    _instances: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)  # what was published last
    _shown_faults: set[tuple[str, str]] = field(default_factory=set)  # flow and process whose badge tells of an end
    fork_servers: dict[tuple[str, tuple[str, ...]], ForkServer] = field(default_factory=dict)

    # Types

    @property
    def types(self) -> Mapping[str, NodeTypeInfo]:
        """The installed node types."""
        return self.type_list().types

    @property
    def all_types(self) -> Mapping[str, NodeTypeInfo]:
        """The node types of all hosts."""
        return self.shared.types(self.types)

    @property
    def code(self) -> Mapping[str, str]:
        """Node type -> what stands for its source."""
        return self.type_list().code

    @property
    def mqtt_fields(self) -> Mapping[str, MqttFields]:
        """Node type -> the config fields that hold topics of the embedded MQTT broker."""
        return self.type_list().mqtt

    # Processes

    def next_incarnation(self) -> int:
        """A number above all that were given before."""
        return self.incarnations.next()

    def fork_server(self, needs: tuple[str, ...]) -> ForkServer:
        """The fork server that has these libraries, as they are installed now; it is started with its first fork."""
        installed = self.type_list().installed
        key = (installed, needs)
        if key not in self.fork_servers:
            for older in [one for one in self.fork_servers if one[0] != installed]:
                self.fork_servers[older].retire()  # it ends with its last child
                if self.fork_servers[older].is_over:
                    del self.fork_servers[older]
            self.fork_servers[key] = ForkServer(
                needs,
                runner=self.runner,
                environ=for_nodes({**os.environ, **self.nodes_environ})
                | ({"FLOWCORE_HOST_ID": self.host_id} if self.host_id else {}),
                on_line=lambda line: event("fork server", logging.WARNING, needs=" ".join(needs), detail=line),
            )
        return self.fork_servers[key]

    def spec(self, plan: ProcessPlan, inc: int) -> dict[str, Any]:
        """What the runner gets; never log it: secrets and the password of the bus are filled in.

        Raises:
            StartFailed: a secret or a name of the environment is not there.
        """
        try:
            config = settle(plan.config, os.environ, self.secrets.get)
        except Exception as e:  # a missing name, a lost key, a file that was tampered with
            what = f"the environment has no {e}" if type(e) is KeyError else str(e.args[0] if e.args else e)
            raise StartFailed(f"its config cannot be filled in: {what}", permanent=True) from None
        return {
            "flow": plan.flow,
            "node": plan.node,
            "process": plan.process,
            "replica": plan.replica,
            "type": plan.type,
            "module": plan.module,
            "qualname": plan.qualname,
            "config": config,
            "settings": plan.settings,
            "inputs": list(plan.inputs),
            "outputs": list(plan.outputs),
            "wires_in": list(plan.wires_in),
            "wires_out": list(plan.wires_out),
            "streams": plan.streams,
            "inc": inc,
            "bus": self._bus(plan),
            "state_key": subjects.state_key(plan.flow, plan.process),
            "mode": plan.mode,
            "script_socket": self.zygote.path if plan.script else None,
            "embedded_mqtt": self.rights.mqtt(plan.flow, plan.process) if plan.mqtt else None,
            "clock": self.clock(),
            "heartbeat_s": self.heartbeat_s,
            "data_folder": str(self.folder.absolute() / "nodes" / plan.flow / plan.process.replace(":", "=")),
        }

    def _bus(self, plan: ProcessPlan) -> dict[str, str | None]:
        if not self.own_server:
            parts = urlsplit(self.bus_url)
            user, password = (unquote(part) if part else None for part in (parts.username, parts.password))
            return shared_bus(self.bus_url, self.bus_trust, user, password, plan.flow, plan.process)
        user_of = self.rights.user(plan.flow, plan.process)
        return {
            "url": self.bus_url,
            "trust": self.bus_trust,
            "user": user_of.name,
            "password": user_of.password,
            "inbox": user_of.inbox,
        }

    # Rights, streams, hand-overs

    async def grant(self, flow: str, plans: Mapping[str, ProcessPlan]) -> None:
        """Give the processes of a flow their rights on the bus, beside those they have."""
        await self.rights.grant(flow, plans)
        if any(plan.script for plan in plans.values()):
            self.zygote.start()

    def revoke_later(self, flow: str, plans: Mapping[str, ProcessPlan], after_s: float) -> None:
        """Take away what these plans do not need, when closed wires have drained."""
        self.rights.revoke_later(flow, plans, after_s)

    def take_handover(self, flow: str, process: str) -> bytes | None:
        """What the last process handed over when the host stopped; it is kept until the next one runs."""
        return self.handovers.read(flow, process)

    def keep_handover(self, flow: str, process: str, handover: bytes) -> None:
        """Keep what a process handed over until it is started again."""
        self.handovers.keep(flow, process, handover)

    # Other hosts

    def is_shared(self, flow: str) -> bool:
        """Whether other hosts run, or ever ran, nodes of this flow."""
        return self.shared.is_shared(flow)

    async def place(self, flow: str, whole: ResolvedFlow | None, running: Collection[str]) -> None:
        """Let other hosts know what a flow is now; `running`: its processes here."""
        await self.shared.place(flow, whole, running)

    async def arrive(self, flow: str, processes: Collection[str], starting: Collection[str]) -> dict[str, str]:
        """Say what is to be here; process -> host, of those in `starting` that another host still holds."""
        return await self.shared.arrive(flow, processes, starting)

    async def cleared(self, flow: str, process: str) -> int:
        """Wait until no other host holds a process; only an incarnation above the one returned may go."""
        return await self.shared.cleared(flow, process)

    async def let_go(self, flow: str, keep: Collection[str], ended: Mapping[str, int]) -> None:
        """Say that of a flow only `keep` is here, and what the others' last incarnations were."""
        await self.shared.let_go(flow, keep, ended)

    async def ensure_streams(self, flow: str, resolved: ResolvedFlow) -> dict[str, dict[str, str]]:
        """Make the streams of durable wires, which is the main host's; wire id -> stream, consumer, subject.

        Raises:
            StorageError, TimeoutError: JetStream refused, or does not answer.
        """
        streams = {}
        for name, wire in durable_wires(resolved).items():
            if self.host:
                where = storage.wire_stream(flow, wire.asdict())
            else:
                where = await storage.ensure_wire(self.connection.jetstream(), flow, wire.asdict())
            streams[name] = {"stream": where.stream, "consumer": where.consumer, "subject": where.subject}
        return streams

    async def remove_streams(self, flow: str, keep: Mapping[str, WireSpec]) -> None:
        """Remove the streams of a flow's durable wires, with what they hold, except those of `keep`."""
        if self.host:
            return
        kept = [storage.wire_stream(flow, wire.asdict()).stream for wire in keep.values()]
        await storage.remove_wires(self.connection.jetstream(), flow, kept)

    # Who is told

    def changed(self, supervised: Supervised, what: str, text: str, **fields: Any) -> None:
        """A process of a node crashed, failed, runs again: into the log, on the bus, and to its neighbours."""
        plan = supervised.plan
        if what == "running":
            self.handovers.forget(plan.flow, plan.process)
            self._tell_of_failed_consumers(supervised)
            self._show_again(supervised)
            return
        if what in ("failed", "recovered"):
            self._tell_producers(supervised, failed=what == "failed")
        if what in ("failed", "crashed", "start failed", "replace failed"):
            self._show(plan, what, text)
        self._show_instances(plan)
        self._log(plan, _SAID.get(what, logging.INFO), what, detail=text, **fields)

    def moved(self, supervised: Supervised) -> None:
        """A process has another state: on the bus, for whoever watches."""
        plan = supervised.plan
        self.tell(
            "process",
            flow=plan.flow,
            node=plan.node,
            process=plan.process,
            state=supervised.state,
            pid=supervised.pid,
            restarts=supervised.restarts,
            reason=supervised.reason,
        )

    def applied(self, result: DeployResult) -> None:
        """A flow was looked at: on the bus, for whoever watches."""
        self.tell("applied", **asdict(result))

    def tell(self, kind: str, **fields: Any) -> None:
        """Publish an event of this host; nobody may be listening, and nothing depends on it."""
        body = {"kind": kind, "host": self.host or MAIN_HOST, "ts": time.time_ns(), **fields}
        self.connection.publish(subjects.EVENTS, json.dumps(body).encode())

    def frame(self, supervised: Supervised, message: dict[str, Any]) -> None:
        """A frame of a process that is not about its life: something for the log."""
        plan = supervised.plan
        match message["op"]:
            case "status":
                self._show_instances(plan)
            case "log":
                level = _LEVELS.get(str(message.get("level")), logging.INFO)
                fields = {
                    k: v
                    for k, v in message.items()
                    if k not in ("op", "level", "text", "re", "flow", "process", "node")
                }
                self._log(plan, level, str(message.get("text", "")), **fields)
            case "refused":
                text = f"the bus refused {message.get('subject')}"
                supervised.badge = (text, "error")
                self._log(plan, logging.ERROR, "refused", detail=text)
            case "gave_up":
                text = f"message {message['epoch']}:{message['seq']} of {message['wire']} was given up"
                self._log(plan, logging.ERROR, "gave up", detail=text)
            case "error":
                detail = f"{message.get('error')}: {message.get('text')}"
                self._log(plan, logging.ERROR, "error", detail=detail, traceback=str(message.get("traceback") or ""))
            case "failed":
                self._log(plan, logging.ERROR, "could not do what it was told", detail=str(message.get("error")))

    def line(self, supervised: Supervised, stream: str, text: str) -> None:
        """A process printed a line."""
        self._log(supervised.plan, logging.WARNING if stream == "stderr" else logging.INFO, text, stream=stream)

    def _log(self, plan: ProcessPlan, level: int, text: str, **fields: Any) -> None:
        event(text, level, flow=plan.flow, node=plan.node, process=plan.process, **fields)
        entry = {
            "ts": time.time_ns(),
            "level": logging.getLevelName(level).lower(),
            "event": text,
            "process": plan.process,
            "host": self.host or MAIN_HOST,
        }
        entry |= {key: value for key, value in fields.items() if value not in ("", None)}
        self._publish(plan, "log", entry)

    def _show(self, plan: ProcessPlan, what: str, text: str) -> None:
        """A badge that the process itself cannot show any more."""
        self._shown_faults.add((plan.flow, plan.process))
        badge = {"ts": time.time_ns(), "text": f"{what}: {text}"[:200], "kind": "error", "process": plan.process}
        self._publish(plan, "status", badge)

    def _show_again(self, supervised: Supervised) -> None:
        """It runs: what was shown of its end is no longer so, also where the new process has nothing to say."""
        plan = supervised.plan
        if (plan.flow, plan.process) in self._shown_faults:
            self._shown_faults.discard((plan.flow, plan.process))
            text, kind = supervised.badge
            badge = {"ts": time.time_ns(), "text": text, "kind": kind or "ok", "process": plan.process}
            self._publish(plan, "status", badge)
            self._show_instances(plan)

    def _show_instances(self, plan: ProcessPlan) -> None:
        """What the instances show that this process stands in, where that has changed: as badges of theirs."""
        mine = around(plan.node)
        if not mine:
            return
        shown = [
            Shown(one.plan.node, one.plan.type, *one.badge, one.reason if one.state == "failed" else "")
            for one in self.of_flow(plan.flow)
            if one.plan.node.startswith(f"{mine[-1]}:")
        ]
        for one in instances(shown, speakers(self.types)):
            if one.instance in mine and self._instances.get((plan.flow, one.instance), ("", "")) != (
                one.text,
                one.kind,
            ):
                self._instances[plan.flow, one.instance] = (one.text, one.kind)
                badge = {"node": one.instance, "text": one.text, "kind": one.kind, "ts": time.time_ns()}
                self.connection.publish(subjects.event(plan.flow, one.instance, "status"), pack(badge))

    def _publish(self, plan: ProcessPlan, kind: str, body: dict[str, Any]) -> None:
        try:
            self.connection.publish(subjects.event(plan.flow, plan.node, kind), pack(body))
        except (TypeError, ValueError):
            self.connection.publish(
                subjects.event(plan.flow, plan.node, kind), pack({k: str(v) for k, v in body.items()})
            )

    def _tell_producers(self, supervised: Supervised, failed: bool) -> None:
        plan = supervised.plan
        for wire in plan.wires_in:
            producers = self.find(wire["from_flow"] or plan.flow, wire["producer"])
            for producer in producers:
                self._tell(producer, plan.flow, plan.replica, wire, failed)
            if not producers:
                self._say(plan, wire, failed)

    def _tell_of_failed_consumers(self, supervised: Supervised) -> None:
        plan = supervised.plan
        is_elsewhere = False
        for wire in plan.wires_out:
            consumers = self.find(wire["to_flow"] or plan.flow, wire["consumer"])
            is_elsewhere |= not consumers
            for consumer in consumers:
                if consumer.state == "failed":
                    self._tell(supervised, consumer.plan.flow, consumer.plan.replica, wire, True)
        if is_elsewhere and self.shared.presence.others:
            self.shared.notices.ask(plan.flow, plan.node)

    def _tell(
        self, producer: Supervised, consumer_flow: str, replica: int | None, wire: Mapping[str, Any], failed: bool
    ) -> None:
        """The wire as the producer's document has it: an end in another flow is named from its side."""
        seen = dict(wire)
        if producer.plan.flow != consumer_flow:
            seen |= {"from_flow": "", "to_flow": consumer_flow}
        producer.send("consumer_failed", wire=wire_id(seen), failed=failed, replica=replica)

    def _say(self, plan: ProcessPlan, wire: Mapping[str, Any], failed: bool) -> None:
        """The producer is on another host, if it is anywhere."""
        if self.shared.presence.others:
            flow = wire["from_flow"] or plan.flow
            notice = WireNotice(flow, wire["producer"], plan.flow, plan.replica, dict(wire), failed)
            self.shared.notices.say(notice)

    def on_notice(self, notice: WireNotice) -> None:
        """A consumer on another host has failed, or runs again."""
        for producer in self.find(notice.flow, notice.producer):
            self._tell(producer, notice.consumer_flow, notice.replica, notice.wire, notice.failed)

    def say_failed(self, everyone: Iterable[Supervised], flow: str = "", producer: str = "") -> None:
        """Tell other hosts which consumers here have failed: all, or those of one producer."""
        for one in everyone:
            if one.state != "failed":
                continue
            for wire in one.plan.wires_in:
                ends = (wire["from_flow"] or one.plan.flow, wire["producer"])
                if (not flow or ends == (flow, producer)) and not self.find(*ends):
                    self._say(one.plan, wire, True)

    async def close(self) -> None:
        """End the fork servers."""
        await asyncio.gather(*(server.stop() for server in self.fork_servers.values()))
