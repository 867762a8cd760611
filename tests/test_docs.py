"""The pages in `docs/`: generated ones are what their generators write, and links lead somewhere."""

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import typer

from flowcore.cli import main
from flowcore.runtime.type_pages import pages, read_flows
from flowcore.runtime.typelist import read

ROOT = Path(__file__).parents[1]
WRITTEN = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def test_the_node_reference_is_what_the_classes_say():
    """`make docs` writes it anew: a page a type, with a picture of a flow that uses it."""
    ours = [info for info in read().types.values() if info.distribution == "flowcore"]
    made = pages(ours, read_flows(ROOT / "flows"))
    folder = ROOT / "docs" / "nodes"
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    stale = [name for name, text in made.items() if name in there and (folder / name).read_text("utf-8") != text]
    assert not stale and there == set(made), f"stale, run make docs: {stale or there ^ set(made)}"


def test_the_site_is_built_without_a_warning_and_without_another_host(tmp_path):
    """`make docs`: strict; nothing that a page loads comes from elsewhere; what pages link to is in it."""
    if find_spec("mkdocs") is None or find_spec("material") is None:
        pytest.skip("mkdocs and mkdocs-material are not installed: make install")
    line = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(line, cwd=ROOT, env=env, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    html = {path: path.read_text(encoding="utf-8") for path in (tmp_path / "site").rglob("*.html")}
    assert len(html) > 40
    other = r" (?:src|href)=\"?(?:https?:)?//"
    loads = rf"<(?:script|img|iframe|source)[^>]*{other}|<link[^>]*{other}|@import|url\(.?https?:"
    assert not [f"{path.name}: {found[0]}" for path, text in html.items() if (found := re.search(loads, text))]
    styles = "".join(path.read_text(encoding="utf-8") for path in (tmp_path / "site").rglob("*.css"))
    assert not re.search(r"@import|url\(.?https?:", styles)
    switch = html[tmp_path / "site" / "nodes" / "core" / "switch.html"]
    assert 'src="switch.svg"' in switch and (tmp_path / "site" / "nodes" / "core" / "switch.svg").is_file()
    assert (tmp_path / "site" / "repository" / "nats" / "embedded.conf").is_file()


def _anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    """Links inside the repository: the file is there, and so is the heading."""
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        other = (page.parent / name).resolve() if name else page
        if not other.exists() or (anchor and anchor not in _anchors(other)):
            broken.append(target)
    assert not broken, f"{page.name}: {broken}"


def _examples() -> dict:
    """The Python blocks of `nodes-writing.md`, run one after the other as one module."""
    text = (ROOT / "docs" / "nodes-writing.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python test\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    assert len(blocks) == text.count("```python")
    module: dict = {"__name__": "nodes_writing"}
    for block in blocks:
        exec(compile(block, "docs/nodes-writing.md", "exec"), module)
    return module


EXAMPLES = _examples()


@pytest.mark.parametrize("name", [name for name in EXAMPLES if name.startswith("test_")])
async def test_the_examples_of_the_page_on_nodes(name):
    """What the page promises is what its own tests show."""
    await EXAMPLES[name]()


def test_the_example_package_is_a_plug_in():
    """The hook gives classes with a type."""
    assert [node.type for node in EXAMPLES["flowcore_node_types"]()]


@pytest.mark.parametrize("page", WRITTEN, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_that_pages_name_are_there(page):
    """`flowcore up --watch flows/` in a sentence: the command exists, and so does its option."""
    app = typer.main.get_command(main.app)
    unknown = []
    for line in re.findall(r"`(flowcore [a-z][^`]*)`", page.read_text(encoding="utf-8")):
        _, *words = line.split()
        command: Any = app
        while words and words[0] in getattr(command, "commands", {}):
            command = command.commands[words.pop(0)]
        options = {option for parameter in command.params for option in parameter.opts}
        options |= {"--help", "--version"}
        named = {word.partition("=")[0] for word in words if word.startswith("--")}
        if command is app or not named <= options:
            unknown.append(line)
    assert not unknown, unknown
