"""The `flowcore` command: one file a command, gathered here.

Command files import what they need inside their functions, so that `flowcore --help` stays quick.
"""

import sys
from importlib import import_module
from importlib.util import find_spec

import typer

from flowcore.cli import out

COMMANDS = (  # in the order of `flowcore --help`: (module, [commands in it])
    ("init", ["init"]),
    ("up", ["up"]),
    ("down", ["down"]),
    ("url", ["url"]),
    ("password", ["password"]),
    ("deploy", ["deploy"]),
    ("validate", ["validate"]),
    ("test", ["test"]),
    ("status", ["status"]),
    ("lifecycle", ["start", "stop", "restart"]),
    ("remove", ["remove"]),
    ("steer", ["pause", "resume", "bypass", "disable", "kill"]),
    ("inject", ["inject"]),
    ("last", ["last"]),
    ("logs", ["logs"]),
    ("errors", ["errors"]),
    ("retry", ["retry"]),
    ("upgrade", ["upgrade"]),
    ("history", ["history", "diff", "rollback"]),
    ("sub", ["sub"]),
    ("pub", ["pub"]),
    ("nodes", ["nodes"]),
    ("new_node", ["new-node"]),
    ("new_agent", ["new-agent"]),
    ("simulate", ["simulate"]),
    ("bench", ["bench"]),
    ("doctor", ["doctor"]),
)
GROUPS = {  # groups of commands, and the files that hold them as `app`
    "secret": "secret",
    "access": "access",
    "state": "state",
    "context": "context",
    "service": "service",
    "import": "importing",
}

app = typer.Typer(
    name="flowcore",
    help="Flows of independent node processes on NATS subjects.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Print the version.", is_eager=True)) -> None:
    if version:
        from flowcore import __version__

        print(f"flowcore {__version__}")
        raise typer.Exit


def _register() -> None:
    for module_name, commands in COMMANDS:
        if find_spec(f"flowcore.cli.{module_name}") is None:
            continue  # an installation without the simulators
        module = import_module(f"flowcore.cli.{module_name}")
        for command in commands:
            app.command(command)(getattr(module, command.replace("-", "_")))
    for name, module_name in GROUPS.items():
        app.add_typer(import_module(f"flowcore.cli.{module_name}").app, name=name)


_register()


def main() -> None:
    """Run the command and exit with its status: 0 done, 1 refused or failed, 2 wrong use."""
    sys.exit(_run())


def _run() -> int:
    json = "--json" in sys.argv
    try:
        status = app(standalone_mode=False)
        return status if isinstance(status, int) else 0
    except out.Failed as e:
        return out.failure(e, json)
    except (KeyboardInterrupt, typer.Abort):
        return 1
    except BrokenPipeError:  # `flowcore sub ... | head`
        sys.stderr.close()
        return 0
    except OSError as e:
        if e.filename is None or "--debug" in sys.argv:
            raise
        return out.failure(
            out.Failed(f"{e.filename}: {e.strerror}", "Choose another place, or change its rights."), json
        )
    except Exception as e:
        if hasattr(e, "format_message") and hasattr(e, "exit_code"):  # wrong use, as typer found it
            return _wrong_use(e, json)
        if "--debug" in sys.argv:
            raise
        return out.failure(
            out.Failed(f"{type(e).__name__}: {e}", "This is a fault in flowcore; please report it."), json
        )


def _wrong_use(error: Exception, json: bool) -> int:
    path = getattr(getattr(error, "ctx", None), "command_path", "flowcore")
    message = error.format_message()  # type: ignore[attr-defined]
    if not message:  # no arguments at all: the help has been printed
        return 2
    return out.failure(out.Misused(message, f"See: {path} --help"), json)
