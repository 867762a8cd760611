"""Upgrading configs to the version of the node types that are installed: by the types' own code, and so by a program.

`python -m flowcore.runtime.upgrades` reads tasks, one JSON list, and prints an answer for each; it imports nodes, the
host that asks it does not. What it answered is remembered, since the same old document is resolved again and again.
"""

import copy
import io
import json
import sys
import traceback
from collections.abc import Iterable, Mapping
from contextlib import redirect_stdout
from importlib import import_module
from typing import Any

from flowcore.flow.types import NodeTypeInfo
from flowcore.flow.versions import Outdated, UpgradeFailed, outdated
from flowcore.runtime.program import ProgramFailed, ask_program

TIMEOUT_S = 60.0
_MOST_KEPT = 10_000  # answers that are remembered


class Upgrades:
    """Upgrades configs for a host, which first says what it is going to look at (`prepare`).

    Args:
        environ: of the program.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = dict(environ)
        self._known: dict[str, dict[str, Any]] = {}
        self._unsaid: set[str] = set()  # known only that the program failed: to be asked again
        self._code: Mapping[str, str] = {}

    async def prepare(
        self, documents: Iterable[Any], types: Mapping[str, NodeTypeInfo], code: Mapping[str, str]
    ) -> None:
        """Have everything upgraded that is outdated in these documents.

        Args:
            documents: flows as JSON has them.
            types: the installed node types; only those can be upgraded here.
            code: type -> what stands for its source: another one is asked again.
        """
        self._code = dict(code)
        for key in self._unsaid:
            self._known.pop(key, None)
        self._unsaid.clear()
        found = [old for document in documents for _, old in outdated(document, types)]
        tasks = {self._key(old): old for old in found if self._key(old) not in self._known}
        if not tasks:
            return
        try:
            answers = await self._ask([_task(old, types[old.type]) for old in tasks.values()])
        except UpgradeFailed as e:
            self._unsaid.update(tasks)
            answers = [{"error": str(e)}] * len(tasks)
        if len(self._known) + len(tasks) > _MOST_KEPT:
            self._known.clear()
        self._known.update(zip(tasks, answers, strict=True))

    def of(self, old: Outdated) -> dict[str, Any]:
        """A config that was prepared.

        Raises:
            UpgradeFailed: its type could not upgrade it, or is not installed on this host.
        """
        answer = self._known.get(self._key(old))
        if answer is None:
            raise UpgradeFailed("its type is not installed on this host; run `flowcore upgrade` where it is")
        return _config_in(answer)

    def _key(self, old: Outdated) -> str:
        return json.dumps([old.type, self._code.get(old.type, ""), old.version, old.wanted, old.config])

    async def _ask(self, tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """An answer for each task. Raises UpgradeFailed: the program gave none."""
        try:
            answers = await ask_program(__name__, self._environ, TIMEOUT_S, json.dumps(tasks).encode())
        except ProgramFailed as e:
            raise UpgradeFailed(f"the program that upgrades it failed: {str(e).rpartition(chr(10))[2]}") from None
        if len(answers) != len(tasks):
            raise UpgradeFailed("the program that upgrades it failed: it gave another number of answers")
        return answers


def upgrade_here(types: Mapping[str, NodeTypeInfo]) -> Any:
    """A function that upgrades in this process, for a command that imports nodes anyway."""

    def upgrade(old: Outdated) -> dict[str, Any]:
        with redirect_stdout(io.StringIO()):
            return _config_in(answer_to(_task(old, types[old.type])))

    return upgrade


def answer_to(task: dict[str, Any]) -> dict[str, Any]:
    """Do one task: `{"config": ..}`, or `{"error": .., "traceback": ..}`."""
    try:
        node: Any = import_module(task["module"])
        for name in task["qualname"].split("."):
            node = getattr(node, name)
        made = node.upgrade(copy.deepcopy(task["config"]), task["version"])
        if not isinstance(made, dict):
            raise TypeError(f"upgrade returned {type(made).__name__}, not the config as a dict")
        made = json.loads(json.dumps(made, allow_nan=False))  # what no file could hold shows here
    except Exception as e:
        text = " ".join(str(e).split())
        return {
            "error": f"{type(e).__name__}: {text}" if text else type(e).__name__,
            "traceback": traceback.format_exc(),
        }
    return {"config": made}


def _task(old: Outdated, info: NodeTypeInfo) -> dict[str, Any]:
    return {"module": info.module, "qualname": info.qualname, "version": old.version, "config": old.config}


def _config_in(answer: dict[str, Any]) -> dict[str, Any]:
    if "error" in answer:
        raise UpgradeFailed(answer["error"])
    return copy.deepcopy(answer["config"])


def main() -> None:
    """Answer the tasks on standard input; what nodes print meanwhile is dropped."""
    sys.dont_write_bytecode = True
    tasks = json.loads(sys.stdin.read())
    with redirect_stdout(io.StringIO()):
        answers = [answer_to(task) for task in tasks]
    print(json.dumps(answers), flush=True)


if __name__ == "__main__":
    main()
