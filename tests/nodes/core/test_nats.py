"""NATS in and out, on a real server."""

import asyncio
import json

import msgpack
import pytest
from flowcore_nodes.core.bus_subject import check_subject, fits_subject
from flowcore_nodes.core.nats_in import NatsIn
from flowcore_nodes.core.nats_out import NatsOut
from flowcore_nodes.core.nats_request import NatsRequest
from pydantic import ValidationError

from flowcore.node.bus_access import BusAccess
from flowcore.node.testing import drive


async def listening(node, connection):
    await node.wait_for(lambda: node.statuses)
    await connection.flush()


async def test_nats_in_takes_what_is_published(connect):
    outside, own = await connect(), await connect()
    async with drive(NatsIn, extras={"bus": BusAccess(own)}, subject="plant.*.temp") as node:
        await listening(node, own)
        for subject, content in (
            ("plant.a.temp", b'{"t": 1}'),
            ("plant.b.temp", b"warm"),
            ("plant.c.temp", b"\xff\x00"),
        ):
            outside.publish(subject, content)
        outside.publish("plant.a.b.temp", b"not this")
        assert await node.sent(3) == [{"t": 1}, "warm", b"\xff\x00"]
        assert [message.topic for message in node.messages()] == ["plant.a.temp", "plant.b.temp", "plant.c.temp"]


async def test_what_does_not_decode_is_an_error_and_the_next_comes(connect):
    outside, own = await connect(), await connect()
    async with drive(NatsIn, extras={"bus": BusAccess(own)}, subject="x", format="msgpack") as node:
        await listening(node, own)
        outside.publish("x", b"\xc1")
        outside.publish("x", msgpack.packb({"a": b"b"}))
        assert await node.sent(1) == [{"a": b"b"}]
        assert "x: not msgpack" in node.errors[0]["text"]
        outside.publish("x", msgpack.packb(msgpack.ExtType(1, b"a handle")))
        outside.publish("x", msgpack.packb("x" * 300_000))
        outside.publish("x", msgpack.packb(1))
        assert (await node.sent(2))[1] == 1
        assert "extension type 1 is not taken from outside" in node.errors[1]["text"]
        assert "the limit is 262144" in node.errors[2]["text"]


async def test_a_queue_group_shares_and_a_flood_is_bounded(connect):
    outside = await connect()
    owns = [await connect(), await connect()]
    drives = [drive(NatsIn, extras={"bus": BusAccess(own)}, subject="q", queue_group="g") for own in owns]
    async with drives[0] as one, drives[1] as two:
        for node, own in zip((one, two), owns, strict=True):
            await listening(node, own)
        for n in range(100):
            outside.publish("q", b"%d" % n)

        def all_came():
            return len(one.messages()) + len(two.messages()) == 100

        await one.wait_for(all_came)
        assert sorted(await one.sent() + await two.sent()) == list(range(100))
        assert one.messages() and two.messages()


async def test_nats_out_publishes_in_each_format(connect):
    outside, own = await connect(), await connect()
    arrived = asyncio.Queue()
    await outside.subscribe("cmd.>", lambda subject, data, reply, headers: arrived.put_nowait((subject, data)))
    await outside.flush()
    for form, payload, content in (
        ("json", {"a": 1}, b'{"a":1}'),
        ("msgpack", {"a": b"1"}, msgpack.packb({"a": b"1"})),
        ("text", 5, b"5"),
        ("bytes", b"\x00", b"\x00"),
        ("auto", "as it is", b"as it is"),
    ):
        async with drive(NatsOut, extras={"bus": BusAccess(own)}, subject="cmd.x", format=form) as node:
            await node.put(payload)
            assert await asyncio.wait_for(arrived.get(), 5) == ("cmd.x", content)
    async with drive(NatsOut, extras={"bus": BusAccess(own)}, subject="cmd.>") as node:
        await node.put(1, topic="cmd.pump.on")
        assert await asyncio.wait_for(arrived.get(), 5) == ("cmd.pump.on", b"1")
        await node.put(1, topic="other.pump")
        await node.put(1, topic="wire.a.b")
        await node.put(float("nan"), topic="cmd.x")
        assert [error["text"].split(":")[0] for error in node.errors] == [
            "topic 'other.pump' does not fit the subject 'cmd.>'",
            "the topic must be the subject",
            "this payload can't be written as json",
        ]


async def test_a_request_brings_its_answer(connect):
    outside, own = await connect(), await connect(inbox="_INBOX_test.node")

    def answer(subject, data, reply, headers):
        outside.publish(reply, json.dumps({"got": json.loads(data)}).encode())

    await outside.subscribe("ask.me", answer)
    await outside.flush()
    bus = {"bus": BusAccess(own)}
    async with drive(NatsRequest, extras=bus, subject="ask.me") as node:
        await node.put(5, topic="x", meta={"mine": 1})
        (message,) = node.messages()
        assert (message.payload, message.topic, message.meta) == ({"got": 5}, "ask.me", {"mine": 1})
    async with drive(NatsRequest, extras=bus, subject="nobody", timeout_s=0.2) as node:
        await node.put(5)
        assert "no answer on nobody" in node.errors[0]["text"]
    async with drive(NatsRequest, extras=bus, subject="ask.>", answer_format="bytes", format="text") as node:
        await node.put("7", topic="ask.me")
        await node.put("7", topic="other")
        await node.put({"a": b"1"}, topic="ask.me")
        assert await node.sent() == [b'{"got": 7}']
        assert "does not fit the subject" in node.errors[0]["text"]
    async with drive(NatsRequest, extras=bus, subject="ask.me", answer_format="msgpack") as node:
        await node.put(5)
        assert "the answer of ask.me is not msgpack" in node.errors[0]["text"]


async def test_many_requests_are_under_way_at_once_and_a_lost_one_holds_up_nobody(connect):
    outside, own = await connect(), await connect(inbox="_INBOX_test.node")
    asked: list[tuple[bytes, str]] = []

    def collect(subject, data, reply, headers):
        asked.append((data, reply))
        if len(asked) == 20:  # the answers come the other way round, and one never does
            for question, inbox in reversed(asked):
                if question != b"7":
                    outside.publish(inbox, question)

    await outside.subscribe("ask", collect)
    await outside.flush()
    settings = {"concurrency": 20}
    async with drive(
        NatsRequest, extras={"bus": BusAccess(own)}, settings=settings, subject="ask", timeout_s=1
    ) as node:
        await node.put(*range(20))
        answers = await node.sent(19)
        assert sorted(answers) == [n for n in range(20) if n != 7] and answers[0] == 19
        assert [error["message"]["payload"] for error in node.errors] == [7]


async def test_a_flow_answers_a_request_of_a_program_outside(connect):
    outside, own = await connect(), await connect()
    bus = {"bus": BusAccess(own)}
    async with drive(NatsIn, extras=bus, subject="ask") as asked, drive(NatsOut, extras=bus, to="reply") as answers:
        await listening(asked, own)
        asking = asyncio.create_task(outside.request("ask", b"5", timeout=5))
        (message,) = await asked.sent_messages(1)
        await answers.put(message.payload * 2, meta=message.meta)
        assert await asking == b"10"
        await answers.put(1, meta={"reply": "wire.f.a.out.b.in.ack"})
        await answers.put(1)
        assert ["no meta.reply" in error["text"] for error in answers.errors] == [True, True]


async def test_a_reply_subject_of_the_engine_is_never_handed_on(connect):
    outside, own = await connect(), await connect()
    async with drive(NatsIn, extras={"bus": BusAccess(own)}, subject="ask") as node:
        await listening(node, own)
        await outside.client.publish("ask", b"1", reply="wire.f.a.out.b.in.ack")
        (message,) = await node.sent_messages(1)
        assert message.meta == {}


@pytest.mark.parametrize(
    "subject",
    [
        "",
        "a..b",
        "a b",
        "a.>.b",
        "a*",
        ">",
        "*.a",
        "wire.f.>",
        "$JS.API.>",
        "$KV.x",
        "flowcore.deploy",
        "_INBOX.x",
        "_INBOX_h.x",
    ],
)
def test_subjects_that_a_flow_may_not_use_are_refused(subject):
    with pytest.raises(ValidationError):
        NatsIn.Config(subject=subject)
    for node in (NatsOut, NatsRequest):
        with pytest.raises(ValidationError):
            node.Config(subject=subject)


def test_of_the_flows_own_subjects_only_inputs_may_be_written():
    assert check_subject("flow.f.n.in.p", may_write=True)
    assert check_subject("flow.>", may_write=False)
    for subject in ("flow.f.n.out.p", "flow.>", "flow.f.n.error", "flow.f.n.in.>.x"):
        with pytest.raises(ValueError):
            check_subject(subject, may_write=True)


def test_subjects_fit_patterns_as_in_nats():
    for subject, pattern, fits in (
        ("a.b", "a.*", True),
        ("a.b.c", "a.*", False),
        ("a.b.c", "a.>", True),
        ("a", "a.>", False),
        ("a.b", "a.b", True),
        ("a", "a.b", False),
    ):
        assert fits_subject(subject, pattern) is fits


def test_settings_that_can_not_work_are_refused():
    with pytest.raises(ValidationError, match="needs a subject"):
        NatsOut.Config()
    with pytest.raises(ValidationError, match="Field required"):
        NatsRequest.Config()
