"""Node types as plain data, and a check of a document with them: nothing here imports a node."""

import json

import pytest

from flowcore.flow.types import NodeTypeInfo, PortInfo
from flowcore.flow.validate import check


def _config(required=(), **properties):
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


_BROKER = {
    "host": {"type": "string", "description": "Name or address of the broker."},
    "port": {"type": "integer", "minimum": 1, "maximum": 65535, "default": 1883},
    "password": {"anyOf": [{"type": "string"}, {"type": "null"}], "secret": True, "default": None},
}
_RULES = {
    "type": "array",
    "default": [],
    "items": {
        "oneOf": [
            {
                "type": "object",
                "properties": {"op": {"const": "above"}, "value": {"type": "number", "dynamic": True}},
                "required": ["op", "value"],
                "additionalProperties": False,
            },
            {
                "type": "object",
                "properties": {"op": {"const": "matches"}, "pattern": {"type": "string"}},
                "required": ["op", "pattern"],
                "additionalProperties": False,
            },
        ]
    },
}
_IN, _OUT = PortInfo("in"), PortInfo("out")
_SCOPE = {"scope": {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}], "default": "all"}}

TYPES = [
    NodeTypeInfo(
        "core/inject",
        outputs=(_OUT,),
        is_source=True,
        config_schema=_config(
            payload={"dynamic": True},
            every_s={"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"type": "null"}], "default": None},
        ),
    ),
    NodeTypeInfo("core/debug", inputs=(_IN,), config_schema=_config(), live_config=True),
    NodeTypeInfo(
        "core/threshold",
        inputs=(PortInfo("value", "number"),),
        outputs=(PortInfo("high", "bool"), PortInfo("low", "bool")),
        live_config=True,
        config_schema=_config(
            ("above",),
            above={"type": "number", "dynamic": True, "description": "Value above which it is high."},
            field={"type": "string"},
            hold_s={"type": "number", "minimum": 0, "default": 0},
            mode={"type": "string", "enum": ["rising", "falling", "both"], "default": "rising"},
            alarm={"type": "boolean", "default": False},
        ),
    ),
    NodeTypeInfo("core/switch", inputs=(_IN,), outputs_from="rules", config_schema=_config(rules=_RULES)),
    NodeTypeInfo(
        "core/join",
        inputs=(PortInfo("reset"),),
        outputs=(_OUT,),
        inputs_from="ports",
        stateful=True,
        config_schema=_config(ports={"type": "integer", "minimum": 1, "default": 2}),
    ),
    NodeTypeInfo(
        "core/function",
        inputs=(_IN,),
        outputs=(_OUT,),
        script=True,
        config_schema=_config(script={"type": "string", "widget": "code"}, note={"type": "string"}),
    ),
    NodeTypeInfo(
        "iot/mqtt-in",
        outputs=(_OUT,),
        is_source=True,
        needs=("aiomqtt",),
        config_schema=_config(
            ("host", "topic"),
            **_BROKER,
            topic={"type": "string", "minLength": 1},
            qos={"enum": [0, 1, 2], "type": "integer", "default": 0},
        ),
    ),
    NodeTypeInfo("iot/mqtt-broker", config_schema=_config(("host",), **_BROKER)),
    NodeTypeInfo("vision/camera", outputs=(PortInfo("frame", "frame"),), is_source=True, config_schema=_config()),
    NodeTypeInfo(
        "vision/detect",
        inputs=(PortInfo("image", "frame"), PortInfo("roi", "list")),
        outputs=(PortInfo("found", "model:Detections"),),
        config_schema=_config(),
    ),
    NodeTypeInfo(
        "ai/ask",
        inputs=(_IN,),
        outputs=(_OUT,),
        needs=("torch",),
        missing="pip install 'flowcore[ai]'",
        config_schema=_config(),
    ),
    NodeTypeInfo("core/comment", virtual="comment", config_schema=_config(text={"type": "string"})),
    NodeTypeInfo("core/junction", virtual="junction", inputs=(_IN,), outputs=(_OUT,), config_schema=_config()),
    NodeTypeInfo("core/link-in", virtual="link-in", outputs=(_OUT,), config_schema=_config(name={"type": "string"})),
    NodeTypeInfo(
        "core/link-out",
        virtual="link-out",
        inputs=(_IN,),
        config_schema=_config(
            links={"type": "array", "items": {"type": "string"}}, mode={"enum": ["link", "return"], "default": "link"}
        ),
    ),
    NodeTypeInfo(
        "core/link-call",
        inputs=(_IN,),
        outputs=(_OUT,),
        caller=True,
        live_config=True,
        config_schema=_config(
            links={"type": "array", "items": {"type": "string"}},
            mode={"enum": ["static", "dynamic"], "default": "static"},
            targets={"type": "object"},
        ),
    ),
    NodeTypeInfo(
        "core/actions",
        inputs=(_IN, PortInfo("done"), PortInfo("failed")),
        outputs=(PortInfo("audit", "map"),),
        outputs_from="routes",
        follows="followed",
        stateful=True,
        live_config=True,
        config_schema=_config(
            routes={"type": "array", "items": {"type": "string"}, "default": ["mqtt", "mail"]},
            followed={"type": "object"},
        ),
    ),
    NodeTypeInfo("agent/watch", inputs=(_IN,), outputs=(PortInfo("action"),), best_effort=True),
    NodeTypeInfo(
        "core/catch",
        virtual="catch",
        outputs=(PortInfo("out", "map"),),
        config_schema=_config(**_SCOPE, uncaught={"type": "boolean"}),
    ),
    NodeTypeInfo("core/subflow-status", inputs=(_IN,), speaks_for_instance=True, config_schema=_config()),
    NodeTypeInfo("core/status", virtual="status", outputs=(_OUT,), config_schema=_config(**_SCOPE)),
    NodeTypeInfo("core/complete", virtual="complete", outputs=(_OUT,), config_schema=_config(**_SCOPE)),
]
ENVIRON = {"PORT": "1884", "WORD": "many", "BROKER_PASSWORD": "hunter2", "HOME": "/root"}
SECRETS = {"plant_password", "cloud_token"}


@pytest.fixture(scope="session")
def types():
    """Node types by name."""
    return {info.type: info for info in TYPES}


@pytest.fixture
def look(types):
    """Check a text, or a document given as a map."""

    def look(flow, *, environ=ENVIRON, secrets=SECRETS, others=(), file="flow.json"):
        text = flow if isinstance(flow, str | bytes) else json.dumps(flow, indent=1)
        return check(text, file, types, environ, secrets, others)

    return look


@pytest.fixture
def resolved(look):
    """The resolved flow of nodes and wires that must be right: `{"a": "core/debug"}`, `["a.out > b.in"]`, more."""

    def resolved(nodes, wires=(), *, environ=ENVIRON, others=(), **more):
        checked = look(flow_of(nodes, wires, **more), environ=environ, others=others)
        assert not checked.errors, "\n".join(map(str, checked.errors))
        return checked.resolved

    return resolved


@pytest.fixture
def messages(look):
    """What is wrong with nodes and wires: `pointer: message` each."""

    def messages(nodes, wires=(), *, secrets=SECRETS, others=(), **more):
        checked = look(flow_of(nodes, wires, **more), secrets=secrets, others=others)
        return [f"{one.pointer}: {one.message}" for one in checked.problems]

    return messages


@pytest.fixture(scope="session")
def scope():
    """Nodes and wires as a scope has them, from the short form."""
    return lambda nodes, wires=(), **more: scope_of(nodes, wires) | more


@pytest.fixture(scope="session")
def flow():
    """A document from the short form."""
    return flow_of


def flow_of(nodes, wires=(), **more):
    return {"flowcore": 1, "id": "test", **scope_of(nodes, wires), **more}


def scope_of(nodes, wires=()):
    return {
        "nodes": [{"id": id_, **({"type": node} if isinstance(node, str) else node)} for id_, node in nodes.items()],
        "wires": [
            dict(zip(("from", "to"), wire.split(" > "), strict=True)) if isinstance(wire, str) else wire
            for wire in wires
        ],
    }
