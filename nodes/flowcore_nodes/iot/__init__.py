"""Machines and devices: MQTT, Modbus, OPC UA, Bluetooth LE, TCP, UDP, serial ports, and those that are simulated."""

from flowcore.node import Node, hookimpl


@hookimpl
def flowcore_node_types() -> list[type[Node]]:
    """The node types of this folder."""
    from flowcore_nodes.iot.ble_device import BleDevice
    from flowcore_nodes.iot.ble_scan import BleScan
    from flowcore_nodes.iot.modbus_read import ModbusRead
    from flowcore_nodes.iot.modbus_write import ModbusWrite
    from flowcore_nodes.iot.mqtt_in import MqttIn
    from flowcore_nodes.iot.mqtt_out import MqttOut
    from flowcore_nodes.iot.opcua_browse import OpcuaBrowse
    from flowcore_nodes.iot.opcua_read import OpcuaRead
    from flowcore_nodes.iot.opcua_subscribe import OpcuaSubscribe
    from flowcore_nodes.iot.opcua_write import OpcuaWrite
    from flowcore_nodes.iot.serial import Serial
    from flowcore_nodes.iot.tcp_in import TcpIn
    from flowcore_nodes.iot.tcp_out import TcpOut
    from flowcore_nodes.iot.tcp_request import TcpRequest
    from flowcore_nodes.iot.udp_in import UdpIn
    from flowcore_nodes.iot.udp_out import UdpOut
    from flowcore_nodes.iot.udp_request import UdpRequest

    return [MqttIn, MqttOut, TcpIn, TcpOut, TcpRequest, UdpIn, UdpOut, UdpRequest, Serial, ModbusRead, ModbusWrite,
            OpcuaRead, OpcuaWrite, OpcuaSubscribe, OpcuaBrowse, BleScan, BleDevice]  # fmt: skip
