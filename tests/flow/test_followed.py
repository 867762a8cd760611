"""Who follows what it has sent is told by the nodes behind its outputs; who sends to an agent waits for none."""


def told(flow, follower="do"):
    """`node.port > input` of every wire to the inputs `done` and `failed`."""
    return [f"{w.producer}.{w.port} > {w.in_port}" for w in flow.wires if w.consumer == follower and w.in_port != "in"]


def test_the_nodes_behind_each_route_tell_what_became_of_it(resolved):
    """Also behind a junction and inside a subflow, in whatever order the file has them; `audit` is not followed."""
    flow = resolved(
        {
            "plc": "core/debug", "book": "core/debug", "fork": "core/junction", "box": "subflow:box",
            "do": {"type": "core/actions", "config": {"routes": ["mqtt", "mail", "web"]}},
        },
        ["do.mqtt > fork.in", "fork.out > plc.in", "do.mail > box.in", "do.audit > book.in"],
        subflows={"box": {"inputs": {"in": ["a.in"]}, "nodes": [{"id": "a", "type": "core/debug"}], "wires": []}},
    )  # fmt: skip
    assert sorted(told(flow)) == [
        "box:a.complete > done", "box:a.error > failed", "plc.complete > done", "plc.error > failed",
    ]  # fmt: skip
    assert flow.nodes["do"].config["followed"] == {"mqtt": ["plc"], "mail": ["box:a"], "audit": []}
    closing = {f"{wire.producer}.{wire.port}" for wire in flow.wires if wire.feedback}
    assert closing == {"box:a.complete", "box:a.error", "plc.complete", "plc.error"}
    assert not flow.notes


def test_two_that_follow_one_node_are_both_told(resolved):
    flow = resolved(
        {"a": "core/actions", "b": "core/actions", "plc": "core/debug"}, ["a.mqtt > plc.in", "b.mail > plc.in"]
    )
    assert sorted(told(flow, "a")) == sorted(told(flow, "b")) == ["plc.complete > done", "plc.error > failed"]


def test_what_a_deploy_fills_in_is_nobody_elses_and_it_runs_once(messages):
    nodes = {"do": {"type": "core/actions", "config": {"followed": {"mqtt": ["plc"]}}}, "plc": "core/debug"}
    assert messages(nodes, ["do.mqtt > plc.in"]) == ["/nodes/0/config/followed: is filled in at deploy"]
    (problem,) = messages({"do": {"type": "core/actions", "settings": {"replicas": 2}}})
    assert problem.startswith("/nodes/0/settings/replicas") and "runs once" in problem


def test_whoever_sends_to_an_agent_waits_for_none_that_has_failed(resolved):
    """And its handlers have their time; both unless the file says otherwise."""
    nodes = {
        "tick": "core/inject", "look": "agent/watch", "seen": "core/debug",
        "slow": {"type": "agent/watch", "settings": {"timeout_s": None}},
    }  # fmt: skip
    flow = resolved(
        nodes,
        ["tick.out > look.in", {"from": "tick.out", "to": "slow.in", "when_failed": "block"}, "look.action > seen.in"],
    )
    assert {wire.consumer: wire.when_failed for wire in flow.wires} == {
        "look": "drop",
        "slow": "block",
        "seen": "block",
    }
    assert {id_: node.settings["timeout_s"] for id_, node in flow.nodes.items()} == {
        "tick": None, "look": 10.0, "slow": None, "seen": None,
    }  # fmt: skip
