"""Link calls: which wires they become, and which answers come back to whom."""

import pytest

from flowcore.flow.model import FlowDocument

CALL, RETURN, IN = "core/link-call", {"type": "core/link-out", "config": {"mode": "return"}}, "core/link-in"


def call(*links, **config):
    return {"type": CALL, "config": {"links": list(links), **config}}


def ids(flow):
    return sorted(wire.id for wire in flow.wires)


def test_a_call_becomes_a_wire_there_and_a_wire_back(resolved):
    """The way back never blocks, and no ack waits for it; no node of the subroutine is said to close a cycle."""
    flow = resolved(
        {"a": "core/inject", "c": call("sub"), "z": "core/debug", "sub": IN, "f": "core/function", "back": RETURN},
        ["a.out > c.in", "c.out > z.in", "sub.out > f.in", "f.out > back.in"],
    )
    assert ids(flow) == ["a.out>c.in", "c.call>f.in", "c.out>z.in", "f.out>c.answer"]
    (back,) = [wire for wire in flow.wires if wire.answers]
    assert back.feedback and not flow.notes
    assert flow.nodes["c"].config["targets"] == {"test/sub": "call", "sub": "call"}


def test_each_caller_gets_the_answers_of_what_it_can_reach(resolved):
    """A link-out that answers to two callers leads to both; one that is not reached leads to nobody."""
    flow = resolved(
        {
            "c": call("one"), "d": call("two"), "e": call("three"),
            "one": IN, "two": IN, "three": IN,
            "x": "core/function", "y": "core/function", "shared": "core/function", "back": RETURN, "other": RETURN,
        },
        ["one.out > x.in", "two.out > y.in", "x.out > shared.in", "y.out > shared.in", "shared.out > back.in",
         "three.out > other.in"],
    )  # fmt: skip
    assert sorted(wire.id for wire in flow.wires if wire.answers) == [
        "e.call>e.answer",
        "shared.out>c.answer",
        "shared.out>d.answer",
    ]


def test_an_error_in_a_subroutine_may_be_the_answer(resolved):
    """Over a catch, whose messages keep the way back."""
    flow = resolved(
        {"c": call("sub"), "sub": IN, "f": "core/function", "oops": {"type": "core/catch", "config": {"scope": ["f"]}},
         "back": RETURN},
        ["sub.out > f.in", "f.out > back.in", "oops.out > back.in"],
    )  # fmt: skip
    assert sorted(wire.id for wire in flow.wires if wire.answers) == ["f.error>c.answer", "f.out>c.answer"]


def test_a_dynamic_call_has_an_output_for_each_link_in(resolved):
    """By id, by name, with and without the flow; a name of several says so, an id comes before a name."""
    named = {"type": IN, "config": {"name": "same"}}
    flow = resolved(
        {"c": call(mode="dynamic"), "a-1": named, "b": named, "same2": {"type": IN, "config": {"name": "b"}},
         "x": "core/function", "back": RETURN},
        ["a-1.out > x.in", "b.out > x.in", "same2.out > x.in", "x.out > back.in"],
    )  # fmt: skip
    targets = {name: port for name, port in flow.nodes["c"].config["targets"].items() if "/" not in name}
    assert targets == {"a-1": "call_a_1", "b": "call_b", "same2": "call_same2", "same": ""}
    assert "c.call_a_1>x.in" in ids(flow)


def test_calls_between_flows_are_seen_from_both(resolved, flow):
    """Each flow has the wires whose one end is its own."""
    other = flow({"sub": IN, "f": "core/function", "back": RETURN}, ["sub.out > f.in", "f.out > back.in"], id="lib")
    main = flow({"c": call("lib/sub")}, [], id="main")
    a = resolved({"c": call("lib/sub")}, id="main", others=[FlowDocument.model_validate(other)])
    assert ids(a) == ["c.call>lib/f.in", "lib/f.out>c.answer"]
    b = resolved(
        {"sub": IN, "f": "core/function", "back": RETURN}, ["sub.out > f.in", "f.out > back.in"], id="lib",
        others=[FlowDocument.model_validate(main)],
    )  # fmt: skip
    assert ids(b) == ["f.out>main/c.answer", "main/c.call>f.in"]


@pytest.mark.parametrize(
    ("links", "config", "says"),
    [
        ([], {}, '/nodes/0/config/links: "links" names the one link-in that is called, is a list of 0'),
        (["sub", "sub2"], {}, '/nodes/0/config/links: "links" names the one link-in that is called, is a list of 2'),
        (["sup"], {}, "/nodes/0/config/links/0: no link-in 'sup'; did you mean 'sub'? (link-ins: sub, sub2, both)"),
        (["f"], {}, "/nodes/0/config/links/0: node 'f' is no link-in"),
        (["both"], {}, "/nodes/0/config/links/0: 'both' names several link-ins (sub, sub2)"),
        (["sub"], {"targets": {"x": "call"}}, "/nodes/0/config/targets: is filled in at deploy"),
    ],
)
def test_what_cannot_be_called_is_named_where_it_stands(messages, links, config, says):
    named = {"type": IN, "config": {"name": "both"}}
    nodes = {"c": call(*links, **config), "sub": named, "sub2": named, "f": "core/function", "back": RETURN}
    wires = ["sub.out > f.in", "sub2.out > f.in", "f.out > back.in"]
    assert any(message.startswith(says) for message in messages(nodes, wires))


def test_a_subroutine_that_does_not_answer_is_warned_of(messages):
    """Also when its flow is not known here."""
    nodes = {"c": call("sub"), "sub": IN, "f": "core/function", "d": call("away/sub")}
    assert messages(nodes, ["sub.out > f.in"]) == [
        "/nodes/0/config/links/0: nothing behind link-in 'sub' answers: calls of it can only time out",
        "/nodes/3/config/links/0: flow 'away' is not known here: the link is made when both are deployed",
    ]


def test_a_caller_runs_once(messages):
    """Its answers come to it and to no replica."""
    nodes = {"c": {**call("sub"), "settings": {"replicas": 2}}, "sub": IN, "f": "core/function", "back": RETURN}
    assert messages(nodes, ["sub.out > f.in", "f.out > back.in"]) == [
        "/nodes/0/settings/replicas: 'core/link-call' takes the answers to its own calls, so it runs once: "
        "raise its max_in_flight"
    ]
