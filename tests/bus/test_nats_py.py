"""nats-py without aiohttp, in a process that has neither: a node's, or a command's."""

import socket
import subprocess
import sys

from flowcore.bus.config import nats_server_program

PROGRAM = """
import asyncio, sys
import flowcore.runtime.runner, flowcore.runtime.host, flowcore.cli.status
import nats

assert "aiohttp" not in sys.modules
async def main():
    client = await nats.connect(sys.argv[1], connect_timeout=10)
    heard = await client.subscribe("a")
    await client.publish("a", b"by a WebSocket")
    print((await heard.next_msg(10)).data.decode())
    await client.close()
asyncio.run(main())
import aiohttp
aiohttp.ClientSession
"""


def test_aiohttp_is_imported_when_a_websocket_needs_it(tmp_path):
    with socket.socket() as one, socket.socket() as other:
        for free in (one, other):
            free.bind(("127.0.0.1", 0))
        port, web = one.getsockname()[1], other.getsockname()[1]
    conf = tmp_path / "nats.conf"
    conf.write_text(f'listen: "127.0.0.1:{port}"\nwebsocket {{ listen: "127.0.0.1:{web}", no_tls: true }}\n')
    server = subprocess.Popen([nats_server_program(), "-c", conf], stderr=subprocess.PIPE, text=True)
    try:
        next(line for line in server.stderr if "Server is ready" in line)
        command = (sys.executable, "-c", PROGRAM, f"ws://127.0.0.1:{web}")
        ran = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert (ran.stdout, ran.returncode) == ("by a WebSocket\n", 0), ran.stderr
    finally:
        server.kill()
        server.communicate()
