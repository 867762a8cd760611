"""`core/actions`: what agents ask for is done, by route, at a rate, again when it fails; and told."""

import pytest
from flowcore_nodes.core.actions import Actions
from pydantic import ValidationError

from flowcore.node.testing import MemoryStore, drive

WIRED = {"mqtt": ["plc"], "mail": ["post"]}


def actions(**config):
    """An `Actions` with two routes that lead somewhere, and no jitter worth speaking of."""
    return drive(Actions, **({"routes": ["mqtt", "mail"], "followed": WIRED, "backoff_s": 10} | config))


async def done(node, sent, by="plc"):
    """What the complete port of a node behind a route sends."""
    node._inputs["done"].id_prefix = f"{by}.complete:"  # as a wire from there has it
    await node.put(sent.payload, port="done", topic=sent.topic, meta=sent.meta)


async def failed(node, sent, error="ConnectionError"):
    """What its error port sends."""
    await node.put({"error": error, "text": "no answer", "node": "plc"}, port="failed", meta=sent.meta)


def outcomes(node):
    return [(one["do"], one["outcome"], one["attempts"], one["why"]) for one in payloads(node, "audit")]


def payloads(node, port):
    return [message.payload for message in node.messages(port)]


async def test_an_action_goes_by_its_routes_and_what_became_of_it_is_told():
    async with actions() as node:
        await node.put({"cool": True}, topic="m/1", meta={"do": ["mqtt", "mail"], "agent": "hot", "to": "a@b.c"})
        (mqtt,), (mail,) = node.messages("mqtt"), node.messages("mail")
        assert (mqtt.payload, mqtt.topic, mqtt.meta["to"]) == ({"cool": True}, "m/1", "a@b.c")
        await done(node, mqtt)
        await done(node, mail, by="post")
        assert outcomes(node) == [("mqtt", "done", 1, ""), ("mail", "done", 1, "")]
        (told, _) = payloads(node, "audit")
        assert (told["agent"], told["topic"], told["payload"]) == ("hot", "m/1", {"cool": True})
        await done(node, mqtt)  # told twice, as after a crash: nothing
        assert len(node.messages("audit")) == 2


async def test_a_failed_action_is_tried_again_after_growing_waits_and_then_is_dead():
    async with actions(times=2) as node:
        await node.put("x", topic="t", meta={"do": "mqtt"})
        for wait_s in (11, 22):
            await failed(node, node.messages("mqtt")[-1])
            sent = len(node.messages("mqtt"))
            await node.advance(wait_s * 0.7)
            assert len(node.messages("mqtt")) == sent
            await node.advance(wait_s * 0.4)
            assert len(node.messages("mqtt")) == sent + 1
        await failed(node, node.messages("mqtt")[0])  # late, of the first try: nothing
        await failed(node, node.messages("mqtt")[-1])
        assert [one[1:3] for one in outcomes(node)] == [("failed", 1), ("failed", 2), ("dead", 3)]
        (dead,) = node.messages("dead")
        assert (dead.payload, dead.topic, dead.meta["do"]) == ("x", "t", ["mqtt"])
        assert dead.meta["action"]["why"] == "plc: no answer"
        assert node.errors[-1]["error"] == "ActionDead"
        (given_up,) = node.given_up  # nothing is wired to `dead`: it is kept for `flowcore retry`
        kept = given_up["message"]
        assert (kept["payload"], kept["port"], kept["meta"]["do"]) == ("x", "in", ["mqtt"])
        await node.put(dead.payload, topic=dead.topic, meta=dead.meta)  # wired back, it begins anew
        await done(node, node.messages("mqtt")[-1])
        assert outcomes(node)[-1] == ("mqtt", "done", 1, "")


async def test_what_a_node_refuses_for_good_is_dead_at_once():
    async with actions(followed=WIRED | {"dead": []}) as node:
        await node.put("x", meta={"do": "mqtt"})
        await failed(node, node.messages("mqtt")[0], "GiveUp")
        assert outcomes(node) == [("mqtt", "dead", 1, "plc: no answer")]
        assert not node.given_up and len(node.messages("dead")) == 1


async def test_a_route_that_is_stuck_holds_up_no_other_and_nothing_is_lost():
    async with actions(max_in_flight=1, expire_s=100) as node:
        for n in range(3):
            await node.put(n, meta={"do": ["mqtt", "mail"]})
            await done(node, node.messages("mail")[-1], by="post")
        assert payloads(node, "mqtt") == [0] and payloads(node, "mail") == [0, 1, 2]
        await done(node, node.messages("mqtt")[0])
        assert payloads(node, "mqtt") == [0, 1]
        await node.advance(101)
        assert [(one[1], one[3]) for one in outcomes(node) if one[1] == "dead"] == [
            ("dead", "not done after 100 s: no word from plc"),
            ("dead", "not done after 100 s: it waited"),
        ]


async def test_a_route_has_its_limit():
    async with actions(by_route={"mail": {"messages": 2, "per_s": 60, "burst": 2}}) as node:
        for n in range(5):
            await node.put(n, meta={"do": ["mqtt", "mail"]})
        assert payloads(node, "mail") == [0, 1] and payloads(node, "mqtt") == [0, 1, 2, 3, 4]
        await node.advance(31)
        assert payloads(node, "mail") == [0, 1, 2]
        await node.advance(60)
        assert payloads(node, "mail") == [0, 1, 2, 3, 4]


async def test_what_waits_and_what_is_under_way_survives_a_kill():
    store = MemoryStore()
    async with actions(store=store, max_in_flight=1) as node:
        await node.put("a", "b", meta={"do": "mqtt"})
        (first,) = node.messages("mqtt")
    async with actions(store=store, max_in_flight=1) as node:
        await done(node, first)
        assert payloads(node, "mqtt") == ["b"]
        await done(node, node.messages("mqtt")[0])
        assert [one["payload"] for one in payloads(node, "audit")] == ["a", "b"]
        assert not [key for key in node.node.state if key.isdigit()]


async def test_all_nodes_behind_a_route_must_have_done_it():
    async with actions(followed={"mqtt": ["look", "plc"]}) as node:
        await node.put("x", meta={"do": "mqtt"})
        (sent,) = node.messages("mqtt")
        await done(node, sent, by="look")
        assert outcomes(node) == []
        await failed(node, sent)
        assert outcomes(node)[0][:3] == ("mqtt", "failed", 1)


async def test_a_node_that_is_taken_away_with_an_action_is_not_waited_for():
    async with actions() as node:
        await node.put("x", meta={"do": "mqtt"})
        await node.reconfigure(followed={"mqtt": ["other"], "mail": ["post"]})
        await node.advance(0.01)
        assert payloads(node, "mqtt") == ["x", "x"]
        await node.reconfigure(followed={})
        await node.advance(0.01)
        assert outcomes(node) == [("mqtt", "dead", 1 + 1, "nothing is wired to the route")]


async def test_bad_actions_are_errors_of_their_own_and_nothing_is_held_of_them():
    async with actions(max_held=1) as node:
        for do in (None, [], 5, ["mqtt", 5], ["mqtt", "mial"]):
            await node.put("x", meta={"do": do})
        assert [error["error"] for error in node.errors] == ["GiveUp"] * 5
        assert "did you mean 'mail'?" in node.errors[-1]["text"]
        await node.put("x", "y", meta={"do": "mqtt"})
        assert outcomes(node) == [("mqtt", "dead", 0, "1 actions wait already")]
        await node.put("boom", port="failed")
        assert "no action of this node" in node.errors[-1]["text"]
        await done(node, node.messages("mqtt")[0])
        assert payloads(node, "mqtt") == ["x"]


async def test_a_line_for_the_log_needs_no_wire(caplog):
    async with actions() as node:
        await node.put("the oven is hot", meta={"do": ["log"], "level": "warning"})
        assert outcomes(node) == [("log", "done", 1, "")]
        assert [one.levelname for one in caplog.records if "oven is hot" in one.message] == ["WARNING"]


@pytest.mark.parametrize(
    "config",
    [
        {"routes": ["a", "a"]},
        {"routes": ["audit"]},
        {"routes": ["No Name"]},
        {"by_route": {"mial": {"times": 1}}},
        {"by_route": {"mqtt": {"retries": 1}}},
    ],
)
def test_a_wrong_config_is_refused(config):
    with pytest.raises(ValidationError):
        Actions.Config(**({"routes": ["mqtt", "mail"]} | config))
