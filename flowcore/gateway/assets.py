"""The built editor: its page, with a nonce for the style sheets that CodeMirror makes, and its files, kept for ever.

Vite names files by what is in them, so a browser may keep them; the page itself it must ask for each time.
"""

from pathlib import Path

from aiohttp import web

from flowcore.gateway.entrance import come_in
from flowcore.gateway.guard import NONCE

EDITOR = Path(__file__).parent / "editor"
_NONCE = "NONCE-OF-THIS-PAGE"

_MISSING = """<!doctype html><meta charset="utf-8"><title>flowcore</title>
<p>The editor is not built. In a checkout: <code>make editor</code>. The API is at
<a href="/api/openapi.json">/api/openapi.json</a>.</p>"""


def add_assets(app: web.Application) -> None:
    """Put the editor on an application."""
    app.router.add_get("/", _index)
    app.router.add_get("/assets/{asset}", _asset)
    app.router.add_get("/favicon.svg", lambda _: _file(EDITOR / "favicon.svg"))


async def _index(request: web.Request) -> web.StreamResponse:
    if "token" in request.query:
        answer: web.StreamResponse = web.Response(status=302, headers={"Location": "/"})  # out of the history
        come_in(request, answer)
        return answer
    page = EDITOR / "index.html"
    text = page.read_text() if page.is_file() else _MISSING
    return web.Response(
        text=text.replace(_NONCE, request[NONCE]), content_type="text/html", headers={"Cache-Control": "no-store"}
    )


async def _asset(request: web.Request) -> web.StreamResponse:
    return await _file(EDITOR / "assets" / request.match_info["asset"])


async def _file(path: Path) -> web.StreamResponse:
    if not path.is_file():
        raise web.HTTPNotFound(text="no such file")
    return web.FileResponse(path, headers={"Cache-Control": "public, max-age=31536000, immutable"})
