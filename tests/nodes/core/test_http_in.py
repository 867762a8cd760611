"""`core/http-in` and `core/http-response`, asked by a real client."""

import asyncio
import contextlib
import socket

import aiohttp
import pytest
from flowcore_nodes.core.http_in import HttpIn
from flowcore_nodes.core.http_response import HttpResponse

from flowcore.node.testing import drive
from tests.ports import free_port


@pytest.fixture
def port() -> int:
    return free_port()


@contextlib.asynccontextmanager
async def listening(port, path="/orders", **config):
    async with drive(HttpIn, port=port, path=path, **config) as node:
        node.node.id = path.strip("/").replace("/", "-")  # several of them are several nodes
        await node.wait_for(lambda: node.statuses and node.statuses[-1][1] == "ok")
        yield node


@pytest.fixture
async def client():
    async with aiohttp.ClientSession() as session:
        yield session


async def test_a_body_becomes_a_payload_by_its_type(port, client):
    async with listening(port, "/orders/{id}") as node:
        url = f"http://127.0.0.1:{port}/orders/a%2Fb"
        form = aiohttp.FormData()
        form.add_field("name", "photo")
        form.add_field("file", b"\xff\xd8", filename="a.jpg", content_type="image/jpeg")
        photo = {"filename": "a.jpg", "type": "image/jpeg", "content": b"\xff\xd8"}
        cases = [
            ({"json": {"pieces": 3}}, {"pieces": 3}),
            ({"data": {"a": "1", "b": "ü"}}, {"a": "1", "b": "ü"}),
            ({"data": "text", "headers": {"Content-Type": "text/plain"}}, "text"),
            ({"data": b"\x00\x01"}, b"\x00\x01"),
            (
                {"data": form},
                {"name": "photo", "file": photo},
            ),
            ({"params": [("q", "1"), ("q", "2"), ("r", "x")]}, {"q": ["1", "2"], "r": "x"}),
        ]
        for request, _ in cases:
            async with client.post(url, **request) as answer:
                assert (answer.status, await answer.json()) == (200, {"done": True})
        assert await node.sent(len(cases)) == [payload for _, payload in cases]
        about = node.messages()[0].meta["http"]
        assert (about["method"], about["params"], about["remote"]) == ("POST", {"id": "a/b"}, "127.0.0.1")


@pytest.mark.survives("core/http-in", "an aiohttp client", "malformed data", "wrong password", "slow peer")
async def test_what_is_wrong_is_answered_and_stops_nothing(port, client):
    async with listening(port, key="let me in", max_bytes=1000, timeout_s=2) as node:
        url, key = f"http://127.0.0.1:{port}/orders", {"X-Api-Key": "let me in"}
        cases = [
            ({"data": b"{broken", "headers": {"Content-Type": "application/json", **key}}, 400, "not JSON"),
            ({"json": 2**70, "headers": key}, 400, "64 bits"),
            ({"json": 1, "headers": {"X-Api-Key": "wrong"}}, 401, "key"),
            ({"json": 1}, 401, "key"),
            ({"data": b"x" * 1001, "headers": key}, 413, "1000 bytes"),
            ({"data": aiohttp.FormData({"a": "x" * 2000}, default_to_multipart=True), "headers": key}, 413, "1000"),
        ]
        for request, status, why in cases:
            async with client.post(url, **request) as answer:
                assert answer.status == status and why in (await answer.json())["error"]
        async with client.get(url, headers=key) as answer:
            assert (answer.status, answer.headers["Allow"]) == (405, "POST")
        async with client.post(url + "/x", headers=key) as answer:
            assert answer.status == 404
        reader, writer = await asyncio.open_connection("127.0.0.1", port)  # one that never finishes its request
        writer.write(b"POST /orders HTTP/1.1\r\nHost: x\r\nX-Api-Key: let me in\r\nContent-Length: 9\r\n\r\n{")
        async with client.post(url, json={"ok": 1}, headers={"Authorization": "Bearer let me in"}) as answer:
            assert answer.status == 200
        assert await node.sent(1) == [{"ok": 1}]
        assert b"504" in await asyncio.wait_for(reader.readline(), 10)
        writer.close()


async def test_many_nodes_share_a_port(port, client):
    """Whichever of them the kernel gives a connection to, each request gets to its own node."""
    async with contextlib.AsyncExitStack() as nodes:
        paths = ["/a", "/b/{id}", "/b/fixed", "/rest/{path...}"]
        driven = [await nodes.enter_async_context(listening(port, path, method="*")) for path in paths]
        asked = ["/a", "/b/7", "/b/fixed", "/rest/x/y"]
        for _ in range(6):  # a connection each: sooner or later every one of them takes one for another
            async with aiohttp.ClientSession() as session:
                for path in asked:
                    async with session.put(f"http://127.0.0.1:{port}{path}", json={"path": path}) as answer:
                        assert answer.status == 200, await answer.text()
        for node, path in zip(driven, asked, strict=True):
            assert await node.sent(6) == [{"path": path}] * 6
            assert node.messages()[0].meta["http"]["remote"] == "127.0.0.1"
        async with drive(HttpIn, port=port, path="/a", method="*") as second:
            await second.wait_for(lambda: any("is served by test.a" in text for text, _ in second.statuses))


async def test_an_http_response_answers(port, client):
    """With status and headers of its own; what nobody answers is a 504, and its late answer an error."""
    async with listening(port, answer="response", timeout_s=0.5) as asked, drive(HttpResponse, status=201) as node:

        async def answer_one(payload, **meta):
            (message, *_) = (await asked.sent_messages(len(asked.messages()) + 1))[-1:]
            await node.put(payload, meta={**message.meta, **meta})

        for payload, meta, status, kind, text in (
            ({"id": 7}, {}, 201, "application/json", '{"id":7}'),
            (
                "<b>no</b>",
                {"status": 404, "headers": {"Content-Type": "text/html", "X-Why": "1"}},
                404,
                "text/html",
                "<b>no</b>",
            ),
        ):
            answering = asyncio.create_task(answer_one(payload, **meta))
            async with client.post(f"http://127.0.0.1:{port}/orders", json=1) as answer:
                assert (answer.status, answer.content_type, await answer.text()) == (status, kind, text)
            await answering
        async with client.post(f"http://127.0.0.1:{port}/orders", json=1) as answer:
            assert answer.status == 504
        late = asked.messages()[-1].meta
        await node.put(1, meta=late)
        await node.put(1, meta={})
        await node.put(1, meta=late | {"status": "ok"})
        await node.put(1, meta={"http": {"reply": "http://127.0.0.1:1/other"}})
        assert [error["error"] for error in node.errors] == ["GiveUp"] * 4
        assert "client has gone" in node.errors[0]["text"] and "no meta.http.reply" in node.errors[1]["text"]


async def test_a_port_that_somebody_else_has_is_tried_again(client):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        starting = drive(HttpIn, port=port, path="/x")
        node = await starting.__aenter__()
        await node.wait_for(lambda: node.statuses and "trying again" in node.statuses[-1][0])
    try:
        await node.wait_for(lambda: node.statuses[-1][1] == "ok")
        async with client.post(f"http://127.0.0.1:{port}/x", json=5) as answer:
            assert answer.status == 200
    finally:
        await starting.__aexit__(None, None, None)


@pytest.mark.parametrize("path", ["orders", "/a?b", "/{a}/{a}", "/.reply/x"])
async def test_wrong_paths_are_refused(path):
    with pytest.raises(ValueError, match="path"):
        async with drive(HttpIn, path=path):
            pass
