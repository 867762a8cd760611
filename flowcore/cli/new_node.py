"""`flowcore new-node NAME`: a package with one node, its test and its entry point, to begin with."""

from pathlib import Path
from typing import Annotated

import typer

from flowcore.cli.options import DATA, Data, Json

_NAME = r"[a-z][a-z0-9]*(-[a-z0-9]+)*"

_PYPROJECT = """\
[build-system]
requires = ["hatchling>=1.26"]
build-backend = "hatchling.build"

[project]
name = "{name}"
version = "0.1.0"
description = "Nodes for flowcore"
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["flowcore"]

[project.optional-dependencies]
dev = ["pytest>=8", "pytest-asyncio>=0.25"]

[project.entry-points.flowcore]
{name} = "{package}"

[tool.hatch.build.targets.wheel]
packages = ["{package}"]

[tool.pytest.ini_options]
asyncio_mode = "auto"
asyncio_default_fixture_loop_scope = "function"
testpaths = ["tests"]
"""

_INIT = '''\
"""The nodes of {name}: this package is a flowcore plug-in by its entry point in pyproject.toml."""

from flowcore.node.hookspecs import hookimpl


@hookimpl
def flowcore_node_types():
    """The node types that this package brings: add yours to the list."""
    from {package}.scale import Scale

    return [Scale]
'''

_NODE = '''\
"""A node file is one class, and the class's docstring is its header: the first line is the tooltip in the palette."""

from flowcore.node import In, Node, NodeConfig, Out, field


class Scale(Node):
    """Multiply a number by a factor."""

    type = "{prefix}/scale"
    category = "{prefix}"

    class Config(NodeConfig):
        factor: float = field(2.0, description="What each value is multiplied by")

    value = In(float)
    scaled = Out(float)

    def on_message(self, message):
        return message.derive(message.payload * self.config.factor)
'''

_TEST = '''\
"""What the node promises, tested without a bus or processes."""

from flowcore.node.testing import drive

from {package}.scale import Scale


async def test_scale_multiplies_by_its_factor():
    """Each number comes out multiplied."""
    async with drive(Scale, factor=3.0) as node:
        await node.put(1.0, 2.5)
        assert await node.sent() == [3.0, 7.5]


async def test_scale_reports_what_is_no_number():
    """A payload that cannot be multiplied is an error of that message only; the next one goes through."""
    async with drive(Scale, factor=3.0) as node:
        await node.put(None, 1.0)
        assert await node.sent() == [3.0]
        assert len(node.errors) == 1
'''

_README = """\
# {name}

Nodes for [flowcore](https://pypi.org/project/flowcore/).

    pip install -e '.[dev]'     # a running flowcore picks it up by itself
    pytest
    flowcore nodes {prefix}/scale

`{package}/scale.py` is a node: copy it, give the class a `type` of its own, and add it to the list in
`{package}/__init__.py`. In a flow file:

    {{"id": "scale", "type": "{prefix}/scale", "config": {{"factor": 2.0}}}}
"""


def new_node(
    name: Annotated[str, typer.Argument(help="Name of the package, such as acme-nodes.")],
    folder: Annotated[Path, typer.Option("--in", metavar="FOLDER", help="Where its folder is made.")] = Path(),
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Make a package with one node, its test and its entry point: pip install -e it, and the node is there."""
    import re

    from flowcore.cli import out

    if not re.fullmatch(_NAME, name):
        raise out.Misused(f"{name!r} is no package name", "Small letters, digits and '-', for example: acme-nodes")
    root = folder / name
    if root.exists():
        raise out.Failed(f"{root} exists", "Choose another name, or another folder with --in")
    package = name.replace("-", "_")
    words = {"name": name, "package": package, "prefix": name.removesuffix("-nodes")}
    files = {
        "pyproject.toml": _PYPROJECT,
        "README.md": _README,
        f"{package}/__init__.py": _INIT,
        f"{package}/scale.py": _NODE,
        "tests/test_scale.py": _TEST,
    }
    try:
        for path, text in files.items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text.format(**words))
    except OSError as e:
        raise out.Failed(f"{root}: {e.strerror}", "Choose another folder with --in") from None
    text = f"made {root}\nnext: pip install -e '{root}[dev]' && pytest {root}"
    out.result(text, json, folder=str(root), files=sorted(files), type=f"{words['prefix']}/scale")
