"""`flowcore upgrade`: the difference first, then the file; and what stops it."""

import json

import pytest

NODES = '''
from flowcore.node import In, Node, NodeConfig, Out, field

class Gate(Node):
    """Lets through what is above a limit."""
    type = "upgraded/gate"
    version = 3
    class Config(NodeConfig):
        above: float = field(..., description="Limit, in the unit of the input")
    value = In(float)
    passed = Out(float)
    @classmethod
    def upgrade(cls, config, version):
        print("upgrading")
        if version == 1:
            config["level"] = config.pop("limit")
        config["above"] = config.pop("level")
        return config
'''
HOOK = """
from flowcore.node import hookimpl
@hookimpl
def flowcore_node_types():
    from upgraded import nodes
    return [nodes.Gate]
"""
FLOW = """{ "flowcore": 1, "id": "f",
  "nodes": [{"id": "a", "type": "upgraded/gate", "config": {"limit": 5}, "note": "mine"},
            {"id": "b", "type": "upgraded/gate", "version": 2, "config": {"level": "${N}"}},
            {"id": "off", "type": "upgraded/gate", "disabled": true, "config": {"limit": 1}}],
  "env": {"N": 7} }
"""


@pytest.fixture
def upgrading(flowcore, tmp_path):
    """The command with a package of a node type of version 3, and a flow file."""
    package = tmp_path / "site" / "upgraded"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(HOOK)
    (package / "nodes.py").write_text(NODES)
    info = tmp_path / "site" / "upgraded-2.5.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: upgraded\nVersion: 2.5\n")
    (info / "entry_points.txt").write_text("[flowcore]\nupgraded = upgraded\n")
    flowcore.env["PYTHONPATH"] = str(tmp_path / "site")
    file = flowcore.folder / "f.json"
    file.write_text(FLOW)
    return flowcore, file


async def test_the_difference_is_shown_and_nothing_written_before_somebody_says_yes(upgrading):
    """Without a terminal nobody can be asked; the file runs as it is meanwhile."""
    run, file = upgrading
    shown = await run("upgrade", "f.json", status=1)
    assert '-    {"id": "a", "type": "upgraded/gate", "config": {"limit": 5}' in shown.out
    assert '+    {"id": "a", "type": "upgraded/gate", "version": 3, "config": {"above": 5}' in shown.out
    assert "f.json: not written" in shown.out and "upgrading" not in shown.out
    assert file.read_text() == FLOW
    assert (await run("upgrade", "f.json", "--dry-run", "--json")).json["files"][0]["written"] is False
    valid = await run("validate", "f.json")
    assert "upgraded/gate: version 1 of the config of node 'a' was taken as version 3" in valid.err

    done = (await run("upgrade", "f.json", "--yes", "--json")).json["files"][0]
    assert done["written"] and len(done["notes"]) == 2
    nodes = json.loads(file.read_text())["nodes"]
    assert [(one["version"], one["config"]) for one in nodes] == [
        (3, {"above": 5}), (3, {"above": "${N}"}), (3, {"above": 1}),
    ]  # fmt: skip
    assert nodes[0]["note"] == "mine"
    again = await run("upgrade", "f.json")
    assert again.out == "f.json: is up to date\n"


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('{"limit": 5}', '{"limits": 5}',
         "f.json:2 /nodes/0/config: node 'a' cannot be upgraded from version 1 to 3 of upgraded/gate: KeyError: "),
        ('{"limit": 5}', '{"limit": "high"}', "f.json /nodes/0/config/above: must be a number, is "),
        ('"version": 2', '"version": 4',
         "the config is of version 4 of upgraded/gate, and the installed upgraded 2.5 knows 3: `pip"),
        ('"flowcore": 1', '"flowcore": 2', "f.json:1 /flowcore: the flow is of format 2, and this flowcore reads "),
        ("{ ", "{{", "f.json:1: "),
    ],
)  # fmt: skip
async def test_what_cannot_be_upgraded_is_named_and_nothing_is_changed(upgrading, old, new, says):
    run, file = upgrading
    file.write_text(FLOW.replace(old, new, 1))
    refused = await run("upgrade", "f.json", "--yes", status=1)
    assert says in refused.err and "f.json cannot be upgraded; nothing was changed" in refused.err
    assert file.read_text() == FLOW.replace(old, new, 1)
