"""What every core node type must have to stand in the palette."""

import pytest
from flowcore_nodes import core

from flowcore.node import Node
from flowcore.node.config import NodeConfig

TYPES = core.flowcore_node_types()


def test_the_hook_brings_each_type_once():
    names = [node.type for node in TYPES]
    assert len(set(names)) == len(names)
    assert all(name.startswith("core/") for name in names)


@pytest.mark.parametrize("node", TYPES, ids=lambda node: node.type)
def test_a_type_explains_itself(node: type[Node]):
    """A tooltip, a title, an icon, and a description for every field."""
    first = node.doc().splitlines()[0]
    assert first.endswith(".") and len(first) < 120
    assert node.title and node.icon and node.category
    undescribed = [name for name, info in node.Config.model_fields.items() if not info.description]
    assert undescribed == []
    assert issubclass(node.Config, NodeConfig)
    node.Config.model_json_schema()


@pytest.mark.parametrize("node", [node for node in TYPES if node.virtual], ids=lambda node: node.type)
def test_a_virtual_type_has_no_handlers(node: type[Node]):
    """It is resolved at deploy: nothing would ever call them."""
    assert not hasattr(node, "on_message") and not node.is_source()
    assert node.virtual == node.type.removeprefix("core/")


def test_sources_and_sinks_are_what_they_seem():
    by_type = {node.type: node for node in TYPES}
    assert by_type["core/inject"].is_source() and by_type["core/file-in"].is_source()
    assert not by_type["core/debug"].outputs
    stateful = {name for name, node in by_type.items() if node.stateful}
    assert stateful >= {"core/aggregate", "core/threshold", "core/join"}
