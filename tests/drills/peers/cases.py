"""Which connectors are drilled, against which peers."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from flowcore_nodes.core.buffer import Buffer
from flowcore_nodes.core.chat_out import ChatOut
from flowcore_nodes.core.email_digest import EmailDigest
from flowcore_nodes.core.email_out import EmailOut
from flowcore_nodes.core.http_in import HttpIn
from flowcore_nodes.core.http_request import HttpRequest
from flowcore_nodes.core.jetstream_in import JetstreamIn
from flowcore_nodes.core.jetstream_kv import JetstreamKv
from flowcore_nodes.core.jetstream_object import JetstreamObject
from flowcore_nodes.core.jetstream_out import JetstreamOut
from flowcore_nodes.core.jetstream_watch import JetstreamWatch
from flowcore_nodes.core.redis_publish import RedisPublish
from flowcore_nodes.core.redis_stream_in import RedisStreamIn
from flowcore_nodes.core.redis_stream_out import RedisStreamOut
from flowcore_nodes.core.redis_subscribe import RedisSubscribe
from flowcore_nodes.core.s3_get import S3Get
from flowcore_nodes.core.s3_put import S3Put
from flowcore_nodes.core.sql_insert import SqlInsert
from flowcore_nodes.core.sql_query import SqlQuery
from flowcore_nodes.core.webhook_out import WebhookOut
from flowcore_nodes.core.websocket_client import WebsocketClient
from flowcore_nodes.core.websocket_server import WebsocketServer
from flowcore_nodes.core.zmq_in import ZmqIn
from flowcore_nodes.core.zmq_out import ZmqOut
from flowcore_nodes.iot.ble_device import BleDevice
from flowcore_nodes.iot.ble_scan import BleScan
from flowcore_nodes.iot.modbus_read import ModbusRead
from flowcore_nodes.iot.modbus_write import ModbusWrite
from flowcore_nodes.iot.mqtt_in import MqttIn
from flowcore_nodes.iot.mqtt_out import MqttOut
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

from flowcore.node import Node
from tests.drills.peers import factory, network, stores
from tests.drills.peers.peer import Peer
from tests.nodes.core import redis_server, test_sql


@dataclass(frozen=True)
class Case:
    """One connector. `way`: "out" puts numbers in; "last" the same, where the peer has the newest only; "in" has the
    peer send numbers; "reads" sends by itself."""

    node: type[Node]
    peer: type[Peer]
    said: str
    way: str
    needs: Callable[[], Any] = lambda: True
    is_kept: bool = True  # what the peer would have sent meanwhile, it sends later
    can_be_away: bool = True  # of who listens, and of who only throws, nobody is
    settings: dict[str, Any] = field(default_factory=dict)  # the node's
    variant: str = ""

    @property
    def name(self) -> str:
        """The node type, and which of its ways."""
        return f"{self.node.type} {self.variant}".strip()


AGAIN = {"retry": {"times": 1000, "backoff_s": 0.1, "max_s": 1.0}}
REDIS, NATS, SOCKETS, ZMQ = "redis-server 7 (Debian)", "nats-server 2.15", "asyncio sockets", "pyzmq sockets"
SERVER, CLIENT, MQTT = "an aiohttp server", "an aiohttp client", "nats-server's MQTT"
RTU, TCP, OPCUA, BLE = (
    "pymodbus's server, RTU on a pseudo-terminal", "pymodbus's server, TCP", "asyncua's server",
    "bleak's backend seam, played",
)  # fmt: skip

CASES = [
    Case(HttpRequest, network.Web, SERVER, "out"),
    Case(WebhookOut, network.Web, SERVER, "out"),
    Case(ChatOut, network.Chat, "a server with each service's schema", "out"),
    Case(EmailOut, stores.Mail, "aiosmtpd", "out"),
    Case(EmailDigest, stores.Digests, "aiosmtpd", "out"),
    Case(HttpIn, network.Asking, CLIENT, "in", can_be_away=False),
    Case(WebsocketServer, network.Talking, CLIENT, "in", can_be_away=False),
    Case(WebsocketClient, network.Sockets, SERVER, "in", is_kept=False),
    Case(SqlInsert, stores.Postgres, "PostgreSQL 15 (Debian)", "out", test_sql.programs),
    Case(SqlQuery, stores.PostgresAsked, "PostgreSQL 15 (Debian)", "out", test_sql.programs),
    Case(RedisStreamOut, stores.Redis, REDIS, "out", redis_server.program),
    Case(RedisStreamIn, stores.Redis, REDIS, "in", redis_server.program),
    Case(RedisPublish, stores.RedisChannel, REDIS, "last", redis_server.program),
    Case(RedisSubscribe, stores.RedisSays, REDIS, "in", redis_server.program, is_kept=False),
    Case(JetstreamOut, stores.JetStream, NATS, "out"),
    Case(JetstreamIn, stores.JetStreamFrom, NATS, "in"),
    Case(JetstreamKv, stores.JetStreamKeys, NATS, "out"),
    Case(JetstreamWatch, stores.JetStreamWatched, NATS, "in"),
    Case(JetstreamObject, stores.JetStreamObjects, NATS, "out"),
    Case(ZmqOut, network.Rep, ZMQ, "out"),
    Case(ZmqIn, network.Req, ZMQ, "in"),
    Case(S3Put, stores.S3, "moto's server", "out"),
    Case(S3Get, stores.S3Asked, "moto's server", "out"),
    Case(Buffer, factory.MqttBehind, "an MQTT broker behind it (nats-server)", "out"),
    Case(TcpOut, network.Lines, SOCKETS, "out"),
    Case(TcpIn, network.Says, SOCKETS, "in", is_kept=False),
    Case(TcpRequest, network.Answers, SOCKETS, "out", settings=AGAIN),
    Case(UdpOut, network.Datagrams, SOCKETS, "out", can_be_away=False),
    Case(UdpIn, network.Sender, SOCKETS, "in", can_be_away=False),
    Case(UdpRequest, network.Datagrams, SOCKETS, "out", settings=AGAIN),
    Case(Serial, factory.Serial, "a pseudo-terminal (pyserial)", "out"),
    Case(MqttOut, factory.Mqtt, MQTT, "out"),
    Case(MqttIn, factory.MqttKept, MQTT, "in"),
    Case(ModbusRead, factory.Modbus, TCP, "reads"),
    Case(ModbusRead, factory.ModbusRtu, RTU, "reads", variant="RTU"),
    Case(ModbusWrite, factory.Modbus, TCP, "last"),
    Case(OpcuaRead, factory.Opcua, OPCUA, "reads"),
    Case(OpcuaWrite, factory.Opcua, OPCUA, "last"),
    Case(OpcuaSubscribe, factory.OpcuaCounts, OPCUA, "reads"),
    Case(BleDevice, factory.Board, BLE, "reads"),
    Case(BleScan, factory.Around, BLE, "reads"),
]
