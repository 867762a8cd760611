"""A subflow's parameters: whether they are sound, and bound to what an instance gives."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from flowcore.flow.environment import NOT_KNOWN, Environment, Unfillable, UnknownName
from flowcore.flow.fields import ConfigFields, is_reference
from flowcore.flow.model import ENV_NAME, NodeDef, Option, ParameterDef, ResourceDef, SubflowDef
from flowcore.flow.problems import Report, escape, shown

INSTANCE, INSTANCE_NAME = "INSTANCE", "INSTANCE_NAME"
"""What an instance is called inside: its id in the flow, and the name that people gave it (else the id)."""

_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    "bool": ((bool,), "true or false"),
    "number": ((int, float), "a number"),
    "text": ((str,), "text"),
    "list": ((list,), "a list"),
    "map": ((dict,), "a map"),
}
_ONLY_OF = {"options": "select", "min": "number", "max": "number", "of": "resource"}


def fields_of(subflow: SubflowDef) -> ConfigFields:
    """The parameters as fields of a config, for what is filled in there."""
    kinds = {"bool": "boolean", "number": "number", "list": "array", "map": "object"}
    properties: dict[str, Any] = {}
    for name, parameter in subflow.params.items():
        properties[name] = {"secret": True, "type": "string"} if parameter.type == "secret" else {}
        if parameter.type in kinds:
            properties[name] = {"type": kinds[parameter.type]}
    return ConfigFields({"type": "object", "properties": properties})


@dataclass(frozen=True)
class Binder:
    """Checks the values of parameters in one document.

    `outer` is the document's environment; `resources` are those there are.
    """

    resources: Mapping[str, ResourceDef]
    outer: Environment
    report: Report

    def check(self, subflow: SubflowDef) -> None:
        """Report what is wrong with the parameters themselves: their defaults, options and limits."""
        for name, parameter in subflow.params.items():
            at = f"{subflow.pointer}/params/{name}"
            for field, type_ in _ONLY_OF.items():
                if getattr(parameter, field) is not None and parameter.type != type_:
                    self.report.warning(
                        f"{at}/{field}", f"has no effect: it belongs to a {type_}, not to {parameter.type}"
                    )
            if parameter.type == "select" and parameter.options is None:
                self.report.error(at, 'a select needs "options", the values to choose from')
            elif parameter.type == "select" and len({repr(one) for one in _options(parameter)}) < len(
                _options(parameter)
            ):
                self.report.error(f"{at}/options", "has the same value twice")
            if parameter.min is not None and parameter.max is not None and parameter.min > parameter.max:
                self.report.error(f"{at}/min", f"must not be above max, {parameter.max:g}, is {parameter.min:g}")
            if "default" in parameter.model_fields_set and parameter.type != "env":
                self._value(parameter, parameter.default, f"{at}/default", self.outer)

    def bind(
        self,
        subflow: SubflowDef,
        instance: NodeDef | None,
        given: dict[str, Any],
        env: dict[str, Any],
        around: Environment,
        id_: str = "",
    ) -> Environment:
        """The environment inside one instance: its parameters and its own env, then the subflow's, then the document's.

        Args:
            subflow: what is instantiated.
            instance: the node that does so; None: nobody, it is only checked, and missing parameters fit anything.
            given, env: the instance's config and env, filled in.
            around: the environment where the instance stands; it is not seen inside, but an `env` parameter names a
                value of it.
            id_: of the instance in the flow.
        """
        values: dict[str, Any] = {INSTANCE: id_, INSTANCE_NAME: (instance.name if instance else "") or id_} | env
        at = f"{instance.pointer}/config" if instance else ""
        for name in given:
            if name not in subflow.params:
                near = self.report.near(name, subflow.params, "parameters")
                self.report.error(f"{at}/{escape(name)}", f"the subflow has no parameter '{name}'{near}", at_key=True)
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
                    self.report.error(where, f"the parameter '{name}' of {instance.type} is missing{purpose}")
                continue
            values[name] = self._value(parameter, value, where, around)
        inner = Environment(subflow.env, f"{subflow.pointer}/env/{{}}", self.outer)
        where = f"parameter {{}} of '{instance.id}'" if instance else "parameter {}"
        secret = [name for name, parameter in subflow.params.items() if parameter.type == "secret"]
        return Environment(values, where, inner, later=secret)

    def _value(self, parameter: ParameterDef, value: Any, where: str, around: Environment) -> Any:
        """What `${NAME}` becomes; reports a value that does not fit, which then fits anything."""
        if parameter.type == "secret":
            wrong = self._wrong_secret(value)
        elif is_reference(value):
            return value
        elif parameter.type == "env":
            return self._of_environment(value, where, around)
        elif parameter.type == "select":
            options = _options(parameter)
            if any(_same(value, one) for one in options):
                return value
            near = self.report.near(str(value), [str(one) for one in options], "options")
            wrong = f"{shown(value)} is no choice here{near}" if options else ""
        elif parameter.type == "resource":
            wrong = self._wrong_resource(parameter, value)
        else:
            types, wanted = _TYPES.get(parameter.type, ((object,), "anything"))
            wrong = "" if _is_a(value, types) else f"must be {wanted}, is {shown(value)}"
            if not wrong and parameter.type == "number":
                wrong = _beyond(parameter, value)
        if not wrong:
            return value
        self.report.error(where, wrong)
        return NOT_KNOWN

    def _of_environment(self, name: Any, where: str, around: Environment) -> Any:
        if not isinstance(name, str) or not re.fullmatch(ENV_NAME, name):
            self.report.error(where, f"must be the name of a value of the environment, is {shown(name)}")
            return NOT_KNOWN
        try:
            found = around.find(name)
        except UnknownName:
            near = self.report.near(name, around, "env has")
            self.report.error(where, f"the environment has no '{name}'{near}")
        except Unfillable as e:
            self.report.error(where, str(e))
        else:
            return {"$env": found.outside} if found.outside is not None else found.value
        return NOT_KNOWN

    @staticmethod
    def _wrong_secret(value: Any) -> str:
        if is_reference(value) and next(iter(value)) in ("$secret", "$env"):
            return ""
        if value in ("", None):
            return ""
        return 'holds a secret in plain text: run `flowcore secret set NAME` and write {"$secret": "NAME"} here'

    def _wrong_resource(self, parameter: ParameterDef, value: Any) -> str:
        if not isinstance(value, str) or value not in self.resources:
            near = self.report.near(str(value), self.resources, "resources")
            return f"no resource {shown(value)}{near}"
        type_ = self.resources[value].type
        if parameter.of is not None and type_ != parameter.of:
            return f"must be a resource of type {parameter.of}, and '{value}' is {type_ or 'of none'}"
        return ""


def _options(parameter: ParameterDef) -> list[Any]:
    return [one.value if isinstance(one, Option) else one for one in parameter.options or ()]


def _same(one: Any, other: Any) -> bool:
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _beyond(parameter: ParameterDef, value: float) -> str:
    if parameter.min is not None and value < parameter.min:
        return f"must be at least {parameter.min:g}, is {shown(value)}"
    if parameter.max is not None and value > parameter.max:
        return f"must be at most {parameter.max:g}, is {shown(value)}"
    return ""


def _is_a(value: Any, types: tuple[type, ...]) -> bool:
    return isinstance(value, types) and (bool in types or object in types or not isinstance(value, bool))
