"""Filling in a config: `${NAME}`, `{"$use": ..}` and `{"$env": ..}` become values before a node starts.

What stays in the config stays because only later something is known or may be seen:

| reference | where it may stand | becomes a value |
|---|---|---|
| `"${NAME}"` | any text but code | here |
| `{"$env": "NAME"}` | anywhere | here; of the host's environment, where text may stand: when the node starts |
| `{"$use": "plant", ..}` | anywhere | here: the resource's config, and over it what stands beside `$use` |
| `{"$secret": "name"}` | where text may stand | when the node starts (`settle`) |
| `{"$message": "payload.t"}`, `{"$flow": "key"}`, `{"$global": "key"}` | dynamic fields | for each message |

A value of the host's environment is text; where a field takes no text, `80` is read as a number, `true` as a bool.
In a secret field `"${NAME}"` of the host's environment is `{"$env": "NAME"}`, so that no password is ever shown.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from flowcore.flow.environment import NOT_KNOWN, Environment, Found, Unfillable, UnknownName
from flowcore.flow.fields import REFERENCES, ConfigFields, Path, is_reference
from flowcore.flow.model import ResourceDef
from flowcore.flow.problems import Report, escape, pointer, shown

_ANYTHING = ConfigFields({})


class Config:
    """A config filled in, which remembers where each value that came from elsewhere was set."""

    def __init__(self, value: dict[str, Any], base: str) -> None:
        self.value = value
        self.base = base  # pointer of the config in the document
        self.refers = False  # whether a `$` stands anywhere in it
        self.moved: dict[Path, str] = {}  # values that stand elsewhere in the document: their pointer
        self.origins: dict[Path, str] = {}  # values of an environment: in words where they were set

    def pointer(self, path: Path) -> str:
        """Where in the document the value at this path stands."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.moved:
                return self.moved[path[:length]] + pointer(*path[length:])
        return self.base + pointer(*path)

    def origin(self, path: Path) -> str:
        """The end of a message about the value at this path: which environment it came from, if it did."""
        for length in range(len(path), 0, -1):
            if origin := self.origins.get(path[:length]):
                return f" (from {origin})"
        return ""


class Filler:
    """Fills the configs of one document in."""

    def __init__(self, resources: Mapping[str, ResourceDef], outer: Environment, report: Report) -> None:
        """`outer`: the environment of the document itself, which resources are filled from."""
        self._resources, self._outer, self._report = resources, outer, report

    def fill(self, raw: dict[str, Any], base: str, env: Environment, fields: ConfigFields = _ANYTHING) -> Config:
        """A config with all filled in that can be; what can't is reported, and left as a reference that fits anything.

        Args:
            raw: the config as the document has it; it is not changed.
            base: its pointer in the document.
            env: where `${NAME}` is looked up.
            fields: what its node type says of the fields.
        """
        config = Config(raw, base)
        if "$" in json.dumps(raw, ensure_ascii=False):
            config.refers = True
            if kinds := [key for key in raw if key in REFERENCES]:
                self._report.error(base, f"a config is a map of fields: {kinds[0]} may stand in one, not for them all")
                self._report.mute(base)
                raw = {key: value for key, value in raw.items() if key not in kinds}
            config.value = _Walk(self, config, fields, env).value(raw, (), base)
        return config


class _Walk:
    """One walk through one config. `place` is where the walk stands in the document, `path` in the config."""

    def __init__(self, filler: Filler, config: Config, fields: ConfigFields, env: Environment) -> None:
        self._resources, self._outer, self._report = filler._resources, filler._outer, filler._report
        self._config, self._fields, self._env = config, fields, env
        self._using: list[str] = []

    def value(self, value: Any, path: Path, place: str) -> Any:
        if isinstance(value, str):
            return self._text(value, path, place) if "${" in value else value
        if isinstance(value, list):
            return [self.value(one, (*path, index), f"{place}/{index}") for index, one in enumerate(value)]
        if not isinstance(value, dict):
            return value
        if "$use" in value:
            return self._used(value, path, place)
        if any(isinstance(key, str) and key.startswith("$") for key in value):
            return self._reference(value, path, place)
        return {key: self.value(one, (*path, key), f"{place}/{escape(key)}") for key, one in value.items()}

    def _text(self, text: str, path: Path, place: str) -> Any:
        if self._fields.at(path).code:
            return text
        try:
            return self._found(self._env.fill(text), path)
        except (UnknownName, Unfillable) as error:
            return self._unfilled(error, place, "; for the text itself write $${{{name}}}")

    def _reference(self, value: dict[str, Any], path: Path, place: str) -> Any:
        name = next(key for key in value if key.startswith("$"))
        key = value[name]
        if name not in REFERENCES:
            near = self._report.near(name, (*REFERENCES, "$use"), "references")
            if len(value) == 1 and "did you mean" in near:
                self._report.warning(place, f"'{name}' is no reference{near}")
            return {one: self.value(inner, (*path, one), f"{place}/{escape(one)}") for one, inner in value.items()}
        if len(value) > 1:
            others = ", ".join(f"'{other}'" for other in value if other != name)
            self._report.error(place, f"a {name} stands alone in its map, this one has also {others}")
        elif not isinstance(key, str) or not key:
            self._report.error(f"{place}/{name}", f"{name} takes a name as text, is {shown(key)}")
        elif name == "$env":
            try:
                return self._found(self._env.find(key), path, later=True)
            except (UnknownName, Unfillable) as error:
                return self._unfilled(error, f"{place}/{name}", "")
        return {name: str(key)}

    def _found(self, found: Found, path: Path, later: bool = False) -> Any:
        """A value found in an environment, as this field takes it; `later`: when the node starts, if that will do."""
        field = self._fields.at(path)
        self._config.origins[path] = found.origin
        if found.outside is not None:
            if field.secret or (later and field.takes_text):
                return {"$env": found.outside}
            if not field.takes_text:
                return _read(found.value)
        return found.value

    def _unfilled(self, error: UnknownName | Unfillable, place: str, else_write: str) -> dict[str, Any]:
        if isinstance(error, UnknownName):
            near = self._report.near(error.name, self._env, "env has")
            self._report.error(place, f"${{{error.name}}} is set nowhere{near}{else_write.format(name=error.name)}")
        else:
            self._report.error(place, str(error))
        return NOT_KNOWN

    def _used(self, value: dict[str, Any], path: Path, place: str) -> Any:
        """The config of a resource, and over it what stands beside the `$use`."""
        name = value["$use"]
        if isinstance(name, str) and "${" in name:  # a parameter of type resource
            try:
                name = self._env.fill(name).value
            except (UnknownName, Unfillable) as error:
                return self._unfilled(error, f"{place}/$use", "")
            if name == NOT_KNOWN:
                return NOT_KNOWN
        own = {key: inner for key, inner in value.items() if key != "$use"}
        resource = self._resources.get(name) if isinstance(name, str) else None
        merged: dict[str, Any] = {}
        if resource is None or not isinstance(name, str):
            near = self._report.near(str(name), self._resources, "resources")
            self._report.error(f"{place}/$use", f"no resource {shown(name)}{near}")
            self._report.mute(place)
        elif name in self._using:
            self._report.error(f"{place}/$use", f"resource '{name}' uses itself")
        else:
            base = f"{resource.pointer}/config"
            self._using.append(name)
            env, self._env = self._env, self._outer
            filled = self.value(resource.config, path, base)
            self._env = env
            self._using.pop()
            if isinstance(filled, dict) and not is_reference(filled):
                merged = filled
            else:
                self._report.error(base, f"must be a map of fields, is {shown(filled)}")
            self._config.moved.update({(*path, key): f"{base}/{escape(key)}" for key in merged})
        for key, inner in own.items():
            self._config.moved[*path, key] = f"{place}/{escape(key)}"
            merged[key] = self.value(inner, (*path, key), f"{place}/{escape(key)}")
        return merged


def _read(text: str) -> Any:
    """A text of the host's environment as a number, a bool, a list or a map, where it is one."""
    try:
        return json.loads(text, parse_constant=lambda name: text)
    except ValueError:
        return text


def settle(config: Any, environ: Mapping[str, str], secret: Callable[[str], str]) -> Any:
    """A config for a node's process: secrets and the host's environment filled in. Never log or publish what it gives.

    Raises:
        KeyError: no such name in `environ`, or what `secret` raises for an unknown one.
    """
    if isinstance(config, list):
        return [settle(one, environ, secret) for one in config]
    if not isinstance(config, dict):
        return config
    if is_reference(config):
        ((kind, name),) = config.items()
        return secret(name) if kind == "$secret" else environ[name] if kind == "$env" else config
    return {key: settle(one, environ, secret) for key, one in config.items()}
