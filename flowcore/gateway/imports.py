"""Flows of other tools, turned into documents that the editor takes in; nothing is deployed here."""

import asyncio
from typing import Any

from aiohttp import web

from flowcore.convert.nodered import NotAnExport, turn
from flowcore.gateway.answers import ok, refusal
from flowcore.gateway.rest import read_object


def add_imports(app: web.Application) -> None:
    """Put the addresses on an application."""
    app.router.add_post("/api/import/nodered", nodered)


async def nodered(request: web.Request) -> web.Response:
    """Turn a Node-RED export, given as text, into flow documents and findings: what is not as it was."""
    body = await read_object(request)
    if isinstance(body, web.Response):
        return body
    export, name = body.get("export"), body.get("name", "")
    if not isinstance(export, str) or not isinstance(name, str):
        return refusal(400, "invalid_request", "'export' must be text, and 'name' if given", "Send the file's text.")
    try:
        turned = await asyncio.to_thread(turn, export, name)
    except NotAnExport as e:
        return _no_export(str(e))
    except RecursionError:
        return _no_export("it is nested too deeply")
    if not turned.flows:
        return _no_export("it holds no tab; a subflow by itself is no flow")
    findings: list[dict[str, Any]] = [finding.asdict() for finding in turned.findings]
    return ok({"flows": turned.flows, "findings": findings})


def _no_export(why: str) -> web.Response:
    return refusal(422, "invalid_flow", f"no Node-RED export: {why}", "Export a tab with Node-RED's menu, as JSON.")
