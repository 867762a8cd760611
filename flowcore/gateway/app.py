"""The application: every address, behind the guard."""

import contextlib
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from flowcore import __version__
from flowcore.bus.connection import Connection
from flowcore.bus.secrets import SecretStore
from flowcore.client import CallFailed, Client, NoAnswer
from flowcore.flow import schema
from flowcore.gateway import metrics, openapi
from flowcore.gateway.answers import ok, refusal
from flowcore.gateway.assets import add_assets
from flowcore.gateway.entrance import add_entrance
from flowcore.gateway.guard import COOKIE, LARGEST_BODY, NAMES, SESSIONS, guard, names_of
from flowcore.gateway.imports import add_imports
from flowcore.gateway.live import LIVE, Live
from flowcore.gateway.rest import BUS, SECRETS, add_routes
from flowcore.gateway.sessions import Sessions
from flowcore.gateway.trials import add_trials


@dataclass(frozen=True)
class Place:
    """Where the gateway stands."""

    folder: Path  # the data folder
    listen: str
    port: int
    names: tuple[str, ...] = ()  # further host names that it is reached under


def application(place: Place, bus: Client, feed: Connection) -> web.Application:
    """The gateway of one host, for aiohttp to run: `bus` asks the control services, `feed` brings the live data."""
    app = web.Application(middlewares=[guard], client_max_size=LARGEST_BODY)
    app[BUS], app[SECRETS], app[SESSIONS] = bus, SecretStore(place.folder), Sessions(place.folder)
    app[COOKIE] = f"flowcore_{place.port}"  # cookies do not tell ports apart
    app[NAMES] = names_of(place.listen) | {name.lower() for name in place.names}
    app[LIVE] = Live(bus, feed)
    app.router.add_get("/healthz", _health)
    app.router.add_get("/metrics", _metrics)
    app.router.add_get("/api/openapi.json", _openapi)
    app.router.add_get("/api/schema", _schema)
    app.router.add_get("/api/live", app[LIVE].serve)
    add_routes(app)
    add_imports(app)
    add_trials(app)
    add_entrance(app)
    add_assets(app)
    return app


async def _health(request: web.Request) -> web.Response:
    """200 while the host answers over the bus; for load balancers and watchdogs, so it says nothing else."""
    with contextlib.suppress(CallFailed, NoAnswer, TimeoutError):
        await request.app[BUS].call("flows", timeout=5)
        return ok({"ok": True, "version": __version__})
    return refusal(503, "away", "the host does not answer", "Look at its log: flowcore logs")


async def _metrics(request: web.Request) -> web.Response:
    try:
        status = await request.app[BUS].call("status")
    except (CallFailed, NoAnswer, TimeoutError) as e:
        return refusal(503, "away", str(e), "It comes back by itself.")
    return web.Response(body=metrics.text(status), headers={"Content-Type": metrics.CONTENT_TYPE})


async def _schema(_request: web.Request) -> web.Response:
    """The JSON schema of the flow file."""
    return ok(schema.published())


async def _openapi(_request: web.Request) -> web.Response:
    return ok(openapi.document())
