"""`flowcore access add|list|remove`: users of the bus for programs and devices outside.

The command writes the data folder's store and asks a running host to read it again: a password never goes over the bus.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowcore.cli.options import DATA, Data, Json

if TYPE_CHECKING:
    from flowcore.bus.access import Access

app = typer.Typer(help="Users of the bus for programs and devices outside.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(metavar="NAME")]


@app.command("add")
def add(
    name: Name,
    subscribe: Annotated[
        list[str] | None, typer.Option(metavar="SUBJECT", help="What it may subscribe to; may be given several times.")
    ] = None,
    publish: Annotated[
        list[str] | None, typer.Option(metavar="SUBJECT", help="What it may publish on; may be given several times.")
    ] = None,
    mqtt: Annotated[
        bool, typer.Option("--mqtt", help="A device: it comes by MQTT, and subjects are its topics.")
    ] = False,
    host: Annotated[
        bool, typer.Option("--host", help="A machine that joins with `flowcore up --host NAME`: it has all rights.")
    ] = False,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Add a user and print its URL, name and password: the only time the password is shown."""
    import re

    from flowcore.bus.access import AccessStore
    from flowcore.cli import out
    from flowcore.flow.model import ID

    if host and not re.fullmatch(ID, name):
        raise out.Misused(f"no host can be called {name!r}", "Use a-z, 0-9, '_' and '-', for example edge1")
    if host and (subscribe or publish or mqtt):
        raise out.Misused("a host has all rights", "Leave --subscribe, --publish and --mqtt out.")
    if not subscribe and not publish and not host:
        raise out.Misused("a user without rights can do nothing", "For example: --subscribe 'flow.factory.>'")
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    store = AccessStore(data)
    try:
        password = store.add(name, tuple(subscribe or ()), tuple(publish or ()), mqtt, host)
    except ValueError as e:
        raise out.Failed(str(e), "List the users: flowcore access list") from None
    url = _url(data, mqtt)
    in_force = _apply(data)
    lines = [
        f"url       {url or 'printed by flowcore up'}",
        f"user      {name}",
        f"password  {password}",
        "",
        "The password is not shown again." + ("" if in_force else " In force when the runtime starts."),
    ]
    if host:
        scheme, _, where = (url or "nats://THIS_MACHINE:4222").partition("://")
        lines.insert(3, f"there     flowcore up --host {name} --nats {scheme}://{name}:{password}@{where}")
        if scheme == "tls":
            lines.insert(4, "          and --nats-ca FILE, when that machine does not trust the certificate by itself")
    out.result("\n".join(lines), json, url=url, user=name, password=password, mqtt=mqtt, in_force=in_force)


@app.command("list")
def list_users(data: Data = DATA, json: Json = False) -> None:
    """List the users and what they may do."""
    from flowcore.bus.access import AccessStore
    from flowcore.cli import out

    users = AccessStore(data).list() if data.exists() else []
    rows = [(user.name, *_rights(user)) for user in users]
    values = [
        {
            "name": user.name,
            "mqtt": user.mqtt,
            "subscribe": list(user.subscribe),
            "publish": list(user.publish),
            "host": user.host,
        }
        for user in users
    ]
    text = out.table(("user", "comes by", "may subscribe to", "may publish on"), rows) if rows else "no users"
    out.result(text, json, users=values)


@app.command("remove")
def remove(name: Name, data: Data = DATA, json: Json = False) -> None:
    """Take a user away; it is cut off at once."""
    from flowcore.bus.access import AccessStore
    from flowcore.cli import out

    store = AccessStore(data) if data.exists() else None
    if store is None or name not in {user.name for user in store.list()}:
        raise out.Failed(f"no user {name!r}", "List them: flowcore access list")
    store.remove(name)
    in_force = _apply(data)
    out.result(f"{name}: removed", json, user=name, in_force=in_force)


def _rights(user: "Access") -> tuple[str, str, str]:
    if user.host:
        return "host", "everything", "everything"
    return "MQTT" if user.mqtt else "NATS", " ".join(user.subscribe), " ".join(user.publish)


def _apply(data: Path) -> bool:
    """Have a running host read the store again; False when none runs."""
    from flowcore.cli import link, out

    try:
        link.ask(data, "access.apply")
    except out.Failed as e:
        if e.details.get("code") == "not_running":
            return False
        raise
    return True


def _url(data: Path, mqtt: bool) -> str | None:
    """What the user connects to, from other machines too when the runtime listens for them."""
    from flowcore.client.address import NotRunning, read_run_file

    try:
        run = read_run_file(data)
    except NotRunning:
        return None
    return run.get("mqtt_url" if mqtt else "outside_url")
