"""`core/chat-out` against a local server that checks each body against what its service documents."""

import asyncio

import jsonschema
import pytest
from aiohttp import web
from flowcore_nodes.core.chat_out import ChatOut

from flowcore.node.testing import drive
from tests.nodes.core.test_http_request import Server

TEXT = {"type": "string", "minLength": 1}
CARD = {
    "type": "object",
    "required": ["type", "version", "body"],
    "properties": {
        "type": {"const": "AdaptiveCard"},
        "version": {"type": "string"},
        "body": {
            "type": "array",
            "items": {
                "required": ["type", "text"],
                "properties": {"type": {"const": "TextBlock"}, "text": TEXT, "wrap": {"type": "boolean"}},
                "additionalProperties": False,
            },
        },
    },
}
SCHEMAS = {
    # As they document it. Slack: "Sending messages using incoming webhooks". Teams: "Create incoming webhooks with
    # workflows", with an Adaptive Card 1.4. Telegram: Bot API, sendMessage.
    "slack": {"type": "object", "required": ["text"], "properties": {"text": TEXT}, "additionalProperties": False},
    "teams": {
        "type": "object",
        "required": ["type", "attachments"],
        "properties": {
            "type": {"const": "message"},
            "attachments": {
                "type": "array",
                "minItems": 1,
                "items": {
                    "required": ["contentType", "content"],
                    "properties": {
                        "contentType": {"const": "application/vnd.microsoft.card.adaptive"},
                        "content": CARD,
                    },
                },
            },
        },
    },
    "telegram": {
        "type": "object",
        "required": ["chat_id", "text"],
        "properties": {"chat_id": {"type": ["string", "integer"]}, "text": TEXT | {"maxLength": 4096}},
        "additionalProperties": False,
    },
}


@pytest.fixture
async def server():
    made = Server()
    await made.start()
    yield made
    await made.stop()


def config(service: str, url: str) -> dict:
    if service == "telegram":
        return {"service": service, "api": url, "bot_token": "123:secret", "chat": "-100"}
    return {"service": service, "webhook": url + "/services/secret"}


@pytest.mark.survives("core/chat-out", "a server with each service's schema", "peer restart", "malformed data")
@pytest.mark.parametrize("service", SCHEMAS)
async def test_each_service_gets_what_it_documents(service, server):
    """One that is refused, one too long, too many at once, a server that is away: none is lost, no secret is told."""
    refusals, texts = [429, 403], []

    async def answer(request):
        body = await request.json()
        jsonschema.validate(body, SCHEMAS[service])
        if len(texts) == 1 and refusals:
            return web.Response(status=refusals.pop(0), headers={"Retry-After": "0"}, text="no")
        texts.append(body.get("text") or body["attachments"][0]["content"]["body"][0]["text"])
        return web.json_response({"ok": True})

    server.answer = answer
    async with drive(ChatOut, text="{topic}: {payload.t} °C", **config(service, server.url)) as node:
        await node.put({"t": 85.5}, topic="press")
        await node.put({"t": 1}, topic="refused")
        await node.put({"no": 1}, {"t": "x" * 50_000}, topic="long")
        assert texts[0] == "press: 85.5 °C" and 4000 < len(texts[1]) <= 40_000
        told = " ".join(error["text"] for error in node.errors)
        assert "403" in told and "payload.t" in told
        await server.stop()
        putting = asyncio.create_task(node.put({"t": 2}, topic="later"))
        await node.wait_for(lambda: node.statuses and node.statuses[-1][1] == "error")
        await server.start()
        await putting
        assert texts[-1] == "later: 2 °C"
        assert "secret" not in str(node.errors) + str(node.statuses)


@pytest.mark.survives("core/chat-out", "a server with each service's schema", "wrong password", "slow peer")
@pytest.mark.parametrize(("service", "status"), [("slack", 404), ("telegram", 401)])
async def test_a_revoked_webhook_is_told_and_a_slow_service_waited_for(service, status, server):
    """Revoked: an error of each message, on the badge until one gets through. Silent: asked again until it answers."""
    texts, revoked, answers = [], True, asyncio.Event()

    async def answer(request):
        if revoked:
            return web.Response(status=status, text="no_service")
        await answers.wait()
        texts.append((await request.json())["text"])
        return web.json_response({"ok": True})

    server.answer = answer
    async with drive(ChatOut, timeout_s=0.2, **config(service, server.url)) as node:
        await node.put("one", "two")
        assert [f"{status}" in error["text"] for error in node.errors] == [True, True] and not await node.sent()
        assert "not let in" in node.statuses[-1][0] and node.statuses[-1][1] == "error"
        revoked = False
        putting = asyncio.create_task(node.put("three", "four"))
        await node.wait_for(lambda: "no answer within 0.2 s" in node.statuses[-1][0])
        answers.set()
        await putting
        assert await node.sent() == ["three", "four"] and list(dict.fromkeys(texts)) == ["three", "four"]
        assert node.statuses[-1][1] == "ok" and "secret" not in str(node.errors) + str(node.statuses)


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({}, "needs the address"),
        ({"service": "telegram"}, "bot_token and chat"),
        ({"webhook": "ftp://x"}, "no URL"),
        ({"webhook": "http://x", "text": "{a b..}"}, "path"),
    ],
)
async def test_wrong_settings_are_refused(config, why):
    with pytest.raises(ValueError, match=why):
        async with drive(ChatOut, **config):
            pass
