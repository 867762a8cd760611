"""Live data for browsers: the bus's feed, decoded once, sampled, and dealt out to who watches.

    bus ── stats, status, debug, error, log, events ── Live ── Browser ── WebSocket

Subscribed to only while a browser is there. Debug messages are sampled before they are decoded: of a flood only as
many as all browsers together may get cost more than a look at their subject.

Invariant: nothing here waits for a browser, and what is kept for one is bounded (`browser`).
"""

import asyncio
import contextlib
import itertools
import json
from typing import Any

from aiohttp import web

from flowcore.bus import subjects
from flowcore.bus.connection import Connection
from flowcore.bus.envelope import Malformed, unpack
from flowcore.bus.jsonable import jsonable
from flowcore.client import Client
from flowcore.gateway.browser import SMALL_DEBUG, Browser

_KINDS = ("stats", "status", "debug", "error", "log")
_DECODED_HZ, _DECODED_BURST = 300.0, 300.0  # debug messages decoded, for all browsers
_LARGEST_DEBUG = 1 << 20  # a node cuts them at 8 KB, but for a picture; others may publish, too
_DRAWN_BYTES_HZ, _DRAWN_BYTES_BURST = 4e6, 4e6  # of messages with pictures; beyond, they go without
_LARGEST = 512 * 1024
_MOST_BROWSERS = 64
_HEARTBEAT_S = 20.0
_PERSON = {"name": 40, "flow": 64, "node": 600}
_LEFT_OUT = frozenset({"flow", "type", "pid", "ts", "malformed", "refused", "overflow", "expired", "retried"})
"""Of the statistics, what an editor does not show; it is in GET /api/status."""


class Live:
    """Deals the feed out to browsers."""

    def __init__(self, client: Client, connection: Connection) -> None:
        self._client, self._connection = client, connection
        self._browsers: dict[int, Browser] = {}
        self._numbers = itertools.count(1)
        self._turn = asyncio.Lock()
        self._tokens, self._tokens_s = _DECODED_BURST, 0.0
        self._room_bytes = _DRAWN_BYTES_BURST

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """The WebSocket of one browser, until it leaves."""
        socket = web.WebSocketResponse(heartbeat=_HEARTBEAT_S, max_msg_size=8192, compress=False)
        await socket.prepare(request)
        if len(self._browsers) >= _MOST_BROWSERS:
            await socket.close(code=1013, message=b"too many browsers")
            return socket
        browser = Browser(socket, next(self._numbers))
        self._browsers[browser.number] = browser
        browser.add("events", json.dumps({"kind": "you", "number": browser.number}))
        await self._follow()
        feeding = asyncio.create_task(browser.feed())
        try:
            async for said in browser.listen():
                await self._heed(browser, said)
        finally:
            feeding.cancel()
            del self._browsers[browser.number]
            self._introduce()
            await self._follow()
        return socket

    async def _heed(self, browser: Browser, said: dict[str, Any]) -> None:
        if "watch" in said:
            flows = said["watch"]
            wanted = frozenset(map(str, flows)) if isinstance(flows, list) else None
            browser.flows = wanted
            await self._show_now(browser)
        if isinstance(said.get("person"), dict):
            for name, longest in _PERSON.items():
                browser.person[name] = str(said["person"].get(name, browser.person[name]))[:longest]
            self._introduce()
        if isinstance(said.get("pause"), bool):
            browser.is_debug_paused = said["pause"]

    async def _show_now(self, browser: Browser) -> None:
        """How everything is that it begins to watch; what changes from now on comes by itself."""
        with contextlib.suppress(ConnectionError, RuntimeError, TimeoutError):
            for flow in (await self._client.call("status"))["flows"]:
                if browser.sees(flow["flow"]):
                    for node in flow["nodes"]:
                        self._show_node(browser, flow["flow"], node)
                    for one in flow["instances"]:
                        badge = {"text": one["text"], "kind": one["kind"]}
                        browser.replace("badges", f"{flow['flow']}/{one['instance']}", json.dumps(badge))

    @staticmethod
    def _show_node(browser: Browser, flow: str, node: dict[str, Any]) -> None:
        key = f"{flow}/{node['process']}"
        state = {name: node[name] for name in ("node", "process", "state", "pid", "restarts", "reason", "host")}
        browser.replace("states", key, json.dumps(state))
        if node["badge"]:
            badge = {"text": node["badge"], "kind": node["badge_kind"]}
            browser.replace("badges", f"{flow}/{node['node']}", json.dumps(badge))
        if node["stats"]:
            browser.replace("stats", key, _stats(node["stats"]))

    def _introduce(self) -> None:
        people = [browser.person for browser in self._browsers.values()]
        for browser in self._browsers.values():
            browser.meet(people)

    async def _follow(self) -> None:
        """Listen to the bus while somebody watches."""
        async with self._turn:
            feed = {subjects.event("*", "*", kind): getattr(self, f"_on_{kind}") for kind in _KINDS}
            feed[subjects.EVENTS] = self._on_event
            for subject, callback in feed.items():
                if self._browsers:
                    await self._connection.subscribe(subject, callback)
                else:
                    await self._connection.unsubscribe(subject)

    def _watching(self, flow: str) -> list[Browser]:
        return [browser for browser in self._browsers.values() if browser.sees(flow)]

    # The feed: called by the connection, one after the other

    def _on_stats(self, subject: str, data: bytes, _reply: str, _headers: bytes) -> None:
        _, flow, _, _ = subject.split(".")
        if watching := self._watching(flow):
            body = _decoded(data)
            if body and isinstance(body.get("process"), str):
                text = _stats(body)
                for browser in watching:
                    browser.replace("stats", f"{flow}/{body['process']}", text)

    def _on_status(self, subject: str, data: bytes, _reply: str, _headers: bytes) -> None:
        _, flow, node, _ = subject.split(".")
        if watching := self._watching(flow):
            body = _decoded(data)
            if body:
                badge = {"text": str(body.get("text", ""))[:500], "kind": str(body.get("kind", ""))}
                for browser in watching:
                    browser.replace("badges", f"{flow}/{node}", json.dumps(badge))

    def _on_debug(self, subject: str, data: bytes, _reply: str, _headers: bytes) -> None:
        _, flow, node, _ = subject.split(".")
        watching = self._watching(flow)
        if not watching:
            return
        now_s = asyncio.get_running_loop().time()
        passed_s, self._tokens_s = now_s - self._tokens_s, now_s
        self._tokens = min(_DECODED_BURST, self._tokens + passed_s * _DECODED_HZ)
        body = _decoded(data, _LARGEST_DEBUG) if self._tokens >= 1 else None
        if body is None:
            for browser in watching:
                browser.leave_out(flow, 1)
            return
        self._tokens -= 1
        body |= {"flow": flow, "node": node}
        self._room_bytes = min(_DRAWN_BYTES_BURST, self._room_bytes + passed_s * _DRAWN_BYTES_HZ)
        if len(data) <= SMALL_DEBUG or self._room_bytes < len(data):
            text = bare = json.dumps(jsonable(body if len(data) <= SMALL_DEBUG else without_pictures(body)))
        else:
            self._room_bytes -= len(data)
            text, bare = json.dumps(jsonable(body)), json.dumps(jsonable(without_pictures(body)))
        for browser in watching:
            browser.debug(flow, text, bare)

    def _on_error(self, subject: str, data: bytes, _reply: str, _headers: bytes) -> None:
        self._deal(subject, data, "errors")

    def _on_log(self, subject: str, data: bytes, _reply: str, _headers: bytes) -> None:
        self._deal(subject, data, "logs")

    def _deal(self, subject: str, data: bytes, kind: str) -> None:
        _, flow, node, _ = subject.split(".")
        if watching := self._watching(flow):
            body = _decoded(data)
            if body:
                text = json.dumps(jsonable({**body, "flow": flow, "node": node}))
                for browser in watching:
                    browser.add(kind, text)

    def _on_event(self, _subject: str, data: bytes, _reply: str, _headers: bytes) -> None:
        try:
            body = json.loads(data)
            kind, flow = body["kind"], str(body.get("flow", ""))
        except (ValueError, TypeError, KeyError):
            return
        for browser in self._browsers.values():
            if kind == "process":
                if browser.sees(flow):
                    browser.replace("states", f"{flow}/{body['process']}", json.dumps(body))
            else:
                browser.add("events", json.dumps(body))


def without_pictures(value: Any) -> Any:
    """A copy of what a debug node shows, with what its pictures are and not themselves."""
    if isinstance(value, list):
        return [without_pictures(one) for one in value]
    if not isinstance(value, dict):
        return value
    return {key: without_pictures(one) for key, one in value.items() if key != "picture" or not isinstance(one, bytes)}


def _decoded(data: bytes, limit: int = _LARGEST) -> dict[str, Any] | None:
    with contextlib.suppress(Malformed):
        body = unpack(data, limit=limit)
        return body if isinstance(body, dict) else None
    return None


def _stats(body: dict[str, Any]) -> str:
    return json.dumps(jsonable({name: value for name, value in body.items() if name not in _LEFT_OUT}))


LIVE = web.AppKey("live", Live)
