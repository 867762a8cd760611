"""REST: a table of addresses, each of them a control service, and the secrets, which never go over the bus.

A route says where the fields of its service come from: the path, the query, and a JSON object in the body. The services
check them, so what `docs/control.md` says of a service holds here, too. `openapi` writes the document from the same
table.
"""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from flowcore.bus.secrets import SecretStore
from flowcore.client import CallFailed, Client, NoAnswer
from flowcore.gateway.answers import failure, ok, refusal
from flowcore.runtime.control import OPERATIONS

BUS = web.AppKey("bus", Client)
SECRETS = web.AppKey("secrets", SecretStore)

_SLOW_S = 120.0  # a deploy waits until it runs
_LONGEST_SECRET = 64 * 1024


@dataclass(frozen=True)
class Route:
    """An address and the control service behind it. `fixed` are fields that the address itself says."""

    method: str
    path: str
    operation: str
    fixed: dict[str, Any] = field(default_factory=dict)


_FLOW, _NODE = "/api/flows/{flow}", "/api/flows/{flow}/nodes/{node}"

ROUTES = (
    Route("GET", "/api/status", "status"),
    Route("GET", "/api/flows", "flows"),
    Route("POST", "/api/deploy", "deploy"),
    Route("POST", "/api/validate", "validate"),
    Route("GET", _FLOW, "document"),
    Route("DELETE", _FLOW, "remove"),
    Route("GET", f"{_FLOW}/status", "status"),
    Route("GET", f"{_FLOW}/revisions", "revisions"),
    Route("POST", f"{_FLOW}/diff", "diff"),
    Route("POST", f"{_FLOW}/rollback", "rollback"),
    *(Route("POST", f"{_FLOW}/{name}", name) for name in ("start", "stop", "restart", "pause", "resume")),
    *(
        Route("POST", f"{_NODE}/{name}", name)
        for name in ("start", "stop", "restart", "pause", "resume", "bypass", "disable", "kill", "inject")
    ),
    Route("GET", f"{_NODE}/last", "last"),
    Route("GET", f"{_NODE}/last/{{port}}", "last"),
    Route("GET", f"{_NODE}/state", "state.get"),
    Route("PUT", f"{_NODE}/state", "state.put"),
    Route("PUT", f"{_NODE}/state/{{key}}", "state.put"),
    Route("DELETE", f"{_NODE}/state/{{key}}", "state.delete"),
    Route("DELETE", f"{_NODE}/state", "state.delete"),
    Route("GET", "/api/context", "context.get"),
    Route("GET", f"{_FLOW}/context", "context.get"),
    Route("PUT", "/api/context", "context.put"),  # any text is a key, so it is in the body
    Route("DELETE", "/api/context", "context.delete"),
    Route("GET", "/api/types", "types"),
    Route("GET", "/api/types/{plugin}/{name}", "types"),
    Route("GET", "/api/types/{plugin}/{name}/examples", "examples"),
    Route("GET", "/api/logs", "logs"),
    Route("GET", "/api/errors", "errors"),
    Route("POST", "/api/errors/retry", "retry"),
    Route("POST", "/api/errors/forget", "retry", {"forget": True}),
    Route("GET", "/api/secrets", "secrets"),
)
_SLOW = frozenset({"deploy", "rollback", "restart", "start", "stop", "remove", "disable"})


def add_routes(app: web.Application) -> None:
    """Put the table on an application."""
    for route in ROUTES:
        app.router.add_route(route.method, route.path, _handler(route))
    app.router.add_put("/api/secrets/{name}", set_secret)
    app.router.add_delete("/api/secrets/{name}", remove_secret)


def _handler(route: Route) -> Any:
    async def handle(request: web.Request) -> web.Response:
        asked = await _asked(route, request)
        if isinstance(asked, web.Response):
            return asked
        return await call(request.app[BUS], route.operation, asked)

    return handle


async def call(bus: Client, operation: str, asked: dict[str, Any]) -> web.Response:
    """Ask a control service, and give its answer or its error."""
    try:
        return ok(await bus.call(operation, timeout=_SLOW_S if operation in _SLOW else 30.0, **asked))
    except CallFailed as e:
        return failure(e)
    except (NoAnswer, TimeoutError) as e:
        return refusal(503, "away", str(e) or "the bus does not answer", "It comes back by itself; try again.")


async def _asked(route: Route, request: web.Request) -> dict[str, Any] | web.Response:
    """The fields of the service: from the query, from the body, from the path; later ones count."""
    fields = OPERATIONS[route.operation].request.model_fields
    asked: dict[str, Any] = {name: _plain(text) for name, text in request.query.items()}
    if request.can_read_body:
        body = await read_object(request)
        if isinstance(body, web.Response):
            return body
        asked |= body
    path: dict[str, Any] = dict(request.match_info)
    if "plugin" in path:
        path = {"type": f"{path['plugin']}/{path['name']}"}
    asked |= {name: value for name, value in path.items() if name in fields}
    return asked | route.fixed


async def read_object(request: web.Request) -> dict[str, Any] | web.Response:
    """The JSON object in a body, or the answer that says why there is none."""
    try:
        body = json.loads(await request.read())
    except web.HTTPRequestEntityTooLarge:
        return refusal(413, "too_large", "the body has more than 8 MB", "The bus takes no larger document.")
    except (ValueError, RecursionError) as e:
        return refusal(400, "invalid_request", f"not JSON: {e}", "Send a JSON object.")
    if not isinstance(body, dict):
        return refusal(400, "invalid_request", "a JSON object is needed", "Send {} for no fields.")
    return body


def _plain(text: str) -> Any:
    """A value of the query: a number or a truth value where it is written as one, else text."""
    try:
        value = json.loads(text)
    except ValueError:
        return text
    return value if isinstance(value, (int, float, bool)) or value is None else text


async def set_secret(request: web.Request) -> web.Response:
    """Store a secret in the data folder; its value is never shown again."""
    body = await read_object(request)
    if isinstance(body, web.Response):
        return body
    value = body.get("value")
    if not isinstance(value, str) or not value or len(value) > _LONGEST_SECRET:
        return refusal(400, "invalid_request", "'value' must be a text that is not empty", "At most 64 KB.")
    try:
        await asyncio.to_thread(request.app[SECRETS].set, request.match_info["name"], value)
    except ValueError as e:
        return refusal(400, "invalid_request", str(e), "A name is letters, digits, '_' and '-'.")
    return ok({"name": request.match_info["name"]})


async def remove_secret(request: web.Request) -> web.Response:
    """Forget a secret."""
    store, name = request.app[SECRETS], request.match_info["name"]
    if name not in store.names():
        return refusal(404, "unknown", f"no secret {name!r}", "GET /api/secrets lists them.")
    await asyncio.to_thread(store.remove, name)
    return ok({"name": name})
