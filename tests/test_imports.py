"""The rooms of the house: who may import whom, and what every file must have. `docs/architecture.md` says why."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from flowcore.node import Node
from flowcore.runtime.typelist import read

ROOT = Path(__file__).parents[1]
ENGINE, NODES = ROOT / "flowcore", ROOT / "nodes" / "flowcore_nodes"

# A room may use these and itself. Rooms that are not built yet have their place already.
MAY_USE = {
    "flow": set(),
    "convert": set(),
    "bus": {"flow"},
    "wires": {"bus", "flow"},
    "buffers": {"bus", "flow"},
    "script": {"bus", "flow"},
    "node": {"script", "wires", "buffers", "bus", "flow"},
    "runtime": {"node", "script", "wires", "buffers", "bus", "flow"},
    "gateway": {"client", "convert", "runtime", "node", "script", "wires", "buffers", "bus", "flow"},
    "client": {"buffers", "bus", "flow"},
    "testing": {"runtime", "node", "client", "buffers", "bus", "flow"},
    "bench": {"runtime", "node", "client", "bus"},
    "simulate": set(),
}
MAY_USE["cli"] = set(MAY_USE)

# Libraries that belong to one room; the others use what it makes of them. The bench compares us with raw nats-py.
BELONGS = {
    "nats": ("bus", "bench"),
    "nats_server": ("bus",),
    "msgpack": ("bus",),
    "_quickjs": ("script",),
    "pystache": ("script",),
    "cupy": ("buffers",),
    "typer": ("cli",),
    "aiohttp": ("gateway",),
    "prometheus_client": ("gateway",),
    "matplotlib": ("bench",),
}

# What the rooms flow and convert may not do: they are handed everything as plain data.
NOT_PURE = {"socket", "asyncio", "subprocess", "multiprocessing", "threading", "time", "datetime", "signal"}


def _imports(path: Path) -> Iterator[tuple[int, str]]:
    for part in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(part, ast.Import):
            yield from ((part.lineno, alias.name) for alias in part.names)
        elif isinstance(part, ast.ImportFrom):
            assert part.level == 0, f"{path}:{part.lineno}: say the whole name"
            yield part.lineno, part.module or ""
            if part.module == "flowcore":
                yield from ((part.lineno, f"flowcore.{alias.name}") for alias in part.names)


def _where(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


def _rooms() -> list[str]:
    return sorted(path.name for path in ENGINE.iterdir() if path.is_dir() and any(path.glob("*.py")))


@pytest.mark.parametrize("room", _rooms())
def test_a_room_uses_only_what_is_to_its_right(room):
    """cli -> gateway -> runtime -> node -> script, wires, buffers -> bus -> flow."""
    assert room in MAY_USE, f"flowcore/{room} has no place among the arrows"
    wrong = []
    for path in sorted((ENGINE / room).rglob("*.py")):
        for line, name in _imports(path):
            top, _, rest = name.partition(".")
            other = rest.partition(".")[0]
            if top == "flowcore" and other and other not in MAY_USE[room] | {room, "__version__"}:
                wrong.append(f"{_where(path, line)}: {room} must not know {other}")
            elif top == "flowcore_nodes":
                wrong.append(f"{_where(path, line)}: the engine must not know the nodes that ship")
            elif room not in BELONGS.get(top, (room,)):
                wrong.append(f"{_where(path, line)}: {top} belongs to {BELONGS[top][0]}")
            elif room in ("flow", "convert") and top in NOT_PURE:
                wrong.append(f"{_where(path, line)}: {room} is pure, and {top} is not")
    assert not wrong, "\n".join(wrong)


def test_nodes_use_only_what_third_parties_may():
    """Nodes see `flowcore.node` and their own package; simulated devices see the hook that is made for them.

    nats-py is the engine's, but for JetStream of servers elsewhere, which are a service like any other.
    """
    wrong = [
        f"{_where(path, line)}: {name}"
        for path in sorted(NODES.rglob("*.py"))
        for line, name in _imports(path)
        if name.partition(".")[0] in ("flowcore", "nats")
        and not re.match(r"flowcore\.node(\.|$)", name)
        and not (name == "flowcore.simulate.devices" and "simulated" in path.parts)
        and not (name.startswith("nats") and path.name.startswith("jetstream"))
    ]
    assert not wrong, "\n".join(wrong)


def _has_docstring(path: Path) -> bool:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    if not tree.body or ast.get_docstring(tree):
        return True
    # A node file is one class, and the class's docstring is its header.
    return path.is_relative_to(NODES) and any(isinstance(part, ast.ClassDef) for part in tree.body)


def test_every_module_says_what_it_owns():
    """A module without a docstring, private and empty ones excepted."""
    silent = [
        str(path.relative_to(ROOT))
        for folder in (ENGINE, NODES, ROOT / "tests")
        for path in sorted(folder.rglob("*.py"))
        if (path.name == "__init__.py" or not path.name.startswith("_")) and not _has_docstring(path)
    ]
    assert not silent, "\n".join(silent)


@pytest.fixture(scope="module")
def ours():
    """The node classes that ship."""
    found = read()
    assert not found.problems
    names = [info for info in found.types.values() if info.module.startswith("flowcore_nodes.")]
    assert len(names) >= 20
    return names


def test_a_node_file_is_one_node_with_a_docstring(ours):
    """The docstring's first line is the tooltip in the palette: one sentence that fits there."""
    files = [info.module for info in ours]
    assert len(files) == len(set(files)), "two nodes in one file"
    for info in ours:
        first = info.doc.partition("\n")[0]
        assert first, f"{info.type}: its class has no docstring"
        assert first != Node.doc().partition("\n")[0], f"{info.type}: its class has no docstring of its own"
        assert first.endswith(".") and len(first) <= 120, f"{info.type}: {first!r} is no tooltip"
        assert info.module.rpartition(".")[2] == info.type.rpartition("/")[2].replace("-", "_"), info.type


def test_every_setting_of_a_node_is_described(ours):
    """The form, the command's help and the docs have nothing else to show."""

    def undescribed(schema: dict, where: str) -> Iterator[str]:
        for name, rule in schema.get("properties", {}).items():
            if not rule.get("description"):
                yield f"{where}.{name}"

    missing = [
        gap
        for info in ours
        for schema in (info.config_schema, *info.config_schema.get("$defs", {}).values())
        for gap in undescribed(schema, f"{info.type} {schema.get('title', '')}")
    ]
    assert not missing, "\n".join(missing)


# Put together here, so that this file does not hold what it looks for.
_MACHINE = re.compile(
    "|".join(
        [
            r"/(" + "|".join(["work", "home", "Users"]) + r")/[A-Za-z]",
            r"/ro" + r"ot/",
            "--(extra-)?index" + "-url",
            "pypi[.]org/sim" + "ple",
            "files[.]python" + "hosted",
            "registry[.]npm" + "js",
            "(PIP|UV)_(EXTRA_)?INDEX",
        ]
    )
)
_TEXT = {".py", ".md", ".json", ".toml", ".txt", ".conf", ".svg", ".html", ".yaml", ".yml", ".js", ""}


def test_no_file_knows_the_machine_it_was_written_on():
    """No paths of somebody's home, no package index: a checkout works wherever it is."""
    folders = ("flowcore", "nodes", "flows", "nats", "tests", "docs", "benchmarks", ".ci")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    files += [path for path in ROOT.iterdir() if path.is_file()]
    found = []
    for path in files:
        if path.suffix not in _TEXT or "__pycache__" in path.parts or ".flowcore" in path.parts:
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
            if _MACHINE.search(line):
                found.append(f"{_where(path, number)}: {line.strip()[:100]}")
    assert not found, "\n".join(found)


def test_node_types_are_listed_without_their_optional_libraries():
    """A plain `pip install flowcore` has none of them: what needs one is listed and says so, all else works."""
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    named = {
        re.split(r"[\[<>=; ]", line)[0].lower() for name, lines in extras.items() if name != "dev" for line in lines
    }
    modules = [module for module, dists in packages_distributions().items() if named & {one.lower() for one in dists}]
    assert {"aiomqtt", "pymodbus", "serial", "aiosmtplib", "cv2", "onnxruntime"} <= {*modules}
    program = f"""
import sys
for module in {sorted({*modules, "paho", "asyncpg"} - {"flowcore", "flowcore_nodes"})!r}:
    sys.modules[module] = None
from flowcore.runtime.typelist import read
listed = read()
assert not listed.problems, listed.problems
print(*listed.types)
"""
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
    assert {"core/inject", "core/email-out", "iot/mqtt-in", "iot/modbus-read", "vision/camera"} <= {*ran.stdout.split()}
