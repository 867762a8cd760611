"""A control service for example flows: those that ship with flowcore, and those that packages of nodes bring.

A package brings its own in a folder `flows` beside its modules; `*.test.json` are cases, not flows.
"""

import asyncio
import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field

import flowcore
from flowcore.runtime.control.errors import ControlError
from flowcore.runtime.control.operation import Answer, Request, operation

if TYPE_CHECKING:
    from flowcore.runtime.host import Host

_TESTS = ".test.json"
_MOST = 5
_LARGEST_BYTES = 1 << 20


class ExamplesAsked(Request):
    """A node type."""

    type: str


class Example(Answer):
    """A flow that uses the type."""

    name: str = Field(description="What the flow is called")
    file: str
    nodes: list[str] = Field(description="Ids of the nodes of this type in it")
    document: dict[str, Any]


class Examples(Answer):
    """The smallest come first."""

    examples: list[Example]


@operation("examples")
async def examples(host: "Host", ask: ExamplesAsked) -> Examples:
    """Flows that show a node type: of flowcore, and of the package that brings the type; five at most."""
    info = host.types.get(ask.type)
    if info is None:
        raise ControlError("unknown", f"no node type {ask.type!r}", do="List them: flowcore nodes")
    return Examples(examples=await asyncio.to_thread(_find, ask.type, info.module))


def _find(type_: str, module: str) -> list[Example]:
    found = []
    for file in _files(module):
        try:
            if file.stat().st_size > _LARGEST_BYTES:
                continue
            document = json.loads(file.read_text(encoding="utf-8"))
            nodes = [str(node["id"]) for node in document["nodes"] if node["type"] == type_]
        except (OSError, ValueError, KeyError, TypeError):
            continue  # another's file: an example less
        if nodes:
            name = str(document.get("name") or document.get("id", ""))
            found.append(Example(name=name, file=file.name, nodes=nodes, document=document))
    return sorted(found, key=lambda one: (len(one.document["nodes"]), one.file))[:_MOST]


def _files(module: str) -> Iterator[Path]:
    own = Path(flowcore.__file__).parent
    checkout = own.parent if (own.parent / "web-editor").is_dir() else own
    folders = [own / "flows", checkout / "flows"]  # of a wheel, and of a checkout
    top = module.partition(".")[0]
    spec = find_spec(top) if top else None
    places = spec.submodule_search_locations if spec is not None else None
    folders += [Path(place) / "flows" for place in places or ()]
    for folder in dict.fromkeys(folders):
        yield from sorted(file for file in folder.glob("*.json") if not file.name.endswith(_TESTS))
