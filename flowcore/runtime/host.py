"""The host: one machine's runtime. Starts the bus, keeps the flows running, and is what control services call.

    host = Host(HostOptions(folder=Path(".flowcore")))
    await host.start()
    result = await host.deploy(text, "flows/factory.json")
    undrained = await host.stop()

The parts: `reconcile` makes what runs what the store says, `supervise` keeps each process, `ground` is what they
stand on, `look` shows how it is.
"""

import asyncio
import contextlib
import json
import logging
import os
import signal
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from flowcore.buffers import probe
from flowcore.bus import storage, subjects, tls
from flowcore.bus.access import AccessStore
from flowcore.bus.bucket import Bucket, BucketError
from flowcore.bus.certificate import Certificate
from flowcore.bus.connection import Connection
from flowcore.bus.envelope import unpack
from flowcore.bus.jsonable import from_jsonable, jsonable
from flowcore.bus.secrets import SecretStore
from flowcore.bus.server import EmbeddedServer
from flowcore.flow.types import HIDDEN_PORTS, NodeTypeInfo
from flowcore.flow.validate import Checked, check
from flowcore.runtime.busrights import BusRights
from flowcore.runtime.drain import drain
from flowcore.runtime.environment import for_nodes
from flowcore.runtime.flowrun import FlowRun
from flowcore.runtime.flowstore import FlowStore, StoredFlow
from flowcore.runtime.folder import DataFolder
from flowcore.runtime.ground import Ground
from flowcore.runtime.handover import Handovers
from flowcore.runtime.health import Health
from flowcore.runtime.hosts.elsewhere import Elsewhere
from flowcore.runtime.hosts.member import applied, quiesced
from flowcore.runtime.hosts.placed import stored_part
from flowcore.runtime.hosts.presence import Heard
from flowcore.runtime.hosts.shared import SharedBus
from flowcore.runtime.incarnation import Incarnations
from flowcore.runtime.link import LinkClosed, RequestFailed
from flowcore.runtime.logs import HostLog, event
from flowcore.runtime.look import Look
from flowcore.runtime.plans import EVERY_NODE, Desired
from flowcore.runtime.process import StartFailed
from flowcore.runtime.reconcile import Reconciler
from flowcore.runtime.results import (
    DeployRefused,
    DeployResult,
    FlowStatus,
    HostError,
    HostStatus,
    Undrained,
    UnknownFlow,
    UnknownNode,
    UnknownRevision,
)
from flowcore.runtime.supervise import Supervised
from flowcore.runtime.typewatch import TypeWatch
from flowcore.runtime.upgrades import Upgrades
from flowcore.runtime.zygote import ScriptZygote

_CONNECT_TIMEOUT_S = 30.0
_SETTLE_TIMEOUT_S = 60.0
_RESTART_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class HostOptions:
    """How a host runs. Ports 0: any free one; else the port, or the next free one when it is taken."""

    folder: Path = Path(".flowcore")
    host: str = ""  # the name of a member; "": the main host of its bus
    host_id: str = ""  # stands for this machine in handles of shared memory; "": what the machine is
    nats_url: str | None = None  # None: embedded server; else with user and password in it, where it asks for them
    nats_trust: str = tls.SYSTEM  # whose certificate is trusted at `nats_url`: `flowcore.bus.tls`
    listen: str = "127.0.0.1"
    certificate: Certificate | None = None  # the embedded server has TLS
    nats_port: int = 4222
    mqtt_port: int = 1883
    drain_s: float = 10.0
    heartbeat_s: float = 5.0
    start_timeout_s: float = 60.0  # from fork to ready: import, on_start, connect
    terminal: bool = False  # log lines also as plain text on stderr
    runner: str = "flowcore.runtime.runner"
    commands: bool = True  # nodes that run commands may: `up --no-exec`
    nodes_environ: Mapping[str, str] = field(default_factory=dict)  # node processes have it besides


class Host:
    """See the module. All methods but `start` and `run` need a started host.

    Attributes:
        options, folder
        log_file: JSON lines, rotated.
        server: the embedded server, None with `nats_url`.
        connection: the host's own bus connection, with all rights.
        url, user, password, trust: how control services and the command connect (full rights; also in run.json).
        secrets, access: the stores in the data folder.
        is_up: the bus is there, and flows run or are about to; no more from the begin of `stop` on.
        reconciler: `await reconciler.applied(flow, revision)` gives the result of a revision.
    """

    server: EmbeddedServer | None
    connection: Connection
    reconciler: Reconciler

    def __init__(self, options: HostOptions) -> None:
        self.options = options
        self.folder = options.folder
        self.log_file = options.folder / "logs" / "flowcore.jsonl"
        self.url, self.user, self.password = "", None, None  # type: str, str | None, str | None
        self.trust = options.nats_trust
        self.server = None
        self.secrets, self.access = SecretStore(options.folder), AccessStore(options.folder)
        self.is_up, self.stopping = False, False
        self.clock = ""  # the file of a `SharedTime` by which nodes that start tell the time; "": the real time
        self.lost_name = ""  # why it stepped down, when another host has its name now
        self._data = DataFolder(options.folder)
        self._log: HostLog | None = None
        self._rights = BusRights(self.access)
        self._handovers = Handovers(options.folder)
        self._zygote = ScriptZygote(options.folder)
        environ = for_nodes({**os.environ, **options.nodes_environ})
        self._types = TypeWatch(environ, self._on_types, refuse_commands=not options.commands)
        self._upgrades = Upgrades(environ)
        self._health = Health(self._processes, options.heartbeat_s)
        self._tasks: list[asyncio.Task[Any]] = []
        self._stop_asked = asyncio.Event()
        self._is_bus_away = False  # a server of our own tells its own story (`_on_server`)
        self._started: list[Callable[[], Any]] = []  # how to undo what was started, newest last

    @property
    def types(self) -> Mapping[str, NodeTypeInfo]:
        """Node type -> what it is, of all hosts; kept new while packages come and go."""
        return self.shared.types(self._types.known.types)

    @property
    def own_types(self) -> Mapping[str, NodeTypeInfo]:
        """Node type -> what it is, of those that this host itself has."""
        return self._types.known.types

    @property
    def type_problems(self) -> list[str]:
        """Plug-ins that cannot be used, one text each."""
        return [f"plug-in {one.plugin}: {one.text}" if one.plugin else one.text for one in self._types.known.problems]

    @property
    def sandbox_missing(self) -> list[str]:
        """Layers of the sandbox for scripts that this machine lacks; empty until a script was started."""
        return self._zygote.missing

    # Life

    async def start(self) -> None:
        """Lock the folder, start bus and fork server, and begin to run what `flows` and `desired` say.

        Raises:
            HostLocked: another host has the data folder.
            NewerFolder: a newer flowcore has written it.
            BusError, StorageError, TimeoutError: the bus does not start or answer; nothing is left running.
        """
        self._data.lock()
        self._started.append(self._data.unlock)
        try:
            await self._start()
        except BaseException:
            await self._undo()
            raise

    async def _start(self) -> None:
        self._log = HostLog(self.folder / "logs", self.options.terminal)
        self._started.append(self._log.close)
        self._started.append(self._types.stop)
        await asyncio.gather(self._start_bus(), self._types.start(), self._prepare_shared_memory())
        host = self.options.host
        incarnations = Incarnations(self.folder, Bucket(self.connection, storage.HOSTS))
        self.shared = SharedBus(
            self.connection,
            host,
            incarnations,
            self._handovers,
            lambda: (self.own_types, self.secrets.names()),
            Heard(self._on_foreign_types, self._on_host_came, self._on_host_went, self._on_name_lost),
            lambda notice: self._ground.on_notice(notice),
            lambda flow, node: self._ground.say_failed(self._processes(), flow, node),
        )
        self._ground = Ground(
            connection=self.connection,
            rights=self._rights,
            secrets=self.secrets,
            incarnations=incarnations,
            handovers=self._handovers,
            zygote=self._zygote,
            type_list=lambda: self._types.known,
            find=self._find,
            of_flow=self._of_flow,
            upgrades=self._upgrades,
            shared=self.shared,
            host=host,
            host_id=self.options.host_id,
            bus_url=self.options.nats_url or self.url,
            own_server=self.server is not None,
            bus_trust=self.trust,
            runner=self.options.runner,
            start_timeout_s=self.options.start_timeout_s,
            drain_s=self.options.drain_s,
            clock=lambda: self.clock,
            nodes_environ=self.options.nodes_environ,
        )
        self._started += [self._zygote.stop, self._ground.close]
        where = (storage.PLACED, stored_part) if host else ()
        self._store = FlowStore(self.connection, lambda flow: self.reconciler.changed(flow), *where)
        self.reconciler = Reconciler(self._store, self._ground)
        self._started.append(self._store.stop)
        self._look = Look(self._store, self.reconciler, self._health, host)
        self._elsewhere = Elsewhere(self.shared, self._store, self.reconciler)
        self._started.append(self.shared.presence.stop)
        await self.shared.start()
        await self.connection.subscribe("flow.*.*.stats", self._look.on_stats)
        await self._ground.fork_server(()).start()
        await self._store.start()
        self._tasks.append(asyncio.get_running_loop().create_task(self._health.run(), name="health"))
        self._data.write_run_file(
            host=host,
            url=self.url,
            user=self.user,
            password=self.password,
            trust=self.trust,
            outside_url=self.server.outside_url if self.server else self.url,
            mqtt_url=self.server.mqtt_url if self.server else None,
            mqtt_port=self.server.mqtt_port if self.server else None,
            log=str(self.log_file.absolute()),
        )
        self._started.append(self._data.remove_run_file)
        self.is_up = True

    async def _prepare_shared_memory(self) -> None:
        """Before the first fork server, which hands the environment on to nodes."""
        found = await asyncio.to_thread(probe.prepare)
        if found.kind != "memfd":
            event("shared memory", logging.WARNING, detail=f"{found.kind}: {found.why}", do=found.do)

    async def _start_bus(self) -> None:
        """The server, the host's connection to it, and what the engine keeps there."""
        options = self.options
        if options.nats_url is None:
            self.server = EmbeddedServer(
                self.folder,
                listen=options.listen,
                nats_port=options.nats_port,
                mqtt_port=options.mqtt_port,
                certificate=options.certificate,
                on_event=self._on_server,
            )
            await self.server.start(self._rights.everyone())
            self._started.append(self.server.stop)
            self._rights.use(self.server)
            self.url, self.trust = self.server.url, tls.OWN
            host, command = self._rights.host, self._rights.command
            self.user, self.password = command.name, command.password
            self.connection = Connection(
                self.url,
                user=host.name,
                password=host.password,
                name="flowcore host",
                inbox=host.inbox,
                trust=self.trust,
                on_up=self._on_up,
            )
        else:
            parts = urlsplit(options.nats_url)
            self.url = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
            self.user, self.password = (unquote(part) if part else None for part in (parts.username, parts.password))
            self.connection = Connection(
                self.url,
                user=self.user,
                password=self.password,
                name="flowcore host",
                trust=self.trust,
                on_up=self._on_up,
                on_down=self._on_down,
            )
        await self._connect()
        self._started.append(self.connection.close)
        await storage.ensure(self.connection.jetstream(), self.server.room_bytes if self.server else None)

    async def _connect(self) -> None:
        """Connect to the bus; a member waits for it, as it does when the bus goes away later."""
        while True:
            try:
                await self.connection.connect(timeout=_CONNECT_TIMEOUT_S)
                return
            except TimeoutError:
                if not self.options.host:
                    raise
                self._on_down()

    async def stop(self, drain_s: float | None = None) -> list[Undrained]:
        """Quiesce sources, let wires drain, hand over what is left to the next start, end everything."""
        self.is_up, self.stopping = False, True
        event("stopping")
        await self.reconciler.close()
        undrained = await drain(
            self.reconciler.runs, self.options.drain_s if drain_s is None else drain_s, self._handovers
        )
        with contextlib.suppress(TimeoutError, BucketError):  # the bus is away: it is said at the next start
            for flow in self.reconciler.runs:
                if self.shared.is_shared(flow):
                    await self.shared.let_go(flow, (), {})
        for wire in undrained:
            event("not drained", logging.WARNING, flow=wire.flow, wire=wire.wire, unacked=wire.unacked)
        with contextlib.suppress(OSError):  # a full disk must not keep it from ending
            self._data.write_stopped(undrained)
        await self._undo()
        return undrained

    async def _undo(self) -> None:
        """End what was started, newest first; one that fails does not keep the others."""
        self.stopping = True
        for task in self._tasks:
            task.cancel()
        self._rights.close()
        while self._started:
            undo = self._started.pop()
            try:
                done = undo()
                if asyncio.iscoroutine(done):
                    await done
            except Exception:
                logging.getLogger("flowcore.host").exception("%s while stopping", undo)

    async def run(self, on_started: "Callable[[Host], Any] | None" = None) -> list[Undrained]:
        """start(), wait for SIGINT or SIGTERM (or `request_stop()`), stop(); a second signal ends at once."""
        loop = asyncio.get_running_loop()
        signals = (signal.SIGINT, signal.SIGTERM)
        try:
            for number in signals:
                loop.add_signal_handler(number, self._on_signal, number)
            if not await self._start_unless_asked_to_stop():
                return []
            if on_started is not None:
                on_started(self)
            await self._stop_asked.wait()
            return await self.stop()
        finally:
            for number in signals:
                loop.remove_signal_handler(number)

    async def _start_unless_asked_to_stop(self) -> bool:
        """A member may wait long for its bus."""
        starting, stopping = asyncio.ensure_future(self.start()), asyncio.ensure_future(self._stop_asked.wait())
        try:
            await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                return True
            return False
        finally:
            stopping.cancel()
            if not starting.done():
                starting.cancel()
                await asyncio.gather(starting, return_exceptions=True)

    async def begun(self) -> None:
        """Wait until every flow that is stored was applied once; for one that takes too long no longer than that."""
        for flow in self.flows():
            with contextlib.suppress(TimeoutError, UnknownFlow):
                await self._begun(flow)

    async def trouble(self, timeout_s: float) -> str:
        """What keeps this host from doing its work, in a line; "" while it is healthy, or still starts."""
        if not self.is_up:
            return ""
        ended = [task.get_name() for task in self._tasks if task.done() and task.get_name() == "health"]
        if ended or self.reconciler.ended():
            return f"ended without being told to: {', '.join([*ended, *self.reconciler.ended()])}"
        if self.server is not None:  # another's bus may be away: what runs goes on
            try:
                await self.connection.flush(timeout_s)
            except TimeoutError:
                return f"the bus at {self.url} does not answer"
        return ""

    async def stop_asked(self) -> None:
        """Wait until it is told to stop."""
        await self._stop_asked.wait()

    def request_stop(self) -> None:
        """Make `run()` go on to its orderly stop; what `flowcore down` asks for."""
        self._stop_asked.set()

    def _on_signal(self, number: int) -> None:
        if not self._stop_asked.is_set():
            self._stop_asked.set()
            return
        event("ended at once by a second signal", logging.WARNING)
        self._data.remove_run_file()
        # What we started has asked the kernel to die with us, nats-server too.
        os._exit(128 + number)

    # Documents

    def check(self, text: str | bytes, filename: str) -> Checked:
        """Validate with the types, secrets and environment of this host; changes nothing."""
        return check(
            text,
            filename,
            self.types,
            os.environ,
            {*self.secrets.names(), *self.shared.secrets()},
            self.reconciler.others(_id_in(text)),
            self.shared.types_by_host(self.own_types),
            self._upgrades.of,
        )

    async def prepare(self, text: str | bytes) -> None:
        """Have the older configs in a document upgraded by their types, for a `check` of it."""
        with contextlib.suppress(ValueError, RecursionError):  # which the check will tell
            await self._upgrades.prepare([json.loads(text)], self.own_types, self._types.known.code)

    async def deploy(
        self, text: str | bytes, filename: str = "<deploy>", *, based_on: int | None = None, timeout_s: float = 60.0
    ) -> DeployResult:
        """Check, store as a new revision, apply, and say what changed. An unchanged document makes no new revision.

        Args:
            based_on: the revision the author started from; None: whatever is there is replaced.
        Raises:
            DeployRefused: the document has errors; nothing was changed.
            StaleRevision: the newest revision is not `based_on`.
            TimeoutError: it is stored, but not yet applied after `timeout_s`; or the bus is away and nothing was
            stored.
        """
        begun = time.perf_counter()
        await self.prepare(text)
        checked = self.check(text, filename)
        if checked.document is None or checked.resolved is None:
            raise DeployRefused(_id_in(text) or filename, checked.problems)
        flow = checked.document.id
        before, was = self.reconciler.marks(flow), self._elsewhere.before(flow)
        stored = await self._bus(self._store.put(flow, json.loads(text), filename, based_on))
        done = self.reconciler.applied(flow, stored.revision)
        if self.reconciler.marks(flow) == before:  # nothing new: say what runs
            done.close()
            done = self.reconciler.settled(flow, self.reconciler.mark(flow))
        result = await self._in_time(done, timeout_s, f"revision {stored.revision} of flow {flow!r} is stored")
        result = await self._elsewhere.joined(result, was, timeout_s)
        notes = [str(one) for one in checked.problems]
        if not self._desired(flow).running:
            notes.append(f"flow {flow!r} is stopped: it runs when it is started")
        return replace(result, notes=(*notes, *result.notes), took_s=time.perf_counter() - begun)

    async def remove(self, flow: str) -> DeployResult:
        """Stop a flow and take it out of the bucket; its revisions stay in the history."""
        was = self._elsewhere.before(self._known(flow))
        await self._elsewhere.quiet(flow, self.options.drain_s)
        revision = await self._bus(self._store.remove(flow))
        done = self.reconciler.applied(flow, revision)
        result = await self._in_time(done, _SETTLE_TIMEOUT_S, f"flow {flow!r} is removed")
        return await self._elsewhere.joined(result, was, _SETTLE_TIMEOUT_S)

    async def document(self, flow: str, revision: int | None = None) -> dict[str, Any]:
        """{"flow", "revision", "created_ns", "document", "source"} of one revision (None: the newest).

        Raises:
            UnknownFlow, UnknownRevision
        """
        stored = await self._bus(self._store.revision(flow, revision))
        if stored is None:
            if revision is not None and flow in self.flows():
                kept = [each.revision for each in await self._bus(self._store.revisions(flow))]
                raise UnknownRevision(flow, revision, kept)
            raise UnknownFlow(flow, self.flows())
        return _shown(stored)

    async def revisions(self, flow: str) -> list[dict[str, Any]]:
        """As `document` gives them, oldest first, without the documents themselves; deletions as {"deleted": True}."""
        shown = [_shown(stored) for stored in await self._bus(self._store.revisions(flow))]
        if not shown:
            raise UnknownFlow(flow, self.flows())
        for one in shown:
            if one.pop("document") is None:
                one["deleted"] = True
        return shown

    # What should run: kept in `desired`, so it survives restarts of the host

    async def start_flow(self, flow: str) -> DeployResult:
        """Run a stopped flow again."""
        return await self._desire(flow, running=True)

    async def stop_flow(self, flow: str) -> DeployResult:
        """Stop all processes of a flow, upstream first; the document stays."""
        await self._elsewhere.quiet(flow, self.options.drain_s)
        return await self._desire(flow, running=False)

    async def pause(self, flow: str, node: str | None = None) -> None:
        """Handle nothing more: queues fill and push back. None: every node of the flow."""
        await self._begun(flow)
        paused = self._desired(flow).paused
        name = EVERY_NODE if node is None else self._node(flow, node)
        await self._desire(flow, paused=(EVERY_NODE,) if name == EVERY_NODE else tuple(dict.fromkeys((*paused, name))))

    async def resume(self, flow: str, node: str | None = None) -> None:
        """Undo `pause`."""
        await self._begun(flow)
        paused = self._desired(flow).paused
        if node is not None:
            name = self._node(flow, node)
            everyone = self._run(flow).whole
            paused = tuple(everyone.nodes) if EVERY_NODE in paused and everyone else paused
            paused = tuple(one for one in paused if one != name)
        await self._desire(flow, paused=paused if node is not None else ())

    async def bypass(self, flow: str, node: str, on: bool = True) -> None:
        """Send input on to the first output of a fitting type, without the node's handler."""
        await self._begun(flow)
        name = self._node(flow, node)
        others = tuple(one for one in self._desired(flow).bypassed if one != name)
        await self._desire(flow, bypassed=(*others, name) if on else others)

    # Now, and only now

    async def restart(self, flow: str, node: str | None = None) -> None:
        """Replace the processes of a node (None: of all) without loss; a failed node is started anew.

        Raises:
            HostError: a new process did not get ready; an old one that ran goes on.
        """
        await self._begun(flow)
        run = self._run(flow)
        if node is not None and (host := self._elsewhere.host_of(flow, node)):
            await self.shared.members.ask(host, "restart", timeout=_RESTART_TIMEOUT_S, flow=flow, node=node)
            return
        there = [
            self.shared.members.ask(host, "restart", timeout=_RESTART_TIMEOUT_S, flow=flow)
            for host in (self._elsewhere.hosts_of(flow) if node is None else ())
        ]
        elsewhere = asyncio.gather(*there, return_exceptions=True)
        async with run.turn:
            chosen = list(run.processes.values()) if node is None else self._all_of(flow, node)
            failures = await asyncio.gather(*(self._restart(run, one) for one in chosen))
        errors = [error for error in failures if error]
        errors += [str(one) for one in await elsewhere if isinstance(one, Exception)]
        if errors:
            raise HostError("; ".join(errors))

    async def _restart(self, run: FlowRun, one: Supervised) -> str | None:
        plan = await run.late.take(one.plan.process)  # one that is slow to start begins anew
        try:
            async with self._ground.starts:
                await one.restart(plan)
        except StartFailed as e:
            if one.pid is None:
                await one.start_later(e, plan or one.plan)
            return f"{one.plan.flow}.{one.plan.process} did not start: {e.error}"
        return None

    async def kill(self, flow: str, node: str) -> list[int]:
        """SIGKILL a node's processes, as a crash would; the supervisor restarts them. Returns the pids."""
        await self._begun(flow)
        if host := self._elsewhere.host_of(flow, node):
            return list((await self.shared.members.ask(host, "kill", flow=flow, node=node))["pids"])
        pids = [one.kill("killed on request") for one in self._all_of(flow, node)]
        return [pid for pid in pids if pid is not None]

    async def inject(self, flow: str, node: str, port: str | None = None, payload: Any = None, topic: str = "") -> None:
        """Put a message into a node's input (port None: its first), or press the button of a source."""
        await self._begun(flow)
        if host := self._elsewhere.host_of(flow, node):
            request = {"flow": flow, "node": node, "port": port, "payload": jsonable(payload), "topic": topic}
            await self.shared.members.ask(host, "inject", **request)
            return
        one = self._one_of(flow, node)
        if port is not None and port not in one.plan.inputs:
            raise HostError(f"node {node!r} has no input {port!r} (it has: {', '.join(one.plan.inputs) or 'none'})")
        answer = await self._ask(one, "inject", "injected", port=port, payload=payload, topic=topic)
        if answer.get("error"):
            raise HostError(str(answer["error"]))

    async def last(self, flow: str, node: str, port: str | None = None) -> dict[str, Any] | None:
        """The newest envelope of an output port (None: its first), None when it has sent nothing yet."""
        await self._begun(flow)
        if host := self._elsewhere.host_of(flow, node):
            answer = await self.shared.members.ask(host, "last", flow=flow, node=node, port=port)
            return from_jsonable(answer["message"])
        one = self._one_of(flow, node)
        known = (*one.plan.outputs, *HIDDEN_PORTS)
        if port is not None and port not in known:
            raise HostError(f"node {node!r} has no output {port!r} (it has: {', '.join(one.plan.outputs) or 'none'})")
        envelope = (await self._ask(one, "last?", "last", port=port)).get("envelope")
        return unpack(envelope) if isinstance(envelope, bytes) else envelope

    async def _ask(self, one: Supervised, op: str, answer: str, **fields: Any) -> dict[str, Any]:
        try:
            return await one.request(op, answer, **fields)
        except RequestFailed as e:
            raise HostError(str(e)) from None
        except (LinkClosed, TimeoutError):
            where = f"node {one.plan.process!r} of flow {one.plan.flow!r}"
            raise HostError(f"{where} is {one.state} and does not answer") from None

    async def apply_access(self) -> None:
        """The outsiders in `access` changed: tell the bus. Does nothing with `nats_url`, whose users are not ours."""
        await self._rights.apply_access()

    # Looking

    def flows(self) -> list[str]:
        """Ids of all flows, running or not."""
        return sorted(flow for flow, stored in self._store.documents.items() if stored.document is not None)

    def status(self, flow: str | None = None) -> list[FlowStatus]:
        """A snapshot of what runs here, from the pages, the supervisor and the newest stats; asks no node."""
        return [self._look.at(one) for one in ([self._known(flow)] if flow is not None else self.flows())]

    async def everywhere(self, flow: str | None = None) -> list[FlowStatus]:
        """`status`, with the nodes on other hosts as those say."""
        return await self._elsewhere.everywhere(self.status(flow), flow)

    def hosts(self) -> list[HostStatus]:
        """The members of this bus that are there, or that nodes are placed on; a member sees none."""
        return self._elsewhere.hosts()

    def state_key(self, flow: str, node: str) -> str:
        """The key of the `self.state` of a node, or of one replica (`hot#1`), in the bucket `state`."""
        return subjects.state_key(flow, node)

    # Inside

    def _processes(self) -> Iterable[Supervised]:
        for run in list(self.reconciler.runs.values()):
            yield from list(run.processes.values())

    def _find(self, flow: str, node: str) -> list[Supervised]:
        run = self.reconciler.runs.get(flow)
        return run.of_node(node) if run else []

    def _of_flow(self, flow: str) -> list[Supervised]:
        run = self.reconciler.runs.get(flow)
        return list(run.processes.values()) if run else []

    def _known(self, flow: str) -> str:
        if flow not in self.flows():
            raise UnknownFlow(flow, self.flows())
        return flow

    async def _begun(self, flow: str) -> None:
        """Wait until a flow was applied once: right after the host's start its nodes are not known yet."""
        if self._known(flow) not in self.reconciler.results:
            done = self.reconciler.settled(flow, 1)
            await self._in_time(done, _SETTLE_TIMEOUT_S, f"flow {flow!r} is in the bucket")

    def _run(self, flow: str) -> FlowRun:
        run = self.reconciler.runs.get(self._known(flow))
        if run is None:
            raise HostError(f"flow {flow!r} is not applied yet")
        return run

    def _all_of(self, flow: str, node: str) -> list[Supervised]:
        run = self._run(flow)
        found = run.of_node(node) or [one for name, one in run.processes.items() if name == node]
        if not found:
            document = self._store.documents[flow].document or {}
            is_disabled = any(one.get("id") == node and one.get("disabled") for one in document.get("nodes", ()))
            known = list(dict.fromkeys(one.plan.node for one in run.processes.values()))
            raise UnknownNode(flow, node, known, is_disabled)
        return found

    def _one_of(self, flow: str, node: str) -> Supervised:
        found = self._all_of(flow, node)
        return next((one for one in found if one.is_up), found[0])

    def _node(self, flow: str, node: str) -> str:
        return node.partition("#")[0] if self._elsewhere.host_of(flow, node) else self._all_of(flow, node)[0].plan.node

    # Other hosts

    async def applied_here(self, flow: str, version: int, desired: int, changed: str, timeout_s: float) -> DeployResult:
        """On a member: wait until what the main host wrote of a flow is applied; what that did here."""
        done = applied(self._store, self.reconciler, flow, version, desired, changed)
        return await self._in_time(done, timeout_s, f"version {version} of flow {flow!r} is stored")

    async def quiesced_here(self, flow: str) -> bool:
        """On a member: stop a flow's sources here; whether nothing is owed."""
        return await quiesced(self.reconciler, flow)

    def _on_foreign_types(self, changed: set[str]) -> None:
        if not self.stopping and not self.options.host:
            self.reconciler.types_changed(changed)

    def _on_host_came(self, name: str) -> None:
        seen = self.shared.presence.others[name]
        event("host connected", detail=f"{name} on {seen.machine}, process {seen.pid}", host=name)
        if not self.options.host:  # what its nodes log is to be found here, too
            listening = self.connection.subscribe("flow.*.*.log", self._elsewhere.on_log)
            self._tasks.append(asyncio.get_running_loop().create_task(listening))
        self._ground.say_failed(self._processes())

    def _on_host_went(self, name: str) -> None:
        event("host away", logging.WARNING, detail=f"{name} is not heard of; what runs there goes on", host=name)

    def _on_name_lost(self, why: str) -> None:
        if not self.lost_name:
            self.lost_name = why
            event("stepped down", logging.ERROR, detail=why)
            self.request_stop()

    def _desired(self, flow: str) -> Desired:
        return self._store.desired.get(self._known(flow), Desired())

    async def _desire(self, flow: str, **changes: Any) -> DeployResult:
        before, was = self.reconciler.marks(flow), self._elsewhere.before(flow)
        await self._bus(self._store.set_desired(flow, replace(self._desired(flow), **changes)))
        mark = self.reconciler.marks(flow)
        done = self.reconciler.settled(flow, mark if mark != before else self.reconciler.mark(flow))
        result = await self._in_time(done, _SETTLE_TIMEOUT_S, f"what is desired of flow {flow!r} is stored")
        return await self._elsewhere.joined(result, was, _SETTLE_TIMEOUT_S)

    async def _in_time(self, done: Coroutine[Any, Any, DeployResult], timeout_s: float, stored: str) -> DeployResult:
        try:
            async with asyncio.timeout(timeout_s):
                return await done
        except TimeoutError as e:
            raise TimeoutError(str(e) or f"{stored}, but was not applied within {timeout_s:g} s") from None

    async def _bus(self, work: Any) -> Any:
        """Do something that needs the bus, and say so when it is away."""
        try:
            return await work
        except TimeoutError:
            raise TimeoutError("the bus does not answer; nothing was changed, what runs goes on") from None
        except BucketError as e:
            raise HostError(f"{e}; nothing was changed") from None

    def _on_up(self) -> None:
        if self._is_bus_away:
            self._is_bus_away = False
            event("bus back", detail=self.url)
        store = getattr(self, "_store", None)
        if store is not None:
            store.reread_soon()
            self.shared.presence.recheck()
            self._ground.say_failed(self._processes())

    def _on_down(self) -> None:
        if not self._is_bus_away:
            self._is_bus_away = True
            event("bus away", logging.WARNING, detail=f"{self.url} does not answer; wires wait, what runs goes on")

    def _on_types(self, changed: set[str]) -> None:
        event("node types changed", detail=" ".join(sorted(changed)))
        if not self.stopping:
            self.reconciler.types_changed(changed)
            self.shared.presence.describe_soon()
            self._ground.tell("types", types=sorted(changed))

    def _on_server(self, kind: str, detail: str) -> None:
        level = logging.INFO if kind in ("restarted", "disk_free") else logging.WARNING
        event(f"bus {kind.replace('_', ' ')}", level, detail=detail)


def _id_in(text: str | bytes) -> str:
    """The id a document says it has, "" when it cannot be read."""
    with contextlib.suppress(ValueError, RecursionError):
        document = json.loads(text)
        if isinstance(document, dict):
            return str(document.get("id", ""))
    return ""


def _shown(stored: StoredFlow) -> dict[str, Any]:
    return {
        "flow": stored.flow,
        "revision": stored.revision,
        "created_ns": stored.created_ns,
        "document": stored.document,
        "source": stored.source,
    }
