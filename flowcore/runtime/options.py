"""How a host runs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from flowcore.bus import tls
from flowcore.bus.certificate import Certificate


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
