"""What `flowcore up` runs: the host, its control services, the watched folder, simulators and the live table."""

import asyncio
import contextlib
import json
import resource
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from flowcore.bus.tls import SYSTEM, Untrusted
from flowcore.cli import out
from flowcore.cli.files import base_of, flow_id, read_flow_file, remember_base
from flowcore.cli.folder import FlowFolder
from flowcore.cli.live import show
from flowcore.cli.simulators import Simulators
from flowcore.cli.summary import not_drained, summary
from flowcore.gateway.process import Gateway, GatewayFailed, GatewayOptions
from flowcore.runtime import agentfolder
from flowcore.runtime.control import OPERATIONS, ControlError, ControlServices
from flowcore.runtime.control.errors import explain
from flowcore.runtime.host import Host
from flowcore.runtime.notify import Notifier
from flowcore.runtime.options import HostOptions
from flowcore.runtime.results import HostError, HostLocked, Undrained
from flowcore.runtime.signals import run_until_stopped

if TYPE_CHECKING:
    from rich.console import Console

    from flowcore.bus.certificate import Certificate

_FILES = 65_536


@dataclass(frozen=True)
class ServeOptions:
    """What `up` was asked for."""

    data: Path
    flows: tuple[Path, ...] = ()
    watch: Path | None = None
    table: bool = False
    simulate: tuple[str, ...] = ()
    host: str = ""
    host_id: str = ""
    nats: str | None = None
    nats_ca: Path | None = None
    listen: str = "127.0.0.1"
    certificate: "Certificate | None" = None
    nats_port: int = 4222
    mqtt_port: int = 1883
    drain_s: float = 10.0
    commands: bool = True
    agents: Path | None = None  # None: beside the data folder
    editor: bool = True
    http_port: int = 1880
    http_names: tuple[str, ...] = ()
    json: bool = False


class Serve:
    """One run of a host with what stands beside it."""

    def __init__(self, options: ServeOptions) -> None:
        self._options = options
        self._is_live = options.table and sys.stdout.isatty() and not options.json
        self._services: ControlServices | None = None
        self._beside: list[asyncio.Task[None]] = []
        self._simulators = Simulators(options.data, options.simulate, self.say)
        self._gateway: Gateway | None = None
        self._failure: out.Failed | None = None
        self._console: Console | None = None

    async def run(self) -> None:
        """Run until the host is told to stop.

        Raises:
            Failed: another host has the data folder, the bus does not start, or a flow file given at start has errors.
        """
        options = self._options
        _allow_files()
        agentfolder.tell(options.agents or agentfolder.beside(options.data))  # before anything is started
        host = Host(
            HostOptions(
                folder=options.data,
                host=options.host,
                host_id=options.host_id,
                nats_url=options.nats,
                nats_trust=str(options.nats_ca.absolute()) if options.nats_ca else SYSTEM,
                listen=options.listen,
                certificate=options.certificate,
                nats_port=options.nats_port,
                mqtt_port=options.mqtt_port,
                drain_s=options.drain_s,
                commands=options.commands,
                terminal=sys.stderr.isatty() and not self._is_live,
            )
        )
        self._notifier = Notifier(host)
        try:
            self._notifier.start()
            undrained = await run_until_stopped(host, self._started)
        except HostLocked as e:
            raise out.Failed(*_cut(str(e)), pid=e.pid) from None
        except Untrusted as e:
            do = "Give the file with the certificates to trust: --nats-ca FILE"
            raise out.Failed(f"the bus at {host.bus.url}: {e}", do) from None
        except HostError as e:  # its name is taken
            raise out.Failed(*_cut(str(e))) from None
        except (RuntimeError, OSError) as e:  # the bus or its storage
            where = f"{e.filename}: {e.strerror}" if isinstance(e, OSError) and e.filename else str(e)
            raise out.Failed(where, "Look at this machine: flowcore doctor") from None
        finally:
            await self._end_beside()
            self._notifier.stop()
        self._say_undrained(undrained)
        if host.lost_name:
            raise out.Failed(host.lost_name, "Start it again under another name, or stop the other host first.")
        if self._failure is not None:
            raise self._failure

    def _started(self, host: Host) -> None:
        self._beside.append(asyncio.create_task(self._begin(host)))

    async def _begin(self, host: Host) -> None:
        try:
            self._services = ControlServices(host)
            await self._services.start()
            self._say_where(host)
            if self._options.editor and not self._options.host:
                self._beside.append(asyncio.create_task(self._start_gateway()))
            for file in self._options.flows:
                await self._deploy(host, file)
            await self._simulators.start()
            if self._options.watch is not None:
                folder = FlowFolder(host, self._options.watch, self.say)
                await folder.scan()
                self._beside.append(asyncio.create_task(folder.run()))
            await host.begun()
            self._notifier.ready()
            if not host.flows() and not self._options.host:
                self.say("no flows yet: flowcore deploy FILE in another terminal, or begin with flowcore init")
        except out.Failed as e:
            self._failure = e
            host.request_stop()
            return
        except Exception as e:
            self._failure = out.Failed(f"{type(e).__name__}: {e}", "This is a fault in flowcore; please report it.")
            host.request_stop()
            raise
        if self._options.table and not self._options.json:
            self._beside.append(asyncio.create_task(self._show_table(host)))

    async def _start_gateway(self) -> None:
        """Beside everything else: flows do not wait for the editor, and run without it."""
        options = self._options
        self._gateway = gateway = Gateway(
            GatewayOptions(options.data, options.listen, options.http_port, options.certificate, options.http_names)
        )
        try:
            await gateway.start()
        except (GatewayFailed, OSError) as e:
            self.say(f"the editor does not run: {e}", error=ControlError("failed", f"gateway: {e}"))
            return
        self.say(f"editor {gateway.start_url()}", editor={"url": gateway.url, "start_url": gateway.start_url()})

    async def _deploy(self, host: Host, file: Path) -> None:
        """Deploy a file given at start: errors end it, unless a folder is watched, where they can be repaired."""
        text = read_flow_file(file)
        if newer := await self._newer_than(host, file, text):
            flow, base, now = newer
            keep = f"{file} has not changed since revision {base}: revision {now} of {flow}, deployed since, is kept"
            self.say(f"{keep}; to go back: flowcore deploy {file}", kept={"flow": flow, "revision": now})
            return
        request = {"documents": [{"document": text, "file": str(file)}]}
        try:
            done = await OPERATIONS["deploy"](host, request)
        except Exception as e:
            error = explain(e)
            if self._options.watch is None:
                raise out.Failed(str(error), error.do, code=error.code, **error.details) from None
            self.say("\n".join([*error.details.get("problems", ()), f"{error}. {error.do}"]), error=error)
            return
        for each in done["flows"]:
            remember_base(self._options.data, file, each["flow"], each["revision"])
            self.say(summary(each), deployed=each)

    async def _newer_than(self, host: Host, file: Path, text: str) -> tuple[str, int, int] | None:
        """What was deployed on top of a file that has not changed since, as in the editor: it must not be lost.

        Returns:
            The flow, the revision that the file was last the same as, and the newest.
        """
        flow = flow_id(text)
        base = base_of(self._options.data, file, flow) if flow else None
        if flow is None or base is None:
            return None
        try:
            now, then = await host.documents.read(flow), await host.documents.read(flow, base)
        except HostError:  # it was removed, or that revision is no longer kept
            return None
        is_behind = now["revision"] > base and json.loads(text) == then["document"]
        return (flow, base, now["revision"]) if is_behind else None

    async def _show_table(self, host: Host) -> None:
        async def look() -> dict[str, Any]:
            return await OPERATIONS["status"](host, {})

        await show(look, on_console=self._take_console)

    def _take_console(self, console: "Console | None") -> None:
        self._console = console

    def say(self, text: str, error: ControlError | None = None, **event: Any) -> None:
        """Tell the user: above the live table, as a line, or as JSON."""
        if self._options.json:
            out.line(error.asdict() if error is not None else event or {"text": text})
        elif self._console is not None:
            self._console.print(text, markup=False, highlight=False)
        else:
            print(text, file=sys.stderr if error is not None else sys.stdout, flush=True)

    def _say_where(self, host: Host) -> None:
        from flowcore.runtime.control.nodes import host_now

        now = host_now(host)
        mqtt = f", MQTT on port {now.mqtt_port}" if now.mqtt_port else ""
        as_member = f" as host {now.host}" if now.host else ""
        lines = [
            f"flowcore {now.version} is up{as_member}: NATS at {now.url}{mqtt}",
            *self._other_ports(host),
            f"data folder {now.folder}, log {now.log}",
            f"stop with Ctrl-C or: flowcore down --data {self._options.data}",
            *host.type_problems,
        ]
        self.say("\n".join(lines), up=now.model_dump(), problems=list(host.type_problems))

    def _other_ports(self, host: Host) -> list[str]:
        """A port that is not the one asked for surprises whoever has it in a client's settings."""
        if host.bus.server is None:
            return []
        asked = {"NATS": self._options.nats_port, "MQTT": self._options.mqtt_port}
        got = {"NATS": urlsplit(host.bus.server.url).port, "MQTT": host.bus.server.mqtt_port}
        return [
            f"port {asked[what]} was taken: {what} has {got[what]} in this folder, and keeps it"
            for what in asked
            if asked[what] not in (0, got[what])
        ]

    def _say_undrained(self, undrained: list[Undrained]) -> None:
        for wire in undrained:
            self.say(not_drained(wire), undrained=asdict(wire))

    async def _end_beside(self) -> None:
        for task in self._beside:
            task.cancel()
        await asyncio.gather(*self._beside, return_exceptions=True)
        await self._simulators.stop()
        if self._gateway is not None:
            await self._gateway.stop()
        if self._services is not None:
            with contextlib.suppress(OSError, TimeoutError):
                await self._services.stop()


def _allow_files() -> None:
    """Take as many open files as we may: each node costs the host five, and most systems begin with 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _cut(text: str) -> tuple[str, str]:
    """What is wrong, and what to do: the host writes them as one sentence with a semicolon."""
    what, _, do = text.partition("; ")
    return what, do[:1].upper() + do[1:]
