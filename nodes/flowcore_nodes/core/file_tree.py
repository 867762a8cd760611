"""What is in a folder, and what has changed since it was looked at.

Change      one change: created, changed, deleted, moved
"""

import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple


class About(NamedTuple):
    """A file as it was when it was looked at."""

    device: int
    inode: int
    size: int
    changed_ns: int
    is_folder: bool


@dataclass(frozen=True)
class Change:
    """One change. `before` is the former path of what was moved."""

    event: str
    path: str
    about: About
    before: str = ""


class Globs:
    """Which files are meant, by their path below the folder.

    A pattern without a slash is for the name; `*` and `?` stop at a slash, `**` does not.
    """

    def __init__(self, include: Iterable[str], exclude: Iterable[str]) -> None:
        self._include, self._exclude = [_compiled(one) for one in include], [_compiled(one) for one in exclude]

    def fit(self, path: str) -> bool:
        """True when a path, with slashes, is included and not excluded."""
        if self._include and not any(one.fullmatch(path) for one in self._include):
            return False
        return not any(one.fullmatch(path) for one in self._exclude)


def _compiled(glob: str) -> re.Pattern[str]:
    text = "" if "/" in glob else "(?:.*/)?"
    at = 0
    while at < len(glob):
        if glob.startswith("**/", at):
            text, at = text + "(?:.*/)?", at + 3
        elif glob.startswith("**", at):
            text, at = text + ".*", at + 2
        else:
            text += {"*": "[^/]*", "?": "[^/]"}.get(glob[at]) or re.escape(glob[at])
            at += 1
    return re.compile(text, re.DOTALL)


class Tree:
    """The files below a folder as they are known; links are looked at, not followed.

    Raises:
        OSError: too many files.
    """

    def __init__(self, root: str, is_recursive: bool, most: int) -> None:
        self.root, self._is_recursive, self._most = root, is_recursive, most
        self.known: dict[str, About] = {}

    def update(self, paths: Iterable[str]) -> list[Change]:
        """Look at these paths, and what is below them; what has changed, and is known from now on."""
        tops = _tops(path for path in paths if path == self.root or path.startswith(self.root + os.sep))
        found: dict[str, About] = {}
        for top in tops:
            for path, about in self._walk(top):
                found[path] = about
                if len(found) > self._most:
                    raise OSError(f"more than {self._most} files in {self.root}")
        old = {path for path in self._below(tops)}
        gone = {path: self.known.pop(path) for path in old if path not in found}
        new = {path: about for path, about in found.items() if path not in self.known}
        changes = [
            Change("changed", path, about)
            for path, about in found.items()
            if path in self.known and not about.is_folder and about != self.known[path]
        ]
        self.known.update(found)
        if len(self.known) > self._most:
            raise OSError(f"more than {self._most} files in {self.root}")
        return [*changes, *_moves(gone, new)]

    def _below(self, tops: list[str]) -> Iterator[str]:
        for top in tops:
            if top in self.known and not self.known[top].is_folder:
                yield top
            elif top == self.root:
                yield from self.known
            else:
                yield from (path for path in self.known if path == top or path.startswith(top + os.sep))

    def _walk(self, top: str) -> Iterator[tuple[str, About]]:
        about = _look(top)
        if about is None:
            return
        if top != self.root:
            yield top, about
        if not about.is_folder or not (self._is_recursive or top == self.root):
            return
        try:
            names = os.listdir(top)  # noqa: PTH208
        except OSError:  # gone meanwhile, or not ours to read
            return
        for name in names:
            yield from self._walk(os.path.join(top, name))  # noqa: PTH118


def _look(path: str) -> About | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return About(found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, stat.S_ISDIR(found.st_mode))


def _tops(paths: Iterable[str]) -> list[str]:
    """Paths without those that are below another of them."""
    tops: list[str] = []
    for path in sorted(set(paths)):
        if not tops or not (path == tops[-1] or path.startswith(tops[-1] + os.sep)):
            tops.append(path)
    return tops


def _identity(about: About) -> About:
    """What a file keeps when it is moved. Its inode alone is not enough: that of a deleted file is used again."""
    return about._replace(size=0, changed_ns=0) if about.is_folder else about


def _moves(gone: dict[str, About], new: dict[str, About]) -> Iterator[Change]:
    """What came and went; one file that did both has moved."""
    left = {_identity(about): path for path, about in gone.items()}
    moved: set[str] = set()
    came: list[Change] = []
    for path, about in sorted(new.items()):
        before = left.pop(_identity(about), None)
        if before is None:
            came.append(Change("created", path, about))
        else:
            moved.add(before)
            came.append(Change("moved", path, about, before))
    for path, about in sorted(gone.items()):
        if path not in moved:
            yield Change("deleted", path, about)
    yield from came
