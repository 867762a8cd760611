"""Where `${NAME}` is looked up: a subflow's parameters, its env, the document's env, then the host's environment.

UnknownName    a name that is set nowhere
Unfillable     a value that can't stand where it is asked for, or is made of itself
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flowcore.flow.problems import shown

NAME = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_PLACE = re.compile(r"(\$?)\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
NOT_KNOWN = {"$env": ""}
"""Stands for a value that could not be found, told already: as a reference it fits anything."""
_LONGEST = 1_000_000  # characters of a filled text: a few values that double each other would fill the memory


@dataclass(frozen=True)
class Found:
    """A value of an environment, and in words where it was set. `outside`: its name in the host's own environment."""

    value: Any
    origin: str = ""
    outside: str | None = None


class UnknownName(KeyError):
    """A `${NAME}` that is set nowhere."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(name)


class Unfillable(ValueError):
    """A list or a map asked for in the middle of a text, a text that grows without end, or one made of itself."""


class Environment:
    """Named values of one level, and the level around it."""

    def __init__(
        self,
        values: Mapping[str, Any],
        origin: str,
        around: Environment | None,
        *,
        outside: bool = False,
        later: Collection[str] = (),
    ) -> None:
        """`later`: names whose `{"$env": ..}` stays a reference, because its value must not be shown."""
        self._later = later
        self._values, self._origin, self._around, self._outside = values, origin, around, outside
        self._busy: set[str] = set()

    def __iter__(self) -> Iterator[str]:
        """Names set in the flow itself; the host's hundred own ones help nobody."""
        if not self._outside:
            yield from self._values
        if self._around is not None:
            yield from self._around

    def find(self, name: str) -> Found:
        """The value of a name. A value of the flow may itself use `${..}` or `{"$env": ..}`.

        `"HOST": "${HOST}"` means the HOST of the level around, as does any other name that leads back to itself.

        Raises:
            UnknownName: no level has it.
            Unfillable: it can't be put inside a text, or needs itself.
        """
        if name not in self._values or name in self._busy:
            try:
                if self._around is None:
                    raise UnknownName(name)
                return self._around.find(name)
            except UnknownName:
                if name in self._busy:
                    raise Unfillable(f"${{{name}}} is made of itself") from None
                raise
        value = self._values[name]
        if self._outside:
            return Found(value, self._origin.format(name), name)
        if (
            name not in self._later
            and isinstance(value, dict)
            and len(value) == 1
            and value.get("$env")
            and isinstance(value["$env"], str)
        ):
            value = "${" + value["$env"] + "}"
        if not isinstance(value, str) or "${" not in value:
            return Found(value, self._origin.format(name))
        self._busy.add(name)
        try:
            return self.fill(value)
        finally:
            self._busy.discard(name)

    def fill(self, text: str) -> Found:
        """A text with its `${..}` filled in. One that is nothing but `${NAME}` becomes the value itself; `$${` is `${`.

        Raises:
            UnknownName, Unfillable: as `find`.
        """
        if whole := NAME.fullmatch(text):
            return self.find(whole[1])
        origins: dict[str, None] = {}

        def put(match: re.Match[str]) -> str:
            if match[1]:
                return match[0][1:]
            found = self.find(match[2])
            if found.value == NOT_KNOWN:
                return "?"
            if found.value is None or isinstance(found.value, list | dict):
                raise Unfillable(f"${{{match[2]}}} is {shown(found.value)}, which can't stand inside a text")
            if isinstance(found.value, str) and len(found.value) > _LONGEST:
                raise Unfillable(f"${{{match[2]}}} is longer than {_LONGEST:,} characters")
            origins[found.origin] = None
            return str(found.value).lower() if isinstance(found.value, bool) else str(found.value)

        return Found(_PLACE.sub(put, text), " and ".join(origins))
