"""The pages in `docs/`: generated ones are what their generators write, and links lead somewhere."""

import re
from pathlib import Path

import pytest

from flowcore.runtime.type_pages import pages
from flowcore.runtime.typelist import read

ROOT = Path(__file__).parents[1]
WRITTEN = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])


def test_the_node_reference_is_what_the_classes_say():
    """`make docs` writes it anew."""
    ours = [info for info in read().types.values() if info.distribution == "flowcore"]
    made = pages(ours)
    folder = ROOT / "docs" / "nodes"
    assert {path.name for path in folder.iterdir()} == set(made)
    stale = [name for name, text in made.items() if (folder / name).read_text(encoding="utf-8") != text]
    assert not stale, f"stale, run make docs: {stale}"


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
