"""The gateway's memory while a thousand debug messages a second arrive and a browser reads nothing."""

import asyncio
import base64
import json
import os
import socket
import statistics
from urllib.parse import urlsplit

from benchmarks.editor.browser import address, session, told
from flowcore.bench.runtime import Runtime

RATE_HZ = 1000
MOST_GROWTH = 0.05
_EACH_S = 1.0


async def gateway_memory(runtime: Runtime, is_quick: bool) -> list[str]:
    """Memory of its own in the first and in the last tenth of the time, the first seconds left out."""
    url = await address(runtime)
    await runtime.deploy(_flood())
    gateway = next(one for one in runtime.processes() if "flowcore.gateway" in " ".join(one.cmdline()))
    seconds = 60 if is_quick else 600
    deaf = await asyncio.to_thread(_deaf, url, session(runtime))
    try:
        await asyncio.sleep(15)  # its buffers, and those of the kernel, are full then
        before = await _handled(runtime)
        sizes = []
        for _ in range(int(seconds / _EACH_S)):
            sizes.append(gateway.memory_full_info().uss / 1e6)
            await asyncio.sleep(_EACH_S)
        rate = (await _handled(runtime) - before) / seconds
    finally:
        deaf.close()
    tenth = max(1, len(sizes) // 10)
    first, last = statistics.median(sizes[:tenth]), statistics.median(sizes[-tenth:])
    grown = last / first - 1
    about = f"{first:.1f} to {last:.1f} MB in {seconds / 60:.0f} min, most {max(sizes):.1f} MB, "
    about += f"{rate:.0f} debug messages a second, one browser that reads nothing"
    return [told("gateway: growth of its memory", grown * 100, "%", "< 5 %", grown < MOST_GROWTH, about)]


def _flood() -> dict:
    """A thousand debug messages a second: twenty times a second a list of fifty, split."""
    parts = [{"n": n, "celsius": 20.5} for n in range(50)]
    return {
        "flowcore": 1,
        "id": "flood",
        "nodes": [
            {"id": "tick", "type": "core/inject", "config": {"payload": parts, "every_s": 50 / RATE_HZ}},
            {"id": "each", "type": "core/split"},
            {"id": "show", "type": "core/debug", "config": {"max_rate_hz": 10 * RATE_HZ}},
        ],
        "wires": [{"from": "tick.out", "to": "each.in"}, {"from": "each.out", "to": "show.in"}],
    }


async def _handled(runtime: Runtime) -> int:
    """Messages that the debug node has shown."""
    await asyncio.sleep(1.1)  # statistics come once a second
    return int((await runtime.nodes("flood"))["show"]["stats"]["handled"])


def _deaf(url: str, token: str) -> socket.socket:
    """A browser that asks for everything and never reads, with a small buffer."""
    where = urlsplit(url)
    one = socket.socket()
    one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16_384)
    one.connect((where.hostname or "127.0.0.1", where.port or 80))
    key = base64.b64encode(os.urandom(16)).decode()
    lines = (
        "GET /api/live HTTP/1.1",
        f"Host: {where.netloc}",
        f"Origin: {url}",
        f"Authorization: Bearer {token}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {key}",
    )
    one.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
    said = one.recv(1024)
    if b" 101 " not in said:
        raise RuntimeError(f"the gateway let no WebSocket in: {said[:200]!r}")
    _say(one, {"watch": None})
    return one


def _say(one: socket.socket, what: dict) -> None:
    """A WebSocket frame of text, masked as a client's must be."""
    body, mask = json.dumps(what).encode(), os.urandom(4)
    one.sendall(bytes([0x81, 0x80 | len(body)]) + mask + bytes(b ^ mask[k % 4] for k, b in enumerate(body)))
