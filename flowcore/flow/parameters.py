"""A subflow's parameters bound to what an instance gives."""

from __future__ import annotations

from typing import Any

from flowcore.flow.environment import NOT_KNOWN, Environment
from flowcore.flow.fields import is_reference
from flowcore.flow.model import NodeDef, SubflowDef
from flowcore.flow.problems import Report, escape, shown

_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "bool": ((bool,), "true or false"),
    "number": ((int, float), "a number"),
    "text": ((str,), "text"),
    "list": ((list,), "a list"),
    "map": ((dict,), "a map"),
}


def bind(
    subflow: SubflowDef, instance: NodeDef | None, given: dict[str, Any], outer: Environment, report: Report
) -> Environment:
    """The environment inside one instance: its parameters, then the subflow's env, then `outer`, the document's.

    Args:
        subflow: what is instantiated.
        instance: the node that does so; None: nobody, it is only to be checked, and missing parameters fit anything.
        given: the instance's config, filled in.
        outer: the document's environment; the one around the instance is not seen inside.
        report: takes unknown, missing and unfit parameters.
    """
    values: dict[str, Any] = {}
    at = f"{instance.pointer}/config" if instance else ""
    for name in given:
        if name not in subflow.params:
            near = report.near(name, subflow.params, "parameters")
            report.error(f"{at}/{escape(name)}", f"the subflow has no parameter '{name}'{near}", at_key=True)
    for name, parameter in subflow.params.items():
        values[name] = NOT_KNOWN
        if name in given:
            value, where = given[name], f"{at}/{name}"
        elif "default" in parameter.model_fields_set:
            value, where = parameter.default, f"{subflow.pointer}/params/{name}/default"
        else:
            if instance is not None:
                purpose = f" ({parameter.description})" if parameter.description else ""
                where = at if "config" in instance.model_fields_set else instance.pointer
                report.error(where, f"the parameter '{name}' of {instance.type} is missing{purpose}")
            continue
        types, wanted = _TYPES.get(parameter.type, ((object,), "anything"))
        if is_reference(value) or _is_a(value, types):
            values[name] = value
        else:
            report.error(where, f"must be {wanted}, is {shown(value)}")
    inner = Environment(subflow.env, f"{subflow.pointer}/env/{{}}", outer)
    where = f"parameter {{}} of '{instance.id}'" if instance else "parameter {}"
    return Environment(values, where, inner)


def _is_a(value: Any, types: tuple[type, ...]) -> bool:
    return isinstance(value, types) and (bool in types or object in types or not isinstance(value, bool))
