"""What a service manager hears of a host: systemd's notification protocol, a line a datagram (`man sd_notify`).

    READY=1                the flows that the data folder has are applied
    STATUS=...             a line for `systemctl status`
    WATCHDOG=1             twice in the time the manager allows, as long as the host is healthy
    EXTEND_TIMEOUT_USEC=   while it starts: a node may take long to load
    STOPPING=1             it was told to stop, and drains

The manager's variables are taken out of the environment: what the host starts must not speak for it.
"""

import asyncio
import contextlib
import os
import socket
from collections.abc import MutableMapping
from typing import TYPE_CHECKING

from flowcore.runtime.logs import event

if TYPE_CHECKING:
    from flowcore.runtime.host import Host

_STATUS_EVERY_S = 10.0
_EXTEND_EVERY_S, _EXTEND_BY_S = 10.0, 60.0


class Notifier:
    """Tells the service manager that started this process how `host` is; does nothing where there is none.

    Args:
        environ: where NOTIFY_SOCKET and WATCHDOG_USEC are, and are taken from.
    """

    def __init__(self, host: "Host", environ: MutableMapping[str, str] = os.environ) -> None:
        self._host = host
        self._address = environ.pop("NOTIFY_SOCKET", "")
        every_us, of_pid = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        is_ours = of_pid in ("", str(os.getpid())) and every_us.isdigit()
        self._watchdog_s = int(every_us) / 1e6 if is_ours else 0.0
        self._socket: socket.socket | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._is_ready = False
        self._trouble = ""

    def start(self) -> None:
        """Begin to tell, before the host starts."""
        if not self._address.startswith(("/", "@")):
            return
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)
        self._send("STATUS=starting")
        if self._host.options.host:
            # A member waits for its bus as long as it takes, and the machine's boot must not wait with it.
            self.ready()
        self._tasks = [asyncio.create_task(work) for work in (self._extend(), self._watch(), self._say_stopping())]

    def ready(self) -> None:
        """What the host has to run, runs."""
        self._is_ready = True
        self._send("READY=1", f"STATUS={self._status()}")

    def stop(self) -> None:
        """Tell nothing more."""
        for task in self._tasks:
            task.cancel()
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, *lines: str) -> None:
        if self._socket is None:
            return
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with contextlib.suppress(OSError):  # the manager is being replaced, or does not read: the next one comes
            self._socket.sendto("\n".join(lines).encode(), address)

    async def _extend(self) -> None:
        while not self._is_ready:
            self._send(f"EXTEND_TIMEOUT_USEC={int(_EXTEND_BY_S * 1e6)}")
            await asyncio.sleep(_EXTEND_EVERY_S)

    async def _watch(self) -> None:
        """Look at the host, and say that it lives only when it does its work."""
        every_s = self._watchdog_s / 2 or _STATUS_EVERY_S
        while True:
            trouble = await self._host.trouble(min(every_s / 2, 5.0))
            if trouble and trouble != self._trouble:
                event("not healthy", detail=trouble)
            self._trouble = trouble
            if self._is_ready:
                alive = ["WATCHDOG=1"] if self._watchdog_s and not trouble else []
                self._send(*alive, f"STATUS={self._status()}")
            await asyncio.sleep(every_s)

    async def _say_stopping(self) -> None:
        await self._host.stop_asked()
        self._tasks[1].cancel()  # a stopping host answers to the time limit of the stop alone
        self._send("STOPPING=1", "STATUS=draining")

    def _status(self) -> str:
        if self._trouble:
            return self._trouble
        if not self._host.is_up:
            return "waiting for the bus"
        flows = self._host.status()
        nodes = [node for flow in flows for node in flow.nodes]
        running = sum(node.state in ("running", "paused", "bypassed") for node in nodes)
        flows_now = "1 flow" if len(flows) == 1 else f"{len(flows)} flows"
        return f"{flows_now}, {running} of {len(nodes)} nodes running, NATS at {self._host.bus.url}"
