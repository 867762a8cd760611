"""The list of node types, read a package at a time and kept: who starts a host or saves a file need not wait for all.

    python -m flowcore.runtime.typecache      prints one JSON object, the whole list as `typelist` has it

Reading a list imports plug-ins, which takes seconds of processor time. So each top-level package has its own, read by
a process of its own, and kept in the user's cache folder with what it was made of: where each module that was imported
was found, and that others were not; each file of them, each file below the package's folder, with time and size. A look
at each says whether it still holds; when in doubt it is read anew. A list with problems is not kept, since why a
plug-in cannot be used may not lie in a file; nor is one of files just written. A package whose import ends the process,
or does not end, is a problem of its own, and hides no other.

This module imports next to nothing: where all holds, it answers in a tenth of a second.
"""

import contextlib
import hashlib
import importlib.abc
import importlib.metadata
import importlib.util
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from flowcore import __version__
from flowcore.runtime import agentfolder
from flowcore.runtime.environment import for_nodes

GROUP = "flowcore"
"""Entry points of plug-ins."""

MADE_OF = "made_of"
"""What is told beside a package's list: `files`, path -> [time in ns, size in bytes], and `names`, top-level module ->
where it was found, null for one that was looked for in vain."""

LIMIT_S = 50.0
_METADATA = (".dist-info", ".egg-info", ".egg-link", ".pth")
_YOUNG_NS = 2_000_000_000
_MOST_FILES, _MOST_KEPT = 20_000, 24
_OF_NO_MATTER = frozenset(  # the last two show in the places, and in what is brought
    {"XDG_SESSION_ID", "XDG_RUNTIME_DIR", "TERM", "PYTHONPATH", agentfolder.VARIABLE}
)

Said = dict[str, Any]


def read() -> Said:
    """The whole list: what is kept where it still holds, the rest read, side by side."""
    plugins: dict[str, list[importlib.metadata.EntryPoint]] = {}
    for entry in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda entry: entry.name):
        plugins.setdefault(entry.module.partition(".")[0], []).append(entry)
    names = {package: [entry.name for entry in entries] for package, entries in plugins.items()}
    if agents := [file.name for file in agentfolder.agent_files()]:
        plugins[agentfolder.PACKAGE], names[agentfolder.PACKAGE] = [], agents
    kept = {package: Kept(package, entries) for package, entries in plugins.items()}
    said = {package: one.read() for package, one in kept.items()}
    reading = {package: _begin(package) for package, known in said.items() if known is None}
    until = time.monotonic() + LIMIT_S
    for package, process in reading.items():
        said[package] = answer = _end(process, until, names[package])
        kept[package].write(answer)
    return _together([known for known in said.values() if known is not None])


def _begin(package: str) -> "subprocess.Popen[bytes]":
    pipe = subprocess.PIPE
    command = [sys.executable, "-m", "flowcore.runtime.typelist", package]
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=pipe, stderr=pipe, env=for_nodes(os.environ))


def _end(process: "subprocess.Popen[bytes]", until: float, plugins: list[str]) -> Said:
    try:
        out, err = process.communicate(timeout=max(1.0, until - time.monotonic()))
        return dict(json.loads(out.splitlines()[-1]))
    except subprocess.TimeoutExpired:
        process.kill()
        _, err = process.communicate()
        why = f"was not imported within {LIMIT_S:.0f} s"
    except (ValueError, IndexError):
        why = f"ended the process that imported it, with status {process.returncode}"
    traceback = err.decode(errors="replace")
    return {"problems": [{"plugin": name, "text": why, "traceback": traceback} for name in plugins]}


def _together(lists: list[Said]) -> Said:
    """One list; a type that several packages bring is a problem, and none of them is used."""
    whole: Said = {"types": {}, "code": {}, "plugin_of": {}, "mqtt": {}, "problems": [], "watch": []}
    brought: dict[str, list[str]] = {}
    for part in lists:
        for name, plugin in part.get("plugin_of", {}).items():
            brought.setdefault(name, []).append(plugin)
        for key in ("types", "code", "plugin_of", "mqtt"):
            whole[key] |= part.get(key, {})
        whole["problems"] += part.get("problems", [])
        whole["watch"] += part.get("watch", [])
    for name, plugins in sorted(brought.items()):
        if len(plugins) > 1:
            whole["problems"].append(brought_twice(name, plugins))
            for key in ("types", "code", "plugin_of", "mqtt"):
                whole[key].pop(name, None)
    packages = [path for path in sys.path if path.endswith("site-packages")]
    watch = {*whole["watch"], *packages, *agentfolder.folders()}  # a folder of agents may be empty yet
    return whole | {"watch": sorted(watch), "installed": installed(packages)}


def brought_twice(name: str, plugins: Iterable[str]) -> dict[str, str]:
    """The problem of a type that several plug-ins bring."""
    first, *others = plugins
    text = f"type {name} is brought by {' and '.join((first, *others))}: none of them is used"
    return {"plugin": first, "text": text, "traceback": ""}


def installed(folders: Iterable[str]) -> str:
    """A hash over what pip writes beside the packages: metadata folders and path files, with their times."""
    entries = sorted(
        (entry.name, entry.stat().st_mtime_ns)
        for folder in folders
        for entry in Path(folder).glob("*")
        if entry.suffix in _METADATA
    )
    return hashlib.sha256(repr(entries).encode()).hexdigest()[:16]


# What is kept


class Recorder(importlib.abc.MetaPathFinder):
    """The last of those who are asked where a module is: whatever gets here is not to be found."""

    def __init__(self) -> None:
        self.in_vain: set[str] = set()
        sys.meta_path.append(self)

    def find_spec(self, fullname: str, _path: object = None, _target: object = None) -> None:
        """Finds nothing, and remembers the name."""
        self.in_vain.add(fullname.partition(".")[0])

    def made_of(self, package_folders: Iterable[str], began_ns: int) -> Said | None:
        """What a list that this process has just read was made of; None when it must not be kept.

        Args:
            began_ns: when reading began, as `time.time_ns` has it: what was written since, or just before, may not be
                what was read.
        """
        files: dict[str, list[int] | None] = {}
        for path in _files(package_folders):
            files[str(path)] = about = _about(path)
            if len(files) > _MOST_FILES or about is None or about[0] > began_ns - _YOUNG_NS:
                return None
        tops = {name.partition(".")[0] for name in [*sys.modules, *self.in_vain]} - sys.stdlib_module_names
        names = {name: _place(name) for name in sorted(tops) if not name.startswith("__")}
        return {"files": files, "names": names}


def _files(package_folders: Iterable[str]) -> Iterator[Path]:
    """Some of them more than once."""
    library = sysconfig.get_path("stdlib")
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if file and (not file.startswith(library) or "site-packages" in file):
            yield Path(file)
            yield Path(file).parent  # what comes beside it may be found instead, or as well
    for top in package_folders:
        for folder, folders, files in os.walk(top):
            folders[:] = [name for name in folders if not name.startswith(".") and name != "__pycache__"]
            yield Path(folder)
            yield from (Path(folder, name) for name in files)


def _about(path: Path) -> list[int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return [found.st_mtime_ns, found.st_size]


def _place(name: str) -> str | None:
    """Where a top-level module is found now."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):  # ValueError: a module that was made, not found
        return None
    return None if spec is None else spec.origin or repr(list(spec.submodule_search_locations or ()))


class Kept:
    """What is kept of one package in this environment.

    Args:
        entries: its plug-ins; another version of one is another list.
    """

    def __init__(self, package: str, entries: Iterable[importlib.metadata.EntryPoint]) -> None:
        brought = [(entry.name, entry.value, entry.dist and (entry.dist.name, entry.dist.version)) for entry in entries]
        folders = agentfolder.folders() if package == agentfolder.PACKAGE else []
        surely = sorted((name, value) for name, value in for_nodes(os.environ).items() if name not in _OF_NO_MATTER)
        key = repr([package, brought, folders, __version__, sys.version, sys.executable, surely])
        self._name = f"types-{hashlib.sha256(key.encode()).hexdigest()[:24]}.json"

    def read(self) -> Said | None:
        """What was said last, if it would be said again now."""
        try:
            file = self._folder() / self._name
            kept = json.loads(file.read_bytes())
            made_of = kept[MADE_OF]
            holds = all(_about(Path(path)) == about for path, about in made_of["files"].items())
            if not holds or any(_place(name) != place for name, place in made_of["names"].items()):
                return None
            os.utime(file)  # the least used go first
        except (OSError, ValueError, KeyError, AttributeError, TypeError, RuntimeError):
            return None
        return dict(kept)

    def write(self, said: Said) -> None:
        """Keep it, if it may be kept; where that is not possible, it is read anew next time."""
        if said["problems"] or not said.get(MADE_OF):
            return
        with contextlib.suppress(OSError, RuntimeError):
            folder = self._folder()
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor, unfinished = tempfile.mkstemp(dir=folder, prefix=".types-")
            with os.fdopen(descriptor, "w") as file:
                json.dump(said, file)
            Path(unfinished).replace(folder / self._name)
            for old in sorted(folder.glob("types-*.json"), key=lambda one: -one.stat().st_mtime_ns)[_MOST_KEPT:]:
                old.unlink(missing_ok=True)

    def _folder(self) -> Path:
        """Raises: RuntimeError: a user without a home."""
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "flowcore"


if __name__ == "__main__":
    print(json.dumps(read()), flush=True)
