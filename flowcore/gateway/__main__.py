"""The gateway's process: a JSON object on standard input says how it listens, and the end of that input ends it.

`flowcore.gateway.process` starts it. Prints `ready` when it listens. The bus's password is read from the data folder,
so it is on no command line.
"""

import asyncio
import json
import os
import ssl
import sys
from pathlib import Path
from typing import Any

import uvloop
from aiohttp import web

from flowcore.bus.certificate import Certificate
from flowcore.bus.connection import Connection
from flowcore.client import connect
from flowcore.gateway.app import Place, application

_BROWSERS_LEAVE_S = 1.0


async def serve(options: dict[str, Any]) -> None:
    """Serve until standard input ends."""
    place = Place(Path(options["folder"]), options["listen"], options["port"], tuple(options["names"]))
    async with connect(place.folder, name="flowcore gateway") as bus:
        target = bus.target
        feed = Connection(
            target.url, user=target.user, password=target.password, name="flowcore gateway feed", trust=target.trust
        )
        await feed.connect(timeout=10)
        runner = web.AppRunner(application(place, bus, feed), access_log=None, shutdown_timeout=_BROWSERS_LEAVE_S)
        await runner.setup()
        try:
            tls, renewing = _tls(options["certificate"])
            await web.TCPSite(runner, place.listen, place.port, ssl_context=tls, reuse_address=True).start()
            print("ready", flush=True)
            await _end_of_input()
        finally:
            if renewing is not None:
                renewing.cancel()
            await runner.cleanup()
            await feed.close()


def _tls(files: list[str] | None) -> tuple[ssl.SSLContext | None, asyncio.Task[None] | None]:
    """A context that takes up renewed files by itself: new connections get the new certificate."""
    if files is None:
        return None, None
    certificate = Certificate(Path(files[0]), Path(files[1]))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.chain, certificate.key)

    async def renew() -> None:
        async for _ in certificate.renewals():
            try:
                certificate.check()
            except ValueError as e:
                print(f"the renewed certificate cannot be used: {e}", file=sys.stderr, flush=True)
                continue
            context.load_cert_chain(certificate.chain, certificate.key)

    return context, asyncio.create_task(renew())


async def _end_of_input() -> None:
    """The host holds the other end of standard input: even a kill of it closes that."""
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()

    def read() -> None:
        if not os.read(0, 4096):
            loop.remove_reader(0)
            ended.set()

    loop.add_reader(0, read)
    await ended.wait()


def main() -> None:
    """Read how, and serve."""
    with open(0, "rb", buffering=0, closefd=False) as said:  # what follows is the loop's
        options = json.loads(said.readline())
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(options))


if __name__ == "__main__":
    main()
