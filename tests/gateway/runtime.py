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
        self.site = folder / "site"  # packages of this runtime alone
        self.site.mkdir()
        self.sessions = Sessions(self.data)
        self.url = ""

    async def up(self, *args):
        """Start it; returns when the editor is there."""
        environ = {name: value for name, value in os.environ.items() if name != "FLOWCORE_AGENTS"}  # its own folder's
        command = (sys.executable, "-m", "flowcore.cli", "up", "--json", "--data", self.data)
        ports = ("--nats-port", 0, "--mqtt-port", 0, "--http-port", 0)
        self.process = await asyncio.create_subprocess_exec(
            *map(str, (*command, *ports, *args)),
            cwd=self.folder,
            env={**environ, "FLOWCORE_EDITOR": "1", "PYTHONPATH": str(self.site)},
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


def write_package(site, name, inputs, outputs):
    """Install a package with one node type, `<name>/convert`, whose ports have these Python types."""
    ports = [f"    {port} = In({type_})" for port, type_ in inputs.items()]
    ports += [f"    {port} = Out({type_})" for port, type_ in outputs.items()]
    lines = [
        "from flowcore.node import In, Node, Out, hookimpl",
        "class Convert(Node):",
        '    """Turn a value into another."""',
        f"    type, title, category = {name + '/convert'!r}, {'Convert of ' + name!r}, {name!r}",
        *ports,
        "    def on_message(self, message):",
        "        return None",
        "@hookimpl",
        "def flowcore_node_types():",
        "    return [Convert]",
    ]
    install(site, name, "\n".join(lines) + "\n")


def install(site, name, source):
    """Install a package that is one module, with a plug-in's hook in it."""
    about = site / f"{name}_nodes-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}-nodes\nVersion: 1.0\n")
    (site / f"{name}_nodes.py").write_text(source)
    (about / "entry_points.txt").write_text(f"[flowcore]\n{name} = {name}_nodes\n")  # last: it is what a host sees
