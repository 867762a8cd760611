"""State, secrets, the log, and messages that were given up, over the bus."""

import pytest

from flowcore.client import CallFailed


@pytest.fixture
def parser(flow):
    """A flow whose first node fails on text that is no JSON."""
    flow["nodes"][0] = {"id": "parse", "type": "core/json"}
    flow["wires"] = []
    return flow


def poison(ask, flow, *payloads):
    """Put payloads into the parser and wait until all were given up; returns the errors."""
    for payload in payloads:
        ask("inject", flow=flow["id"], node="parse", payload=payload)
    return wait_for_errors(ask, flow, len(payloads))


def wait_for_errors(ask, flow, count):
    """The given-up messages of a flow, when there are so many."""

    async def run():
        while (found := await ask.client.call("errors", flow=flow["id"]))["total"] != count:
            pass
        return found["errors"]

    return ask.do(run(), 20)


def test_what_was_given_up_is_listed_and_tried_again(ask, parser):
    """Who, why and which message; after the fix it goes through and leaves the list."""
    ask.deploy(parser)
    found = poison(ask, parser, "{one", "{two")
    assert [each["message"]["payload"] for each in found] == ["{one", "{two"]
    assert found[0]["node"] == "parse" and found[0]["error"] and found[0]["traceback"]
    again = ask("retry", ids=[found[0]["id"]])
    assert again["retried"] == [found[0]["id"]] and again["refused"] == {}
    found = wait_for_errors(ask, parser, 2)  # it failed again, with a new id
    assert [each["message"]["payload"] for each in found] == ["{two", "{one"]
    parser["nodes"][0] = {"id": "parse", "type": "core/debug"}  # the fix
    ask.deploy(parser)
    assert len(ask("retry", flow=parser["id"])["retried"]) == 2
    assert ask("errors", flow=parser["id"]) == {"total": 0, "errors": []}


def test_errors_come_in_pages_and_can_be_forgotten(ask, parser):
    """`after` and `limit` walk through; `forget` removes without trying."""
    ask.deploy(parser)
    found = poison(ask, parser, "{1", "{2", "{3")
    page = ask("errors", flow=parser["id"], limit=2)
    assert page["total"] == 3 and len(page["errors"]) == 2
    rest = ask("errors", flow=parser["id"], limit=2, after=page["errors"][-1]["id"])
    assert [each["id"] for each in rest["errors"]] == [found[2]["id"]]
    some = ask("retry", flow=parser["id"], limit=2, forget=True)
    assert len(some["forgotten"]) == 2 and some["left"] == 1
    ask("retry", flow=parser["id"], forget=True)
    with pytest.raises(CallFailed, match="no given-up message"):
        ask("retry", ids=[found[0]["id"]])


def test_a_retry_of_a_stopped_node_is_refused_and_kept(ask, parser):
    """Nothing is lost when there is nobody to take it."""
    ask.deploy(parser)
    (found,) = poison(ask, parser, "{one")
    ask("stop", flow=parser["id"])
    assert ask("retry", ids=[found["id"]])["refused"] == {str(found["id"]): "its node does not run"}
    assert ask("errors", flow=parser["id"])["total"] == 1
    ask("retry", flow=parser["id"], forget=True)


def test_state_is_read_changed_and_deleted(ask, flow):
    """What the node keeps can be seen and set; it goes on from there."""
    flow["nodes"][0] = {"id": "alarm", "type": "core/threshold", "config": {"above": 80.0}}
    flow["wires"] = []
    ask.deploy(flow)
    node = {"flow": flow["id"], "node": "alarm"}

    async def put(value):
        await ask.client.call("inject", **node, payload=value)

    feed = f"flow.{flow['id']}.alarm.out.out"
    assert ask.sees(feed, lambda: put(90.0))[0]["state"] == "raised"
    ask("restart", **node)  # an orderly end writes the state
    kept = ask("state.get", **node)["values"]
    assert kept, "a threshold keeps whether its alarm is raised"
    (key, *_) = kept
    assert ask("state.get", **node, key=key)["values"] == {key: kept[key]}
    ask("state.put", **node, key="mine", value={"raw": {"$bytes": "AAE="}})
    assert ask("state.get", **node)["values"] == {**kept, "mine": {"raw": {"$bytes": "AAE="}}}
    ask("state.delete", **node)
    assert ask("state.get", **node)["values"] == {}
    # It has forgotten that its alarm is raised: the same value raises it again.
    assert ask.sees(feed, lambda: put(90.0))[0]["state"] == "raised"
    with pytest.raises(CallFailed, match="no key 'nothing'"):
        ask("state.get", **node, key="nothing")


def test_secrets_are_names_only(ask):
    """A value never goes over the bus."""
    ask.host.secrets.set("PLC_PASSWORD", "s3cret")
    answer = ask("secrets")
    assert answer == {"names": ["PLC_PASSWORD"]}


def test_the_log_is_read_with_filters(ask, flow):
    """By flow, level and age."""
    ask.deploy(flow)
    ask("kill", flow=flow["id"], node="band")
    ask.until(lambda: any(each.restarts for each in ask.host.status(flow["id"])[0].nodes))
    entries = ask("logs", flow=flow["id"])["entries"]
    assert entries and all(entry["flow"] == flow["id"] for entry in entries)
    assert any(entry["level"] == "warning" for entry in ask("logs", flow=flow["id"], level="warning")["entries"])
    assert ask("logs", flow=flow["id"], since_s=0)["entries"] == []
    assert len(ask("logs", limit=1)["entries"]) == 1
