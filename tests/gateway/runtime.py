"""`flowcore up` with its editor, in a folder of its own."""

import asyncio
import json
import os
import sys
from pathlib import Path

import aiohttp

from flowcore.gateway.sessions import Sessions

TICKS = {
    "flowcore": 1,
    "id": "ticks",
    "nodes": [
        {"id": "tick", "type": "core/inject", "config": {"payload": 21, "every_s": 0.05}},
        {"id": "show", "type": "core/debug", "config": {"max_rate_hz": 1000}},
    ],
    "wires": [{"from": "tick.out", "to": "show.in"}],
}


class Runtime:
    """`flowcore up` in a folder of its own."""

    def __init__(self, folder: Path):
        self.folder, self.data = folder, folder / ".flowcore"
        self.sessions = Sessions(self.data)
        self.url = ""

    async def up(self, *args):
        """Start it; returns when the editor is there."""
        command = (sys.executable, "-m", "flowcore.cli", "up", "--json", "--data", self.data)
        ports = ("--nats-port", 0, "--mqtt-port", 0, "--http-port", 0)
        self.process = await asyncio.create_subprocess_exec(
            *map(str, (*command, *ports, *args)),
            cwd=self.folder,
            env={**os.environ, "FLOWCORE_EDITOR": "1"},
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(180):
            while line := await self.process.stdout.readline():
                if "editor" in (said := json.loads(line)):
                    self.url = said["editor"]["url"]
                    return said["editor"]["start_url"]
        raise AssertionError("it ended without an editor")

    async def down(self):
        """End it."""
        if self.process.returncode is None:
            self.process.terminate()
        await self.process.wait()

    def browser(self, **headers):
        """A client with nothing but what a browser sends."""
        return aiohttp.ClientSession(self.url, headers=headers, cookie_jar=aiohttp.CookieJar(unsafe=True))

    def program(self):
        """A client with a token."""
        return self.browser(Authorization=f"Bearer {self.sessions.token('session', 600)}")
