"""A flow as large as the bus carries is checked while its author waits."""

import json
import time

import pytest

pytestmark = pytest.mark.alone

RULES = [{"op": "above", "value": value} for value in range(20)]
KINDS = [
    ("core/threshold", {"above": "${LIMIT}", "field": "t", "hold_s": 1}, "high"),
    ("core/switch", {"rules": RULES}, "out1"),
    ("core/function", {"script": "pass\n" * 600}, "out"),
    ("core/function", {"note": "x" * 1000}, None),
]


def test_two_thousand_nodes_of_3_mb_are_checked_in_about_a_second(look):
    """0.7 s on one core of the machine this was written on; the rest is for a busy one."""
    nodes, wires = [], []
    for index in range(2000):
        type_, config, port = KINDS[index % 4]
        ui = {"x": index * 1.5, "y": 80}
        nodes.append({"id": f"n{index}", "type": type_, "config": config, "ui": ui, "note": "y" * 300})
        if port and index < 1999:
            wires.append({"from": f"n{index}.{port}", "to": f"n{index + 1}.in"})
    text = json.dumps({"flowcore": 1, "id": "big", "env": {"LIMIT": 80}, "nodes": nodes, "wires": wires}, indent=1)
    assert len(text) > 3_000_000
    began = time.process_time()
    checked = look(text)
    took_s = time.process_time() - began
    assert checked.ok and len(checked.resolved.nodes) == 2000
    assert took_s < 4
