"""A node's settings: a pydantic model whose JSON schema feeds validator, editor form, command help and docs.

A `dynamic` field takes a literal, or a reference that is looked up for each message: `{"$message": "payload.t"}`,
`{"$env": "NAME"}`, `{"$flow": "key"}`, `{"$global": "key"}`, `{"$secret": "name"}`.
"""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

REFERENCES = ("$message", "$env", "$flow", "$global", "$secret")


class NodeConfig(BaseModel):
    """Base of every `Node.Config`; unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", arbitrary_types_allowed=False, allow_inf_nan=False)


def field(
    default: Any = ...,
    *,
    description: str = "",
    dynamic: bool = False,
    secret: bool = False,
    widget: str | None = None,
    language: str | None = None,
    **limits: Any,
) -> Any:
    """A field of a node's config.

    Args:
        default: `...` makes it required; a list or a dict is copied for each node.
        description: what it is, with its unit; shown in the editor's form, the command's help and the docs.
        dynamic: a reference may stand in place of a literal; read it with `self.setting("name", message)`.
        secret: no literal is taken from a flow file, only `{"$secret": "name"}`.
        widget: how the editor shows it ("code", "password", "textarea", ...); "hidden": not at all, since
            deploying fills it in.
        language: of a program (widget "code"), for the editor: javascript, json, text; Python where nothing is said.
        limits: pydantic's own: gt, ge, lt, le, min_length, max_length, pattern, ...
    """
    extra: dict[str, Any] = {
        key: value
        for key, value in (("dynamic", dynamic), ("secret", secret), ("widget", widget), ("language", language))
        if value
    }
    if isinstance(default, (list, dict)):
        kept = default
        extra["default"] = kept  # pydantic leaves a factory's default out of the schema
        return Field(
            default_factory=lambda: type(kept)(kept), description=description, json_schema_extra=extra, **limits
        )
    return Field(default, description=description, json_schema_extra=extra or None, **limits)


def is_reference(value: Any) -> bool:
    """True for `{"$message": ...}` and its kin."""
    return isinstance(value, dict) and len(value) == 1 and next(iter(value)) in REFERENCES


def dynamic_fields(config: type[NodeConfig]) -> frozenset[str]:
    """Names of the fields that take a reference."""
    return frozenset(
        name
        for name, info in config.model_fields.items()
        if isinstance(info.json_schema_extra, dict) and info.json_schema_extra.get("dynamic")
    )


def parse(config: type[NodeConfig], values: dict[str, Any]) -> tuple[NodeConfig, dict[str, dict]]:
    """Validate `values`; references of dynamic fields are set aside.

    Returns:
        The config (with a reference in place of a dynamic field's literal) and the references by field name.
    Raises:
        pydantic.ValidationError: a literal that does not fit.
    """
    dynamic = dynamic_fields(config)
    references = {name: value for name, value in values.items() if name in dynamic and is_reference(value)}
    literals = {name: value for name, value in values.items() if name not in references}
    if not references:
        return config.model_validate(literals), {}
    for name in references:  # validate the rest with something that fits in their place
        info = config.model_fields[name]
        if not info.is_required():
            continue
        literals[name] = references[name]
    try:
        model = config.model_validate(literals)
    except Exception:
        fields = config.__pydantic_validator__
        model = config.model_construct(**literals)
        others = {name: value for name, value in literals.items() if name not in references}
        for name, value in others.items():
            fields.validate_assignment(model, name, value)
    for name, reference in references.items():
        model.__dict__[name] = reference
    return model, references
