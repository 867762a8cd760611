"""What is let in: host names, origins, content types, path parts, sizes; and what each answer tells the browser.

aiohttp checks none of these by itself: it accepts a WebSocket from a foreign page, parses a cross-site `text/plain`
POST as JSON, serves any Host, and hands on `%2f` decoded in path parts.

A page of somebody else's that is open in the same browser is kept out three times: the cookie is SameSite=Strict, a
write and a WebSocket need our Origin, and a body must be `application/json`, which such a page may not send unasked. A
name that was rebound to this machine's address is kept out by the check of Host.
"""

import ipaddress
import re
import secrets
import socket
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import web

from flowcore.bus import subjects
from flowcore.bus.ports import is_loopback
from flowcore.gateway.answers import refusal
from flowcore.gateway.sessions import Sessions

COOKIE = web.AppKey("cookie", str)
SESSIONS = web.AppKey("sessions", Sessions)
NAMES = web.AppKey("names", frozenset)
NONCE = "nonce"

LARGEST_BODY = 8 << 20  # the bus takes no larger document
_OPEN = frozenset({"/healthz", "/login", "/api/login"})
_READS = frozenset({"GET", "HEAD", "OPTIONS"})
_KEY = re.compile(r"[^/\x00-\x1f]{1,256}")
_NAME = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_IS_PART: dict[str, Callable[[str], bool]] = {
    "flow": subjects.is_id,
    "node": lambda text: subjects.is_node_id(text.partition("#")[0]) and len(text) < 600,
    "port": subjects.is_port,
    "plugin": lambda text: bool(_NAME.fullmatch(text)),
    "name": lambda text: bool(_NAME.fullmatch(text)),
    "key": lambda text: bool(_KEY.fullmatch(text)),
    "asset": lambda text: bool(_NAME.fullmatch(text)) and ".." not in text,
}

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def names_of(listen: str) -> frozenset[str]:
    """The host names under which a gateway on this address is reached; literal addresses are always taken."""
    names = {"localhost"}
    if not is_loopback(listen):
        here = socket.gethostname().lower()
        names |= {here, f"{here}.local", socket.getfqdn().lower(), listen.lower()}
    return frozenset(names)


@web.middleware
async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let a request through when it may come in, and say to the browser how to treat the answer."""
    request[NONCE] = secrets.token_urlsafe(16)
    refused = _misplaced(request) or _stranger(request)
    answer = await handler(request) if refused is None else refused
    if not answer.prepared:
        answer.headers.update(_headers(request))
    return answer


def _misplaced(request: web.Request) -> web.Response | None:
    """A request that no page of ours makes."""
    host = urlsplit(f"//{request.headers.get('Host', '')}").hostname or ""
    if not _is_address(host) and host.lower() not in request.app[NAMES]:
        return refusal(421, "wrong_host", f"{host!r} is not a name of this gateway", "Use its address or localhost.")
    for part, text in request.match_info.items():
        if part not in _IS_PART or not _IS_PART[part](text):
            return refusal(404, "unknown", f"{text!r} cannot be a {part}", "Check the address.")
    origin = request.headers.get("Origin")
    if origin is not None and origin != f"{request.scheme}://{request.headers['Host']}":
        return refusal(403, "wrong_origin", f"a page of {origin} may not do this", "Open the editor itself.")
    if request.method in _READS:
        return None
    if origin is None and not _bearer(request):
        return refusal(403, "wrong_origin", "a write needs an Origin", "Programs send Authorization: Bearer TOKEN.")
    if request.can_read_body and request.content_type != "application/json":
        return refusal(415, "wrong_type", f"{request.content_type} is not taken", "Send application/json.")
    return None


def _stranger(request: web.Request) -> web.Response | None:
    """A request of somebody who has not come in."""
    if request.path in _OPEN:
        return None
    sessions = request.app[SESSIONS]
    scope = sessions.scope(_bearer(request) or request.cookies.get(request.app[COOKIE], ""))
    if scope in ("start", "session") or (request.path == "/metrics" and scope == "metrics"):
        return None
    if request.path == "/" and sessions.scope(request.query.get("token", "")) == "start":
        return None  # the page's handler makes a session of it
    if request.path.startswith("/api/") or request.path == "/metrics":
        return refusal(401, "not_in", "nobody is logged in", "Get a start URL: flowcore url")
    return web.Response(status=302, headers={"Location": "/login"})


def _bearer(request: web.Request) -> str:
    kind, _, token = request.headers.get("Authorization", "").partition(" ")
    return token.strip() if kind.lower() == "bearer" else ""


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _headers(request: web.Request) -> dict[str, str]:
    policy = (
        "default-src 'none'",
        "script-src 'self'",
        f"style-src 'self' 'nonce-{request[NONCE]}'",
        "img-src 'self' data: blob:",
        "font-src 'self'",
        "connect-src 'self'",
        "worker-src 'self'",
        "manifest-src 'self'",
        "base-uri 'none'",
        "form-action 'self'",
        "frame-ancestors 'none'",
    )
    return {
        "Content-Security-Policy": "; ".join(policy),
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
    }
