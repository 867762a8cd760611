"""What the import makes of HTTP nodes works as it did: requests, templates with msg.req, status, headers, answers."""

import asyncio
import contextlib
import json

import aiohttp
from aiohttp import web

from flowcore.convert.nodered import turn
from tests.ports import free_port

# A page with a name in its path; and an order that goes on to another server, whose answer goes back.
EXPORT = [
    {"id": "t", "type": "tab", "label": "Shop"},
    {"id": "a", "type": "http in", "z": "t", "url": "/hello/:name", "method": "get", "x": 1, "y": 1, "wires": [["b"]]},
    {"id": "b", "type": "template", "z": "t", "field": "payload", "syntax": "mustache", "output": "str",
     "template": "<p>{{req.params.name}} {{payload.times}}</p>", "x": 2, "y": 1, "wires": [["c"]]},
    {"id": "c", "type": "http response", "z": "t", "statusCode": "", "headers": {}, "x": 3, "y": 1, "wires": []},
    {"id": "d", "type": "http in", "z": "t", "url": "/orders", "method": "post", "x": 1, "y": 2, "wires": [["e"]]},
    {"id": "e", "type": "function", "z": "t", "outputs": 1, "x": 2, "y": 2, "wires": [["f"]],
     "func": "msg.who = msg.req.query.who;\nmsg.headers = {'X-Pieces': String(msg.payload.pieces)};\nreturn msg;"},
    {"id": "f", "type": "http request", "z": "t", "method": "POST", "ret": "obj", "url": "STORE", "x": 3, "y": 2,
     "headers": [{"keyType": "other", "keyValue": "X-Who", "valueType": "msg", "valueValue": "who"}],
     "wires": [["g"]]},
    {"id": "g", "type": "http response", "z": "t", "statusCode": "", "headers": {}, "x": 4, "y": 2, "wires": []},
]  # fmt: skip


async def test_http_nodes_answer_as_they_did(host):
    asked = []

    async def store(request):
        asked.append((await request.json(), request.headers.get("X-Who"), request.headers.get("X-Pieces")))
        return web.json_response({"stored": True}, status=202, headers={"X-Store": "7"})

    app = web.Application()
    app.router.add_post("/stock", store)
    runner = web.AppRunner(app)
    await runner.setup()
    port, store_port = free_port(), free_port()
    await web.TCPSite(runner, "127.0.0.1", store_port).start()
    text = json.dumps(EXPORT).replace('"STORE"', f'"http://127.0.0.1:{store_port}/stock"')
    imported = turn(text)
    assert imported.not_turned == []
    (document,) = imported.flows
    for node in document["nodes"]:
        if node["type"] == "core/http-in":
            node["config"]["port"] = port
    result = await host.documents.deploy(json.dumps(document), "shop.json")
    assert not result.failed and not result.problems, result
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as client, asyncio.timeout(40):

        async def answer(method, path, **body):
            while True:
                with contextlib.suppress(aiohttp.ClientConnectionError):  # until they listen
                    async with client.request(method, path, **body) as said:
                        if said.status not in (404, 405, 503):
                            return said.status, said.headers, said.content_type, await said.text()
                await asyncio.sleep(0.05)

        status, _, kind, page = await answer("GET", "/hello/Ada?times=3")
        assert (status, kind, page) == (200, "text/html", "<p>Ada 3</p>")
        status, headers, _, stored = await answer("POST", "/orders?who=ada", json={"pieces": 2})
        assert (status, headers["X-Store"], json.loads(stored)) == (202, "7", {"stored": True})
    assert asked == [({"pieces": 2}, "ada", "2")]
    await runner.cleanup()
