"""`flowcore init [FOLDER]`: a folder for flows to begin in. What is there already stays as it is."""

from pathlib import Path
from typing import Annotated

import typer

from flowcore.cli.options import DATA, Data, Json

_FLOW = r"""{
  "flowcore": 1,
  "id": "hello",
  "name": "Hello",
  "description": "A message each second, a line of Python, and a look at what came out. Change the script and save.",
  "nodes": [
    {
      "id": "tick",
      "type": "core/inject",
      "name": "Every second",
      "config": {"payload": "world", "every_s": 1, "at_start": true},
      "ui": {"x": 80, "y": 80}
    },
    {
      "id": "greet",
      "type": "core/function",
      "name": "Greet",
      "config": {"script": "msg.payload = f'hello {msg.payload}'\nreturn msg"},
      "ui": {"x": 300, "y": 80}
    },
    {
      "id": "show",
      "type": "core/debug",
      "name": "Show",
      "config": {"log": true, "status": true},
      "ui": {"x": 520, "y": 80}
    }
  ],
  "wires": [
    {"from": "tick.out", "to": "greet.in"},
    {"from": "greet.out", "to": "show.in"}
  ]
}
"""

_IGNORED = """\
# What a runtime keeps beside the flows: messages, state, logs, and secrets with their key.
{data}/
"""

_README = """\
# Flows

`flows/` has a flow a file. `{data}/` is what the runtime keeps: it belongs into backups, not into a repository.

    flowcore up --watch flows/      runs the flows here; deploys a file when it is saved; ends with Ctrl-C

In another terminal:

    flowcore status                 what runs, and how
    flowcore last hello.greet       the newest message of a node
    flowcore logs -f                what happens
    flowcore nodes                  the nodes there are; `flowcore nodes core/function` shows one
    flowcore validate flows/*.json  what is wrong with the files, if anything
    flowcore new-node my-nodes      a node of your own, in Python
    flowcore new-agent too-hot      an agent of your own, in flows/agents/
    flowcore service install        runs all this as a service, from the next boot on
"""

FILES = {"flows/hello.json": _FLOW, ".gitignore": _IGNORED, "README.md": _README}


def init(
    folder: Annotated[Path, typer.Argument(metavar="[FOLDER]", help="Where; made when it is not there.")] = Path(),
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Make a folder to work in: flows/ with an example, .gitignore, README.md. Overwrites nothing."""
    import shlex

    from flowcore.cli import out

    made, kept, where_data = [], [], str(data).rstrip("/")
    is_ignored = data.is_absolute()  # then it is not in here
    try:
        has_flows = any((folder / "flows").glob("*.json"))
        for name, text in FILES.items():
            if name.startswith("flows/") and has_flows:
                continue  # whoever has flows needs no example among them
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            try:
                with (folder / name).open("x", encoding="utf-8") as file:
                    file.write(text if name.endswith(".json") else text.format(data=where_data))
            except FileExistsError:
                kept.append(name)
            else:
                made.append(name)
        lines = (folder / ".gitignore").read_text(encoding="utf-8", errors="replace").splitlines()
        is_ignored |= any(line.strip().strip("/") == where_data for line in lines)
    except OSError as e:
        where = e.filename or folder
        raise out.Failed(f"{where}: {e.strerror}", "Choose another folder: flowcore init FOLDER") from None
    next_command = "flowcore up --watch flows/"
    if folder.resolve() != Path.cwd():
        next_command = f"cd {shlex.quote(str(folder))} && {next_command}"
    lines = [f"made {', '.join(made)}" if made else "made nothing: all is there"]
    lines += [f"kept {', '.join(kept)} as it was"] if kept else []
    lines += ["kept the flows in flows/, and added no example"] if has_flows else []
    lines += [] if is_ignored else [f"add the line {where_data}/ to .gitignore: secrets and their key are in there"]
    lines += [f"next: {next_command}"]
    values = {"folder": str(folder.resolve()), "made": made, "kept": kept, "next": next_command}
    out.result("\n".join(lines), json, **values, ignored=is_ignored)
