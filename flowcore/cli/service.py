"""`flowcore service install|uninstall|status`: a runtime as a service of systemd, from the next boot on."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from flowcore.cli.options import DATA, Data, Json

app = typer.Typer(help="Run flowcore as a systemd service.", no_args_is_help=True, rich_markup_mode=None)

_SYSTEM_FOLDER = Path("/etc/systemd/system")
_NAME = r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}"

System = Annotated[bool, typer.Option("--system", help="Of the machine (needs root), not of this user.")]
Name = Annotated[str, typer.Option("--name", metavar="NAME", help="The service's name: NAME.service.")]


@app.command()
def install(
    up: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="-- UP...",
            help="What `flowcore up` gets, such as: -- --watch flows/ --drain 20 (it is that without the drain).",
            show_default=False,
        ),
    ] = None,
    folder: Annotated[
        Path, typer.Option("--in", metavar="FOLDER", help="Where it runs: paths begin there.", show_default=False)
    ] = Path(),
    account: Annotated[
        str | None,
        typer.Option("--as", metavar="USER", help="With --system: whose processes; else the folder's owner."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the unit, change nothing.")] = False,
    start: Annotated[bool, typer.Option(help="Start it now, and at each boot.")] = True,
    system: System = False,
    name: Name = "flowcore",
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Write a unit for `flowcore up` in this folder, start it, and have it started at each boot."""
    from flowcore.cli import out
    from flowcore.cli.unit import HEADER, Unit

    folder = folder.resolve()
    if not folder.is_dir():
        raise out.Failed(f"{folder}: no such folder", "Make one to begin with: flowcore init FOLDER")
    words, drain_s = _arguments(up, folder, data)
    if account is not None and not system:
        raise out.Misused("--as is for --system: a user's service runs as that user", "Leave it out.")
    bin_folder = Path(sys.executable).parent
    unit = Unit(
        command=[sys.executable, "-m", "flowcore.cli", "up", *words],
        folder=folder,
        is_system=system,
        account=_account(account, folder) if system else "",
        drain_s=drain_s,
        path=f"{bin_folder}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    )
    if any(character in "\n\r" for word in (*unit.command, str(folder)) for character in word):
        raise out.Failed("a path or argument holds a line break", "systemd cannot take it: choose another.")
    text, file = unit.text(), _file(system, name)
    values: dict[str, Any] = {"unit": str(file), "name": name, "system": system}
    if dry_run:
        out.result(text.rstrip("\n"), json, **values, text=text)
        return
    if file.exists() and not file.read_text(errors="replace").startswith(HEADER):
        raise out.Failed(f"{file} is there and was not written by flowcore", "Take another name with --name")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as e:
        do = "Run it with sudo, or without --system as a service of yours." if system else "Look at --dry-run."
        raise out.Failed(f"{file}: {e.strerror}", do) from None
    ctl = " ".join(_systemctl(system))
    if not start:
        text = f"wrote {file}\nnext: {ctl} daemon-reload && {ctl} enable --now {name}"
        out.result(text, json, **values, started=False)
        return
    _do(system, "daemon-reload", wrote=file)
    _do(system, "enable", name, wrote=file)
    _do(system, "restart", name, wrote=file)
    lines = [f"{name} runs, from {file}", f"look: flowcore service status{_again(system, name)}"]
    if not system and not _lingers():
        lines.append("it ends when you log out, and starts when you log in; always: loginctl enable-linger")
    out.result("\n".join(lines), json, **values, started=True)


@app.command()
def uninstall(system: System = False, name: Name = "flowcore", data: Data = DATA, json: Json = False) -> None:
    """Stop the service in order and take its unit away; flows and data stay."""
    from flowcore.cli import out
    from flowcore.cli.unit import HEADER

    file = _file(system, name)
    if not file.exists():
        raise out.Failed(f"{file} is not there", "See what is: systemctl list-units 'flowcore*'")
    if not file.read_text(errors="replace").startswith(HEADER):
        raise out.Failed(f"{file} was not written by flowcore", "It is left alone.")
    answered = _ask(system, "disable", "--now", name)
    try:
        file.unlink()
    except OSError as e:
        raise out.Failed(f"{file}: {e.strerror}", "Run it with sudo.") from None
    _ask(system, "daemon-reload")
    text = f"took {file} away; flows and data are as they were"
    if answered.returncode != 0:
        text += f"\nsystemd was not told: {_last_line(answered.stderr)}"
    out.result(text, json, unit=str(file), stopped=answered.returncode == 0)


@app.command()
def status(system: System = False, name: Name = "flowcore", data: Data = DATA, json: Json = False) -> None:
    """Show how the service is, as systemd and the runtime say."""
    from flowcore.cli import out

    file = _file(system, name)
    if not file.exists():
        raise out.Failed(f"{file} is not there", f"Make it: flowcore service install{_again(system, name)}")
    fields = "ActiveState,SubState,UnitFileState,MainPID,NRestarts,StatusText,Result"
    shown = _ask(system, "show", name, f"--property={fields}")
    if shown.returncode != 0:
        raise out.Failed(f"{file} is there, but systemd does not answer: {_last_line(shown.stderr)}", _BY_HAND)
    values = dict(line.partition("=")[::2] for line in shown.stdout.splitlines() if "=" in line)
    active, sub, enabled = (values.get(key, "?") for key in ("ActiveState", "SubState", "UnitFileState"))
    lines = [
        f"{name}: {active} ({sub}), {enabled}, process {values.get('MainPID')}, restarts {values.get('NRestarts')}"
    ]
    lines += [f"result {values['Result']}"] if values.get("Result", "success") != "success" else []
    lines += [values["StatusText"]] if values.get("StatusText") else []
    lines += [f"log: journalctl {'' if system else '--user '}-u {name}, and flowcore logs in its folder"]
    out.result("\n".join(lines), json, unit=str(file), **values)


_BY_HAND = "On a machine without systemd start `flowcore up` by what starts things there."


def _arguments(up: list[str] | None, folder: Path, data: Path) -> tuple[list[str], float]:
    """What `up` gets, looked at as `up` itself would, so that a mistake shows now and not at the next boot."""
    from flowcore.cli import out
    from flowcore.cli.main import app as root

    words = list(up or ())
    if not words and (folder / "flows").is_dir():
        words = ["--watch", "flows/"]
    command: Any = typer.main.get_command(root)
    with command.commands["up"].make_context("flowcore up", list(words)) as context:
        given = dict(context.params)
    if given["table"]:
        raise out.Misused("--table needs a terminal, and a service has none", "Leave it out.")
    names = [*(given["flows"] or ()), *(given[key] for key in ("watch", "nats_ca", "tls_cert", "tls_key"))]
    for path in filter(None, names):
        if not (folder / path).exists():
            raise out.Failed(f"{folder / path}: no such file or folder", "Paths begin in the folder of the service.")
    if data != DATA and not any(word.partition("=")[0] == "--data" for word in words):
        words = ["--data", str(data), *words]
    return words, float(given["drain"])


def _account(account: str | None, folder: Path) -> str:
    """The user a system service runs as; root by nobody's wish but the folder's."""
    import pwd

    from flowcore.cli import out

    try:
        name = pwd.getpwnam(account).pw_name if account else pwd.getpwuid(folder.stat().st_uid).pw_name
    except KeyError:
        who = account or f"the owner of {folder}"
        raise out.Failed(f"{who}: no such user", "Name one that is there: --as USER") from None
    return "" if name == "root" else name


def _file(system: bool, name: str) -> Path:
    import re

    from flowcore.cli import out

    if not re.fullmatch(_NAME, name):
        raise out.Misused(f"{name!r} is no name of a service", "Letters, digits, '_', '-' and '.', for example: line1")
    config = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return (_SYSTEM_FOLDER if system else config / "systemd" / "user") / f"{name}.service"


def _systemctl(system: bool) -> list[str]:
    return ["systemctl"] if system else ["systemctl", "--user"]


def _ask(system: bool, *words: str) -> "subprocess.CompletedProcess[str]":
    line = [*_systemctl(system), *words]
    try:
        return subprocess.run(line, capture_output=True, text=True, timeout=180)
    except FileNotFoundError:
        return subprocess.CompletedProcess(line, 127, "", "there is no systemctl on this machine")
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(line, 1, "", f"{' '.join(line)} did not end within 180 s")


def _do(system: bool, *words: str, wrote: Path) -> None:
    from flowcore.cli import out

    answered = _ask(system, *words)
    if answered.returncode != 0:
        what = f"wrote {wrote}, but {' '.join([*_systemctl(system), *words])} failed: {_last_line(answered.stderr)}"
        raise out.Failed(what, _BY_HAND if answered.returncode == 127 else "See: flowcore service status")


def _last_line(text: str) -> str:
    return text.strip().rpartition("\n")[2] or "it said nothing"


def _lingers() -> bool:
    import getpass

    return Path(f"/var/lib/systemd/linger/{getpass.getuser()}").exists()


def _again(system: bool, name: str) -> str:
    return (" --system" if system else "") + (f" --name {name}" if name != "flowcore" else "")
