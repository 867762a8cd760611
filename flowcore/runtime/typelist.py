"""The node types that are installed, as data. Also a program, so that a host reads them without importing a node.

    python -m flowcore.runtime.typelist PACKAGE      prints one JSON object: what the plug-ins in that package bring

A plug-in is an entry point in group `flowcore`, or a file in a folder of agents (`agentfolder`). One that cannot be
imported is a problem of its own and hides no other; so is a type that two plug-ins bring, which then neither does.
`code` stands for the source of a type: a hash over its module and the modules of the same package that it imports, so
that a change shows in the types it concerns, and only there.
"""

import ast
import hashlib
import importlib.metadata
import importlib.util
import io
import json
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from contextlib import redirect_stdout
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import pluggy

from flowcore.flow.types import NodeTypeInfo, PortInfo
from flowcore.node import hookspecs
from flowcore.node.node import Node
from flowcore.runtime import agentfolder
from flowcore.runtime.typecache import GROUP, MADE_OF, Recorder, brought_twice, installed


@dataclass(frozen=True)
class PluginProblem:
    """A plug-in, or one type of it, that cannot be used: `text` is one line, `traceback` may be empty."""

    plugin: str
    text: str
    traceback: str = ""


@dataclass
class TypeList:
    """What is installed.

    Attributes:
        code: type -> hash of its source.
        mqtt: type -> config fields with MQTT topics ("subscribe", "publish"): the classes with `mqtt_subscribe` or
            `mqtt_publish`, which get a user of their own on the embedded broker.
        watch: folders where a change means: read again.
        installed: stands for what is installed; another one means that a fork server which is up has old libraries,
            and does not find new packages.
    """

    types: dict[str, NodeTypeInfo] = field(default_factory=dict)
    code: dict[str, str] = field(default_factory=dict)
    plugin_of: dict[str, str] = field(default_factory=dict)
    mqtt: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    problems: list[PluginProblem] = field(default_factory=list)
    watch: list[str] = field(default_factory=list)
    installed: str = ""


def describe(node: type[Node], distribution: str = "", version: str = "") -> NodeTypeInfo:
    """A node class as data."""
    missing = [name for name in node.needs if importlib.util.find_spec(name.partition(".")[0]) is None]
    install = node.install or f"pip install {' '.join(missing)}"
    return NodeTypeInfo(
        type=node.type,
        title=node.title or node.__name__,
        category=node.category or node.type.partition("/")[0],
        icon=node.icon,
        doc=node.doc(),
        inputs=tuple(
            PortInfo(name, port.type_name, port.description) for name, port in node.inputs.items() if not port.is_aside
        ),
        outputs=tuple(PortInfo(name, port.type_name, port.description) for name, port in node.outputs.items()),
        config_schema=node.Config.model_json_schema(),
        needs=tuple(node.needs),
        missing=install if missing else None,
        is_source=node.is_source(),
        stateful=node.stateful,
        context=bool(node.context),
        script=node.script,
        runs_commands=node.runs_commands,
        live_config=node.is_live_config(),
        virtual=node.virtual,
        caller=node.caller,
        speaks_for_instance=node.speaks_for_instance,
        follows=node.follows,
        best_effort=node.best_effort,
        outputs_from=node.outputs_from,
        inputs_from=node.inputs_from,
        bus_publish=tuple(node.bus_publish),
        bus_subscribe=tuple(node.bus_subscribe),
        outside=(node.is_source() or node.runs_commands) if node.outside is None else node.outside,
        module=node.__module__,
        qualname=node.__qualname__,
        distribution=distribution,
        version=version,
        config_version=_config_version(node),
    )


def _config_version(node: type[Node]) -> int:
    """The version of a class's config.

    Raises:
        TypeError: it is no number from 1 on, or above 1 without an `upgrade`.
    """
    version = node.version
    if not isinstance(version, int) or isinstance(version, bool) or version < 1:
        raise TypeError(f"version must be a whole number from 1 on, is {version!r}")
    if version > 1 and node.upgrade.__func__ is Node.upgrade.__func__:  # type: ignore[attr-defined]
        raise TypeError(f"version {version} needs a classmethod `upgrade(cls, config, version)` for older configs")
    return version


def read(package: str = "") -> TypeList:
    """Import every plug-in, or those in one top-level package, and list their types.

    It imports node code: a host calls the program instead.
    """
    found = TypeList()
    brought: dict[str, list[tuple[str, type[Node], str, str]]] = {}
    watch: set[str] = set(path for path in sys.path if path.endswith("site-packages"))
    for entry in _entries(package):
        distribution = entry.dist.name if entry.dist else ""
        version = entry.dist.version if entry.dist else ""
        watch.update(_folders(entry.module))
        try:
            for node in _ask(entry):
                brought.setdefault(node.type, []).append((entry.name, node, distribution, version))
        except Exception as e:
            found.problems.append(PluginProblem(entry.name, _one_line(e), traceback.format_exc()))
    is_of_agents = package in ("", agentfolder.PACKAGE)
    watch.update(agentfolder.folders() if is_of_agents else ())
    for file in agentfolder.agent_files() if is_of_agents else ():
        try:
            for node in agentfolder.nodes_in(file):
                brought.setdefault(node.type, []).append((file.name, node, "", ""))
        except (Exception, SystemExit) as e:
            found.problems.append(PluginProblem(file.name, _one_line(e), traceback.format_exc()))
    for name, bringers in brought.items():
        if len(bringers) > 1:
            found.problems.append(PluginProblem(**brought_twice(name, (plugin for plugin, *_ in bringers))))
            continue
        plugin, node, distribution, version = bringers[0]
        try:
            found.types[name] = describe(node, distribution, version)
            found.code[name] = _code_hash(node.__module__, version)
            found.plugin_of[name] = plugin
            hears, says = (list(getattr(node, f"mqtt_{way}", ())) for way in ("subscribe", "publish"))
            if hears or says:
                found.mqtt[name] = {"subscribe": hears, "publish": says}
        except Exception as e:
            found.problems.append(PluginProblem(plugin, f"type {name}: {_one_line(e)}", traceback.format_exc()))
    found.watch = sorted(watch)
    found.installed = installed(path for path in sys.path if path.endswith("site-packages"))
    return found


def _entries(package: str) -> list[importlib.metadata.EntryPoint]:
    """The plug-ins, in order; of one top-level package if that is named."""
    found = importlib.metadata.entry_points(group=GROUP)
    return sorted((e for e in found if package in ("", e.module.partition(".")[0])), key=lambda e: e.name)


def _ask(entry: importlib.metadata.EntryPoint) -> list[type[Node]]:
    """The node classes of one plug-in.

    Raises:
        Exception: whatever its import or its hook raises; TypeError when it returns something else.
    """
    manager = pluggy.PluginManager(GROUP)
    manager.add_hookspecs(hookspecs)
    manager.register(entry.load(), name=entry.name)
    nodes = [node for answer in manager.hook.flowcore_node_types() for node in answer]
    for node in nodes:
        if not (isinstance(node, type) and issubclass(node, Node) and node.type):
            raise TypeError(f"flowcore_node_types returned {node!r}, which is no node class with a `type`")
    return nodes


def _folders(module: str) -> Iterable[str]:
    """The folder of the package a plug-in lives in, found without importing the plug-in."""
    top = module.partition(".")[0]
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return
    if spec is None:
        return
    if spec.submodule_search_locations:
        yield from spec.submodule_search_locations
    elif spec.origin:
        yield str(Path(spec.origin).parent)


def _code_hash(module: str, version: str) -> str:
    """A hash over the module's source and what it imports from its own package, and over the package's version."""
    digest = hashlib.sha256(version.encode())
    waiting, seen = [module], {module}
    while waiting:
        name = waiting.pop(0)
        file = getattr(sys.modules.get(name), "__file__", None)
        if not file:
            continue
        try:
            source = Path(file).read_bytes()
        except OSError:
            continue
        digest.update(source)
        for imported in sorted(_imports(source, name, getattr(sys.modules[name], "__package__", "") or "")):
            if imported not in seen:
                seen.add(imported)
                waiting.append(imported)
    return digest.hexdigest()[:16]


@cache
def _imports(source: bytes, module: str, package: str) -> set[str]:
    """Modules of the same top-level package that this source imports, its own parents excepted."""
    top = module.partition(".")[0]
    names: set[str] = set()
    try:
        tree = ast.parse(source)
    except SyntaxError:
        return names
    for statement in _statements(tree):
        if isinstance(statement, ast.Import):
            names.update(alias.name for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            base = statement.module or ""
            if statement.level:
                try:
                    base = importlib.util.resolve_name("." * statement.level + base, package)
                except ImportError:
                    continue
            names.add(base)
            names.update(f"{base}.{alias.name}" for alias in statement.names)
    ours = {name for name in names if name.partition(".")[0] == top and name in sys.modules}
    return {name for name in ours if not module.startswith(f"{name}.")}


def _statements(part: ast.AST) -> Iterator[ast.stmt]:
    """Every statement, also of functions and branches; expressions, which are most of a tree, are not looked at."""
    for name in ("body", "orelse", "finalbody", "handlers", "cases"):
        for one in getattr(part, name, ()):
            if isinstance(one, ast.stmt):
                yield one
            yield from _statements(one)


def _one_line(error: BaseException) -> str:
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno}: {error.msg}"
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _drop_young_bytecode(folder: Path) -> None:
    """Python takes a second save within a second, of the same size, for the first; the bytecode must not outlive it."""
    if folder.name == "site-packages":
        return
    young = time.time() - 10
    for source in folder.rglob("*.py"):
        try:
            if source.stat().st_mtime > young:
                Path(importlib.util.cache_from_source(str(source))).unlink(missing_ok=True)
        except OSError:
            continue


# What goes between the program and the host


def pack(found: TypeList) -> dict[str, Any]:
    """The list as the program prints it, as JSON."""
    types = {name: info.as_data() for name, info in found.types.items()}
    return vars(found) | {"types": types, "problems": [asdict(problem) for problem in found.problems]}


def unpack(values: dict[str, Any]) -> TypeList:
    """The list from the object that the program printed."""
    return TypeList(
        {name: type_info(info) for name, info in values["types"].items()},
        values["code"],
        values["plugin_of"],
        values["mqtt"],
        [PluginProblem(**problem) for problem in values["problems"]],
        values["watch"],
        values["installed"],
    )


def type_info(values: dict[str, Any]) -> NodeTypeInfo:
    """A NodeTypeInfo from its data (`as_data`, `asdict`)."""
    ports = {key: tuple(PortInfo(**port) for port in values[key]) for key in ("inputs", "outputs")}
    lists = {key: tuple(values[key]) for key in ("needs", "bus_publish", "bus_subscribe")}
    return NodeTypeInfo(**{**values, **ports, **lists})


def main(package: str) -> None:
    """Print the list; what plug-ins print while they are imported is dropped."""
    began_ns, recorder = time.time_ns(), Recorder()
    sys.dont_write_bytecode = True
    for entry in _entries(package):
        for folder in _folders(entry.module):
            _drop_young_bytecode(Path(folder))
    for folder in agentfolder.folders() if package == agentfolder.PACKAGE else ():
        _drop_young_bytecode(Path(folder))
    with redirect_stdout(io.StringIO()):
        found = read(package)
    parts = recorder.made_of((folder for folder in found.watch if not folder.endswith("site-packages")), began_ns)
    print(json.dumps(pack(found) | {MADE_OF: parts}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
