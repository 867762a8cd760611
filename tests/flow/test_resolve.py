"""From a document to nodes and direct wires: subflows, junctions, links, feedback."""

import pytest

from flowcore.flow.model import FlowDocument
from flowcore.flow.problems import FlowError
from flowcore.flow.resolve import resolve
from flowcore.flow.resolved import ResolvedFlow

FUNCTION = "core/function"


def ids(flow):
    return [wire.id for wire in flow.wires]


def subflow(scope, nodes, wires=(), inputs=None, outputs=None, **more):
    return scope(nodes, wires, inputs=inputs or {}, outputs=outputs or {}, **more)


def test_settings_are_complete_and_wires_know_their_consumer(resolved):
    """A node's settings come with all defaults; a wire carries how its consumer shares it."""
    flow = resolved(
        {"a": FUNCTION, "b": {"type": FUNCTION, "settings": {"replicas": 3, "share": "key", "retry": {"times": 2}}}},
        ["a.out > b.in"],
    )
    settings = flow.nodes["b"].settings
    assert (settings["ack"], settings["retry"]["times"], settings["retry"]["max_s"]) == ("through", 2, 30)
    assert (flow.wires[0].replicas, flow.wires[0].share, flow.wires[0].window) == (3, "key", 1024)


def test_a_resolved_flow_goes_through_plain_maps(resolved):
    """What the bus carries comes back equal."""
    flow = resolved({"a": FUNCTION, "b": FUNCTION}, [{"from": "a.out", "to": "b.in", "delivery": "durable"}])
    assert ResolvedFlow.from_dict(flow.asdict()) == flow
    assert flow.wires[0].durable["max_bytes"] == 67_108_864


def test_a_subflow_is_used_many_times_each_with_its_parameters(resolved, scope):
    """Ids and configs are each instance's own; wires lead to the nodes inside."""
    scale = subflow(
        scope,
        {"hot": {"type": "core/threshold", "config": {"above": "${LIMIT}", "field": "${FIELD}"}}},
        inputs={"value": ["hot.value"]},
        outputs={"high": ["hot.high"]},
        params={"LIMIT": {"type": "number"}, "FIELD": {"default": "t"}},
    )
    flow = resolved(
        {
            "in": "core/inject",
            "one": {"type": "subflow:scale", "config": {"LIMIT": 1}},
            "two": {"type": "subflow:scale", "config": {"LIMIT": "${TWO}", "FIELD": "x"}},
            "show": "core/debug",
        },
        ["in.out > one.value", "in.out > two.value", "one.high > show.in", "two.high > show.in"],
        subflows={"scale": scale},
        env={"TWO": 2},
    )
    assert flow.nodes["one:hot"].config == {"above": 1, "field": "t"}
    assert flow.nodes["two:hot"].config == {"above": 2, "field": "x"}
    assert flow.nodes["two:hot"].pointer == "/subflows/scale/nodes/0"
    assert ids(flow) == [
        "in.out>one:hot.value",
        "in.out>two:hot.value",
        "one:hot.high>show.in",
        "two:hot.high>show.in",
    ]


def test_subflows_nest(resolved, scope):
    """An instance in an instance has both names, parameters are handed on, and the env of the middle is not seen."""
    inner = subflow(
        scope,
        {"f": {"type": FUNCTION, "config": {"note": "${WHERE} ${SITE}"}}},
        inputs={"in": ["f.in"]},
        outputs={"out": ["f.out"]},
        params={"WHERE": {"type": "text"}},
    )
    outer = subflow(
        scope,
        {"i": {"type": "subflow:inner", "config": {"WHERE": "${LINE}/${SITE}"}}, "g": FUNCTION},
        ["i.out > g.in"],
        inputs={"in": ["i.in", "g.in"]},
        outputs={"out": ["g.out"]},
        params={"LINE": {}},
        env={"SITE": "middle"},
    )
    flow = resolved(
        {"a": "core/inject", "o": {"type": "subflow:outer", "config": {"LINE": 7}}, "z": "core/debug"},
        ["a.out > o.in", "o.out > z.in"],
        subflows={"inner": inner, "outer": outer},
        env={"SITE": "document"},
    )
    assert flow.nodes["o:i:f"].config["note"] == "7/middle document"
    assert set(ids(flow)) == {"a.out>o:i:f.in", "a.out>o:g.in", "o:i:f.out>o:g.in", "o:g.out>z.in"}


def test_a_subflow_nobody_uses_is_checked(messages, scope):
    """A mistake in it shows before somebody builds on it; parameters without a default fit anything."""
    unused = subflow(
        scope,
        {"hot": {"type": "core/threshold", "config": {"above": "${LIMIT}", "fild": 1}}},
        ["hot.hihg > hot.value"],
        params={"LIMIT": {}},
    )
    said = messages({}, subflows={"s": unused})
    assert [one.split(":")[0] for one in said] == ["/subflows/s/nodes/0/config/fild", "/subflows/s/wires/0/from"]


def test_a_mistake_in_a_subflow_is_told_once(messages, scope):
    """A hundred instances do not make a hundred errors."""
    bad = subflow(scope, {"hot": {"type": "core/threshold", "config": {}}})
    said = messages({f"i{n}": "subflow:s" for n in range(100)}, subflows={"s": bad})
    assert len(said) == 1


def test_subflows_that_explode_are_stopped(messages, scope):
    """Ten of ten of ten of ten of ten nodes are refused before they are made."""
    subflows = {"s0": subflow(scope, {f"n{i}": "core/debug" for i in range(10)})}
    for depth in range(1, 6):
        subflows[f"s{depth}"] = subflow(scope, {f"n{i}": f"subflow:s{depth - 1}" for i in range(10)})
    said = messages({"all": "subflow:s5"}, subflows=subflows)
    assert said == ["/subflows: more than 5,000 nodes once the subflows are expanded; split the flow"]


def test_disabled_parts_are_left_out(resolved, scope):
    """A disabled node, wire, group or instance is not there, and neither are wires to it."""
    flow = resolved(
        {
            "a": "core/inject",
            "b": {"type": FUNCTION, "disabled": True},
            "c": {"type": FUNCTION, "group": "off"},
            "d": {"type": "subflow:s", "disabled": True},
            "e": "core/debug",
        },
        ["a.out > b.in", "a.out > c.in", "a.out > d.in", {"from": "a.out", "to": "e.in", "disabled": True}],
        groups=[{"id": "off", "disabled": True}],
        subflows={"s": subflow(scope, {"f": FUNCTION}, inputs={"in": ["f.in"]})},
    )
    assert list(flow.nodes) == ["a", "e"] and flow.wires == ()
    assert flow.notes == ["disabled: b, c, d"]


def test_junctions_and_comments_are_gone(resolved):
    """What went through junctions goes directly; a ring of them harms nobody; two ways to one port are one wire."""
    flow = resolved(
        {"a": "core/inject", "j": "core/junction", "k": "core/junction", "z": "core/debug", "note": "core/comment"},
        ["a.out > j.in", "j.out > k.in", "k.out > j.in", "k.out > z.in", "a.out > z.in"],
    )
    assert list(flow.nodes) == ["a", "z"]
    assert ids(flow) == ["a.out>z.in"]


def test_the_last_wire_that_says_anything_gives_the_settings(resolved):
    """Before a junction or after it: what was set is kept, and nearest to the consumer wins."""
    nodes = {"a": "core/inject", "j": "core/junction", "y": "core/debug", "z": "core/debug"}
    flow = resolved(
        nodes,
        [
            {"from": "a.out", "to": "j.in", "delivery": "latest", "keep": 3},
            "j.out > y.in",
            {"from": "j.out", "to": "z.in", "window": 7},
        ],
    )
    assert [(wire.delivery, wire.keep, wire.window) for wire in flow.wires] == [("latest", 3, 1024), ("reliable", 1, 7)]


def test_links_lead_by_id_and_by_name(resolved):
    """A link-out reaches each link-in that has the name, and several names. An id comes before names."""
    flow = resolved(
        {
            "a": "core/inject",
            "out": {"type": "core/link-out", "config": {"links": ["alarms", "in3"]}},
            "in1": {"type": "core/link-in", "config": {"name": "alarms"}},
            "in2": {"type": "core/link-in", "config": {"name": "alarms"}},
            "in3": "core/link-in",
            "in4": {"type": "core/link-in", "config": {"name": "in3"}},
            "x": "core/debug",
            "y": "core/debug",
            "z": "core/debug",
        },
        ["a.out > out.in", "in1.out > x.in", "in2.out > y.in", "in3.out > z.in", "in4.out > x.in"],
    )
    assert ids(flow) == ["a.out>x.in", "a.out>y.in", "a.out>z.in"]


def test_a_link_in_an_instance_may_lead_out_of_it(resolved, scope):
    """Its own link-ins come first, then those of the document."""
    inner = {"i": "core/inject", "out": {"type": "core/link-out", "config": {"links": ["alarms"]}}}
    flow = resolved(
        {"one": "subflow:s", "in": {"type": "core/link-in", "config": {"name": "alarms"}}, "z": "core/debug"},
        ["in.out > z.in"],
        subflows={"s": subflow(scope, inner, ["i.out > out.in"])},
    )
    assert ids(flow) == ["one:i.out>z.in"]


def test_a_link_to_another_flow_is_in_both(resolved, look, flow):
    """Each flow has the wire, and in each the far end names its flow; alone, a flow only warns."""
    first = flow({"a": "core/inject", "out": {"type": "core/link-out", "config": {"links": ["second/alarms"]}}},
                 ["a.out > out.in"]) | {"id": "first"}  # fmt: skip
    second = flow({"in": {"type": "core/link-in", "config": {"name": "alarms"}}, "z": "core/debug"},
                  ["in.out > z.in"]) | {"id": "second"}  # fmt: skip
    documents = [FlowDocument.model_validate(one) for one in (first, second)]
    leaving = look(first, others=documents).resolved.wires
    coming = look(second, others=documents).resolved.wires
    assert [wire.id for wire in leaving] == ["a.out>second/z.in"] and leaving[0].from_flow == ""
    assert [wire.id for wire in coming] == ["first/a.out>z.in"] and coming[0].to_flow == ""
    alone = look(first)
    assert alone.ok and alone.resolved.wires == ()
    assert [one.severity for one in alone.problems] == ["warning"]


def test_a_cycle_over_two_flows_is_closed_by_one_wire(look, flow):
    """Both flows name the same one: else both would block, or neither."""
    documents = {}
    for own, other in (("ping", "pong"), ("pong", "ping")):
        nodes = {
            "in": "core/link-in",
            "f": FUNCTION,
            "out": {"type": "core/link-out", "config": {"links": [f"{other}/in"]}},
        }
        documents[own] = flow(nodes, ["in.out > f.in", "f.out > out.in"]) | {"id": own}
    closing = set()
    for own in documents:
        others = [FlowDocument.model_validate(one) for id_, one in documents.items() if id_ != own]
        found = look(documents[own], others=others).resolved
        closing |= {(wire.from_flow or own, wire.to_flow or own) for wire in found.wires if wire.feedback}
        assert "closes the cycle ping/f > pong/f > ping/f" in found.notes[0]
    assert closing == {("pong", "ping")}


def test_types_are_compared_across_a_link(look, flow, types):
    """A frame does not get into a number over another flow either."""
    first = flow({"cam": "vision/camera", "out": {"type": "core/link-out", "config": {"links": ["second/in"]}}},
                 ["cam.frame > out.in"]) | {"id": "first"}  # fmt: skip
    second = flow({"in": "core/link-in", "hot": {"type": "core/threshold", "config": {"above": 1}}},
                  ["in.out > hot.value"]) | {"id": "second"}  # fmt: skip
    said = look(first, others=[FlowDocument.model_validate(second)]).errors
    assert [one.message for one in said] == ["'cam.frame' sends frame and 'hot.value' takes number: they don't fit"]


def test_the_back_edge_in_file_order_closes_a_cycle(resolved):
    """Which wire never blocks is found, and said."""
    flow = resolved({"a": FUNCTION, "b": FUNCTION, "c": FUNCTION}, ["c.out > a.in", "a.out > b.in", "b.out > c.in"])
    assert [wire.id for wire in flow.wires if wire.feedback] == ["c.out>a.in"]
    assert flow.notes == [
        "the wire c.out > a.in closes the cycle a > b > c > a: "
        "it never blocks, past 1024 un-acked the newest goes to .error"
    ]


def test_a_marked_wire_closes_the_cycle_instead(resolved):
    """The author's mark comes first; then nothing else need close it."""
    flow = resolved({"a": FUNCTION, "b": FUNCTION}, [{"from": "a.out", "to": "b.in", "feedback": True}, "b.out > a.in"])
    assert [wire.id for wire in flow.wires if wire.feedback] == ["a.out>b.in"] and flow.notes == []


def test_a_latest_wire_breaks_a_cycle(resolved):
    """It never waits, so nothing has to be marked."""
    flow = resolved(
        {"a": FUNCTION, "b": FUNCTION}, ["a.out > b.in", {"from": "b.out", "to": "a.in", "delivery": "latest"}]
    )
    assert not any(wire.feedback for wire in flow.wires)


def test_a_node_that_feeds_itself_must_say_so(resolved):
    """Marked, it is a cycle of one."""
    flow = resolved({"a": FUNCTION}, [{"from": "a.out", "to": "a.in", "feedback": True}])
    assert flow.wires[0].feedback


def test_a_mark_without_a_cycle_is_warned_of(messages):
    """It would make a wire drop for no reason."""
    said = messages({"a": FUNCTION, "b": FUNCTION}, [{"from": "a.out", "to": "b.in", "feedback": True}])
    assert said == ["/wires/0/feedback: closes no cycle, so it need not be marked"]


def test_a_long_chain_is_no_deep_recursion(resolved):
    """3,000 nodes in a row resolve."""
    count = 3000
    flow = resolved({f"n{i}": FUNCTION for i in range(count)}, [f"n{i}.out > n{i + 1}.in" for i in range(count - 1)])
    assert len(flow.wires) == count - 1


def test_the_late_port_is_there_when_asked_for(resolved, messages):
    """It is wired like any other, once the settings send late messages there."""
    wires = ["a.late > z.in"]
    late = {"type": FUNCTION, "settings": {"deadline": {"age_s": 1, "late": "port"}}}
    assert ids(resolved({"a": late, "z": "core/debug"}, wires)) == ["a.late>z.in"]
    assert "unless its settings say" in messages({"a": FUNCTION, "z": "core/debug"}, wires)[0]


def test_ports_that_the_config_gives(resolved, messages):
    """A switch has an output a rule, a join the inputs it asks for; past them there is none."""
    rules = [{"op": "above", "value": n} for n in range(2)]
    nodes = {
        "s": {"type": "core/switch", "config": {"rules": rules}},
        "j": {"type": "core/join", "config": {"ports": "${N}"}},
    }
    assert len(resolved(nodes, ["s.out1 > j.in1", "s.out2 > j.in3"], env={"N": 3}).wires) == 2
    said = messages(nodes, ["s.out3 > j.in3"], env={"N": 2})
    assert said == [
        "/wires/0/from: node 's' has no port 'out3'; did you mean 'out2'? (it has: out1, out2)",
        "/wires/0/to: node 'j' has no port 'in3'; did you mean 'in2'? (it has: reset, in1, in2)",
    ]


def test_settings_that_can_not_be_meant(messages):
    """A source runs once; throttle needs a rate; a virtual node has no process; some wire settings need a delivery."""
    said = messages(
        {
            "a": {"type": "core/inject", "settings": {"replicas": 2, "full": "throttle"}},
            "j": {"type": "core/junction", "settings": {"concurrency": 2}},
            "s": {"type": "core/join", "settings": {"replicas": 2}},
            "t": {"type": "core/join", "settings": {"concurrency": 2}},
        },
        [{"from": "a.out", "to": "s.in1", "keep": 3, "durable": {}}],
    )
    assert [one.split(": ")[0] for one in said] == [
        "/nodes/0/settings/replicas",
        "/nodes/0/settings/full",
        "/nodes/1/settings",
        "/nodes/2/settings/replicas",
        "/nodes/3/settings/concurrency",
        "/wires/0/keep",
        "/wires/0/durable",
    ]


def test_resolve_raises_all_that_is_wrong(types, flow):
    """Outside of a check, every error comes in one exception."""
    document = FlowDocument.model_validate(flow({"a": "no/such", "b": "core/threshold"}, ["b.out > c.in"]))
    with pytest.raises(FlowError) as raised:
        resolve(document, types, {})
    assert len(raised.value.problems) == 4
    assert str(raised.value).startswith("test /nodes/0/type: no node type 'no/such'")


def test_an_encoding_is_complete_and_fits_what_the_wire_carries(resolved, messages):
    """The short form gets its defaults; JPEG is refused where no frame can come, and said to be useless on numbers."""
    nodes = {"camera": "vision/camera", "detect": "vision/detect", "z": "core/debug"}
    nodes["hot"] = {"type": "core/threshold", "config": {"above": 1}}

    def wired(start, end, encode):
        return [{"from": start, "to": end, "encode": encode}]

    assert resolved(nodes, wired("camera.frame", "z.in", "jpeg")).wires[0].encode == {"kind": "jpeg", "quality": 90}
    small = {"kind": "zstd", "level": 9}
    assert resolved(nodes, wired("camera.frame", "detect.image", small)).wires[0].encode == small
    assert resolved(nodes, ["camera.frame > detect.image"]).wires[0].encode is None
    assert resolved(nodes, wired("detect.found", "z.in", "jpeg")).wires[0].encode  # a map may hold a frame
    assert messages(nodes, wired("hot.high", "z.in", "zstd")) == ["/wires/0/encode: has no effect: a bool is no tensor"]
    for encode, told in (
        ("jpg", "/wires/0/encode: 'jpg' is no choice here; did you mean 'jpeg'? (it has: jpeg, zstd)"),
        ({"kind": "jpeg", "quality": 101}, "/wires/0/encode/quality: must be at most 100, is 101"),
        ({"kind": "jpeg", "level": 3}, "no field 'level' is known here"),
    ):
        assert told in messages(nodes, wired("camera.frame", "z.in", encode))[0]
