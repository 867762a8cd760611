"""Versions: of the format of a document, and of the node types that its configs were written for.

A node says for which version of its type its config was written (`"version"`, 1 when it says nothing). Where the
installed type is newer, the type's own code upgrades the config; that code is no business of this room, which is
handed a function. A document that is newer than what is installed is refused by name.

    UpgradeFailed   a config that its type could not upgrade
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flowcore.flow.model import FORMAT
from flowcore.flow.problems import Report, escape
from flowcore.flow.types import NodeTypeInfo


class UpgradeFailed(Exception):
    """A config could not be upgraded; the text says why."""


@dataclass(frozen=True)
class Outdated:
    """A config of an older version of its type: `what` is `node 'hot'`, `pointer` where it stands."""

    pointer: str
    what: str
    type: str
    version: int
    wanted: int
    config: dict[str, Any]


Upgrade = Callable[[Outdated], dict[str, Any]]
"""Gives the config as the installed type wants it, or raises UpgradeFailed."""


def is_newer_format(document: Any) -> bool:
    """Whether a document is of a format that this flowcore does not know yet."""
    version = document.get("flowcore") if isinstance(document, dict) else None
    return isinstance(version, int) and not isinstance(version, bool) and version > FORMAT


def newer_format(document: Mapping[str, Any]) -> str:
    """What is said of a document of a newer format."""
    newer = f"the flow is of format {document['flowcore']}, and this flowcore reads format {FORMAT}"
    return f"{newer}: `pip install -U flowcore`"


def newer_type(name: str, version: int, info: NodeTypeInfo) -> str:
    """What is said of a config that is newer than the installed type."""
    package = info.distribution or "the package that brings it"
    knows = f"{package} {info.version}".rstrip() + f" knows {info.config_version}"
    do = f"`pip install -U {info.distribution or 'PACKAGE'}`"
    return f"the config is of version {version} of {name}, and the installed {knows}: {do}"


def outdated(
    document: Any, types: Mapping[str, NodeTypeInfo], *, disabled: bool = False
) -> Iterator[tuple[tuple[Any, ...], Outdated]]:
    """The configs that are older than their types, each with the path of the node or resource it stands in.

    Args:
        document: a flow as JSON has it, of any shape.
        types: node types by name.
        disabled: also of nodes that are off.
    """
    for path, part, what in _parts(document):
        info = types.get(part["type"]) if isinstance(part.get("type"), str) else None
        version = part.get("version", 1)
        if info is None or not isinstance(version, int) or isinstance(version, bool) or version < 1:
            continue
        config = part.get("config", {})
        if (
            version < info.config_version
            and isinstance(config, dict)
            and (disabled or part.get("disabled") is not True)
        ):
            at = "".join(f"/{escape(step)}" for step in path)
            yield path, Outdated(at, what, info.type, version, info.config_version, config)


def upgraded(
    document: Any,
    types: Mapping[str, NodeTypeInfo],
    upgrade: Upgrade,
    report: Report,
    *,
    disabled: bool = False,
) -> tuple[Any, list[str]]:
    """A copy of a document with its older configs upgraded, and a note for each type whose were.

    What cannot be upgraded is reported and left as it is. The document itself is not changed.
    """
    changes: dict[tuple[Any, ...], dict[str, Any]] = {}
    of_type: dict[tuple[str, int, int], list[str]] = {}
    for path, old in outdated(document, types, disabled=disabled):
        try:
            config = upgrade(old)
        except UpgradeFailed as e:
            ways = f"from version {old.version} to {old.wanted} of {old.type}"
            report.error(f"{old.pointer}/config", f"{old.what} cannot be upgraded {ways}: {e}")
            report.mute(f"{old.pointer}/version")
            continue
        part = _at(document, path)
        changes[path] = {**part, "version": old.wanted, **({"config": config} if config or "config" in part else {})}
        of_type.setdefault((old.type, old.version, old.wanted), []).append(old.what)
    if not changes:
        return document, []
    notes = []
    for (name, version, wanted), parts in of_type.items():
        which = ", ".join(parts[:5]) + (" ..." if len(parts) > 5 else "")
        notes.append(
            f"{name}: version {version} of the config of {which} was taken as version {wanted}; "
            "`flowcore upgrade FILE` writes it into the file"
        )
    return _with(document, (), changes), notes


def _parts(document: Any) -> Iterator[tuple[tuple[Any, ...], dict[str, Any], str]]:
    if not isinstance(document, dict):
        return
    scopes: list[tuple[tuple[Any, ...], Any]] = [((), document)]
    subflows = document.get("subflows")
    if isinstance(subflows, dict):
        scopes += [(("subflows", name), scope) for name, scope in subflows.items()]
    for base, scope in scopes:
        nodes = scope.get("nodes") if isinstance(scope, dict) else None
        for index, node in enumerate(nodes if isinstance(nodes, list) else ()):
            if isinstance(node, dict):
                where = f" of subflow '{base[1]}'" if base else ""
                yield (*base, "nodes", index), node, f"node '{node.get('id', '?')}'{where}"
    resources = document.get("resources")
    for name, resource in resources.items() if isinstance(resources, dict) else ():
        if isinstance(resource, dict):
            yield ("resources", name), resource, f"resource '{name}'"


def _at(value: Any, path: tuple[Any, ...]) -> Any:
    for step in path:
        value = value[step]
    return value


def _with(value: Any, path: tuple[Any, ...], changes: Mapping[tuple[Any, ...], Any]) -> Any:
    """A copy of a document with some of its parts replaced; the rest is shared with it."""
    if path in changes:
        return changes[path]
    if not any(one[: len(path)] == path for one in changes):
        return value
    if isinstance(value, dict):
        return {key: _with(inner, (*path, key), changes) for key, inner in value.items()}
    if isinstance(value, list):
        return [_with(inner, (*path, index), changes) for index, inner in enumerate(value)]
    return value
