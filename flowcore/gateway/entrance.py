"""How one comes in: the start URL, the password, and out again; and the page that says so."""

import asyncio
import math
from pathlib import Path

from aiohttp import web

from flowcore.gateway.answers import ok, refusal
from flowcore.gateway.guard import COOKIE, SESSIONS
from flowcore.gateway.rest import read_object
from flowcore.gateway.sessions import SESSION_S, Tries

TRIES = web.AppKey("tries", Tries)

_PAGES = Path(__file__).parent / "pages"
_LONGEST = 1024


def add_entrance(app: web.Application) -> None:
    """Put its addresses on an application."""
    app[TRIES] = Tries()
    app.router.add_get("/login", lambda _: _page("login.html"))
    app.router.add_get("/login.js", lambda _: _page("login.js"))
    app.router.add_get("/login.css", lambda _: _page("login.css"))
    app.router.add_get("/api/login", _ask)
    app.router.add_post("/api/login", _log_in)
    app.router.add_post("/api/logout", _log_out)


def come_in(request: web.Request, answer: web.StreamResponse) -> None:
    """Give a browser its session, which no script and no other site gets to see."""
    session = request.app[SESSIONS].token("session", SESSION_S)
    answer.set_cookie(
        request.app[COOKIE],
        session,
        max_age=SESSION_S,
        httponly=True,
        samesite="Strict",
        secure=request.scheme == "https",
    )


async def _page(name: str) -> web.StreamResponse:
    return web.FileResponse(_PAGES / name, headers={"Cache-Control": "no-cache"})


async def _ask(request: web.Request) -> web.Response:
    return ok({"has_password": request.app[SESSIONS].has_password})


async def _log_in(request: web.Request) -> web.Response:
    """Take the password; five wrong ones in a minute are the most."""
    tries, address = request.app[TRIES], request.remote or ""
    if wait_s := tries.wait_s(address):
        wait = math.ceil(wait_s)
        return refusal(429, "too_many", f"too many wrong passwords: wait {wait} s", "Or use: flowcore url", wait_s=wait)
    body = await read_object(request)
    if isinstance(body, web.Response):
        return body
    password = body.get("password")
    if not isinstance(password, str) or len(password) > _LONGEST:
        return refusal(400, "invalid_request", "'password' must be a text", "")
    tries.wrong(address)  # before the look, so that many at once are counted, too
    if not await asyncio.to_thread(request.app[SESSIONS].is_password, password):
        return refusal(401, "wrong_password", "this is not the password", "Set another one: flowcore password")
    tries.right(address)
    answer = ok({"in": True})
    come_in(request, answer)
    return answer


async def _log_out(request: web.Request) -> web.Response:
    answer = ok({"in": False})
    answer.del_cookie(request.app[COOKIE])
    return answer
