"""The fork server: a warm process that forks node processes in milliseconds. A program, started by `ForkServer`.

    python -m flowcore.runtime.forkserver CONTROL_FD HOST_PID RUNNER [LIBRARY ...]

It imports the runner and the libraries and then only waits, in one thread. Each request on the control socket (a
datagram, with four descriptors) becomes a child that reads its spec from its own link and calls `RUNNER.main(spec,
link, page)`. So neither the server nor a sibling ever has a credential of a node in its memory.

The module of a node's class, which the request names, is imported before its first fork. What a class costs to make
(its config's validator alone some megabytes) is so shared by all its nodes; a child whose package has changed on the
disk since then imports it anew.

The chain that leaves no orphans: the host's end closes the control socket, the server exits; the kernel kills the
server with the host's death (PDEATHSIG), and each child with the server's. What a child itself started dies with its
group.
"""

import atexit
import contextlib
import ctypes
import gc
import importlib
import io
import mmap
import os
import selectors
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any, NoReturn

from flowcore.buffers.place import namespace
from flowcore.bus import tls
from flowcore.bus.envelope import pack, unpack
from flowcore.runtime.link import receive

MAX_REQUEST = 4096
PRELOADED = ("uvloop", "concurrent.futures.thread")  # what every runner imports only when it runs
_PR_SET_PDEATHSIG, _PR_SET_NAME = 1, 15
_libc = ctypes.CDLL(None, use_errno=True)
_sources: dict[str, tuple[str, tuple[int, int] | None]] = {}  # module of a node package -> its file, and how it was
_tried: set[str] = set()  # modules of node classes


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends; exit at once when it already has."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def main() -> None:
    """Preload, then serve until the host closes its end."""
    control_fd, host_pid, runner, *libraries = sys.argv[1:]
    die_with_parent(int(host_pid))
    control = socket.socket(fileno=int(control_fd))
    for module in (*PRELOADED, runner, *libraries):
        _preload(module)
    namespace()  # remembered from here on: every child asks for it, and it is the same for all
    tls.unchecked()
    gc.collect()
    gc.disable()
    gc.freeze()  # what is loaded is shared with every child: collecting it would copy its pages
    control.send(pack({"op": "ready", "pid": os.getpid()}))
    _serve(control, runner)


def _preload(module: str) -> None:
    try:
        importlib.import_module(module)
    except (Exception, SystemExit):  # the node that needs it says so with its own import, this one only saved time
        print(f"cannot preload {module}:\n{traceback.format_exc()}", file=sys.stderr, flush=True)


def _preload_class(module: str) -> None:
    """Import what a node's class is in, unless that was tried before, and note how the files of its package are now."""
    if not module or module in _tried:
        return
    _tried.add(module)
    _preload(module)
    package = module.partition(".")[0]
    for name, imported in list(sys.modules.items()):
        file = getattr(imported, "__file__", None)
        if file and name not in _sources and name.partition(".")[0] == package:
            _sources[name] = (file, _look(file))
    gc.freeze()


def _look(file: str) -> tuple[int, int] | None:
    try:
        found = os.stat(file)  # noqa: PTH116 - in every child, for every file
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


def _forget_changed() -> None:
    """In a child: packages of which a file has changed are imported anew when they are needed."""
    changed = {name.partition(".")[0] for name, (file, was) in _sources.items() if _look(file) != was}
    if changed:
        for name in [name for name in sys.modules if name.partition(".")[0] in changed]:
            del sys.modules[name]
        importlib.invalidate_caches()


def _serve(control: socket.socket, runner: str) -> None:
    selector = selectors.DefaultSelector()
    selector.register(control, selectors.EVENT_READ)
    while True:
        for key, _ in selector.select():
            if key.fileobj is not control:
                _reap(key.fd, key.data, control, selector)
                continue
            request, fds, _, _ = socket.recv_fds(control, MAX_REQUEST, 4)
            if not request:
                return  # the host has gone; the children follow when this process ends
            asked = unpack(request)
            _preload_class(asked["module"])
            _fork(asked, fds, control, selector, runner)


def _fork(
    request: dict[str, Any], fds: list[int], control: socket.socket, selector: selectors.BaseSelector, runner: str
) -> None:
    server = os.getpid()
    try:
        pid = os.fork()
    except OSError as e:
        control.send(pack({"op": "refused", "re": request["re"], "error": str(e)}))
    else:
        if pid == 0:
            _be_child(request["name"], fds, server, runner)
        selector.register(os.pidfd_open(pid), selectors.EVENT_READ, pid)
        control.send(pack({"op": "forked", "re": request["re"], "pid": pid}))
    for fd in fds:
        os.close(fd)


def _reap(pidfd: int, pid: int, control: socket.socket, selector: selectors.BaseSelector) -> None:
    selector.unregister(pidfd)
    os.close(pidfd)
    # While it is a zombie its number cannot be given again, so this hits only what the node itself had started.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    control.send(pack({"op": "ended", "pid": pid, "status": os.waitstatus_to_exitcode(status)}))


def _be_child(name: str, fds: list[int], server: int, runner: str) -> NoReturn:
    """Everything a forked child does; it never returns into the server's loop."""
    status = 1
    try:
        os.setpgid(0, 0)
        die_with_parent(server)
        atexit._clear()  # the server's, not ours
        _libc.prctl(_PR_SET_NAME, name.encode()[:15], 0, 0, 0)
        link, page = _take_descriptors(fds)
        _be_the_first_to_go()
        gc.enable()
        _forget_changed()
        module = importlib.import_module(runner)
        result = module.main(receive(link)["spec"], link, memoryview(page))
        status = result if isinstance(result, int) else 0
        atexit._run_exitfuncs()
    except SystemExit as e:
        status = e.code if isinstance(e.code, int) else int(e.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(status)


def _take_descriptors(fds: list[int]) -> tuple[socket.socket, mmap.mmap]:
    """Standard streams to the pipes, link and page kept, everything else of the server closed."""
    link_fd, out_fd, err_fd, page_fd = fds
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(out_fd, 1)
    os.dup2(err_fd, 2)
    closed_up_to = 3
    for kept in sorted((link_fd, page_fd)):
        os.closerange(closed_up_to, kept)
        closed_up_to = kept + 1
    os.closerange(closed_up_to, 1 << 20)
    link, page = socket.socket(fileno=link_fd), mmap.mmap(page_fd, 4096)
    os.close(page_fd)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - for the life of the process
    sys.stdout, sys.stderr = _line_stream(1), _line_stream(2)
    setattr(sys, "__stdout__", sys.stdout)  # noqa: B010 - typed as final; libraries fall back on these
    setattr(sys, "__stderr__", sys.stderr)  # noqa: B010
    return link, page


def _line_stream(fd: int) -> io.TextIOWrapper:
    return io.TextIOWrapper(
        io.FileIO(fd, "w", closefd=False), encoding="utf-8", errors="backslashreplace", write_through=True
    )


def _be_the_first_to_go() -> None:
    """When memory runs out the kernel shall take a node, not the host or the bus."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("300")


if __name__ == "__main__":
    main()
