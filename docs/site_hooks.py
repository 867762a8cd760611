"""What `mkdocs build` needs to know of this repository (`mkdocs.yml`).

- The pages of the nodes, which `make docs` generates, are put into the navigation.
- A fence may say after its language how a test runs it; readers do not see that.
- What a page links to outside `docs/` (a flow, a server's configuration) comes along, in `repository/`.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

_ROOT = Path(__file__).parents[1]
_LINK = re.compile(r"(\]\()(\.\./[^)#\s]+)")
_FENCE = re.compile(r"^(\s*```\w+)[^\n`]*$", re.MULTILINE)
_OUTSIDE = "repository"


def on_config(config):
    """The navigation, with the pages of the nodes."""
    config["nav"] = _there(config["nav"], Path(config["docs_dir"]))
    return config


def _there(entries: list, docs: Path) -> list:
    kept = []
    for entry in entries:
        ((title, target),) = entry.items()
        if isinstance(target, list):
            kept.append({title: _there(target, docs)})
        elif target == "nodes":
            kept.append({title: _nodes(docs / "nodes", docs)})
        else:
            kept.append(entry)
    return kept


def _nodes(folder: Path, docs: Path) -> list:
    def page(file: Path) -> dict[str, str]:
        title = file.read_text(encoding="utf-8").partition("\n")[0].removeprefix("# ")
        return {title: file.relative_to(docs).as_posix()}

    made: list = ["nodes/README.md"]
    for inner in sorted(path for path in folder.iterdir() if path.is_dir()):
        made.append({inner.name: [page(file) for file in sorted(inner.glob("*.md"))]})
    return made


def on_files(files, config):
    """Take along what pages link to outside the folder of the docs."""
    outside = set()
    for file in list(files.documentation_pages()):
        text = Path(file.abs_src_path).read_text(encoding="utf-8")
        outside |= {_outside(file.src_uri, target) for _, target in _LINK.findall(text)} - {None}
    for name in sorted(outside):
        source = _ROOT / name
        if source.is_file():  # a link to nowhere stays one, and is reported as such
            if source.suffix == ".md":
                text = source.read_text(encoding="utf-8")
                files.append(File.generated(config, f"{_OUTSIDE}/{name}", content=_detached(text)))
            else:
                files.append(File.generated(config, f"{_OUTSIDE}/{name}", abs_src_path=str(source)))
    return files


def on_page_markdown(markdown, page, **_):
    """Links into the repository lead to what came along, and fences say their language alone."""

    def moved(link: re.Match) -> str:
        name = _outside(page.file.src_uri, link[2])
        if name is None or not (_ROOT / name).is_file():
            return link[0]
        here = posixpath.dirname(page.file.src_uri) or "."
        return link[1] + posixpath.relpath(f"{_OUTSIDE}/{name}", here)

    return _FENCE.sub(r"\1", _LINK.sub(moved, markdown))


def _outside(page: str, target: str) -> str | None:
    """The path in the repository that a link of a page has, None for one that stays within the docs."""
    name = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), target))
    return None if name.startswith(("docs/", "..")) else name


def _detached(text: str) -> str:
    """A page from outside without its links, which would lead nowhere from its new place."""
    return re.sub(r"\[([^\]]+)\]\((?![a-z]+:)[^)]+\)", r"\1", text)
