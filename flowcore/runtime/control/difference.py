"""What changed between two documents of a flow: by node, by wire, and as a text difference of their files."""

import difflib
import json
from typing import TYPE_CHECKING, Any

from pydantic import Field

from flowcore.flow.diff import plan
from flowcore.flow.format import format_flow
from flowcore.runtime.control.operation import Answer

if TYPE_CHECKING:
    from flowcore.runtime.host import Host


class Difference(Answer):
    """From one document to another: what a deploy of the second over the first would do.

    A node that would keep running is in none of the lists. `text` is a unified difference of the two files.
    """

    same: bool
    reconfigured: list[str] = Field(default_factory=list)
    rewired: list[str] = Field(default_factory=list)
    restarted: list[str] = Field(default_factory=list)
    started: list[str] = Field(default_factory=list)
    stopped: list[str] = Field(default_factory=list)
    wires_added: list[str] = Field(default_factory=list)
    wires_closed: list[str] = Field(default_factory=list)
    text: str = ""


async def difference(
    host: "Host", old: dict[str, Any], new: dict[str, Any], names: tuple[str, str] = ("before", "after")
) -> Difference:
    """Compare two documents; where one of them can no longer be resolved, only their texts are compared."""
    text = "".join(
        difflib.unified_diff(
            format_flow(old).splitlines(keepends=True), format_flow(new).splitlines(keepends=True), *names, n=2
        )
    )
    for document in (old, new):
        await host.documents.prepare(json.dumps(document))
    resolved = [
        host.documents.check(json.dumps(document), name).resolved
        for document, name in zip((old, new), names, strict=True)
    ]
    if resolved[0] is None or resolved[1] is None:
        return Difference(same=not text, text=text)
    steps = plan(resolved[0], resolved[1], host.types)
    return Difference(
        same=not text,
        reconfigured=list(steps.reconfigured),
        rewired=list(steps.rewired),
        restarted=list(steps.restarted),
        started=list(steps.started),
        stopped=list(steps.stopped),
        wires_added=[_wire(wire) for wire in steps.wires_added],
        wires_closed=[_wire(wire) for wire in steps.wires_closed],
        text=text,
    )


def _wire(wire: Any) -> str:
    return wire if isinstance(wire, str) else wire.id
