"""The host: one machine's runtime. Starts the bus, keeps the flows running, and is what control services call.

    host = Host(HostOptions(folder=Path(".flowcore")))
    await host.start()
    result = await host.documents.deploy(text, "flows/factory.json")
    undrained = await host.stop()

Puts the parts together, in their order, and takes them apart again; passes on to them what it hears of node types and
other hosts. The parts do the work: `documents` takes flows in, `reconcile` makes what runs what the store says,
`supervise` keeps each process, `ground` is what they stand on, `steering` changes what runs, `look` shows how it is.
Handles no signal (`signals` does) and no message.

Invariant: what was started is undone, newest first, also when the start fails half way.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

from flowcore.buffers import probe
from flowcore.bus import storage, subjects
from flowcore.bus.access import AccessStore
from flowcore.bus.bucket import Bucket, BucketError
from flowcore.bus.secrets import SecretStore
from flowcore.flow.types import NodeTypeInfo
from flowcore.runtime.busrights import BusRights
from flowcore.runtime.documents import Documents
from flowcore.runtime.drain import drain
from flowcore.runtime.environment import for_nodes
from flowcore.runtime.flowstore import FlowStore
from flowcore.runtime.folder import DataFolder
from flowcore.runtime.ground import Ground
from flowcore.runtime.handover import Handovers
from flowcore.runtime.health import Health
from flowcore.runtime.hostbus import HostBus
from flowcore.runtime.hosts.elsewhere import Elsewhere
from flowcore.runtime.hosts.member import applied, quiesced
from flowcore.runtime.hosts.placed import stored_part
from flowcore.runtime.hosts.presence import Heard
from flowcore.runtime.hosts.shared import SharedBus
from flowcore.runtime.incarnation import Incarnations
from flowcore.runtime.logs import HostLog, event
from flowcore.runtime.look import Look
from flowcore.runtime.options import HostOptions
from flowcore.runtime.patience import in_time
from flowcore.runtime.reconcile import Reconciler
from flowcore.runtime.results import DeployResult, FlowStatus, HostStatus, Undrained, UnknownFlow
from flowcore.runtime.steering import Steering
from flowcore.runtime.supervise import Supervised
from flowcore.runtime.typewatch import TypeWatch
from flowcore.runtime.upgrades import Upgrades
from flowcore.runtime.zygote import ScriptZygote


class Host:
    """See the module. What asks for flows or changes them needs a started host.

    Attributes:
        options, folder
        log_file: JSON lines, rotated.
        bus: its server, its connection with all rights, and how control services and the command connect.
        documents: how flows come in and are looked up.
        steer: what is done to flows and nodes while they run.
        secrets, access: the stores in the data folder.
        is_up: the bus is there, and flows run or are about to; no more from the begin of `stop` on.
        reconciler: `await reconciler.applied(flow, revision)` gives the result of a revision.
    """

    documents: Documents
    steer: Steering
    reconciler: Reconciler

    def __init__(self, options: HostOptions) -> None:
        self.options = options
        self.folder = options.folder
        self.log_file = options.folder / "logs" / "flowcore.jsonl"
        self.secrets, self.access = SecretStore(options.folder), AccessStore(options.folder)
        self.is_up, self.stopping = False, False
        self.clock = ""  # the file of a `SharedTime` by which nodes that start tell the time; "": the real time
        self.lost_name = ""  # why it stepped down, when another host has its name now
        self._data = DataFolder(options.folder)
        self._log: HostLog | None = None
        self._rights = BusRights(self.access)
        self.bus = HostBus(options, self._rights, self._on_up)
        self._handovers = Handovers(options.folder)
        self._zygote = ScriptZygote(options.folder)
        environ = for_nodes({**os.environ, **options.nodes_environ})
        self._types = TypeWatch(environ, self._on_types, refuse_commands=not options.commands)
        self._upgrades = Upgrades(environ)
        self._health = Health(self._processes, options.heartbeat_s)
        self._tasks: list[asyncio.Task[Any]] = []
        self._stop_asked = asyncio.Event()
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

    async def apply_access(self) -> None:
        """The outsiders in `access` changed: tell the bus. Does nothing with `nats_url`, whose users are not ours."""
        await self._rights.apply_access()

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
        self._started.append(self.bus.stop)
        await asyncio.gather(self.bus.start(), self._types.start(), self._prepare_shared_memory())
        host = self.options.host
        incarnations = Incarnations(self.folder, Bucket(self.bus.connection, storage.HOSTS))
        self.shared = SharedBus(
            self.bus.connection,
            host,
            incarnations,
            self._handovers,
            lambda: (self.own_types, self.secrets.names()),
            Heard(self._on_foreign_types, self._on_host_came, self._on_host_went, self._on_name_lost),
            lambda notice: self._ground.on_notice(notice),
            lambda flow, node: self._ground.say_failed(self._processes(), flow, node),
        )
        self._ground = Ground(
            connection=self.bus.connection,
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
            bus_url=self.options.nats_url or self.bus.url,
            own_server=self.bus.server is not None,
            folder=self.folder,
            bus_trust=self.bus.trust,
            runner=self.options.runner,
            start_timeout_s=self.options.start_timeout_s,
            heartbeat_s=self.options.heartbeat_s,
            drain_s=self.options.drain_s,
            clock=lambda: self.clock,
            nodes_environ=self.options.nodes_environ,
        )
        self._started += [self._zygote.stop, self._ground.close]
        where = (storage.PLACED, stored_part) if host else ()
        self._store = FlowStore(self.bus.connection, lambda flow: self.reconciler.changed(flow), *where)
        self.reconciler = Reconciler(self._store, self._ground)
        self._started.append(self._store.stop)
        self._look = Look(self._store, self.reconciler, self._health, host)
        self._elsewhere = Elsewhere(self.shared, self._store, self.reconciler)
        self.documents = Documents(self._store, self.reconciler, self._elsewhere, self._ground)
        self.steer = Steering(
            self._store, self.reconciler, self._elsewhere, self.shared, self._ground, self.options.drain_s
        )
        self._started.append(self.shared.presence.stop)
        await self.shared.start()
        await self.bus.connection.subscribe("flow.*.*.stats", self._look.on_stats)
        await self._ground.fork_server(()).start()
        await self._store.start()
        self._tasks.append(asyncio.get_running_loop().create_task(self._health.run(), name="health"))
        self._data.write_run_file(
            host=host,
            url=self.bus.url,
            user=self.bus.user,
            password=self.bus.password,
            trust=self.bus.trust,
            outside_url=self.bus.server.outside_url if self.bus.server else self.bus.url,
            mqtt_url=self.bus.server.mqtt_url if self.bus.server else None,
            mqtt_port=self.bus.server.mqtt_port if self.bus.server else None,
            log=str(self.log_file.absolute()),
        )
        self._started.append(self._data.remove_run_file)
        self.is_up = True

    async def _prepare_shared_memory(self) -> None:
        """Before the first fork server, which hands the environment on to nodes."""
        found = await asyncio.to_thread(probe.prepare)
        if found.kind != "memfd":
            event("shared memory", logging.WARNING, detail=f"{found.kind}: {found.why}", do=found.do)

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

    async def begun(self) -> None:
        """Wait until every flow that is stored was applied once; for one that takes too long no longer than that."""
        for flow in self.flows():
            with contextlib.suppress(TimeoutError, UnknownFlow):
                await self.steer.begun(flow)

    async def trouble(self, timeout_s: float) -> str:
        """What keeps this host from doing its work, in a line; "" while it is healthy, or still starts."""
        if not self.is_up:
            return ""
        ended = [task.get_name() for task in self._tasks if task.done() and task.get_name() == "health"]
        if ended or self.reconciler.ended():
            return f"ended without being told to: {', '.join([*ended, *self.reconciler.ended()])}"
        if self.bus.server is not None:  # another's bus may be away: what runs goes on
            try:
                await self.bus.connection.flush(timeout_s)
            except TimeoutError:
                return f"the bus at {self.bus.url} does not answer"
        return ""

    @property
    def is_stop_asked(self) -> bool:
        """Whether it was told to stop."""
        return self._stop_asked.is_set()

    async def stop_asked(self) -> None:
        """Wait until it is told to stop."""
        await self._stop_asked.wait()

    def request_stop(self) -> None:
        """Tell whoever runs it (`signals.run_until_stopped`) to stop it in order; what `flowcore down` asks for."""
        self._stop_asked.set()

    def end_at_once(self, status: int) -> NoReturn:
        """End this process now: nothing drains, nothing is handed over."""
        self._data.remove_run_file()
        # What we started has asked the kernel to die with us, nats-server too.
        os._exit(status)

    # Looking

    def flows(self) -> list[str]:
        """Ids of all flows, running or not."""
        return self._store.flows()

    def status(self, flow: str | None = None) -> list[FlowStatus]:
        """A snapshot of what runs here, from the pages, the supervisor and the newest stats; asks no node."""
        return [self._look.at(one) for one in ([self._store.known(flow)] if flow is not None else self.flows())]

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

    # Other hosts

    async def applied_here(self, flow: str, version: int, desired: int, changed: str, timeout_s: float) -> DeployResult:
        """On a member: wait until what the main host wrote of a flow is applied; what that did here."""
        done = applied(self._store, self.reconciler, flow, version, desired, changed)
        return await in_time(done, timeout_s, f"version {version} of flow {flow!r} is stored")

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
            listening = self.bus.connection.subscribe("flow.*.*.log", self._elsewhere.on_log)
            self._tasks.append(asyncio.get_running_loop().create_task(listening))
        self._ground.say_failed(self._processes())

    def _on_host_went(self, name: str) -> None:
        event("host away", logging.WARNING, detail=f"{name} is not heard of; what runs there goes on", host=name)

    def _on_name_lost(self, why: str) -> None:
        if not self.lost_name:
            self.lost_name = why
            event("stepped down", logging.ERROR, detail=why)
            self.request_stop()

    def _on_up(self) -> None:
        store = getattr(self, "_store", None)
        if store is not None:
            store.reread_soon()
            self.shared.presence.recheck()
            self._ground.say_failed(self._processes())

    def _on_types(self, changed: set[str]) -> None:
        if changed:
            event("node types changed", detail=" ".join(sorted(changed)))
        if self.stopping:
            return
        if changed:
            self.reconciler.types_changed(changed)
            self.shared.presence.describe_soon()
        self._ground.tell("types", types=sorted(changed))
