"""One browser at the WebSocket: what it wants to see, what waits for it, and how much of that may wait.

What replaces itself (states, statistics, badges) waits as its newest; what adds up (debug messages, errors, log lines,
events) waits in short queues, of which the oldest go first. A browser that reads nothing therefore holds a bounded
heap however long it stays away, and nothing waits for it.

Frames to the browser are JSON objects, ten a second at most: any of `stats`, `states`, `badges` (maps by `flow/process`
or `flow/node`), `debug`, `errors`, `logs`, `events`, `people` (lists), `left_out` (counts by flow, of debug messages).
"""

import asyncio
import contextlib
import json
from collections import Counter, deque
from collections.abc import AsyncIterator
from typing import Any

from aiohttp import WSMsgType, web

TICK_S = 0.1
DEBUG_HZ, DEBUG_BURST = 50.0, 100.0  # debug messages for one browser
_MOST = {"debug": 100, "errors": 50, "logs": 200, "events": 200}
SMALL_DEBUG = 16 * 1024  # a debug message without a picture
_MOST_DRAWN = 2 << 20
_LARGEST_FRAME = 4096  # what a browser says is small


class Browser:
    """One WebSocket. `flows` are those it watches, None: all."""

    def __init__(self, socket: web.WebSocketResponse, number: int) -> None:
        self.number = number
        self.person: dict[str, Any] = {"number": number, "name": "", "flow": "", "node": ""}
        self.flows: frozenset[str] | None = frozenset()
        self.is_debug_paused = False
        self._socket = socket
        self._newest: dict[str, dict[str, str]] = {"stats": {}, "states": {}, "badges": {}}
        self._queues: dict[str, deque[str]] = {kind: deque(maxlen=most) for kind, most in _MOST.items()}
        self._left_out: Counter[str] = Counter()
        self._drawn_bytes = 0  # of waiting debug messages with pictures
        self._people: list[dict[str, Any]] | None = None
        self._tokens, self._tokens_s = DEBUG_BURST, asyncio.get_running_loop().time()

    def sees(self, flow: str) -> bool:
        """Whether it watches this flow."""
        return self.flows is None or flow in self.flows

    def replace(self, kind: str, key: str, text: str) -> None:
        """The newest of something; `text` is JSON."""
        self._newest[kind][key] = text

    def add(self, kind: str, text: str) -> None:
        """One more of something."""
        self._queues[kind].append(text)

    def debug(self, flow: str, text: str, bare: str) -> None:
        """A debug message, if there is room for one more now; `bare`: the same without pictures, which go first."""
        now_s = asyncio.get_running_loop().time()
        self._tokens = min(DEBUG_BURST, self._tokens + (now_s - self._tokens_s) * DEBUG_HZ)
        self._tokens_s = now_s
        queue = self._queues["debug"]
        if self.is_debug_paused or self._tokens < 1 or len(queue) == queue.maxlen:
            self.leave_out(flow, 1)
            return
        self._tokens -= 1
        if len(text) > SMALL_DEBUG:
            text = text if self._drawn_bytes + len(text) <= _MOST_DRAWN else bare
            self._drawn_bytes += len(text)
        queue.append(text)

    def leave_out(self, flow: str, count: int) -> None:
        """So many debug messages of a flow that it does not get."""
        if not self.is_debug_paused:
            self._left_out[flow] += count

    def meet(self, people: list[dict[str, Any]]) -> None:
        """Who else is here."""
        self._people = people

    async def feed(self) -> None:
        """Send what waits, until the socket is closed; while the browser does not read, nothing more is sent."""
        with contextlib.suppress(ConnectionError):
            while not self._socket.closed:
                frame = self._frame()
                if frame:
                    await self._socket.send_str(frame)
                await asyncio.sleep(TICK_S)

    def _frame(self) -> str:
        parts = []
        for kind, newest in self._newest.items():
            if newest:
                parts.append(f'"{kind}":{{{",".join(f"{json.dumps(key)}:{text}" for key, text in newest.items())}}}')
                newest.clear()
        for kind, queue in self._queues.items():
            if queue:
                parts.append(f'"{kind}":[{",".join(queue)}]')
                queue.clear()
        self._drawn_bytes = 0
        if self._left_out:
            parts.append(f'"left_out":{json.dumps(self._left_out)}')
            self._left_out.clear()
        if self._people is not None:
            parts.append(f'"people":{json.dumps(self._people)}')
            self._people = None
        return f"{{{','.join(parts)}}}" if parts else ""

    async def listen(self) -> AsyncIterator[dict[str, Any]]:
        """What it says: objects with `watch` (a list of flows, null: all), `pause` (debug messages) or `person`."""
        async for message in self._socket:
            if message.type is not WSMsgType.TEXT or len(message.data) > _LARGEST_FRAME:
                break
            with contextlib.suppress(ValueError, RecursionError):
                said = json.loads(message.data)
                if isinstance(said, dict):
                    yield said
