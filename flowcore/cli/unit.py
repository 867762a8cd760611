"""The systemd unit of a runtime, as text; a test gives it to systemd's own parser.

Left out on purpose, because a node would feel it: PrivateTmp and ProtectHome (flows read and write there),
PrivateDevices and ProtectClock (cameras, GPUs and serial lines), ProtectProc (shared memory is opened through
/proc/<pid>/fd), MemoryDenyWriteExecute (compilers in numeric libraries).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HEADER = "# Written by `flowcore service install`; it writes it anew when it is called again."
WATCHDOG_S = 30
_END_S = 20  # beside the draining: nodes' on_stop, the bus's end
_FILES = 65_536

# No namespace is needed for these, so that a user's own service manager can give them.
_HARDENING = """\
NoNewPrivileges=yes
LockPersonality=yes
RestrictSUIDSGID=yes
SystemCallArchitectures=native
"""
_HARDENING_OF_SYSTEM = """\
ProtectSystem=full
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectHostname=yes
"""


@dataclass(frozen=True)
class Unit:
    """What is to run, where, and as whom.

    Attributes:
        command: the program and its arguments; the program as an absolute path.
        folder: where it runs, absolute.
        account: user name of a system unit; "" for a user's own, and for root.
        path: PATH of the service.
    """

    command: Sequence[str]
    folder: Path
    is_system: bool = False
    account: str = ""
    drain_s: float = 10.0
    path: str = ""

    def text(self) -> str:
        """The unit file."""
        program, *arguments = self.command
        # systemd fills in variables in arguments, but never in the program.
        line = " ".join([_quoted(program), *(_quoted(word.replace("$", "$$")) for word in arguments)])
        network = "Wants=network-online.target\nAfter=network-online.target\n" if self.is_system else ""
        account = f"User={self.account}\n" if self.account else ""
        path = f"Environment={_quoted(f'PATH={self.path}')}\n" if self.path else ""
        return f"""{HEADER}
[Unit]
Description=flowcore in {_plain(str(self.folder))}
{network}# A machine nobody looks at is to come back however often it failed.
StartLimitIntervalSec=0

[Service]
Type=notify
NotifyAccess=main
{account}WorkingDirectory={_plain(str(self.folder))}
{path}ExecStart={line}
Restart=on-failure
RestartSec=5
# Wrong use stays wrong.
RestartPreventExitStatus=2
WatchdogSec={WATCHDOG_S}
# SIGTERM goes to the host alone, which lets its nodes drain; what is left after that time is killed.
KillMode=mixed
TimeoutStopSec={math.ceil(self.drain_s) + _END_S}
# A node that takes too much memory dies alone.
OOMPolicy=continue
LimitNOFILE={_FILES}
TasksMax=infinity
{_HARDENING}{_HARDENING_OF_SYSTEM if self.is_system else ""}
[Install]
WantedBy={"multi-user" if self.is_system else "default"}.target
"""


def _plain(text: str) -> str:
    """A whole value: only `%` means something in it."""
    return text.replace("%", "%%")


def _quoted(word: str) -> str:
    """One word of a command line."""
    return '"' + _plain(word).replace("\\", "\\\\").replace('"', '\\"') + '"'
