"""`flowcore up`: run the bus and the runtime here, until Ctrl-C, SIGTERM or `flowcore down`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from flowcore.cli.options import DATA, Data, Json

if TYPE_CHECKING:
    from flowcore.bus.certificate import Certificate


def up(
    flows: Annotated[
        list[Path] | None, typer.Argument(metavar="[FILE]...", help="Flow files to deploy at start.")
    ] = None,
    watch: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Deploy the flow files in it, again at each save, and write deploys back."),
    ] = None,
    table: Annotated[bool, typer.Option("--table", help="Show a live table of what runs.")] = False,
    simulate: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="Run a device simulator beside it, for example machines.")
    ] = None,
    nats: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Use this nats-server (nats://user:password@host:port), start none."),
    ] = None,
    host: Annotated[
        str,
        typer.Option(metavar="NAME", help="Join the bus at --nats as this host, and run the nodes placed on it."),
    ] = "",
    host_id: Annotated[
        str,
        typer.Option(
            metavar="ID",
            envvar="FLOWCORE_HOST_ID",
            help="Stands for this machine: runtimes with different ones share no memory, even on one machine.",
        ),
    ] = "",
    nats_ca: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Certificates to trust at a --nats that is tls:// (PEM); else the system's."),
    ] = None,
    listen: Annotated[
        str,
        typer.Option(metavar="ADDRESS", help="Address of the listeners; beyond this machine only with access users."),
    ] = "127.0.0.1",
    tls_cert: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Certificate chain (PEM): NATS and MQTT listeners take TLS connections only."
        ),
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Its key (PEM, no password); else in the file of --tls-cert.")
    ] = None,
    nats_port: Annotated[
        int, typer.Option(min=0, max=65535, help="NATS port; the next free one when taken, 0: any.")
    ] = 4222,
    mqtt_port: Annotated[
        int, typer.Option(min=0, max=65535, help="MQTT port; the next free one when taken, 0: any.")
    ] = 1883,
    http_port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port of the editor; the next free one when taken, 0: any.")
    ] = 1880,
    http_name: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A further host name that the editor is reached under.")
    ] = None,
    editor: Annotated[
        bool, typer.Option("--editor/--no-editor", envvar="FLOWCORE_EDITOR", help="Serve the editor, REST and metrics.")
    ] = True,
    drain: Annotated[float, typer.Option(min=0, metavar="SECONDS", help="How long wires may drain at the end.")] = 10.0,
    no_exec: Annotated[
        bool, typer.Option("--no-exec", help="Run no commands: flows with a node such as core/exec are refused.")
    ] = False,
    agents: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            envvar="FLOWCORE_AGENTS",
            help="Where agents lie; else in agents/ in the --watch folder, or in flows/agents/ beside the data folder.",
        ),
    ] = None,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Start the bus and the runtime, and run until Ctrl-C, SIGTERM or `flowcore down`."""
    import asyncio

    import uvloop

    from flowcore.cli import out
    from flowcore.cli.files import without_tests
    from flowcore.cli.serve import Serve, ServeOptions

    _check_host(host, nats, has_files=bool(flows or watch))
    certificate = _certificate(tls_cert, tls_key, nats)
    _check_nats_ca(nats_ca, nats)
    _check_listen(listen, nats, data, certificate is not None, editor)
    flows = without_tests(flows or [])
    for file in flows:
        if not file.is_file():
            raise out.Failed(f"{file}: no such file", "Give the path of a flow file, for example flows/factory.json")
    if watch is not None and not watch.is_dir():
        raise out.Failed(f"{watch}: no such folder", f"Make it: mkdir {watch}")
    if agents is not None and not agents.is_dir():
        raise out.Failed(f"{agents}: no such folder", f"Make it: mkdir {agents}")
    options = ServeOptions(
        data=data,
        flows=tuple(flows),
        watch=watch,
        table=table,
        simulate=tuple(simulate or ()),
        host=host,
        host_id=host_id,
        nats=nats,
        nats_ca=nats_ca,
        listen=listen,
        certificate=certificate,
        nats_port=nats_port,
        mqtt_port=mqtt_port,
        drain_s=drain,
        commands=not no_exec,
        agents=agents or (watch / "agents" if watch else None),
        editor=editor,
        http_port=http_port,
        http_names=tuple(http_name or ()),
        json=json,
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(Serve(options).run())


def _check_host(host: str, nats: str | None, has_files: bool) -> None:
    """A member needs a bus to join, and flows are the main host's."""
    import re

    from flowcore.cli import out
    from flowcore.flow.model import ID, MAIN_HOST

    if not host:
        return
    if not re.fullmatch(ID, host) or host == MAIN_HOST:
        what = "'main' is the host without --host" if host == MAIN_HOST else f"host name {host!r} cannot be used"
        raise out.Misused(what, "Names are 1 to 64 of a-z, 0-9, '_' and '-', for example edge1")
    if nats is None:
        do = f"On the main machine: flowcore access add {host} --host; then here --nats nats://{host}:PASSWORD@MACHINE:4222"
        raise out.Misused("--host joins a bus that is there, and --nats does not say which", do)
    if has_files:
        raise out.Misused("flows are deployed on the main host", "Leave FILE and --watch out here.")


def _certificate(tls_cert: Path | None, tls_key: Path | None, nats: str | None) -> "Certificate | None":
    """The certificate of the listeners, looked at before anything is started."""
    from flowcore.bus.certificate import BadCertificate, Certificate
    from flowcore.cli import out

    if tls_cert is None:
        if tls_key is not None:
            raise out.Misused("--tls-key is the key of a certificate", "Give it too: --tls-cert FILE")
        return None
    if nats is not None:
        do = "Leave it out; for a server with TLS: --nats tls://HOST:PORT --nats-ca FILE"
        raise out.Misused("--tls-cert is for the embedded server and does not go with --nats", do)
    certificate = Certificate(tls_cert, tls_key or tls_cert)
    try:
        certificate.check()
    except BadCertificate as e:
        raise out.Failed(
            str(e), "Give a certificate and its key as PEM files: --tls-cert FILE --tls-key FILE"
        ) from None
    return certificate


def _check_nats_ca(nats_ca: Path | None, nats: str | None) -> None:
    from flowcore.bus import tls
    from flowcore.cli import out

    if nats_ca is None:
        return
    if nats is None:
        raise out.Misused("--nats-ca says whom to trust at --nats", "Leave it out, or give --nats tls://HOST:PORT")
    try:
        tls.context(str(nats_ca))
    except tls.BadCertificate as e:
        raise out.Misused(str(e)) from None


def _check_listen(listen: str, nats: str | None, data: Path, has_tls: bool, has_editor: bool) -> None:
    """Refuse to be reachable from elsewhere while there is nobody who may come in; say what others could overhear."""
    from flowcore.bus.ports import is_loopback
    from flowcore.cli import out

    if is_loopback(listen):
        return
    if nats is not None:
        raise out.Misused("--listen is for the embedded server and does not go with --nats", "Leave one of them out.")
    from flowcore.bus.access import AccessStore

    if not data.exists() or not AccessStore(data).list():
        do = f"Add one: flowcore access add scada --subscribe 'flow.>' --data {data}"
        raise out.Failed(f"--listen {listen} would open the bus to other machines, and no access user exists", do)
    if has_editor:
        from flowcore.gateway.sessions import Sessions

        if not Sessions(data).has_password:
            do = f"Set one: flowcore password --data {data}; or leave the editor out: --no-editor"
            raise out.Failed(f"--listen {listen} would open the editor to other machines, and it has no password", do)
    if not has_tls:
        out.note(
            f"warning: on {listen} passwords and messages travel in the clear; give --tls-cert FILE --tls-key FILE"
        )
