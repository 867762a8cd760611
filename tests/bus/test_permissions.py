"""What a node's user may do, and that nothing else gets through; on a real server."""

import asyncio

import pytest
from nats.js.kv import KeyValue

from flowcore.bus import storage, subjects
from flowcore.bus.connection import Connection
from flowcore.bus.permissions import BadSubject, check_subject, fetch_rights, node_user

FLOW = "f"


def wire(producer, port, consumer, in_port, **more):
    return {"producer": producer, "port": port, "consumer": consumer, "in_port": in_port, "delivery": "reliable"} | more


A_B, B_C, X_C = wire("a", "out", "b", "in"), wire("b", "out", "c", "in"), wire("x", "out", "c", "in")
DURABLE = wire("d", "out", "b", "in", delivery="durable", durable={})


class Line:
    """a -> b -> c and d =durable=> b, with b's own connection; `heard` is all that anybody published."""

    async def open(self, server):
        self.host = Connection(server.url, user=server.host.name, password=server.host.password)
        await self.host.connect(5)
        self.js = self.host.jetstream()
        await storage.ensure(self.js)
        where = await storage.ensure_wire(self.js, FLOW, DURABLE)
        self.streams = {"d.out>b.in": vars(where)}
        self.user = node_user(FLOW, "b", wires_in=[A_B, DURABLE], wires_out=[B_C], streams=self.streams, context=True)
        others = [node_user(FLOW, "a", wires_out=[A_B]), node_user(FLOW, "c", wires_in=[B_C, X_C])]
        await server.set_users([server.host, self.user, *others])
        self.refused, self.heard = asyncio.Queue(), asyncio.Queue()
        self.b = Connection(
            server.url,
            user=self.user.name,
            password=self.user.password,
            inbox=self.user.inbox,
            on_refused=self.refused.put_nowait,
        )
        await self.b.connect(5)
        for root in ("flow.>", "wire.>", "flowcore.>"):
            await self.host.subscribe(root, lambda subject, data, reply, headers: self.heard.put_nowait(subject))
        await self.host.flush()

    async def close(self):
        await self.b.close()
        await self.host.close()


@pytest.fixture
async def line(server):
    line = Line()
    await line.open(server)
    yield line
    await line.close()


async def test_a_node_may_do_all_that_its_wires_need(line):
    """Out, events, acks up, offers down, given up; the durable wire's messages and acks; its state and context."""
    for subject in (
        subjects.out(FLOW, "b", "out"),
        subjects.event(FLOW, "b", "stats"),
        subjects.ack(FLOW, "a", "out", "b", "in"),
        subjects.offer(FLOW, "b", "out", "c", "in"),
        subjects.given_up(FLOW, "b"),
        "_INBOX.scada.answer",
    ):
        line.b.publish(subject, b"")
        if not subject.startswith("_INBOX"):
            assert await asyncio.wait_for(line.heard.get(), 2) == subject

    heard = asyncio.Queue()
    for subject in (
        subjects.out(FLOW, "a", "out"),
        subjects.offer(FLOW, "a", "out", "b", "in"),
        subjects.ack(FLOW, "b", "out", "c", "in"),
        subjects.into(FLOW, "b", "in"),
    ):
        await line.b.subscribe(subject, lambda subject, data, reply, headers: heard.put_nowait(subject))
        await line.b.flush()
        line.host.publish(subject, b"")
        assert await asyncio.wait_for(heard.get(), 2) == subject

    where = line.streams["d.out>b.in"]
    await line.js.publish(where["subject"], b"kept")
    pull = await line.b.jetstream().pull_subscribe_bind(where["consumer"], where["stream"])
    assert (await line.b.jetstream().consumer_info(where["stream"], where["consumer"])).num_pending == 1
    [message] = await pull.fetch(1, timeout=2)
    await message.ack_sync(timeout=2)

    for bucket, key in (("state", "f.b.a0"), ("context", "f.n"), ("context", "global.n")):
        values = KeyValue(bucket, f"KV_{bucket}", f"$KV.{bucket}.", line.b.jetstream(timeout=1), direct=True)
        await values.put(key, b"1")
        assert (await values.get(key)).value == b"1"
    assert line.refused.empty()


async def test_forgeries_are_refused_and_shown(line):
    """Another's output, ack, offer, state, stream, control and system requests: none gets through."""
    for subject in (
        subjects.out(FLOW, "a", "out"),
        subjects.ack(FLOW, "x", "out", "c", "in"),  # c's ack to x
        subjects.ack(FLOW, "b", "out", "c", "in"),  # c's ack to b itself
        subjects.offer(FLOW, "a", "out", "b", "in"),
        subjects.offer(FLOW, "x", "out", "c", "in"),
        subjects.into(FLOW, "c", "in"),
        subjects.event(FLOW, "c", "status"),
        subjects.log(FLOW, "d", "out", "b", "in"),
        "flow.g.b.out.out",
        "flowcore.control.deploy",
        subjects.given_up(FLOW, "c"),
        "$KV.state.f.c.a0",
        "$KV.flows.f",
        "$KV.context.g.n",
        "$JS.API.DIRECT.GET.KV_state.$KV.state.f.c.a0",
        "$JS.API.DIRECT.GET.KV_state",
        "$JS.API.STREAM.MSG.GET.KV_state",
        "$JS.API.STREAM.DELETE.KV_state",
        "$JS.API.CONSUMER.CREATE.KV_state",
        "$SYS.REQ.SERVER.PING",
        "_INBOX_f.c.answer",
        "_INBOX_host.answer",
    ):
        line.b.publish(subject, b"forged")
        assert f'"{subject.lower()}"' in await asyncio.wait_for(line.refused.get(), 2)
    assert line.heard.empty()


async def test_eavesdropping_is_refused(line):
    """Others' replies, inputs, acks and everything at once cannot be subscribed to."""
    for subject in ("_INBOX_f.c.>", "_INBOX.>", ">", "flow.f.c.in.>", "wire.>", "$KV.state.>", "flow.f.x.out.out"):
        await line.b.subscribe(subject, lambda *_: None)
        assert subject.lower() in await asyncio.wait_for(line.refused.get(), 2)


async def test_the_server_can_be_made_to_publish_and_the_frame_shows_it(line):
    """A known hole: reply subjects are not checked, so the server publishes a node's stored bytes where it may not.

    Such a frame has headers (a direct get) or is a PubAck; receivers of wire frames drop what has headers or a reply,
    and what is not a map or an array (`docs/wires.md`). This test keeps the reason for that rule true: should the
    server ever refuse it, the rule may go.
    """
    victim = subjects.ack(FLOW, "x", "out", "c", "in")
    frames = asyncio.Queue()
    await line.host.subscribe("wire.f.x.>", lambda *frame: frames.put_nowait(frame))
    await line.host.flush()
    values = KeyValue("state", "KV_state", "$KV.state.", line.b.jetstream(timeout=1), direct=True)
    await values.put("f.b.a0", b"\x81\xa3inc\x01")
    await line.b.client.publish("$JS.API.DIRECT.GET.KV_state.$KV.state.f.b.a0", b"", reply=victim)
    subject, data, _, headers = await asyncio.wait_for(frames.get(), 2)
    assert (subject, data) == (victim, b"\x81\xa3inc\x01") and headers
    await line.b.client.publish("$KV.state.f.b.a0", b"1", reply=victim)
    _, data, _, _ = await asyncio.wait_for(frames.get(), 2)
    assert data.startswith(b'{"stream"')


async def test_replicas_have_wires_of_their_own(server):
    """`c#1` acks and hears its own wire, not its sister's; the producer may offer to each."""
    shared = B_C | {"replicas": 2}
    one = node_user(FLOW, "c#1", wires_in=[shared])
    assert "wire.f.b.out.c.in-1.ack" in one.publish and "wire.f.b.out.c.in-0.ack" not in one.publish
    assert "wire.f.b.out.c.in-1.offer" in one.subscribe and one.inbox == "_INBOX_f.c#1"
    producer = node_user(FLOW, "b", wires_out=[shared])
    assert {"wire.f.b.out.c.in-0.offer", "wire.f.b.out.c.in-1.offer"} <= set(producer.publish)
    await server.set_users(
        [server.host, one, producer, node_user(FLOW, "sub:c", wires_in=[wire("b", "o", "sub:c", "in")])]
    )


def test_a_wire_between_two_flows_has_one_name():
    """Seen from either document the subjects are the same; the consumer's flow is in its token."""
    there = node_user("f", "a", wires_out=[wire("a", "out", "b", "in", to_flow="g")])
    here = node_user("g", "b", wires_in=[wire("a", "out", "b", "in", from_flow="f")])
    assert "wire.f.a.out.g/b.in.offer" in there.publish and "wire.f.a.out.g/b.in.offer" in here.subscribe
    assert "wire.f.a.out.g/b.in.ack" in here.publish and "flow.f.a.out.out" in here.subscribe


@pytest.mark.parametrize("subject", ["", "a..b", ".a", "a.", "a b", "a.>.b", "a.b*", 'a"b', "a\nb"])
def test_bad_subjects_are_refused_before_the_server_sees_them(subject):
    with pytest.raises(BadSubject):
        check_subject(subject)


@pytest.mark.parametrize("subject", ["a", "a.*.b", "a.>", ">", "$KV.x", "a/b.c:d=e"])
def test_good_subjects(subject):
    assert check_subject(subject) == subject


async def test_tensors_are_asked_for_along_the_wires_and_answered_there(line):
    """A consumer asks the port it is wired to, a producer answers its consumers and outsiders, and nobody else."""
    asked = asyncio.Queue()
    await line.host.subscribe("fetch.>", lambda subject, data, reply, headers: asked.put_nowait(subject))
    answered = asyncio.Queue()
    for inbox in ("_INBOX_f.c.>", "_INBOX_f.b.>", "_INBOX.>"):
        await line.host.subscribe(inbox, lambda subject, data, reply, headers: answered.put_nowait(subject))
    await line.host.flush()
    line.b.publish(subjects.fetch(FLOW, "a", "out", 7), b"")
    assert await asyncio.wait_for(asked.get(), 2) == "fetch.f.a.out.7"
    for reply in ("_INBOX_f.c.fetch.1", "_INBOX.scada.fetch.1"):
        line.b.publish(reply, b"")
        assert await asyncio.wait_for(answered.get(), 2) == reply
    for subject in (
        "fetch.f.a.other.7",
        "fetch.f.x.out.7",
        "fetch.f.d.out.7",
        "_INBOX_f.a.fetch.1",
        "_INBOX_f.c.other",
    ):
        line.b.publish(subject, b"")
        assert subject.lower() in await asyncio.wait_for(line.refused.get(), 2)
    assert asked.empty() and answered.empty()


@pytest.mark.parametrize(
    ("hears", "may_ask"),
    [
        (">", ["fetch.>"]),
        ("flow.>", ["fetch.*.*.*.*"]),
        ("flow.factory.>", ["fetch.factory.*.*.*"]),
        ("flow.factory.camera.>", ["fetch.factory.camera.*.*"]),
        ("flow.factory.camera.out.frame", ["fetch.factory.camera.frame.*"]),
        ("flow.*.camera.*.frame", ["fetch.*.camera.frame.*"]),
        ("flow.factory.camera.status", []),
        ("flow.factory.*.in.>", []),
        ("flow.factory", []),
        ("sensors.>", []),
    ],
)
def test_who_may_hear_a_port_may_ask_for_its_tensors(hears, may_ask):
    """And for no others."""
    assert fetch_rights([hears]) == may_ask
