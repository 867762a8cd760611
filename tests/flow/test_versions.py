"""Configs of older versions of their types are upgraded; what is newer than what is installed is refused by name."""

from dataclasses import replace

import pytest

from flowcore.flow.problems import Report
from flowcore.flow.validate import check
from flowcore.flow.versions import UpgradeFailed, upgraded


@pytest.fixture
def newer(types):
    """The types, with a threshold whose config has had another name for `above` twice: (types, upgrade)."""
    types = dict(types)
    types["core/threshold"] = replace(types["core/threshold"], config_version=3, distribution="acme", version="2.0")

    def upgrade(old):
        config = dict(old.config)
        for version, name in ((1, "limit"), (2, "over")):
            if old.version <= version and name in config:
                config["over" if version == 1 else "above"] = config.pop(name)
        if config.get("above") == "bad":
            raise UpgradeFailed("KeyError: 'bad'")
        return config

    return types, upgrade


def hot(config, **more):
    return {"id": "hot", "type": "core/threshold", "config": config, **more}


@pytest.fixture
def looked(newer, flow):
    import json

    def looked(*nodes, upgrade=True, **more):
        types, how = newer
        document = {**flow({}), "nodes": list(nodes), **more}
        return check(json.dumps(document, indent=1), "f.json", types, {}, upgrade=how if upgrade else None)

    return looked


def test_an_older_config_is_upgraded_in_memory_with_a_note(looked):
    """From whichever version it is, also inside subflows; what it refers to is filled in afterwards."""
    found = looked(
        hot({"limit": "${N}"}),
        {**hot({"over": 7}, version=2), "id": "two"},
        {"id": "sub", "type": "subflow:s"},
        env={"N": 5},
        subflows={"s": {"nodes": [hot({"limit": 1})]}},
    )
    assert [str(one) for one in found.problems] == []
    assert {id_: node.config["above"] for id_, node in found.resolved.nodes.items()} == {
        "hot": 5, "two": 7, "sub:hot": 1,
    }  # fmt: skip
    assert found.resolved.notes == [
        "core/threshold: version 1 of the config of node 'hot', node 'hot' of subflow 's' was taken as version 3; "
        "`flowcore upgrade FILE` writes it into the file",
        "core/threshold: version 2 of the config of node 'two' was taken as version 3; "
        "`flowcore upgrade FILE` writes it into the file",
    ]


@pytest.mark.parametrize(
    ("node", "says"),
    [
        (hot({"above": 1}, version=4),
         "/version: the config is of version 4 of core/threshold, and the installed acme 2.0 knows 3: "
         "`pip install -U acme`"),
        (hot({"limit": "bad"}),
         "/config: node 'hot' cannot be upgraded from version 1 to 3 of core/threshold: KeyError: 'bad'"),
    ],
)  # fmt: skip
def test_what_cannot_be_taken_is_named_and_says_nothing_else(looked, node, says):
    (problem,) = looked(node).problems
    assert f"{problem.pointer.removeprefix('/nodes/0')}: {problem.message}" == says
    assert problem.line > 1


def test_who_cannot_upgrade_says_so(looked):
    (problem,) = looked(hot({"limit": 1}), upgrade=False).problems
    assert problem.message == "the config is of version 1 of core/threshold, and was not upgraded to 3"


def test_a_node_that_is_off_may_be_as_it_likes(looked):
    """`flowcore upgrade` takes it along all the same."""
    assert looked(hot({"limit": "bad"}, disabled=True)).ok


def test_a_document_is_never_changed_in_place(newer):
    types, upgrade = newer
    document = {"nodes": [hot({"limit": 1}), {"id": "x", "type": "core/debug"}], "resources": {}}
    new, notes = upgraded(document, types, upgrade, Report())
    assert document["nodes"][0] == hot({"limit": 1}) and new["nodes"][0] == hot({"above": 1}, version=3)
    assert new["nodes"][1] is document["nodes"][1] and len(notes) == 1
    assert upgraded(new, types, upgrade, Report()) == (new, [])


@pytest.mark.parametrize("document", [None, [], {"nodes": 5}, {"nodes": [5, {"type": []}]}, {"subflows": {"a": []}}])
def test_rubbish_has_no_versions(newer, document):
    types, upgrade = newer
    assert upgraded(document, types, upgrade, Report()) == (document, [])
