"""Starts commands for an exec node, and ends them when the node ends, however it does. A program of its own:

    python -I -S exec_guard.py        stdin: a socket with requests, stdout: a pipe with what came of them

It is started with an empty environment and no descriptor but those two, so that no command descends from a process that
holds credentials. Each request is a length (4 bytes) with three descriptors (the command's 0, 1, 2), then JSON: id,
argv, env, cwd; or id and signal, without descriptors. What came of it is a line of JSON: id and pid, error, or code
and signal. Every command leads a process group. When the socket ends, because the node stopped or was killed, every
group is killed, and so is what left its group: orphans come to this process, since it is a subreaper.
"""

import contextlib
import ctypes
import json
import os
import select
import signal
import socket
import struct
import subprocess
import time

_SET_PDEATHSIG, _SET_CHILD_SUBREAPER = 1, 36
_LONGEST_REQUEST = 16 << 20
_KILL_S = 2.0

_libc = ctypes.CDLL(None, use_errno=True)


def _die_with_the_guard() -> None:
    _libc.prctl(_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


class Guard:
    """Commands by id, and by process id."""

    def __init__(self) -> None:
        self._requests = socket.socket(fileno=0)
        self._ids: dict[int, int] = {}
        self._running: dict[int, subprocess.Popen] = {}

    def run(self) -> None:
        """Until the socket ends."""
        _libc.prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        ended, tell = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(tell)
        try:
            while True:
                ready, _, _ = select.select([0, ended], [], [])
                if ended in ready:
                    os.read(ended, 4096)
                    self._reap()
                if 0 in ready and not self._take():
                    return
        finally:
            self._kill_all()

    def _take(self) -> bool:
        header, descriptors, _, _ = socket.recv_fds(self._requests, 4, 3)
        try:
            length = struct.unpack("!I", header + self._rest(4 - len(header)))[0] if header else 0
            if not 0 < length <= _LONGEST_REQUEST:
                return False
            request = json.loads(self._rest(length))
            if "signal" in request:
                self._kill(request["id"], request["signal"])
            else:
                self._start(request, descriptors)
        except EOFError:
            return False
        finally:
            for descriptor in descriptors:
                os.close(descriptor)
        return True

    def _rest(self, length: int) -> bytes:
        got = b""
        while len(got) < length:
            part = self._requests.recv(length - len(got))
            if not part:
                raise EOFError
            got += part
        return got

    def _start(self, request: dict, descriptors: list[int]) -> None:
        try:
            stdin, stdout, stderr = descriptors
            process = subprocess.Popen(
                request["argv"],
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                cwd=request["cwd"] or None,
                env=request["env"],
                start_new_session=True,
                preexec_fn=_die_with_the_guard,
            )
        except (OSError, ValueError, subprocess.SubprocessError) as e:
            self._say(id=request["id"], error=getattr(e, "strerror", None) or str(e), kind=type(e).__name__)
            return
        self._ids[process.pid], self._running[request["id"]] = request["id"], process
        self._say(id=request["id"], pid=process.pid)

    def _kill(self, number: int, which: int) -> None:
        process = self._running.get(number)
        if process is not None:  # not reaped, so its id stands for nobody else
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, which)

    def _reap(self) -> None:
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            except ChildProcessError:
                return
            if found is None:
                return
            number = self._ids.pop(found.si_pid, None)
            if number is not None:
                with contextlib.suppress(ProcessLookupError):  # before it is reaped: its group is surely its own
                    os.killpg(found.si_pid, signal.SIGKILL)  # what it left running
            _, status = os.waitpid(found.si_pid, 0)
            if number is None:
                continue  # an orphan
            process = self._running.pop(number)
            process.returncode = os.waitstatus_to_exitcode(status)
            code = process.returncode
            self._say(id=number, code=code if code >= 0 else None, signal=-code if code < 0 else None)

    def _kill_all(self) -> None:
        for process in self._running.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        until_s = time.monotonic() + _KILL_S
        while (children := _children()) and time.monotonic() < until_s:
            for pid in children:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            time.sleep(0.005)

    @staticmethod
    def _say(**what: object) -> None:
        with contextlib.suppress(OSError):  # nobody is left to hear it
            os.write(1, json.dumps(what).encode() + b"\n")


def _children() -> list[int]:
    """Processes whose parent is this one, orphans among them."""
    found = []
    for name in os.listdir("/proc"):  # noqa: PTH208
        if name.isdigit():
            with contextlib.suppress(OSError, ValueError, IndexError), open(f"/proc/{name}/stat", "rb") as stat:  # noqa: PTH123
                if int(stat.read().rpartition(b")")[2].split()[1]) == os.getpid():
                    found.append(int(name))
    return found


if __name__ == "__main__":
    for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(one, lambda *_: None)  # it ends with the node; not ignored, since commands would inherit that
    Guard().run()
