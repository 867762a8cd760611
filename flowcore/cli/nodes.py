"""`flowcore nodes [TYPE]`: the node types that are installed, and what one of them takes."""

from typing import Annotated, Any

import typer

from flowcore.cli.options import DATA, Data, Json


def nodes(
    type: Annotated[str | None, typer.Argument(metavar="[TYPE]", help="A type, or the beginning of some.")] = None,
    host: Annotated[
        str | None, typer.Option(metavar="NAME", help="Those of another host, as the runtime knows it.")
    ] = None,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """List the node types that are installed, or show one: ports, settings, what it needs."""
    import difflib

    from flowcore.cli import out
    from flowcore.cli.types import installed_types, types_of_host

    types, troubles = installed_types(data) if host is None else types_of_host(data, host)
    if not json:
        for text in troubles:
            out.note(text)
    if type is None or (type not in types and any(name.startswith(type) for name in types)):
        chosen = [info for name, info in sorted(types.items()) if type is None or name.startswith(type)]
        text = out.table(
            ("type", "what it does", ""), [(info.type, _first_line(info.doc), _missing(info)) for info in chosen]
        )
    elif type in types:
        chosen = [types[type]]
        text = _page(types[type])
    else:
        near = difflib.get_close_matches(type, list(types), n=1)
        hint = f"Did you mean {near[0]!r}?" if near else "List them: flowcore nodes"
        raise out.Failed(f"no node type {type!r}", hint)
    out.result(text, json, types=[info.as_data() for info in chosen], problems=troubles)


def _first_line(doc: str) -> str:
    return doc.partition("\n")[0]


def _missing(info: Any) -> str:
    return f"needs: {info.missing}" if info.missing else info.refused


def _page(info: Any) -> str:
    lines = [f"{info.type}: {info.title}" if info.title else info.type, "", info.doc, ""]
    if info.missing:
        lines += [f"Cannot run yet: {info.missing}", ""]
    if info.refused:
        lines += [f"Is not run: {info.refused}", ""]
    for word, ports in (("in", info.inputs), ("out", info.outputs)):
        lines += [f"  {word:<4}{port.name}: {port.type}  {port.description}".rstrip() for port in ports]
    if info.outputs_from:
        lines.append(f"  out  more, by the setting {info.outputs_from!r}")
    if info.inputs_from:
        lines.append(f"  in   more, by the setting {info.inputs_from!r}")
    schema = info.config_schema
    if schema.get("properties"):
        lines += ["", "Settings:"]
    required = set(schema.get("required", ()))
    for name, rule in schema.get("properties", {}).items():
        default = "required" if name in required else f"default {rule.get('default')!r}"
        lines.append(f"  {name} ({_kind(rule)}, {default}): {rule.get('description', '')}".rstrip(": "))
    return "\n".join(lines)


def _kind(rule: dict[str, Any]) -> str:
    if "enum" in rule:
        return " | ".join(map(str, rule["enum"]))
    if "anyOf" in rule:
        return " | ".join(dict.fromkeys(_kind(each) for each in rule["anyOf"]))
    return str(rule.get("type") or rule.get("$ref", "any").rpartition("/")[2])
