"""The smallest change from one revision to the next."""

import pytest

from flowcore.flow.diff import plan

NODES = {
    "a": {"type": "core/inject", "config": {"payload": 1}},
    "hot": {"type": "core/threshold", "config": {"above": 80}},
    "f": {"type": "core/function", "config": {"script": "1"}},
    "show": "core/debug",
}
WIRES = ["a.out > hot.value", "hot.high > f.in", "f.out > show.in"]


@pytest.fixture
def change(resolved, types):
    """The plan from NODES and WIRES to others, without the lists that are empty."""

    def change(nodes=None, wires=WIRES, **more):
        old, new = resolved(NODES, WIRES), resolved({**NODES, **(nodes or {})}, wires, **more)
        return {name: value for name, value in plan(old, new, types).asdict().items() if value}

    return change


def test_at_first_everything_starts(resolved, types):
    """With nothing running all is started."""
    steps = plan(None, resolved(NODES, WIRES), types)
    assert steps.started == list(NODES) and len(steps.wires_added) == 3
    assert steps.summary() == "4 started (a, hot, f, show), 0 kept"


def test_the_same_again_is_no_change(resolved, types):
    """Nothing is touched."""
    steps = plan(resolved(NODES, WIRES), resolved(NODES, WIRES), types)
    assert steps.empty and steps.summary() == "4 kept"


def test_place_name_and_note_restart_nothing(change):
    """What people see is no change."""
    moved = {**NODES["hot"], "ui": {"x": 9}, "name": "Hot!", "note": "look"}
    assert change({"hot": moved}, name="Other") == {"kept": list(NODES)}


def test_a_config_is_handed_over_where_the_type_takes_it(change):
    """A threshold is reconfigured, a function is replaced."""
    assert change({"hot": {"type": "core/threshold", "config": {"above": 81}}}) == {
        "kept": ["a", "f", "show"],
        "reconfigured": ["hot"],
    }
    assert change({"f": {"type": "core/function", "config": {"script": "2"}}})["restarted"] == ["f"]


def test_settings_and_another_type_restart(change):
    """Neither can change in a running process."""
    assert change({"hot": {**NODES["hot"], "settings": {"concurrency": 2}}})["restarted"] == ["hot"]
    assert change({"show": {"type": "core/function", "config": {}}})["restarted"] == ["show"]


def test_a_new_wire_rewires_its_two_ends(change):
    """The others are not touched."""
    assert change(wires=[*WIRES, "hot.low > show.in"]) == {
        "kept": ["a", "f"],
        "rewired": ["hot", "show"],
        "wires_added": ["hot.low>show.in"],
    }


def test_a_wire_with_other_settings_is_closed_and_added(change):
    """The same ends, another window."""
    steps = change(wires=[*WIRES[:2], {"from": "f.out", "to": "show.in", "window": 5}])
    assert steps["rewired"] == ["f", "show"]
    assert steps["wires_added"] == steps["wires_closed"] == ["f.out>show.in"]


def test_a_node_that_leaves_and_one_that_comes(change, resolved, types):
    """Its neighbours are rewired."""
    nodes = {name: node for name, node in NODES.items() if name != "f"} | {"g": "core/debug"}
    steps = plan(resolved(NODES, WIRES), resolved(nodes, ["a.out > hot.value", "hot.high > show.in"]), types)
    assert (steps.stopped, steps.started, steps.rewired, steps.kept) == (["f"], ["g"], ["hot", "show"], ["a"])
    assert steps.summary() == "1 started (g), 1 stopped (f), 2 rewired (hot, show), 1 kept"


def test_a_changed_resource_touches_only_its_users(resolved, types):
    """The other nodes are kept."""
    nodes = {
        "in": {"type": "iot/mqtt-in", "config": {"$use": "plant", "topic": "t"}},
        "own": {"type": "iot/mqtt-in", "config": {"host": "h", "topic": "t"}},
    }
    old, new = (resolved(nodes, resources={"plant": {"config": {"host": host}}}) for host in ("h", "i"))
    steps = plan(old, new, types)
    assert (steps.restarted, steps.kept) == (["in"], ["own"])


def test_a_new_junction_on_a_wire_changes_nothing(change):
    """Tidying the canvas restarts and rewires nobody."""
    wires = ["a.out > hot.value", "hot.high > j.in", "j.out > f.in", "f.out > show.in"]
    assert change({"j": "core/junction"}, wires) == {"kept": list(NODES)}
