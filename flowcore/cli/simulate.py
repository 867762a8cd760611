"""`flowcore simulate [DEVICES]`: play devices that publish over MQTT and obey commands."""

import contextlib
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import unquote, urlsplit

import typer

from flowcore.cli import out
from flowcore.cli.options import DATA, Data, Json

if TYPE_CHECKING:
    from flowcore.simulate.player import Broker, Played, Player


def simulate(
    devices: Annotated[str, typer.Argument(help="What to play, by the name its plug-in gives it.")] = "machines",
    machines: Annotated[int, typer.Option("--machines", "-n", min=1, max=10_000, help="How many of them.")] = 3,
    rate: Annotated[float, typer.Option(min=0.001, max=100_000, help="Readings a second of each.")] = 1.0,
    seed: Annotated[int, typer.Option(help="What chance begins with: the same seed plays the same.")] = 1,
    count: Annotated[int | None, typer.Option(min=1, help="End after so many readings in all.")] = None,
    qos: Annotated[int, typer.Option(min=0, max=2, help="Quality of service of the readings.")] = 1,
    url: Annotated[
        str | None,
        typer.Option(help="mqtt://HOST:PORT or mqtts://HOST:PORT; else the broker of the runtime on --data."),
    ] = None,
    ca: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Certificates to trust with mqtts:// (PEM); else those of the system."),
    ] = None,
    user: Annotated[str | None, typer.Option(help="User name at the broker of --url.")] = None,
    password: Annotated[
        str | None, typer.Option(help="Password at the broker of --url.", envvar="FLOWCORE_MQTT_PASSWORD")
    ] = None,
    list_: Annotated[bool, typer.Option("--list", help="List what can be played, and end.")] = False,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Play devices over MQTT: they drift, spike and drop out, the same way for the same seed, and obey commands."""
    import asyncio

    try:
        from flowcore.simulate.devices import UnknownDevices, installed, make
        from flowcore.simulate.player import NoBroker, Player
    except ModuleNotFoundError as e:
        raise out.Failed(f"{e.name} is not installed", "Install it: pip install 'flowcore[iot]'") from None

    if list_:
        found = installed()
        out.result("\n".join([*sorted(found.devices), *found.problems]), json, devices=sorted(found.devices))
        return
    try:
        played = make(devices, machines, seed)
    except UnknownDevices as e:
        raise out.Misused(str(e), "See: flowcore simulate --list") from None
    broker = _broker(url, user, password, ca) if url else _embedded(data)

    def say(line: str) -> None:
        if json:
            out.line({"event": line})
        else:
            out.show(line)

    player = Player(broker, played, rate_hz=rate, count=count, qos=qos, on_event=say)
    if not json:
        names = ", ".join(one.name for one in played[:5]) + (", .." if len(played) > 5 else "")
        where = f"{'mqtts' if broker.tls else 'mqtt'}://{broker.host}:{broker.port}"
        out.show(f"playing {names} at {where}, {rate:g} readings/s each; Ctrl-C ends")
    try:
        done = asyncio.run(_play(player))
    except NoBroker as e:
        raise out.Failed(str(e), "Is it up, and are user and password right?") from None
    out.result(
        f"{done.published} readings published, {done.commands} commands obeyed",
        json,
        published=done.published,
        commands=done.commands,
        reconnects=done.reconnects,
    )


async def _play(player: "Player") -> "Played":
    """Play until the end, Ctrl-C or SIGTERM."""
    import asyncio

    loop, playing = asyncio.get_running_loop(), asyncio.ensure_future(player.run())
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, playing.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await playing
    return player.played


def _embedded(data: Path) -> "Broker":
    """The MQTT listener of the runtime on `data`, with the rights of commands.

    Raises:
        Failed: no runtime, or one without a listener of its own.
    """
    from flowcore.bus import tls
    from flowcore.cli.link import explained
    from flowcore.client.address import read_run_file
    from flowcore.simulate.player import Broker

    with explained(data):
        run = read_run_file(data)
    port = run.get("mqtt_port")
    if not port:
        raise out.Failed("this runtime has no MQTT listener of its own", "Name a broker: --url mqtt://HOST:PORT")
    own = urlsplit(run["url"])
    context = tls.context(tls.OWN) if own.scheme == "tls" else None
    return Broker(own.hostname or "127.0.0.1", port, run.get("user"), run.get("password"), context)


def _broker(url: str, user: str | None, password: str | None, ca: Path | None) -> "Broker":
    """The broker that a URL names.

    Raises:
        Misused: not an MQTT URL, or a file with certificates that cannot be read.
    """
    from flowcore.bus import tls
    from flowcore.simulate.player import Broker

    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = -1
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or port == -1:
        raise out.Misused(f"--url {url!r} is not an MQTT address", "For example: mqtt://192.168.1.5:1883")
    is_safe = parts.scheme == "mqtts"
    try:
        context = tls.context(str(ca) if ca else tls.SYSTEM) if is_safe else None
    except tls.BadCertificate as e:
        raise out.Misused(str(e)) from None
    return Broker(
        parts.hostname,
        port or (8883 if is_safe else 1883),
        user or (unquote(parts.username) if parts.username else None),
        password or (unquote(parts.password) if parts.password else os.environ.get("FLOWCORE_MQTT_PASSWORD")),
        context,
    )
