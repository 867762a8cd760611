"""Catch, status and complete nodes: whose hidden ports they listen to."""

FUNCTION = "core/function"


def catch(**config):
    return {"type": "core/catch", "config": config}


def caught(flow, by):
    """Nodes whose errors reach this node."""
    return [wire.producer for wire in flow.wires if wire.port == "error" and wire.consumer == by]


def test_a_catch_takes_the_errors_of_all_nodes(resolved):
    """But not of what only handles errors: that would come back for ever."""
    flow = resolved(
        {"a": "core/inject", "b": FUNCTION, "lone": FUNCTION, "c": catch(), "fix": FUNCTION, "log": "core/debug"},
        ["a.out > b.in", "c.out > fix.in", "fix.out > log.in"],
    )
    assert caught(flow, "fix") == ["a", "b", "lone"]
    assert not any(wire.feedback for wire in flow.wires)


def test_a_node_that_errors_lead_back_to_is_still_caught(resolved):
    """A retry loop makes a cycle, whose closing wire never blocks, and leaves nobody out."""
    flow = resolved(
        {"a": "core/inject", "b": FUNCTION, "c": catch(), "wait": FUNCTION},
        ["a.out > b.in", "c.out > wait.in", "wait.out > b.in"],
    )
    assert caught(flow, "wait") == ["a", "b"]
    assert [wire.id for wire in flow.wires if wire.feedback] == ["wait.out>b.in"]


def test_a_catch_of_a_list_and_of_a_group(resolved):
    """Named nodes, or those that stand in the catch's own group."""
    nodes = {
        "a": "core/inject",
        "b": {"type": FUNCTION, "group": "g"},
        "c": FUNCTION,
        "named": catch(scope=["c"]),
        "grouped": {**catch(scope="group"), "group": "g"},
        "x": "core/debug",
        "y": "core/debug",
    }
    flow = resolved(nodes, ["named.out > x.in", "grouped.out > y.in"], groups=[{"id": "g"}])
    assert caught(flow, "x") == ["c"] and caught(flow, "y") == ["b"]


def test_uncaught_takes_what_no_other_catch_takes(resolved):
    """The order in the file does not matter; two ordinary catches both get an error."""
    nodes = {
        "rest": catch(uncaught=True),
        "one": catch(scope=["a"]),
        "two": catch(scope=["a"]),
        "a": FUNCTION,
        "b": FUNCTION,
        **{name: "core/debug" for name in ("x", "y", "z")},
    }
    flow = resolved(nodes, ["rest.out > x.in", "one.out > y.in", "two.out > z.in"])
    assert (caught(flow, "x"), caught(flow, "y"), caught(flow, "z")) == (["b"], ["a"], ["a"])


def test_an_error_goes_to_the_catch_inside_its_subflow_first(resolved, scope):
    """Only what nobody inside takes reaches the catch around; naming an instance means all nodes in it."""
    inside = scope({"f": FUNCTION, "g": FUNCTION, "c": catch(scope=["f"]), "log": "core/debug"}, ["c.out > log.in"])
    flow = resolved(
        {"one": "subflow:s", "two": "subflow:s", "c": catch(), "named": catch(scope=["two"]), "x": "core/debug",
         "y": "core/debug"},
        ["c.out > x.in", "named.out > y.in"],
        subflows={"s": inside},
    )  # fmt: skip
    assert caught(flow, "one:log") == ["one:f"]
    assert caught(flow, "x") == ["one:g", "two:g"]
    assert caught(flow, "y") == ["two:g", "two:log"]


def test_status_and_complete_listen_alike(resolved):
    """Each to its own hidden port; the wire's settings are those drawn from the listener."""
    flow = resolved(
        {
            "a": "core/inject",
            "b": FUNCTION,
            "s": "core/status",
            "done": {"type": "core/complete", "config": {"scope": ["b"]}},
            "x": "core/debug",
            "y": "core/debug",
        },
        [{"from": "s.out", "to": "x.in", "delivery": "latest"}, "done.out > y.in"],
    )
    assert [(wire.id, wire.delivery) for wire in flow.wires] == [
        ("a.status>x.in", "latest"),
        ("b.status>x.in", "latest"),
        ("b.complete>y.in", "reliable"),
    ]


def test_what_a_scope_can_not_be(messages):
    """A group the catch is not in, a word that means nothing, a node that has no process."""
    said = messages(
        {"g": catch(scope="group"), "w": catch(scope="everything"), "v": catch(scope=["j"]), "j": "core/junction"}
    )
    assert said == [
        "/nodes/0/config/scope: 'g' stands in no group",
        '/nodes/1/config/scope: must be "all", "group" or a list of node ids, is \'everything\'',
        "/nodes/2/config/scope/0: 'j' is a core/junction: it has no process to listen to",
    ]


def test_an_error_that_does_not_fit_is_refused(messages):
    """The error is a map: it can't go into a number."""
    said = messages({"hot": {"type": "core/threshold", "config": {"above": 1}}, "f": FUNCTION, "c": catch(scope=["f"])},
                    ["c.out > hot.value"])  # fmt: skip
    assert said == ["/wires/0: 'f.error' sends map and 'hot.value' takes number: they don't fit"]


def test_a_subflow_that_says_its_status_is_heard_as_one(resolved, scope, messages):
    """Status nodes around hear what speaks for the instance, those inside hear the nodes; errors are heard as ever."""
    inner = scope(
        {"f": FUNCTION, "say": "core/subflow-status", "s": "core/status", "log": "core/debug"}, ["s.out > log.in"]
    )
    outer = scope({"i": "subflow:inner", "g": FUNCTION})
    flow = resolved(
        {"o": "subflow:outer", "a": FUNCTION, "s": "core/status", "c": catch(), "x": "core/debug", "y": "core/debug"},
        ["s.out > x.in", "c.out > y.in"],
        subflows={"inner": inner, "outer": outer},
    )
    heard = [wire.producer for wire in flow.wires if wire.port == "status"]
    assert sorted(heard) == ["a", "o:g", "o:i:f", "o:i:say", "o:i:say"]
    assert {"o:i:f", "o:g", "a"} <= {wire.producer for wire in flow.wires if wire.port == "error"}
    assert messages({"say": "core/subflow-status"}) == [
        "/nodes/0/type: 'core/subflow-status' has no effect: it stands in no subflow"
    ]
