"""The OpenAPI 3.1 document of the REST addresses, made from the table of routes and the models of the services."""

import re
from typing import Any

from pydantic import BaseModel

from flowcore import __version__
from flowcore.gateway.answers import STATUS
from flowcore.gateway.rest import ROUTES, Route
from flowcore.runtime.control import OPERATIONS
from flowcore.runtime.control.errors import CODES

_REF = "#/components/schemas/{model}"
_TRY = {
    "type": "object",
    "required": ["document", "put"],
    "additionalProperties": False,
    "properties": {
        "document": {"type": "object", "description": "The flow, deployed or not"},
        "nodes": {"type": "array", "items": {"type": "string"}, "description": "Those that run; empty: all"},
        "put": {"type": "string", "description": "Where the message goes in: '<node>.<port>'"},
        "payload": {"description": "Bytes are {'$bytes': base64}"},
        "topic": {"type": "string"},
        "meta": {"type": "object"},
        "answers": {"type": "object", "description": "Node that reaches beyond the flow -> what it answers"},
        "seconds": {"type": "number", "description": "So far time goes on after the message"},
        "timeout_s": {"type": "number", "maximum": 60, "description": "Longest it may take in real time"},
    },
}


def document() -> dict[str, Any]:
    """The document, JSON-ready."""
    schemas: dict[str, Any] = {"Error": _error()}
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, schemas)
    secret = {"type": "object", "required": ["value"], "properties": {"value": {"type": "string"}}}
    paths["/api/secrets/{name}"] = {
        "put": _plain("Store a secret; its value is never shown again.", ["name"], secret),
        "delete": _plain("Forget a secret.", ["name"], None),
    }
    export = {
        "type": "object",
        "required": ["export"],
        "properties": {
            "export": {"type": "string", "description": "The text of the export"},
            "name": {"type": "string", "description": "What a tab without a name is called"},
        },
    }
    paths["/api/import/nodered"] = {
        "post": _plain("Turn a Node-RED export into flow documents; nothing is deployed.", [], export)
    }
    paths["/api/try"] = {"post": _plain("Run nodes on a sample, apart from the flow that runs.", [], _TRY)}
    paths["/api/try/ready"] = {"post": _plain("Start what tries nodes, so that the first try is quick.", [], None)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "flowcore",
            "version": __version__,
            "description": "Flows, nodes and records of a running flowcore: the control services of its bus.",
        },
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "description": "`flowcore url --token`"}},
        },
        "security": [{"token": []}],
    }


def _operation(route: Route, schemas: dict[str, Any]) -> dict[str, Any]:
    op = OPERATIONS[route.operation]
    in_path = [part.strip("{}") for part in route.path.split("/") if part.startswith("{")]
    properties = _schema(op.request, schemas)
    fields = properties.get("properties", {})
    free = {name: shape for name, shape in fields.items() if name not in in_path and name not in route.fixed}
    said: dict[str, Any] = {
        "operationId": re.sub(r"\W+", "_", f"{route.method.lower()}{route.path.removeprefix('/api')}").strip("_"),
        "summary": op.doc.partition("\n")[0],
        "parameters": [_parameter(name, "path", fields.get(name, {"type": "string"})) for name in in_path],
        "responses": {
            "200": {
                "description": "Done",
                "content": {"application/json": {"schema": {"$ref": _REF.format(model=op.answer.__name__)}}},
            },
            "default": {
                "description": "Refused or failed",
                "content": {"application/json": {"schema": {"$ref": _REF.format(model="Error")}}},
            },
        },
    }
    schemas[op.answer.__name__] = _schema(op.answer, schemas)
    if route.method in ("GET", "DELETE"):
        said["parameters"] += [_parameter(name, "query", shape) for name, shape in free.items()]
    elif free:
        required = [name for name in properties.get("required", ()) if name in free]
        body = {"type": "object", "properties": free, "required": required, "additionalProperties": False}
        said["requestBody"] = {"required": bool(required), "content": {"application/json": {"schema": body}}}
    return said


def _schema(model: type[BaseModel], schemas: dict[str, Any]) -> dict[str, Any]:
    schema = model.model_json_schema(ref_template=_REF)
    schemas.update(schema.pop("$defs", {}))
    return schema


def _parameter(name: str, place: str, shape: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": place, "required": place == "path", "schema": shape}


def _plain(summary: str, in_path: list[str], body: dict[str, Any] | None) -> dict[str, Any]:
    said: dict[str, Any] = {
        "summary": summary,
        "parameters": [_parameter(name, "path", {"type": "string"}) for name in in_path],
        "responses": {"200": {"description": "Done"}},
    }
    if body is not None:
        said["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}
    return said


def _error() -> dict[str, Any]:
    texts = "; ".join(f"{code} ({STATUS[code]}): {text}" for code, text in CODES.items())
    return {
        "type": "object",
        "properties": {
            "error": {
                "type": "object",
                "properties": {
                    "code": {"type": "string", "description": texts},
                    "message": {"type": "string"},
                    "where": {"type": "string"},
                    "do": {"type": "string", "description": "What to do next"},
                    "details": {"type": "object"},
                },
            }
        },
    }
