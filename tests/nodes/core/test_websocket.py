"""WebSocket nodes against aiohttp's server and client, and against each other."""

import asyncio
import socket

import aiohttp
import pytest
from aiohttp import WSServerHandshakeError, web
from flowcore_nodes.core.websocket_client import WebsocketClient
from flowcore_nodes.core.websocket_server import WebsocketServer

from flowcore.node.testing import drive


@pytest.fixture
def port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


def is_up(node) -> bool:
    return bool(node.statuses) and node.statuses[-1][1] == "ok"


@pytest.mark.survives("core/websocket-server", "an aiohttp client", "wrong password", "malformed data", "slow peer")
async def test_the_server_talks_to_each_and_to_all(port):
    config = {"key": "let me in", "origins": ["http://plant.local"], "format": "json", "max_bytes": 1000, "slow_s": 0.3}
    key, url = {"X-Api-Key": "let me in"}, f"http://127.0.0.1:{port}/"
    async with drive(WebsocketServer, port=port, **config) as node, aiohttp.ClientSession() as session:
        await node.wait_for(lambda: is_up(node))
        for headers, status in (({}, 401), ({"X-Api-Key": "no"}, 401), (key | {"Origin": "http://evil"}, 403)):
            with pytest.raises(WSServerHandshakeError) as refused:
                await session.ws_connect(url, headers=headers)
            assert refused.value.status == status
        one = await session.ws_connect(url, headers=key)
        two = await session.ws_connect(url, headers=key | {"Origin": "http://plant.local"})
        await one.send_str('{"n": 1}')
        await one.send_str("{broken")
        await two.send_bytes(b"2")
        assert await node.sent(2) == [{"n": 1}, 2]
        await node.put("to one", meta=node.messages()[0].meta)
        await node.put({"to": "all"}, b"\x01")
        assert [await one.receive_str(timeout=5) for _ in range(2)] == ["to one", '{"to":"all"}']
        assert await two.receive_str(timeout=5) == '{"to":"all"}'
        assert await two.receive_bytes(timeout=5) == b"\x01"
        await one.send_str("x" * 2000)  # too large: cut off, the other goes on
        await node.wait_for(lambda: "1 client" in node.statuses[-1][0])
        await node.put("gone", meta=node.messages()[0].meta)
        assert "not there any more" in node.errors[-1]["text"]
        third = await session.ws_connect(url, headers=key, max_msg_size=0)
        third._reader._protocol.pause_reading()  # it reads nothing any more
        for _ in range(40):
            await node.put("y" * 1_000_000)
            if any("took nothing" in error["text"] for error in node.errors):
                break
            while not two.closed and "y" not in await two.receive_str(timeout=5):
                pass
        assert any("took nothing" in error["text"] for error in node.errors)


@pytest.mark.survives("core/websocket-client", "an aiohttp server", "peer restart", "malformed data")
async def test_the_client_comes_back_and_what_waited_is_said(port):
    heard: list[str] = []

    async def talk(request):
        server = web.WebSocketResponse()
        await server.prepare(request)
        await server.send_str("{broken")
        await server.send_str('{"n": 1}')
        async for message in server:
            heard.append(message.data)
        return server

    async def serve():
        app = web.Application()
        app.router.add_get("/feed", talk)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        return runner

    runner = await serve()
    async with drive(WebsocketClient, url=f"ws://127.0.0.1:{port}/feed", hello="subscribe", format="json") as node:
        assert await node.sent(1) == [{"n": 1}]
        assert "not JSON" in node.errors[0]["text"]
        await node.put("a")
        await node.wait_for(lambda: heard == ["subscribe", "a"])
        await runner.cleanup()
        await node.wait_for(lambda: node.statuses[-1][1] == "error")
        putting = asyncio.create_task(node.put("b", {"c": 1}))
        await asyncio.sleep(0)
        runner = await serve()
        await putting
        await node.wait_for(lambda: heard[2:] == ["subscribe", "b", '{"c":1}'])
        assert await node.sent(2) == [{"n": 1}] * 2
        await runner.cleanup()


@pytest.mark.survives("core/websocket-client", "an aiohttp server", "wrong password", "slow peer")
async def test_the_client_waits_for_a_server_that_does_not_let_it_in_or_reads_nothing(port):
    """Not let in: told once, tried again. One that reads nothing: given up, and told again what it had not read."""
    token, reads, heard, connects = "another", asyncio.Event(), [], 0

    async def talk(request):
        nonlocal connects
        if request.headers["Authorization"] != f"Bearer {token}":
            raise web.HTTPUnauthorized
        connects += 1
        server = web.WebSocketResponse(max_msg_size=0)
        await server.prepare(request)
        if not reads.is_set():
            request.transport.pause_reading()
            await reads.wait()
            return server
        async for message in server:
            heard.append((message.data[0], len(message.data)))
        return server

    app = web.Application()
    app.router.add_get("/feed", talk)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    url = f"ws://127.0.0.1:{port}/feed"
    async with drive(WebsocketClient, url=url, token="right", ping_s=0.4) as node:
        await node.wait_for(lambda: "401" in str(node.statuses))
        assert len(node.errors) == 1 and "right" not in str(node.errors)
        token = "right"
        await node.wait_for(lambda: is_up(node))
        putting = asyncio.create_task(node.put("a" * 20_000_000, "b" * 10))
        await node.wait_for(lambda: not is_up(node))
        assert not putting.done()
        reads.set()
        await putting
        await node.wait_for(lambda: heard == [("a", 20_000_000), ("b", 10)])
        assert is_up(node) and connects > 1
    await runner.cleanup()


async def test_wrong_urls_are_refused():
    with pytest.raises(ValueError, match="ws://"):
        async with drive(WebsocketClient, url="http://x"):
            pass
