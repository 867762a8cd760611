"""`core/http-request` and `core/webhook-out` against a real server, which goes away and comes back."""

import asyncio
import math
import socket
import ssl

import pytest
from aiohttp import web
from flowcore_nodes.core.http_request import HttpRequest
from flowcore_nodes.core.webhook_out import WebhookOut, signature

from flowcore.node.testing import drive
from tests.certificates import make_certificate


class Server:
    """Answers as its `answer` says; may be stopped and started again at the same port."""

    def __init__(self, tls=None) -> None:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.port = sock.getsockname()[1]
        self.got: list[tuple[str, str, bytes]] = []
        self.headers: list = []
        self.answer = lambda request: web.json_response({"path": request.path})
        self._tls, self._runner = tls, None

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    async def start(self) -> None:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self._tls, reuse_address=True).start()

    async def stop(self) -> None:
        await self._runner.cleanup()

    async def _handle(self, request):
        self.got.append((request.method, str(request.rel_url), await request.read()))
        self.headers.append(request.headers)
        made = self.answer(request)
        return await made if asyncio.iscoroutine(made) else made


@pytest.fixture
async def server():
    made = Server()
    await made.start()
    yield made
    await made.stop()


async def test_it_asks_with_what_the_message_holds(server):
    async with drive(
        HttpRequest, method="POST", url={"$message": "topic"}, user="me", password="secret", headers={"X-Line": "1"}
    ) as node:
        await node.put({"pieces": 3}, topic=server.url + "/orders")
        assert await node.sent() == [{"path": "/orders"}]
        assert node.messages()[0].meta["response"]["status"] == 200
    assert server.got == [("POST", "/orders", b'{"pieces":3}')]
    assert server.headers[0]["Authorization"] == "Basic bWU6c2VjcmV0" and server.headers[0]["X-Line"] == "1"
    async with drive(HttpRequest, method="GET", url=server.url + "/q", body="query") as node:
        await node.put({"a": 1, "b": "ü"}, [1])
        assert len(await node.sent()) == 1
        assert "takes a map" in node.errors[0]["text"]
    assert server.got[1][1] == "/q?a=1&b=%C3%BC"


@pytest.mark.survives("core/http-request", "an aiohttp server", "peer restart", "malformed data")
async def test_messages_wait_while_the_server_is_away(server):
    """Cut off, 503, an answer that breaks off: nothing is lost, the order is kept, and the badge says why."""
    replies = ["503", "cut", "ok"]

    async def answer(request):
        match replies.pop(0) if replies else "ok":
            case "503":
                return web.Response(status=503, headers={"Retry-After": "0"})
            case "cut":
                response = web.StreamResponse(headers={"Content-Length": "100"})
                await response.prepare(request)
                await response.write(b"[1, ")
                request.transport.abort()
                return response
        return web.json_response(request.path)

    server.answer = answer
    async with drive(HttpRequest, url={"$message": "topic"}, timeout_s=5) as node:
        await node.put(None, topic=server.url + "/1")
        assert await node.sent() == ["/1"]
        assert len(server.got) == 3
        await server.stop()
        putting = asyncio.create_task(node.put(None, topic=server.url + "/2"))
        await node.wait_for(lambda: node.statuses and node.statuses[-1][1] == "error")
        assert "trying again" in node.statuses[-1][0]
        loop = asyncio.get_running_loop()
        await server.start()
        back_s = loop.time()
        await putting
        assert loop.time() - back_s < 4
        assert await node.sent() == ["/1", "/2"]
        assert node.statuses[-1][1] == "ok" and len(node.errors) == 2  # each time it went away, once


@pytest.mark.survives("core/http-request", "an aiohttp server", "wrong password", "slow peer")
async def test_what_the_server_refuses_is_an_error(server):
    async def answer(request):
        if request.path == "/slow":
            await asyncio.sleep(5)
        return web.Response(status=401 if request.path == "/secret" else 200, text="{broken")

    server.answer = answer
    async with drive(
        HttpRequest, url={"$message": "topic"}, while_away="fail", timeout_s=0.3, answer_format="json"
    ) as node:
        for path in ("/secret", "/slow", "/broken"):
            await node.put(None, topic=server.url + path)
        await node.put(None, topic="ftp://x")
        await node.put(None, topic="http://me:secret@localhost/")
        texts = [error["text"] for error in node.errors]
        for text, why in zip(
            texts, ("401 Unauthorized", "no answer within 0.3", "not JSON", "http://", "no user"), strict=True
        ):
            assert why in text
        assert await node.sent() == []
    async with drive(HttpRequest, url=server.url + "/secret", fail=False) as node:
        await node.put(None)
        assert (await node.sent_messages())[0].meta["response"]["status"] == 401


async def test_pages_and_lines(server):
    """Pages by the header Link and by a path; never to another server with our token."""

    def answer(request):
        page = int(request.query.get("page", 1))
        if request.path == "/lines":
            return web.Response(text='{"n":1}\n\n{"n":2}\n{"n":3}')
        if request.path == "/away":
            return web.json_response({"next": "http://127.0.0.1:1/steal"})
        link = {"Link": f'</links?page={page + 1}>; rel="next"'} if page < 3 and request.path == "/links" else {}
        return web.json_response({"page": page, "next": f"?page={page + 1}" if page < 3 else None}, headers=link)

    server.answer = answer
    for config, want in (
        ({"url": server.url + "/links", "next": "link"}, [1, 2, 3]),
        ({"url": server.url + "/path", "next": "payload.next"}, [1, 2, 3]),
        ({"url": server.url + "/path", "next": "payload.next", "max_pages": 2}, [1, 2]),
    ):
        async with drive(HttpRequest, **config) as node:
            await node.put(None)
            assert [page["page"] for page in await node.sent()] == want
            assert len(node.errors) == (len(want) == 2)
    async with drive(HttpRequest, url=server.url + "/away", next="payload.next", token="secret") as node:
        await node.put(None)
        assert "another server" in node.errors[0]["text"]
    async with drive(HttpRequest, url=server.url + "/lines", answer="lines") as node:
        await node.put(None)
        assert await node.sent() == [{"n": 1}, {"n": 2}, {"n": 3}]
    async with drive(HttpRequest, url=server.url + "/lines", max_bytes=10) as node:
        await node.put(None)
        assert "max_bytes" in node.errors[0]["text"]


async def test_tls_checks_the_server(tmp_path):
    cert, key = make_certificate(tmp_path)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(cert, key)
    server = Server(context)
    await server.start()
    try:
        async with drive(HttpRequest, url=server.url + "/a", tls_ca=str(cert)) as node:
            await node.put(None)
            assert await node.sent() == [{"path": "/a"}]
        async with drive(HttpRequest, url=server.url + "/a") as node:
            await node.put(None)
            assert "certificate" in node.errors[0]["text"]
    finally:
        await server.stop()
    with pytest.raises(ValueError, match=r"tls_ca.*missing\.pem"):
        async with drive(HttpRequest, url="https://x/", tls_ca=str(tmp_path / "missing.pem")):
            pass


@pytest.mark.survives("core/webhook-out", "an aiohttp server", "peer restart", "wrong password")
async def test_a_webhook_is_signed_and_delivered_when_the_service_is_back(server):
    """What it refuses is an error; what it was away for comes, with the same id, in order."""
    config = {"url": server.url + "/hook", "key": "it's a secret", "timestamp": True}
    async with drive(WebhookOut, **config) as node:
        await server.stop()
        putting = asyncio.create_task(node.put({"alarm": 1}, {"alarm": 2}))
        await node.wait_for(lambda: node.statuses and node.statuses[-1][1] == "error")
        await server.start()
        await putting
        assert [body for _, _, body in server.got] == [b'{"alarm":1}', b'{"alarm":2}']
        for headers, (_, _, body) in zip(server.headers, server.got, strict=True):
            signed = headers["X-Webhook-Timestamp"].encode() + b"." + body
            assert headers["X-Hub-Signature-256"] == signature("it's a secret", signed)
        assert server.headers[0]["X-Webhook-Id"] != server.headers[1]["X-Webhook-Id"]
        server.answer = lambda request: web.Response(status=403, text="bad signature")
        await node.put({"alarm": 3})
        assert "403 Forbidden: bad signature" in node.errors[-1]["text"]
        assert len(await node.sent()) == 2


@pytest.mark.survives("core/webhook-out", "an aiohttp server", "slow peer", "malformed data")
async def test_a_webhook_waits_for_a_slow_service_and_not_for_what_is_no_json(server):
    """Each time that it is told the same thing it has the same id; what can't be written is an error of its own."""
    answers = asyncio.Event()

    async def answer(request):
        await answers.wait()
        return web.Response()

    server.answer = answer
    async with drive(WebhookOut, url=server.url + "/hook", timeout_s=0.2) as node:
        await node.put({"t": math.nan}, {"raw": b"\xff"})
        assert ["can't be written as" in error["text"] for error in node.errors] == [True, True] and not server.got
        putting = asyncio.create_task(node.put(1, 2))
        await node.wait_for(lambda: any("no answer within 0.2 s" in text for text, _ in node.statuses))
        answers.set()
        await putting
        assert await node.sent() == [1, 2] and node.statuses[-1][1] == "ok"
    told = list(zip((headers["X-Webhook-Id"] for headers in server.headers), (b for *_, b in server.got), strict=True))
    assert len(told) > 2 and [body for _, body in dict.fromkeys(told)] == [b"1", b"2"]


def test_the_signature_is_that_of_github():
    """The example in GitHub's documentation on validating webhook deliveries."""
    made = signature("It's a Secret to Everybody", b"Hello, World!")
    assert made == "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
