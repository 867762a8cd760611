"""`flowcore simulate [NAME]...`: play devices that publish over MQTT, and stations that are spoken to."""

import os
import signal
from collections.abc import Coroutine
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import unquote, urlsplit

import typer

from flowcore.cli import out
from flowcore.cli.options import DATA, Data, Json

if TYPE_CHECKING:
    from flowcore.simulate.player import Broker, Played, Player


def simulate(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="What to play; see --list. Else machines.")
    ] = None,
    machines: Annotated[
        int, typer.Option("--machines", "-n", min=1, max=10_000, help="How many of each that publishes over MQTT.")
    ] = 3,
    at: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=PORT", help="Port of one that listens, in place of its usual one; 0: any."),
    ] = None,
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
    """Play devices, alike for one seed: they publish over MQTT, or are spoken to: Modbus, OPC UA, HTTP, serial, BLE."""
    import asyncio

    try:
        from flowcore.simulate.devices import At, CantServe, UnknownDevices, installed, is_station, make
        from flowcore.simulate.player import NoBroker, Player
    except ModuleNotFoundError as e:
        raise out.Failed(f"{e.name} is not installed", "Install it: pip install 'flowcore[iot]'") from None

    if list_:
        found = installed()
        lines = [f"{name}: {', '.join(one)}" if isinstance(one, tuple) else name for name, one in found.devices.items()]
        out.result("\n".join([*sorted(lines), *found.problems]), json, devices=sorted(found.devices))
        return
    try:
        made = [one for name in dict.fromkeys(names or ["machines"]) for one in make(name, machines, seed)]
    except UnknownDevices as e:
        raise out.Misused(str(e), "See: flowcore simulate --list") from None
    made = list({one.name: one for one in made}.values())
    stations = [one for one in made if is_station(one)]
    played: list[Any] = [one for one in made if not is_station(one)]
    ports = _ports(at or [], [one.name for one in stations])

    def say(line: str) -> None:
        if json:
            out.line({"event": line})
        else:
            out.show(line)

    def listens(name: str, where: str) -> None:
        if json:
            out.line({"device": name, "listens": where})
        else:
            out.show(f"{name} listens: {where}")

    broker = (_broker(url, user, password, ca) if url else _embedded(data)) if played else None
    player = None
    if broker is not None:
        player = Player(broker, played, rate_hz=rate, count=count, qos=qos, on_event=say)
    if player is not None and broker is not None and not json:
        some = ", ".join(one.name for one in played[:5]) + (", .." if len(played) > 5 else "")
        where = f"{'mqtts' if broker.tls else 'mqtt'}://{broker.host}:{broker.port}"
        out.show(f"playing {some} at {where}, {rate:g} readings/s each; Ctrl-C ends")
    serving = [
        one.serve(At(ports.get(one.name), data / "simulated", partial(listens, one.name), say)) for one in stations
    ]
    try:
        done = asyncio.run(_play(player, serving))
    except NoBroker as e:
        raise out.Failed(str(e), "Is it up, and are user and password right?") from None
    except CantServe as e:
        raise out.Failed(str(e), "Another port: --at NAME=PORT") from None
    out.result(
        f"{done.published} readings published, {done.commands} commands obeyed" if player else "ended",
        json,
        published=done.published,
        commands=done.commands,
        reconnects=done.reconnects,
    )


def _ports(given: list[str], names: list[str]) -> dict[str, int]:
    """What `--at` says. Raises Misused."""
    ports = {}
    for one in given:
        name, _, port = one.partition("=")
        if not port.isdecimal() or int(port) > 65535:
            raise out.Misused(f"--at {one!r} is not NAME=PORT", "For example: --at air=5020")
        if name not in names:
            raise out.Misused(f"--at {one!r}: nothing of that name listens", f"There is: {', '.join(names) or 'none'}")
        ports[name] = int(port)
    return ports


async def _play(player: "Player | None", serving: "list[Coroutine[Any, Any, None]]") -> "Played":
    """Play until the end of the player, Ctrl-C or SIGTERM; what fails ends all."""
    import asyncio

    from flowcore.simulate.player import Played

    loop = asyncio.get_running_loop()
    tasks: list[asyncio.Future[Any]] = [asyncio.ensure_future(one) for one in serving]
    if player is not None:
        tasks.append(asyncio.ensure_future(player.run()))
    over = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, over.set)
    waiting = asyncio.ensure_future(over.wait())
    try:
        done, _ = await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for one in done:
            one.result()
    finally:
        for task in (waiting, *tasks):
            task.cancel()
        await asyncio.gather(waiting, *tasks, return_exceptions=True)
    return player.played if player is not None else Played()


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
