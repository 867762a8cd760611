"""Parameters of subflows: of every type, with defaults and limits; and the env of an instance."""

import pytest

FUNCTION = "core/function"


def sub(scope, params, **config):
    """A subflow whose function node shows what its parameters are."""
    return {**scope({"f": {"type": FUNCTION, "config": config or {"note": "${P}"}}}), "params": params}


def note(resolved, scope, parameter, instance, *, at="note", **more):
    flow = resolved({"i": {"type": "subflow:s", **instance}}, subflows={"s": sub(scope, {"P": parameter})}, **more)
    return flow.nodes["i:f"].config[at]


@pytest.mark.parametrize(
    ("parameter", "given", "becomes"),
    [
        ({"type": "text"}, "a", "a"),
        ({"type": "text", "default": "b"}, None, "b"),
        ({"type": "select", "options": ["slow", "fast"]}, "fast", "fast"),
        ({"type": "select", "options": ["a", {"value": "b", "label": "Two"}], "default": "b"}, None, "b"),
        ({"type": "env"}, "WORD", "many"),
        ({"type": "env"}, "SITE", "hall 4"),
        ({"type": "secret"}, {"$secret": "plant_password"}, {"$secret": "plant_password"}),
        ({"type": "secret"}, "${BROKER_PASSWORD}", {"$env": "BROKER_PASSWORD"}),
        ({"type": "text"}, "${SITE}/x", "hall 4/x"),
    ],
)
def test_a_parameter_becomes_its_value(resolved, scope, parameter, given, becomes):
    instance = {} if given is None else {"config": {"P": given}}
    assert note(resolved, scope, parameter, instance, env={"SITE": "hall 4"}) == becomes


def test_numbers_and_maps_keep_their_kind(resolved, scope):
    """Also those of the host's environment, which are texts there."""
    inside = {
        **scope({"hot": {"type": "core/threshold", "config": {"above": "${LIMIT}"}}}),
        "params": {"LIMIT": {"type": "number", "min": 0, "max": 5000}},
    }
    flow = resolved({"i": {"type": "subflow:s", "config": {"LIMIT": "${PORT}"}}}, subflows={"s": inside})
    assert flow.nodes["i:hot"].config == {"above": 1884}


def test_a_resource_is_handed_in_by_name(resolved, scope):
    """Each instance uses its own; a change of one is a change of its users alone."""
    inside = {
        **scope({"in": {"type": "iot/mqtt-in", "config": {"$use": "${BROKER}", "topic": "t"}}}),
        "params": {"BROKER": {"type": "resource", "of": "iot/mqtt-broker"}},
    }
    resources = {name: {"type": "iot/mqtt-broker", "config": {"host": name}} for name in ("north", "south")}
    flow = resolved(
        {name: {"type": "subflow:s", "config": {"BROKER": name}} for name in resources},
        subflows={"s": inside},
        resources=resources,
    )
    assert [flow.nodes[f"{name}:in"].config["host"] for name in resources] == ["north", "south"]


def test_the_env_of_an_instance_comes_before_the_subflow_s(resolved, scope):
    """And an instance knows what it is called."""
    inside = sub(scope, {}, note="${A} ${B} ${INSTANCE} ${INSTANCE_NAME}") | {"env": {"A": "sub", "B": "sub"}}
    flow = resolved(
        {
            "plain": "subflow:s",
            "own": {"type": "subflow:s", "name": "Line 2", "env": {"A": "${SITE}!"}},
        },
        subflows={"s": inside},
        env={"SITE": "here"},
    )
    assert flow.nodes["plain:f"].config["note"] == "sub sub plain plain"
    assert flow.nodes["own:f"].config["note"] == "here! sub own Line 2"


@pytest.mark.parametrize(
    ("parameter", "given", "says"),
    [
        ({"type": "number", "max": 5}, 6, "must be at most 5, is 6"),
        ({"type": "number", "min": 0}, -1, "must be at least 0, is -1"),
        ({"type": "number"}, True, "must be a number, is true"),
        ({"type": "select", "options": ["slow", "fast"]}, "fats",
         "'fats' is no choice here; did you mean 'fast'? (options: slow, fast)"),
        ({"type": "select", "options": [1, 2]}, True, "true is no choice here (options: 1, 2)"),
        ({"type": "env"}, "WROD", "the environment has no 'WROD'; did you mean 'WORD'?"),
        ({"type": "env"}, "a b", "must be the name of a value of the environment, is 'a b'"),
        ({"type": "secret"}, "hunter2",
         'holds a secret in plain text: run `flowcore secret set NAME` and write {"$secret": "NAME"} here'),
        ({"type": "resource"}, "nroth", "no resource 'nroth'; did you mean 'north'? (resources: north)"),
        ({"type": "resource", "of": "iot/mqtt-in"}, "north",
         "must be a resource of type iot/mqtt-in, and 'north' is iot/mqtt-broker"),
    ],
)  # fmt: skip
def test_a_value_that_does_not_fit_is_named_where_it_stands(messages, scope, parameter, given, says):
    """And said once, though it is used inside."""
    said = messages(
        {"i": {"type": "subflow:s", "config": {"P": given}}},
        subflows={"s": sub(scope, {"P": parameter})},
        resources={"north": {"type": "iot/mqtt-broker", "config": {"host": "n"}}},
        env={"WORD": "w"},
    )
    assert len(said) == 1 and said[0].startswith(f"/nodes/0/config/P: {says}")


@pytest.mark.parametrize(
    ("parameter", "says"),
    [
        ({"type": "select"}, '/subflows/s/params/P: a select needs "options", the values to choose from'),
        ({"type": "select", "options": [1, 1]}, "/subflows/s/params/P/options: has the same value twice"),
        ({"type": "number", "min": 2, "max": 1}, "/subflows/s/params/P/min: must not be above max, 1, is 2"),
        ({"type": "text", "default": 5}, "/subflows/s/params/P/default: must be text, is 5"),
        ({"type": "text", "options": ["a"]}, "/subflows/s/params/P/options: has no effect: it belongs to a select"),
        ({"type": "nubmer"}, "/subflows/s/params/P/type: 'nubmer' is no choice here; did you mean 'number'?"),
    ],
)
def test_a_parameter_that_is_none_is_named_though_nobody_uses_it(messages, scope, parameter, says):
    (said,) = messages({}, subflows={"s": sub(scope, {"P": parameter})})
    assert said.startswith(says)


def test_only_instances_have_an_env(messages):
    """Of another node it would be without effect."""
    said = messages({"f": {"type": FUNCTION, "env": {"A": 1}}})
    assert said == ["/nodes/0/env: belongs to an instance of a subflow: this node's values are in its config"]
