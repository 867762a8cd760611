"""One address for the http-in nodes of all flows, though each is a process: how requests get to theirs.

Every http-in listens on the shared port itself (SO_REUSEPORT: the kernel gives a connection to one of them), and on a
port of its own on loopback, its back. A list of who serves what lies in a folder of the user; a request for another's
route is passed on to that one's back. So there is no process that all depend on, nothing to configure, and a node that
dies takes the connections that it had, no more. Runtimes of one user share the list: two of them on one port do not
get each other's requests by chance.

    RouteTaken   another node serves this method and path

Invariant: a back answers only who knows its token, which stands in the list (mode 0700).
"""

import asyncio
import contextlib
import json
import os
import re
import secrets
import ssl
import stat
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from aiohttp import ClientConnectionError, ClientSession, ClientTimeout, web

Handler = Callable[[web.Request, dict[str, str]], Awaitable[web.StreamResponse]]

REPLY = "/.reply/"
_TOKEN, _CALLER = "X-Flowcore-Front", "X-Forwarded-For"
_PARAMETER = re.compile(r"\{([A-Za-z_]\w*)(\.\.\.)?\}|:([A-Za-z_]\w*)")
_HOP_BY_HOP = {
    "connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding",
    "upgrade", "content-length",
}  # fmt: skip
_BIND_AGAIN_S = 1.0


class RouteTaken(ValueError):
    """Another node that runs serves this method and path."""


def pattern(path: str) -> re.Pattern[str]:
    """What `/orders/{id}` or `/orders/:id` matches; `{rest...}` takes what is left, slashes too.

    Raises:
        ValueError: no path, a name that is there twice.
    """
    if not path.startswith("/") or path.startswith(REPLY.rstrip("/")) or "?" in path:
        raise ValueError(f"a path begins with / and has no query, is {path!r}")
    parts, at = [], 0
    for found in _PARAMETER.finditer(path):
        parts.append(re.escape(path[at : found.start()]))
        parts.append(f"(?P<{found[1] or found[3]}>{'.+' if found[2] else '[^/]+'})")
        at = found.end()
    parts.append(re.escape(path[at:]))
    try:
        return re.compile("".join(parts))
    except re.error as e:
        raise ValueError(f"path {path!r}: {e}") from None


class Front:
    """The two servers of one http-in.

    Args:
        owner: `<flow>.<node>`.
        handle: called with a request for our route and the path's parameters.
        reply: called with the id of a request and the answer to it (`status`, `headers`) and its body; False: nobody
            waits.
        on_trouble: called with what is wrong, or "" when nothing is any more.
    """

    def __init__(
        self,
        owner: str,
        address: str,
        port: int,
        method: str,
        path: str,
        handle: Handler,
        reply: Callable[[str, dict[str, Any], bytes], bool],
        on_trouble: Callable[[str], None],
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._owner, self._address, self._port, self._tls = owner, address, port, tls
        self._method, self._path, self._pattern = method, path, pattern(path)
        self._handle, self._reply, self._on_trouble = handle, reply, on_trouble
        self._list = ListOfRoutes(port)
        self._runners: list[web.AppRunner] = []
        self._session: ClientSession | None = None
        self._task: asyncio.Task | None = None
        self.back_port = 0

    async def open(self) -> None:
        """Serve. The shared port is tried again while somebody else has it.

        Raises:
            RouteTaken: another node serves this.
        """
        self._list.check(self._owner, self._method, self._path)
        self._session = ClientSession(auto_decompress=False, timeout=ClientTimeout(total=None, sock_connect=5))
        self._token = secrets.token_urlsafe(16)
        back = await self._serve(self._at_back, "127.0.0.1", 0, shared=False)
        self.back_port = back.addresses[0][1]
        entry = {"owner": self._owner, "method": self._method, "path": self._path, "token": self._token}
        self._list.add(self.back_port, entry)
        self._task = asyncio.get_running_loop().create_task(self._open_front())

    async def _open_front(self) -> None:
        said = ""
        while True:
            try:
                await self._serve(self._at_front, self._address, self._port, shared=True)
                return self._on_trouble("")
            except OSError as e:
                if (text := f"{self._address}:{self._port}: {e.strerror or e}; trying again") != said:
                    self._on_trouble(said := text)
                await asyncio.sleep(_BIND_AGAIN_S)

    async def _serve(self, handler: Any, address: str, port: int, *, shared: bool) -> web.AppRunner:
        app = web.Application(client_max_size=1 << 40)  # the node looks at sizes
        app.router.add_route("*", "/{path:.*}", handler)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0, handler_cancellation=True)
        await runner.setup()
        try:
            tls = self._tls if shared else None
            await web.TCPSite(runner, address, port, reuse_port=shared or None, ssl_context=tls).start()
        except BaseException:
            await runner.cleanup()
            raise
        self._runners.append(runner)
        return runner

    async def close(self) -> None:
        """Serve nothing more."""
        self._list.remove()
        if self._task is not None:
            self._task.cancel()
        for runner in reversed(self._runners):
            await runner.cleanup()
        if self._session is not None:
            await self._session.close()

    # -- requests -------------------------------------------------------------------------------------------------

    async def _at_front(self, request: web.Request) -> web.StreamResponse:
        params = self._match(request)
        if params is not None and not self._pattern.groups:
            return await self._handle(request, params)
        other = await asyncio.to_thread(self._list.find, request.method, request.rel_url.raw_path)
        if isinstance(other, set):
            return web.json_response({"error": "method not allowed"}, status=405, headers={"Allow": ", ".join(other)})
        if other is None:
            return web.json_response({"error": f"nothing is at {request.path}"}, status=404)
        if other["port"] == self.back_port and params is not None:
            return await self._handle(request, params)
        return await self._pass_on(request, other)

    async def _at_back(self, request: web.Request) -> web.StreamResponse:
        if request.path.startswith(REPLY):
            try:
                about = json.loads(request.headers["X-Flowcore-Answer"])
            except (KeyError, ValueError):
                return web.Response(status=400)
            is_taken = self._reply(request.path.removeprefix(REPLY), about, await request.read())
            return web.Response(status=204 if is_taken else 410)
        if not secrets.compare_digest(request.headers.get(_TOKEN, ""), self._token):
            return web.Response(status=403)
        params = self._match(request)
        if params is None:
            return web.json_response({"error": f"nothing is at {request.path}"}, status=404)
        return await self._handle(request.clone(remote=request.headers.get(_CALLER, "")), params)

    def _match(self, request: web.Request) -> dict[str, str] | None:
        if self._method not in ("*", request.method):
            return None
        found = self._pattern.fullmatch(request.rel_url.raw_path)
        return None if found is None else {name: unquote(value) for name, value in found.groupdict().items()}

    async def _pass_on(self, request: web.Request, to: dict[str, Any]) -> web.StreamResponse:
        assert self._session is not None
        headers = [(k, v) for k, v in request.headers.items() if k.lower() not in _HOP_BY_HOP]
        headers = [one for one in headers if one[0].lower() not in (_TOKEN.lower(), _CALLER.lower())]
        headers += [(_TOKEN, to["token"]), (_CALLER, request.remote or "")]
        try:
            async with self._session.request(
                request.method,
                f"http://127.0.0.1:{to['port']}{request.raw_path}",
                headers=headers,
                data=request.content if request.can_read_body else None,
                allow_redirects=False,
            ) as answer:
                response = web.StreamResponse(status=answer.status, reason=answer.reason)
                for name, value in answer.headers.items():
                    if name.lower() not in _HOP_BY_HOP:
                        response.headers.add(name, value)
                if answer.content_length is not None:
                    response.content_length = answer.content_length
                await response.prepare(request)
                async for chunk in answer.content.iter_chunked(64 * 1024):
                    await response.write(chunk)
                await response.write_eof()
                return response
        except ClientConnectionError:
            self._list.forget()
            text = f"{to['owner']}, which serves {request.path}, is not there just now"
            return web.json_response({"error": text}, status=503, headers={"Retry-After": "1"})


class ListOfRoutes:
    """Who serves what on a port: a file for each process that does, in a folder that is the user's alone."""

    def __init__(self, port: int) -> None:
        top = Path(tempfile.gettempdir()) / f"flowcore-http-{os.getuid()}"
        top.mkdir(mode=0o700, exist_ok=True)
        about = top.lstat()
        if about.st_uid != os.getuid() or not stat.S_ISDIR(about.st_mode) or about.st_mode & 0o077:
            raise PermissionError(f"{top} is not ours alone: remove it")
        self._folder = top / str(port)
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._mine: Path | None = None
        self._read: tuple[int, list[dict[str, Any]]] = (0, [])  # when the folder had changed, and what it held then

    def forget(self) -> None:
        """Look again at the next question: somebody on the list is not there."""
        self._read = (0, [])

    def add(self, back_port: int, entry: dict[str, Any]) -> None:
        """Say what we serve."""
        self._mine = self._folder / f"{os.getpid()}-{back_port}.json"
        beside = self._mine.with_suffix(".new")
        beside.write_text(json.dumps({**entry, "port": back_port, "pid": os.getpid()}))
        beside.replace(self._mine)

    def remove(self) -> None:
        """Say that we serve it no more."""
        if self._mine is not None:
            self._mine.unlink(missing_ok=True)

    def entries(self) -> list[dict[str, Any]]:
        """Those whose process lives, newest first."""
        changed_ns = self._folder.stat().st_mtime_ns
        if self._read[0] == changed_ns:
            return self._read[1]
        found = []
        for path in self._folder.glob("*.json"):
            with contextlib.suppress(OSError, ValueError):
                entry = json.loads(path.read_text())
                if Path(f"/proc/{entry['pid']}").exists():
                    found.append((path.stat().st_mtime_ns, entry))
                else:
                    path.unlink(missing_ok=True)
        entries = [entry for _, entry in sorted(found, key=lambda one: -one[0])]
        self._read = (changed_ns, entries)
        return entries

    def check(self, owner: str, method: str, path: str) -> None:
        """Raise RouteTaken when another node serves the same."""
        for entry in self.entries():
            if entry["path"] == path and entry["owner"] != owner and (entry["method"] == method):
                raise RouteTaken(f"{method} {path} on port {self._folder.name} is served by {entry['owner']}")

    def find(self, method: str, raw_path: str) -> dict[str, Any] | set[str] | None:
        """Who serves this; the methods that are allowed when it is only those; None: nobody.

        A path without parameters goes before one with.
        """
        fitting = [entry for entry in self.entries() if pattern(entry["path"]).fullmatch(raw_path)]
        fitting.sort(key=lambda entry: bool(_PARAMETER.search(entry["path"])))
        for entry in fitting:
            if entry["method"] in ("*", method):
                return entry
        return {entry["method"] for entry in fitting} or None
