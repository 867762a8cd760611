"""Deploys, revisions and differences over the bus."""

import json

import pytest

from flowcore.client import CallFailed
from tests.runtime.control.conftest import changed


def failure(ask, operation, **request):
    """What the service refused with."""
    with pytest.raises(CallFailed) as caught:
        ask(operation, **request)
    return caught.value


def test_validate_says_everything_and_changes_nothing(ask, flow):
    """All problems at once, with file and line; nothing is deployed."""
    flow["nodes"][0]["config"] = {"bnd": 1}
    flow["wires"][0]["to"] = "show.imge"
    said = ask("validate", document=json.dumps(flow, indent=1), file="flows/x.json")
    assert not said["valid"] and said["flow"] is None
    assert len(said["problems"]) == 2 and all(text.startswith("flows/x.json:") for text in said["problems"])
    assert any("did you mean 'band'" in text for text in said["problems"])
    assert flow["id"] not in {each["flow"] for each in ask("flows")["flows"]}


def test_deploy_makes_revisions_and_an_unchanged_document_makes_none(ask, flow):
    """A first deploy starts nodes, a changed config touches one, the same again touches none."""
    first = ask.deploy(flow)
    assert first["failed"] == {} and first["problems"] == []
    second = ask.deploy(changed(flow, band=2.0))
    assert second["revision"] > first["revision"] and "show" in second["kept"]
    assert second["reconfigured"] + second["restarted"] == ["band"]
    again = ask.deploy(changed(flow, band=2.0))
    assert again["revision"] == second["revision"] and again["kept"] == ["band", "show"]
    kept = ask("revisions", flow=flow["id"])["revisions"]
    assert [each["revision"] for each in kept] == [first["revision"], second["revision"]]
    assert kept[0]["source"] == f"{flow['id']}.json" and kept[0]["created_ns"] > 0
    assert ask("document", flow=flow["id"], revision=first["revision"])["document"] == flow


def test_a_stale_deploy_is_refused_with_the_difference(ask, flow):
    """Who deploys on an old base sees what came in between, and nothing was changed."""
    first = ask.deploy(flow)
    second = ask.deploy(changed(flow, band=2.0))
    error = failure(
        ask,
        "deploy",
        documents=[{"document": changed(flow, band=3.0)}],
        based_on={flow["id"]: first["revision"]},
    )
    assert error.code == "stale" and error.details["current"] == second["revision"]
    assert '"band": 2.0' in error.details["difference"]["text"]
    assert "flowcore diff" in error.do
    assert ask("document", flow=flow["id"])["revision"] == second["revision"]
    right = ask.deploy(changed(flow, band=3.0), based_on={flow["id"]: second["revision"]})
    assert right["revision"] > second["revision"]


def test_a_broken_document_deploys_nothing_of_the_others(ask, flow):
    """Every document is checked before any is deployed."""
    broken = {**flow, "id": "broken", "wires": [{"from": "nobody.out", "to": "show.in"}]}
    error = failure(ask, "deploy", documents=[{"document": flow}, {"document": broken, "file": "broken.json"}])
    assert error.code == "invalid_flow" and "nothing was deployed" in error.message
    assert any("broken.json" in text and "nobody" in text for text in error.details["problems"])
    assert failure(ask, "document", flow=flow["id"]).code == "unknown_flow"


def test_scope_nodes_takes_over_only_what_is_named(ask, flow):
    """One node of an edited document goes live, the other edits do not."""
    ask.deploy(flow)
    edited = changed(flow, band=9.0)
    edited["nodes"][1]["name"] = "not yet"
    edited["nodes"].append({"id": "more", "type": "core/debug"})
    edited["wires"].append({"from": "band.changed", "to": "more.in"})
    ask.deploy(edited, scope="nodes", nodes=["band"])
    now = ask("document", flow=flow["id"])["document"]
    assert now["nodes"][0]["config"] == {"band": 9.0}
    assert [node["id"] for node in now["nodes"]] == ["band", "show"] and "name" not in now["nodes"][1]
    assert now["wires"] == flow["wires"]
    ask.deploy(edited, scope="nodes", nodes=["more"])
    now = ask("document", flow=flow["id"])["document"]
    assert [node["id"] for node in now["nodes"]] == ["band", "show", "more"] and len(now["wires"]) == 2
    error = failure(ask, "deploy", documents=[{"document": edited}], scope="nodes", nodes=["nobody"])
    assert error.code == "unknown_node"


def test_rollback_runs_what_was(ask, flow):
    """To a revision, or to the one before; each rollback is a new revision."""
    first = ask.deploy(flow)
    second = ask.deploy(changed(flow, band=2.0))
    back = ask("rollback", flow=flow["id"])
    assert back["restored"] == first["revision"] and back["revision"] > second["revision"]
    assert ask("document", flow=flow["id"])["document"] == flow
    forth = ask("rollback", flow=flow["id"], revision=second["revision"])
    assert forth["restored"] == second["revision"]
    refused = failure(ask, "rollback", flow=flow["id"], revision=999_999)
    assert refused.code == "unknown" and str(first["revision"]) in refused.message


def test_diff_names_nodes_and_shows_the_text(ask, flow):
    """Between two revisions, and against a document that is not deployed."""
    first = ask.deploy(flow)
    ask.deploy(changed(flow, band=2.0))
    shown = ask("diff", flow=flow["id"])
    assert shown["old"] == first["revision"] and not shown["same"]
    assert shown["reconfigured"] + shown["restarted"] == ["band"]
    assert "-" in shown["text"] and '"band": 2.0' in shown["text"]
    planned = ask("diff", flow=flow["id"], document={**flow, "wires": []})
    assert planned["wires_closed"] == ["band.changed>show.in"] and planned["new"] is None
    assert ask("diff", flow=flow["id"], document=changed(flow, band=2.0))["same"]


def test_remove_takes_a_flow_away_and_rollback_brings_it_back(ask, flow):
    """Removed is not lost."""
    first = ask.deploy(flow)
    gone = ask("remove", flow=flow["id"])
    assert gone["removed"] and flow["id"] not in {each["flow"] for each in ask("flows")["flows"]}
    ask("rollback", flow=flow["id"], revision=first["revision"])
    assert flow["id"] in {each["flow"] for each in ask("flows")["flows"]}


def test_types_are_data_with_a_schema(ask):
    """What an editor needs for its palette; a wrong name gets the nearest right one."""
    (info,) = ask("types", type="core/deadband")["types"]
    assert info["config_schema"]["properties"]["band"]["description"]
    assert [port["name"] for port in info["inputs"]] == ["value"]
    assert len(ask("types")["types"]) > 10
    assert "core/deadband" in failure(ask, "types", type="core/deadbnd").message


@pytest.mark.parametrize(
    ("operation", "request_", "says"),
    [
        ("status", {"flw": "x"}, "flw"),
        ("deploy", {}, "documents"),
        ("deploy", {"documents": []}, "documents"),
        ("inject", {"flow": "x"}, "node"),
        ("logs", {"limit": 0}, "limit"),
    ],
)
def test_a_request_that_does_not_fit_is_refused(ask, operation, request_, says):
    """The field is named, and the fields there are."""
    error = failure(ask, operation, **request_)
    assert error.code == "invalid_request" and says in error.message and "docs/control.md" in error.do


def test_what_is_no_json_object_is_refused(ask):
    """Not a crash, and not silence."""
    for data in (b"nonsense", b"[1]", b"[" * 100_000, b"\xff"):
        answer = json.loads(ask.do(ask.client._bus.request("flowcore.status", data)))
        assert answer["error"]["code"] == "invalid_request"
