"""Whether a config, filled in, is what its node type asks for: its schema, references in their places, secrets."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from flowcore.flow.fields import ConfigFields, Path, is_reference
from flowcore.flow.problems import Report, shown
from flowcore.flow.references import Config
from flowcore.flow.wording import faults, kinds

_PER_MESSAGE = ("$message", "$flow", "$global")


def check_config(
    config: Config, fields: ConfigFields, report: Report, secrets: Collection[str] | None, *, whole: bool = True
) -> None:
    """Report all that is wrong with a config.

    Args:
        config: filled in by `references.Filler`.
        fields: the schema of its type.
        report: takes what is found.
        secrets: names of the secrets there are; None: not known here, any name will do.
        whole: False for a resource, whose users may add what it lacks.
    """
    for error in fields.errors(config.value):
        if error.validator == "required" and not whole:
            continue
        for fault in faults(error, report):
            where = config.pointer(fault.path)
            if error.validator == "required" and config.moved:
                where = config.base  # a field missing in what a resource and the node make together
            report.error(where, fault.message + config.origin(fault.path), at_key=fault.at_key)
    if not config.refers and not fields.has_secrets:
        return
    for path, value in _leaves(config.value, ()):
        if is_reference(value):
            _check_reference(value, path, config, fields, report, secrets)
        elif fields.has_secrets and value not in (None, "") and fields.at(path).secret:
            report.error(
                config.pointer(path),
                "holds a secret in plain text: run `flowcore secret set NAME` and write "
                f'{{"$secret": "NAME"}} here{config.origin(path)}',
            )


def _leaves(value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    """Every reference and every value that is no list or map, with its path."""
    if is_reference(value) or not isinstance(value, dict | list):
        yield path, value
        return
    for step, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield from _leaves(inner, (*path, step))


def _check_reference(
    value: dict[str, Any],
    path: Path,
    config: Config,
    fields: ConfigFields,
    report: Report,
    secrets: Collection[str] | None,
) -> None:
    ((kind, name),) = value.items()
    field, where = fields.at(path), config.pointer(path)
    if not isinstance(name, str):  # it came out of an environment; others were looked at when they were filled in
        report.error(where, f"{kind} takes a name as text, is {shown(name)}{config.origin(path)}")
        return
    if kind in _PER_MESSAGE and not field.known:
        if fields.at(path[:1]).known:  # inside a map of anything; if the field itself is unknown, that is told already
            report.warning(where, f"{kind} is looked up only as the value of a dynamic field: here it stays a map")
    elif kind in _PER_MESSAGE and not field.dynamic:
        dynamic = ", ".join(fields.dynamic_names())
        which = f" (dynamic here: {dynamic})" if dynamic else ""
        report.error(where, f"{kind} needs a dynamic field, which '{path[-1]}' is not{which}")
    elif kind == "$secret":
        if not (field.takes_text or field.dynamic):
            report.error(where, f"a secret is text, and this field takes {kinds(sorted(field.kinds))}")
        if secrets is not None and name not in secrets:
            near = report.near(str(name), sorted(secrets), "secrets")
            report.error(where, f"no secret is named '{name}'{near}; `flowcore secret set {name}` adds it")
