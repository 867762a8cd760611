"""Agents that lie in a folder: where it is, and the node classes in its files.

A folder is told to programs that import nodes by the variable FLOWCORE_AGENTS, from which the package
`flowcore_agents` takes its modules. Each file is a plug-in of its own: one that cannot be imported hides no other.
"""

import contextlib
import importlib
import os
import pkgutil
import signal
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from flowcore.node.node import Node

VARIABLE, PACKAGE = "FLOWCORE_AGENTS", "flowcore_agents"
_IMPORT_S = 10.0
_LEFT_OUT = ("_", "test_", "conftest")


class AgentFile(NamedTuple):
    """A module of agents; `name` is for people."""

    module: str
    name: str


def tell(folder: Path) -> None:
    """Let this program, and those that it starts, know where agents lie; VARIABLE comes first where it is set."""
    os.environ.setdefault(VARIABLE, str(folder.absolute()))


def beside(data: Path) -> Path:
    """Where agents lie for who runs flows on this data folder: in `flows/agents` beside it."""
    return data.absolute().parent / "flows" / "agents"


def folders(environ: Mapping[str, str] = os.environ) -> list[str]:
    """The folders that are told, whether they are there or not."""
    return [folder for folder in environ.get(VARIABLE, "").split(os.pathsep) if folder]


def agent_files() -> Iterator[AgentFile]:
    """The modules in the folders, by name; those for tests, and those that begin with `_`, are no agents."""
    for folder in folders():
        for found in sorted(pkgutil.iter_modules([folder]), key=lambda one: one.name):
            if not found.name.startswith(_LEFT_OUT):
                file = found.name if found.ispkg else f"{found.name}.py"
                yield AgentFile(f"{PACKAGE}.{found.name}", f"{Path(folder).name}/{file}")


def is_agent_file(module: str) -> bool:
    """Whether a module lies in a folder of agents: only the process of its node imports it, no fork server."""
    return module.startswith(f"{PACKAGE}.")


def nodes_in(file: AgentFile) -> "list[type[Node]]":
    """The node classes that a file defines, and not those that it imports.

    Raises:
        Exception, SystemExit: whatever its import raises; TypeError when it has no node class.
    """
    from flowcore.node.node import Node  # not for who only asks which files there are

    with _limited(_IMPORT_S):
        module = importlib.import_module(file.module)
    nodes = [
        one
        for one in vars(module).values()
        if isinstance(one, type) and issubclass(one, Node) and one.type and _is_of(one.__module__, file.module)
    ]
    if not nodes:
        raise TypeError("there is no agent in it: class TooHot(Agent); a helper's file begins with _")
    return list(dict.fromkeys(nodes))


def _is_of(module: str, parent: str) -> bool:
    return module == parent or module.startswith(f"{parent}.")


@contextlib.contextmanager
def _limited(seconds: float) -> Iterator[None]:
    """A file that never comes to its end must not keep the others from being listed."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def late(*_: object) -> None:
        raise TimeoutError(f"its import took longer than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
