"""What a node may do on the embedded MQTT broker comes from its config, and only where it uses that broker."""

from flowcore.flow.validate import check
from flowcore.runtime.plans import Desired, plan_flow
from flowcore.runtime.typelist import read

FLOW = """{
  "flowcore": 1, "id": "line",
  "nodes": [
    {"id": "sensors", "type": "iot/mqtt-in", "config": {"topic": ["sensors/+/env", "news"],
      "will": {"topic": "line/state"}}},
    {"id": "fan", "type": "iot/mqtt-out", "config": {"topic": "actuators/fan"}},
    {"id": "any", "type": "iot/mqtt-out", "config": {"topic": {"$message": "meta.to"}, "allow": ["actuators/+"]}},
    {"id": "elsewhere", "type": "iot/mqtt-in", "config": {"topic": "/odd/v1.2/#",
      "broker": {"url": "mqtt://plant"}}}
  ], "wires": []}"""


def test_topics_in_the_config_become_rights():
    """Fields with topics are read, a reference is not; a broker of the user's own needs no rights of ours."""
    found = read()
    checked = check(FLOW, "line.json", found.types, {}, None)
    assert checked.resolved is not None, checked.problems
    planned = plan_flow(checked.resolved, found.types, {}, Desired(), {}, found.mqtt)
    assert {name: plan.mqtt for name, plan in planned.processes.items()} == {
        "sensors": {"subscribe": ["sensors/+/env", "news"], "publish": ["line/state"]},
        "fan": {"subscribe": [], "publish": ["actuators/fan"]},
        "any": {"subscribe": [], "publish": ["actuators/+"]},
        "elsewhere": None,
    }
