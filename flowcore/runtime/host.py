"""The host: one machine's runtime. Starts the bus, keeps the flows running, and is what control services call.

    host = Host(HostOptions(folder=Path(".flowcore")))
    await host.start()
    result = await host.deploy(text, "flows/factory.json")
    undrained = await host.stop()
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flowcore.runtime.results import DeployResult, FlowStatus, Undrained

if TYPE_CHECKING:
    from flowcore.bus.access import AccessStore
    from flowcore.bus.connection import Connection
    from flowcore.bus.secrets import SecretStore
    from flowcore.bus.server import EmbeddedServer
    from flowcore.flow.types import NodeTypeInfo
    from flowcore.flow.validate import Checked


@dataclass(frozen=True)
class HostOptions:
    """How a host runs. Ports 0: any free one; else the port, or the next free one when it is taken."""

    folder: Path = Path(".flowcore")
    nats_url: str | None = None  # None: embedded server
    listen: str = "127.0.0.1"
    nats_port: int = 4222
    mqtt_port: int = 1883
    drain_s: float = 10.0
    heartbeat_s: float = 5.0
    terminal: bool = False  # log lines also as plain text on stderr
    runner: str = "flowcore.runtime.runner"


class Host:
    """See the module. All methods but `start` need a started host.

    Attributes:
        options, folder
        server: the embedded server, None with `nats_url`.
        connection: the host's own bus connection, with all rights.
        url, user, password: how control services and the command connect (full rights; also in run.json).
        types: node type -> NodeTypeInfo, kept new while packages come and go.
        type_problems: plug-ins that could not be read, one text each.
        secrets, access: the stores in the data folder.
    """

    server: "EmbeddedServer | None"
    connection: "Connection"
    types: "Mapping[str, NodeTypeInfo]"
    type_problems: list[str]
    secrets: "SecretStore"
    access: "AccessStore"

    def __init__(self, options: HostOptions) -> None: ...

    # Life

    async def start(self) -> None:
        """Lock the folder, start bus, fork server and script zygote, and run what `flows` and `desired` say.

        Raises:
            HostLocked: another host has the data folder.
        """

    async def stop(self, drain_s: float | None = None) -> list[Undrained]:
        """Quiesce sources, let wires drain, hand over what is left to the next start, end everything."""

    async def run(self, on_started: "Callable[[Host], Any] | None" = None) -> list[Undrained]:
        """start(), wait for SIGINT or SIGTERM (or `request_stop()`), stop(); a second signal ends at once."""

    def request_stop(self) -> None:
        """Make `run()` go on to its orderly stop; what `flowcore down` asks for."""

    # Documents

    def check(self, text: str | bytes, filename: str) -> "Checked":
        """Validate with the types, secrets and environment of this host; changes nothing."""

    async def deploy(
        self, text: str | bytes, filename: str = "<deploy>", *, based_on: int | None = None, timeout_s: float = 60.0
    ) -> DeployResult:
        """Check, store as a new revision, apply, and say what changed. An unchanged document makes no new revision.

        Args:
            based_on: the revision the author started from; None: whatever is there is replaced.
        Raises:
            DeployRefused: the document has errors; nothing was changed.
            StaleRevision: the newest revision is not `based_on`.
            TimeoutError: it is stored, but not yet applied after `timeout_s`.
        """

    async def remove(self, flow: str) -> DeployResult:
        """Stop a flow and take it out of the bucket; its revisions stay in the history."""

    async def document(self, flow: str, revision: int | None = None) -> dict[str, Any]:
        """{"flow", "revision", "created_ns", "document", "source"} of one revision (None: the newest).

        Raises:
            UnknownFlow: also when that revision is no longer kept.
        """

    async def revisions(self, flow: str) -> list[dict[str, Any]]:
        """As `document` gives them, oldest first, without the documents themselves; deletions as {"deleted": True}."""

    # What should run: kept in `desired`, so it survives restarts of the host

    async def start_flow(self, flow: str) -> DeployResult:
        """Run a stopped flow again."""

    async def stop_flow(self, flow: str) -> DeployResult:
        """Stop all processes of a flow, upstream first; the document stays."""

    async def pause(self, flow: str, node: str | None = None) -> None:
        """Handle nothing more: queues fill and push back. None: every node of the flow."""

    async def resume(self, flow: str, node: str | None = None) -> None:
        """Undo `pause`."""

    async def bypass(self, flow: str, node: str, on: bool = True) -> None:
        """Send input on to the first output of a fitting type, without the node's handler."""

    # Now, and only now

    async def restart(self, flow: str, node: str | None = None) -> None:
        """Replace the processes of a node (None: of all) without loss; a failed node is started anew."""

    async def kill(self, flow: str, node: str) -> list[int]:
        """SIGKILL a node's processes, as a crash would; the supervisor restarts them. Returns the pids."""

    async def inject(self, flow: str, node: str, port: str | None = None, payload: Any = None, topic: str = "") -> None:
        """Put a message into a node's input (port None: its first), or press the button of a source."""

    async def last(self, flow: str, node: str, port: str | None = None) -> dict[str, Any] | None:
        """The newest envelope of an output port (None: its first), None when it has sent nothing yet."""

    # Looking

    def flows(self) -> list[str]:
        """Ids of all flows, running or not."""

    def status(self, flow: str | None = None) -> list[FlowStatus]:
        """A snapshot from the pages, the supervisor and the newest stats; asks no node."""

    def state_key(self, flow: str, node: str) -> str:
        """The key of a node's `self.state` in the bucket `state`."""
