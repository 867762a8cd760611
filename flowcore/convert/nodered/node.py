"""One node on its way over: its settings, each of which has to be looked at, and what becomes of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from flowcore.convert.nodered.export import Raw

if TYPE_CHECKING:
    from flowcore.convert.nodered.scope import Around

_PLACED = {"id", "type", "z", "name", "x", "y", "w", "h", "g", "d", "l", "wires", "info", "icon", "inputLabels",
           "outputLabels", "outputs", "inputs", "_mcu", "env", "credentials", "_users"}  # fmt: skip
_NOTHING: tuple[Any, ...] = (None, "", False, "false", [], {}, 0, "0")


@dataclass
class Turned:
    """A node of ours.

    Attributes:
        type, config: as a flow file has them.
        outputs: our port for each output of theirs.
        input: our port for their input.
        env: of an instance of a subflow.
        then: further nodes behind its first output, (what to add to its id, type, config), through `in` and `out`.
        before: the same, in front of its input.
        joins: wires besides theirs, (from, to) as "node.port"; `{id}` is this node.
    """

    type: str
    config: dict[str, Any] = field(default_factory=dict)
    outputs: list[str] = field(default_factory=lambda: ["out"])
    input: str = "in"
    env: dict[str, Any] = field(default_factory=dict)
    then: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    before: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    joins: list[tuple[str, str]] = field(default_factory=list)


class Given:
    """The settings of a node, which remembers those that somebody looked at."""

    def __init__(self, raw: Raw, around: Around) -> None:
        self.raw, self.around = raw, around
        self.id, self.type, self.name = str(raw["id"]), str(raw["type"]), str(raw.get("name") or "")
        self._seen: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        """A setting, None when it is not there."""
        return self.get(key)

    def get(self, key: str, default: Any = None) -> Any:
        """A setting."""
        self._seen.add(key)
        value = self.raw.get(key)
        return default if value is None else value

    def text(self, key: str, default: str = "") -> str:
        """A setting as text."""
        return str(self.get(key, default))

    def skip(self, *keys: str) -> None:
        """These settings say nothing here: they belong to a choice that was not made, or to the editor."""
        self._seen.update(keys)

    def lacks(self, key: str, why: str, instead: str = "", harmless: tuple[Any, ...] = _NOTHING) -> None:
        """A setting that we have no counterpart for: told, unless it has a value that changes nothing."""
        if (value := self.get(key)) not in harmless:
            self.around.tell("setting", self, f"{key} = {value!r}: {why}", instead)

    def differs(self, why: str, instead: str = "") -> None:
        """It works, in another way than it did."""
        self.around.tell("differs", self, why, instead)

    def unseen(self) -> dict[str, Any]:
        """Settings with a value that nobody looked at."""
        return {
            key: value
            for key, value in self.raw.items()
            if key not in self._seen and key not in _PLACED and value not in _NOTHING
        }


Turn = Callable[[Given], Turned]
