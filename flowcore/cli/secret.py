"""`flowcore secret set|list|remove`: what flows use as {"$secret": NAME}, encrypted in the data folder.

Values are read from a prompt or standard input, never from the command line (where other users can see them), and never
go over the bus: the command writes the data folder's store, which the host reads.
"""

from typing import Annotated

import typer

from flowcore.cli.options import DATA, Data, Json

app = typer.Typer(help="Secrets that flows use by name.", no_args_is_help=True)
Name = Annotated[str, typer.Argument(metavar="NAME")]


@app.command("set")
def set_secret(name: Name, data: Data = DATA, json: Json = False) -> None:
    """Store a secret; its value comes from a prompt, or from standard input."""
    import sys

    from flowcore.bus.secrets import SecretStore
    from flowcore.cli import out

    if sys.stdin.isatty():
        import getpass

        value = getpass.getpass(f"Value of {name}: ")
    else:
        value = sys.stdin.read().removesuffix("\n").removesuffix("\r")
    if not value:
        raise out.Misused("the value is empty", f'For example: printf %s "$VALUE" | flowcore secret set {name}')
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    store = SecretStore(data)
    is_new = name not in store.names()
    try:
        store.set(name, value)
    except ValueError as e:
        raise out.Misused(str(e), "A name is letters, digits, '_' and '-'.") from None
    hint = "" if is_new else "; restart the nodes that use it: flowcore restart FLOW.NODE"
    out.result(f"{name}: {'stored' if is_new else 'changed'}{hint}", json, name=name, changed=not is_new)


@app.command("list")
def list_secrets(data: Data = DATA, json: Json = False) -> None:
    """List the names of the secrets; values are never shown."""
    from flowcore.bus.secrets import SecretStore
    from flowcore.cli import out

    names = sorted(SecretStore(data).names()) if data.exists() else []
    out.result("\n".join(names) or "no secrets", json, names=names)


@app.command("remove")
def remove_secret(name: Name, data: Data = DATA, json: Json = False) -> None:
    """Forget a secret."""
    from flowcore.bus.secrets import SecretStore
    from flowcore.cli import out

    store = SecretStore(data) if data.exists() else None
    if store is None or name not in store.names():
        raise out.Failed(f"no secret {name!r}", "List them: flowcore secret list")
    store.remove(name)
    out.result(f"{name}: removed", json, name=name)
