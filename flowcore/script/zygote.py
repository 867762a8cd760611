"""The script zygote: a process that never saw a credential, and forks a locked worker for each script that asks.

    python -I -m flowcore.script.zygote PATH_OF_SOCKET

Started by the host with an empty environment; its standard input is a pipe from the host, and it ends when that closes.
It prints one JSON line when it listens: {"pid": ..., "missing": [...]}, the layers of the sandbox this machine lacks.

On the socket (SOCK_SEQPACKET) a client sends one datagram, msgpack {"sandbox", "memory_mb", "language"} with a memfd
for the page, and gets {"pid", "missing"} with two descriptors (a pidfd of its worker, its end of a socket pair), or
{"refused"}.
The script itself goes over that pair, never through here. When the client hangs up, its worker is killed; when the
worker ends, the client is told {"status"}. Workers die with the zygote by their parent-death signal.

One thread, and nothing that starts another: it forks.
"""

import codecs
import contextlib
import gc
import importlib
import io
import json
import os
import select
import signal
import socket
import sys
import time
import zoneinfo
from importlib import resources
from pathlib import Path

from flowcore.bus.envelope import Malformed, pack, unpack
from flowcore.script import languages, lockdown, probe, python, worker
from flowcore.script.address import short_path

_MAX_WORKERS = 4000
_MAX_MEMORY_MB = 16_384


class Zygote:
    """Listens, forks, reaps."""

    def __init__(self, path: str) -> None:
        self._poll = select.epoll()
        self._listener = _listen(path)
        self._clients: dict[int, socket.socket] = {}  # descriptor of the control connection -> itself
        self._pidfds: dict[int, tuple[int, int]] = {}  # pidfd -> (process id, control connection)
        self._worker_of: dict[int, int] = {}  # control connection -> pidfd
        self._report = probe.probe(os.getpid())

    def run(self) -> None:
        """Serve until standard input closes."""
        missing = probe.missing_layers(self._report)
        print(json.dumps({"pid": os.getpid(), "missing": missing}), flush=True)
        gc.collect()
        gc.freeze()
        self._poll.register(0, select.EPOLLIN)
        self._poll.register(self._listener, select.EPOLLIN)
        while True:
            for descriptor, _ in self._poll.poll():
                if descriptor == 0:
                    if not os.read(0, 4096):
                        return
                elif descriptor == self._listener.fileno():
                    self._accept()
                elif descriptor in self._pidfds:
                    self._reap(descriptor)
                elif descriptor in self._clients:
                    self._serve(descriptor)

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError as e:  # EMFILE: the client waits and sees the deadline
            print(f"script zygote: {e}", file=sys.stderr, flush=True)
            time.sleep(0.05)
            return
        peer = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        uid = int.from_bytes(peer[4:8], sys.byteorder)
        if uid not in (0, os.geteuid()):
            client.close()
            return
        client.setblocking(False)
        self._clients[client.fileno()] = client
        self._poll.register(client, select.EPOLLIN | select.EPOLLRDHUP)

    def _serve(self, descriptor: int) -> None:
        """The one request of a client, or its hanging up."""
        client = self._clients[descriptor]
        try:
            data, fds, _, _ = socket.recv_fds(client, 4096, 1)
        except BlockingIOError:
            return
        except OSError:
            data, fds = b"", []
        try:
            if not data or descriptor in self._worker_of:
                self._hang_up(descriptor)
            else:
                self._answer(client, data, fds)
        finally:
            for fd in fds:
                os.close(fd)

    def _answer(self, client: socket.socket, data: bytes, fds: list[int]) -> None:
        missing = probe.missing_layers(self._report)
        try:
            request = unpack(data, limit=4096)
            sandbox, memory_mb = request["sandbox"], int(request["memory_mb"])
            if sandbox not in ("strict", "weak", "off") or not 1 <= memory_mb <= _MAX_MEMORY_MB or len(fds) != 1:
                raise ValueError("not a request for a worker")
            if missing and sandbox == "strict":
                raise ValueError("no sandbox")
            if len(self._pidfds) >= _MAX_WORKERS:
                raise ValueError(f"there are {_MAX_WORKERS} workers already")
            language = languages.worker_class(request["language"])
            pid, pidfd, theirs = self._fork(fds[0], memory_mb << 20, sandbox, language)
        except (ValueError, KeyError, TypeError, Malformed, OSError) as e:
            with contextlib.suppress(OSError):
                client.send(pack({"refused": str(e), "missing": missing}))
            self._hang_up(client.fileno())
            return
        self._pidfds[pidfd] = (pid, client.fileno())
        self._worker_of[client.fileno()] = pidfd
        self._poll.register(pidfd, select.EPOLLIN)
        try:
            socket.send_fds(client, [pack({"pid": pid, "missing": missing})], [pidfd, theirs.fileno()])
        except OSError:
            self._hang_up(client.fileno())
        finally:
            theirs.close()

    def _fork(
        self, page: int, memory_bytes: int, sandbox: str, language: type[worker.Worker]
    ) -> tuple[int, int, socket.socket]:
        ours, theirs = socket.socketpair()
        zygote = os.getpid()
        try:
            pid = os.fork()
        except OSError:
            ours.close()
            theirs.close()
            raise
        if pid == 0:
            worker.become_worker(ours.fileno(), page, zygote, memory_bytes, sandbox, language)
        ours.close()
        return pid, os.pidfd_open(pid), theirs

    def _hang_up(self, descriptor: int) -> None:
        """The client is gone: its worker goes too (and is reaped when its pidfd says so)."""
        pidfd = self._worker_of.pop(descriptor, None)
        if pidfd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        client = self._clients.pop(descriptor)
        self._poll.unregister(client)
        client.close()

    def _reap(self, pidfd: int) -> None:
        pid, descriptor = self._pidfds.pop(pidfd)
        self._poll.unregister(pidfd)
        os.close(pidfd)
        _, status = os.waitpid(pid, 0)
        if self._worker_of.get(descriptor) == pidfd:
            del self._worker_of[descriptor]
            with contextlib.suppress(OSError):
                self._clients[descriptor].send(pack({"status": os.waitstatus_to_exitcode(status)}))
            self._hang_up(descriptor)


def _listen(path: str) -> socket.socket:
    """Listen on `path`, mode 0600, in a folder that is nobody else's."""
    folder = Path(path).parent
    if folder.stat().st_mode & 0o077:
        raise SystemExit(
            f"{folder}: must be closed to others (chmod 700); anyone who reaches the socket could use workers"
        )
    Path(path).unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    before = os.umask(0o177)
    try:
        with short_path(path) as short:
            listener.bind(short)
    finally:
        os.umask(before)
    listener.listen(128)
    listener.setblocking(False)
    return listener


def warm_up() -> None:
    """Import what scripts may use, and have it read now what it would read from files later."""
    for name in python.MODULES:
        importlib.import_module(name)
    for codec in ("latin-1", "utf-16", "utf-32", "cp1252", "idna", "unicode_escape", "ascii"):
        codecs.lookup(codec)
    time.localtime()
    importlib.import_module("_strptime")
    keep_time_zones()


def keep_time_zones() -> None:
    """Read the time zones of the `tzdata` package into memory: `ZoneInfo` would open a file for each."""
    zones: dict[str, bytes] = {}
    folder = resources.files("tzdata")
    for name in (folder / "zones").read_text().split():
        zones[name] = (folder / "zoneinfo" / name).read_bytes()

    def load(key: str) -> io.BytesIO:
        if key not in zones:
            raise zoneinfo.ZoneInfoNotFoundError(f"No time zone found with key {key}")
        return io.BytesIO(zones[key])

    # What ZoneInfo asks when no file is found; private, so without it only zones by name are missing in scripts.
    common = importlib.import_module("zoneinfo._common")
    if hasattr(common, "load_tzdata"):
        common.load_tzdata = load  # type: ignore[attr-defined]


def main() -> None:
    """Entry of `python -I -m flowcore.script.zygote`."""
    if len(sys.argv) != 2:
        raise SystemExit("usage: python -I -m flowcore.script.zygote PATH_OF_SOCKET")
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # Ctrl-C reaches the whole terminal; the host decides when this ends
    lockdown.set_death_signal(os.getppid())
    warm_up()
    Zygote(sys.argv[1]).run()


if __name__ == "__main__":
    main()
