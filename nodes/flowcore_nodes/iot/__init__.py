"""Machines and devices: MQTT in and out, and the simulated machines of `flowcore simulate`."""

from flowcore.node import Node, hookimpl


@hookimpl
def flowcore_node_types() -> list[type[Node]]:
    """The node types of this folder."""
    from flowcore_nodes.iot.mqtt_in import MqttIn
    from flowcore_nodes.iot.mqtt_out import MqttOut

    return [MqttIn, MqttOut]
