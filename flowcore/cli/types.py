"""The node types that this command finds, read without a runtime, and those of another host."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flowcore.flow.types import NodeTypeInfo


def installed_types(data: Path) -> "tuple[dict[str, NodeTypeInfo], list[str]]":
    """Type -> what it is; and the plug-ins that could not be read, a line each.

    Args:
        data: the data folder: agents lie in `flows/agents` beside it.
    """
    from flowcore.runtime import agentfolder, typecache
    from flowcore.runtime.typelist import unpack

    agentfolder.tell(agentfolder.beside(data))
    found = unpack(typecache.read())
    return found.types, [f"plug-in {problem.plugin}: {problem.text}" for problem in found.problems]


def types_of_host(data: Path, host: str) -> "tuple[dict[str, NodeTypeInfo], list[str]]":
    """As `installed_types`, of a member that the runtime on `data` shares its bus with.

    Raises:
        Failed: no runtime runs on `data`, or there is no such member.
    """
    from flowcore.cli import link, out
    from flowcore.runtime.typelist import type_info

    try:
        found = link.ask(data, f"host.{host}.types")
    except out.Failed as e:
        if e.details.get("code") == "no_answer":
            raise out.Failed(f"host {host!r} is not connected", "See which are: flowcore status") from None
        raise
    return {one["type"]: type_info(one) for one in found["types"]}, found["problems"]
