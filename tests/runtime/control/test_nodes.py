"""Looking at and steering what runs, over the bus."""

import json

import pytest

from flowcore.client import CallFailed, connect
from flowcore.runtime.control import OPERATIONS
from flowcore.runtime.control.reference import reference
from tests.runtime.control.conftest import changed


def nodes_of(ask, flow):
    """Node id -> what the status says of it."""
    (found,) = ask("status", flow=flow["id"])["flows"]
    return {node["node"]: node for node in found["nodes"]}


def test_status_shows_host_flows_and_processes(ask, flow):
    """Where the host is reached, and each process with its state and pid."""
    ask.deploy(flow)
    now = ask("status", flow=flow["id"])
    assert now["host"]["url"] == ask.host.bus.url and now["host"]["folder"] == str(ask.host.folder)
    band = nodes_of(ask, flow)["band"]
    assert band["state"] == "running" and band["type"] == "core/deadband"
    assert band["pid"] > 0 and band["rss_bytes"] > 0


def test_a_message_goes_in_and_is_seen_and_remembered(ask, flow):
    """`inject` puts it in, the feed shows what came out, `last` has it afterwards."""
    ask.deploy(flow)

    async def act():
        await ask.client.call("inject", flow=flow["id"], node="band", payload=20.5)

    assert ask.sees(f"flow.{flow['id']}.band.out.changed", act) == [20.5]
    assert ask("last", flow=flow["id"], node="band")["message"]["payload"] == 20.5
    with pytest.raises(CallFailed, match="no input 'nowhere'"):
        ask("inject", flow=flow["id"], node="band", port="nowhere", payload=1)


def test_pause_holds_and_resume_goes_on(ask, flow):
    """Paused, a message waits; resumed, it is handled."""
    ask.deploy(flow)
    ask("pause", flow=flow["id"], node="band")
    assert nodes_of(ask, flow)["band"]["state"] == "paused"

    async def act():
        await ask.client.call("inject", flow=flow["id"], node="band", payload=1.0)
        await ask.client.call("resume", flow=flow["id"], node="band")

    assert ask.sees(f"flow.{flow['id']}.band.out.changed", act) == [1.0]
    assert nodes_of(ask, flow)["band"]["state"] == "running"


def test_bypass_passes_without_the_handler(ask, flow):
    """Bypassed, a deadband passes what it would have held back."""
    ask.deploy(changed(flow, band=100.0))
    ask("bypass", flow=flow["id"], node="band")
    assert nodes_of(ask, flow)["band"]["state"] == "bypassed"

    async def act():
        for value in (1.0, 1.5, 2.0):
            await ask.client.call("inject", flow=flow["id"], node="band", payload=value)

    assert ask.sees(f"flow.{flow['id']}.band.out.changed", act, 3) == [1.0, 1.5, 2.0]
    ask("bypass", flow=flow["id"], node="band", on=False)
    assert nodes_of(ask, flow)["band"]["state"] == "running"


def test_kill_is_a_crash_and_restart_is_none(ask, flow):
    """After both there is another process; only the kill counts as a restart by the supervisor."""
    ask.deploy(flow)
    before = nodes_of(ask, flow)["band"]["pid"]
    assert ask("kill", flow=flow["id"], node="band")["pids"] == [before]
    ask.until(lambda: running_pid(ask, flow, "band") not in (None, before))
    killed = nodes_of(ask, flow)["band"]
    assert killed["restarts"] == 1
    ask("restart", flow=flow["id"], node="band")
    restarted = nodes_of(ask, flow)["band"]
    assert restarted["pid"] not in (before, killed["pid"]) and restarted["state"] == "running"


def running_pid(ask, flow, node):
    """The pid of a node while it runs; asks the host itself, for use between turns."""
    (found,) = ask.host.status(flow["id"])
    return next((each.pid for each in found.nodes if each.node == node and each.state == "running"), None)


def test_a_flow_stops_and_starts(ask, flow):
    """Stopped, it has no process and is still there; started, it runs again."""
    ask.deploy(flow)
    assert sorted(ask("stop", flow=flow["id"])["stopped"]) == ["band", "show"]
    (stopped,) = ask("status", flow=flow["id"])["flows"]
    assert stopped["wanted"] == "stopped" and stopped["nodes"] == []
    ask("start", flow=flow["id"])
    assert {node["state"] for node in nodes_of(ask, flow).values()} == {"running"}


def test_stopping_a_node_disables_it_in_the_document(ask, flow):
    """What was stopped is visible in the file and stays so; starting it leaves no trace."""
    ask.deploy(flow)
    ask("stop", flow=flow["id"], node="show")
    assert ask("document", flow=flow["id"])["document"]["nodes"][1]["disabled"] is True
    assert "show" not in nodes_of(ask, flow)
    ask("start", flow=flow["id"], node="show")
    assert ask("document", flow=flow["id"])["document"] == flow
    ask("disable", flow=flow["id"], node="show")
    assert "show" not in nodes_of(ask, flow)
    with pytest.raises(CallFailed, match="no node 'nobody'"):
        ask("disable", flow=flow["id"], node="nobody")


@pytest.mark.parametrize("operation", ["restart", "pause", "kill", "inject", "last", "state.get"])
def test_an_unknown_flow_or_node_is_named(ask, operation):
    """The error says what there is."""
    with pytest.raises(CallFailed) as caught:
        ask(operation, flow="nowhere", node="nobody")
    assert caught.value.code == "unknown_flow" and "nowhere" in caught.value.message


def test_every_operation_is_described_and_the_page_is_fresh(request):
    """`make docs` was run after the last change of an operation."""
    page = request.config.rootpath / "docs" / "control.md"
    assert page.read_text() == reference(), "docs/control.md is stale: make docs"
    for op in OPERATIONS.values():
        assert op.doc.endswith((".", "before it does.")), op.name
        assert op.request.__doc__ and op.answer.__doc__, op.name


def test_other_tools_find_the_services_with_their_schemas(ask):
    """`$SRV.INFO` lists every operation; its metadata has both JSON schemas."""
    info = json.loads(ask.do(ask.client._bus.request("$SRV.INFO.flowcore", b"")))
    there = {endpoint["subject"]: endpoint["metadata"] for endpoint in info["endpoints"]}
    assert set(there) == {op.subject for op in OPERATIONS.values()}
    assert json.loads(there["flowcore.inject"]["request_schema"])["properties"]["payload"]


def test_an_outsider_with_a_flow_may_not_ask(ask):
    """Rights on a flow's feed are no rights on the host."""
    password = ask.host.access.add("reader", ["flow.>"], ["flow.x.y.in.z"])
    assert "reader" in {user["name"] for user in ask("access.apply")["users"]}

    async def run():
        async with connect(ask.host.bus.url, "reader", password) as outsider:
            with pytest.raises(ConnectionError):
                await outsider.call("status", timeout=1)
            assert any("flowcore.status" in text for text in outsider.refused)

    ask.do(run())
    assert ask("access.remove", name="reader")["users"] == []
    with pytest.raises(CallFailed, match="no user 'reader'"):
        ask("access.remove", name="reader")
