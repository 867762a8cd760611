"""The nodes that every flow may use: inject, debug, function, switch, change, windows, joins, files, NATS ..."""

from flowcore.node import Node, hookimpl


@hookimpl
def flowcore_node_types() -> list[type[Node]]:
    """The core node types."""
    from flowcore_nodes.core.actions import Actions
    from flowcore_nodes.core.aggregate import Aggregate
    from flowcore_nodes.core.anomaly import Anomaly
    from flowcore_nodes.core.base64 import Base64
    from flowcore_nodes.core.batch import Batch
    from flowcore_nodes.core.buffer import Buffer
    from flowcore_nodes.core.catch import Catch
    from flowcore_nodes.core.change import Change
    from flowcore_nodes.core.chat_out import ChatOut
    from flowcore_nodes.core.comment import Comment
    from flowcore_nodes.core.complete import Complete
    from flowcore_nodes.core.context_get import ContextGet
    from flowcore_nodes.core.context_set import ContextSet
    from flowcore_nodes.core.counter import Counter
    from flowcore_nodes.core.csv import Csv
    from flowcore_nodes.core.deadband import Deadband
    from flowcore_nodes.core.debug import Debug
    from flowcore_nodes.core.delay_until import DelayUntil
    from flowcore_nodes.core.email_digest import EmailDigest
    from flowcore_nodes.core.email_out import EmailOut
    from flowcore_nodes.core.exec import Exec
    from flowcore_nodes.core.expression import Expression
    from flowcore_nodes.core.features import Features
    from flowcore_nodes.core.file_in import FileIn
    from flowcore_nodes.core.file_out import FileOut
    from flowcore_nodes.core.file_watch import FileWatch
    from flowcore_nodes.core.filter import Filter
    from flowcore_nodes.core.function import Function
    from flowcore_nodes.core.geofence import Geofence
    from flowcore_nodes.core.geofence_agent import GeofenceAgent
    from flowcore_nodes.core.http_in import HttpIn
    from flowcore_nodes.core.http_request import HttpRequest
    from flowcore_nodes.core.http_response import HttpResponse
    from flowcore_nodes.core.inject import Inject
    from flowcore_nodes.core.javascript import JavaScript
    from flowcore_nodes.core.jetstream_in import JetstreamIn
    from flowcore_nodes.core.jetstream_kv import JetstreamKv
    from flowcore_nodes.core.jetstream_object import JetstreamObject
    from flowcore_nodes.core.jetstream_out import JetstreamOut
    from flowcore_nodes.core.jetstream_watch import JetstreamWatch
    from flowcore_nodes.core.join import Join
    from flowcore_nodes.core.json import Json
    from flowcore_nodes.core.junction import Junction
    from flowcore_nodes.core.link_call import LinkCall
    from flowcore_nodes.core.link_in import LinkIn
    from flowcore_nodes.core.link_out import LinkOut
    from flowcore_nodes.core.msgpack import Msgpack
    from flowcore_nodes.core.nats_in import NatsIn
    from flowcore_nodes.core.nats_out import NatsOut
    from flowcore_nodes.core.nats_request import NatsRequest
    from flowcore_nodes.core.pattern import Pattern
    from flowcore_nodes.core.pattern_agent import PatternAgent
    from flowcore_nodes.core.range import Range
    from flowcore_nodes.core.rate import Rate
    from flowcore_nodes.core.redis_publish import RedisPublish
    from flowcore_nodes.core.redis_stream_in import RedisStreamIn
    from flowcore_nodes.core.redis_stream_out import RedisStreamOut
    from flowcore_nodes.core.redis_subscribe import RedisSubscribe
    from flowcore_nodes.core.retry import Retry
    from flowcore_nodes.core.s3_get import S3Get
    from flowcore_nodes.core.s3_put import S3Put
    from flowcore_nodes.core.schedule import Schedule
    from flowcore_nodes.core.sort import Sort
    from flowcore_nodes.core.split import Split
    from flowcore_nodes.core.sql_insert import SqlInsert
    from flowcore_nodes.core.sql_query import SqlQuery
    from flowcore_nodes.core.state_machine import StateMachine
    from flowcore_nodes.core.status import Status
    from flowcore_nodes.core.subflow_status import SubflowStatus
    from flowcore_nodes.core.switch import Switch
    from flowcore_nodes.core.sync import Sync
    from flowcore_nodes.core.tail import Tail
    from flowcore_nodes.core.template import Template
    from flowcore_nodes.core.threshold import Threshold
    from flowcore_nodes.core.threshold_agent import ThresholdAgent
    from flowcore_nodes.core.trigger import Trigger
    from flowcore_nodes.core.unit_conversion import UnitConversion
    from flowcore_nodes.core.validate import Validate
    from flowcore_nodes.core.webhook_out import WebhookOut
    from flowcore_nodes.core.websocket_client import WebsocketClient
    from flowcore_nodes.core.websocket_server import WebsocketServer
    from flowcore_nodes.core.xml import Xml
    from flowcore_nodes.core.yaml import Yaml
    from flowcore_nodes.core.zmq_in import ZmqIn
    from flowcore_nodes.core.zmq_out import ZmqOut

    return [
        Inject, Debug, Function, JavaScript, Expression, Template, Switch, Change, Deadband, Aggregate,
        Threshold, Json, Split, Join, Batch, Sort, Sync, Rate, DelayUntil, Trigger,
        Range, Filter, Counter, Validate, StateMachine, Retry, Buffer, Schedule, ContextGet, ContextSet,
        Geofence, Pattern, Features, Anomaly, UnitConversion,
        Csv, Xml, Yaml, Msgpack, Base64, Exec,
        FileIn, FileOut, FileWatch, Tail, NatsIn, NatsOut, NatsRequest,
        HttpIn, HttpResponse, HttpRequest, WebhookOut, WebsocketServer, WebsocketClient, SqlQuery, SqlInsert,
        EmailOut, EmailDigest, ChatOut,
        RedisStreamIn, RedisStreamOut, RedisSubscribe, RedisPublish, ZmqIn, ZmqOut,
        JetstreamIn, JetstreamOut, JetstreamKv, JetstreamWatch, JetstreamObject, S3Put, S3Get,
        Actions, ThresholdAgent, GeofenceAgent, PatternAgent,
        Catch, Status, Complete, SubflowStatus, LinkIn, LinkOut, LinkCall, Junction, Comment,
    ]  # fmt: skip
