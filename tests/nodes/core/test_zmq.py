"""ZeroMQ nodes with each other and with plain pyzmq sockets, which come, go, and send rubbish."""

import asyncio
import socket
import time

import pytest
from flowcore_nodes.core.zmq_in import ZmqIn
from flowcore_nodes.core.zmq_out import ZmqOut

from flowcore.node.testing import drive

zmq = pytest.importorskip("zmq")

BOTH, PEER = "core/zmq-in, core/zmq-out", "pyzmq sockets"


@pytest.fixture
def address():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{sock.getsockname()[1]}"


@pytest.fixture
def context():
    """Of another program."""
    pytest.importorskip("zmq.asyncio")
    made = zmq.asyncio.Context()
    yield made
    made.destroy(linger=0)


def has_peer(node) -> bool:
    text = node.statuses[-1][0] if node.statuses else ""
    return text.startswith("connected") or "1 peer" in text


@pytest.mark.survives(BOTH, PEER, "malformed data", "slow peer")
@pytest.mark.parametrize(
    ("sends", "takes", "binds"), [("push", "pull", True), ("pub", "sub", True), ("req", "rep", False)]
)
async def test_messages_go_from_a_flow_to_another(address, sends, takes, binds):
    """In order, with their topics; what is not in the format is told where it arrives."""
    ours, theirs = {"address": address, "bind": binds}, {"address": address, "bind": not binds}
    async with (
        drive(ZmqIn, pattern=takes, format="json", in_flight=5, **theirs) as node,
        drive(ZmqOut, pattern=sends, format="text", **ours) as out,
    ):
        await node.wait_for(lambda: has_peer(node) and has_peer(out))
        if sends == "pub":  # what nobody asked for yet is gone
            while not node.messages():
                await out.put("0", topic="first")
                await asyncio.sleep(0.01)
            node.clear()
        await out.put(*range(300), topic="press")
        await out.put("{")
        await out.put("300", topic="last")
        got = [one for one in await node.sent_messages(301) if one.topic != "first"]
        assert [one.payload for one in got] == list(range(301)) and {one.topic for one in got} == {"press", "last"}
        assert "not JSON" in node.errors[-1]["text"]
        assert ("not JSON" in str(out.errors)) == (sends == "req")


async def test_other_programs_speak_and_listen(address, context):
    """REQ and REP, PUSH with one frame and with three, a request without an empty frame."""
    async with drive(ZmqIn, pattern="rep", address=address, bind=True) as node:
        asks = context.socket(zmq.REQ)
        asks.connect(address)
        await asks.send_multipart([b"press", b'{"t": 21.5}'])
        assert await asks.recv() == b"OK"
        await asks.send_multipart([b"raw"])
        assert await asks.recv() == b"OK"
        rubbish = context.socket(zmq.DEALER)
        rubbish.connect(address)
        await rubbish.send_multipart([b"no", b"envelope"])
        await node.wait_for(lambda: "no empty frame before" in str(node.errors))
        assert [(one.topic, one.payload) for one in node.messages()] == [("press", {"t": 21.5}), (address, "raw")]
    async with drive(ZmqIn, pattern="pull", address=address, bind=True) as node:
        pushes = context.socket(zmq.PUSH)
        pushes.connect(address)
        await pushes.send_multipart([b"topic", b"1", b"\xff"])
        await pushes.send_multipart([b""])
        assert await node.sent(2) == [[1, b"\xff"], ""]
    answers = context.socket(zmq.REP)
    answers.bind(address)
    async with drive(ZmqOut, pattern="req", address=address, timeout_s=0.5) as out:
        putting = asyncio.create_task(out.put({"n": 1}, "no", topic="a"))
        assert await answers.recv_multipart() == [b"a", b'{"n":1}']
        await answers.send(b"yes")
        assert await answers.recv_multipart() == [b"a", b"no"]
        await answers.send(b"ERROR: not here")
        await putting
        assert await out.sent() == [{"n": 1}] and "ERROR: not here" in out.errors[-1]["text"]
        putting = asyncio.create_task(out.put("late"))
        assert await answers.recv_multipart() == [b"", b"late"]
        await asyncio.sleep(1.2)  # longer than timeout_s: it is asked again
        await answers.send(b"yes")
        await putting
        assert await answers.recv_multipart() == [b"", b"late"]


@pytest.mark.survives(BOTH, PEER, "peer restart")
@pytest.mark.parametrize("pattern", ["push", "req"])
async def test_messages_wait_while_nobody_is_there(address, pattern):
    """The other flow goes and comes back, within 2 s; confirmed messages are each there, the others wait."""
    config = {"pattern": {"push": "pull", "req": "rep"}[pattern], "address": address, "bind": True}
    async with drive(ZmqOut, pattern=pattern, address=address) as out:
        async with drive(ZmqIn, **config) as node:
            await out.put(*range(50))
            await node.sent(50)
        await out.wait_for(lambda: out.statuses[-1][1] == "error")
        putting = asyncio.create_task(out.put(*range(50, 100)))
        await asyncio.sleep(0.3)
        assert not putting.done() and len(out.errors) <= 2 and "nobody is there" in out.errors[-1]["text"]
        back_s = time.monotonic()
        async with drive(ZmqIn, **config) as node:
            assert await node.sent(50) == list(range(50, 100))
            await putting
            assert time.monotonic() - back_s < 2.0 and out.statuses[-1][1] == "ok"


@pytest.mark.survives(BOTH, PEER, "wrong password")
async def test_only_who_has_a_key_gets_in(address, context):
    """CURVE: the right key gets in; a stranger's, or none, is told so and tried again."""
    (public, secret), (ours, ours_secret) = zmq.curve_keypair(), zmq.curve_keypair()
    lock = {"secret_key": secret.decode(), "allow": [ours.decode()]}
    key = {"peer_key": public.decode(), "secret_key": ours_secret.decode()}
    async with drive(ZmqIn, pattern="rep", address=address, bind=True, curve=lock) as node:
        async with drive(ZmqOut, pattern="req", address=address, curve=key) as out:
            await out.put(1)
            assert await node.sent(1) == [1]
        for wrong in ({"peer_key": public.decode()}, {}):
            async with drive(ZmqOut, pattern="req", address=address, curve=wrong) as out:
                putting = asyncio.create_task(out.put(2))
                await out.wait_for(lambda out=out: out.statuses and out.statuses[-1][1] == "error")
                assert not putting.done() and len(node.messages()) == 1
                putting.cancel()


async def test_a_taken_port_is_waited_for(address, context):
    taken = context.socket(zmq.PULL)
    taken.bind(address)
    async with drive(ZmqIn, address=address, bind=True) as node:
        await node.wait_for(lambda: node.statuses and node.statuses[-1][1] == "error")
        taken.close()
        await node.wait_for(lambda: node.statuses[-1][1] == "ok")
        assert len(node.errors) == 1 and "in use" in node.errors[0]["text"]


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"address": "http://a:1"}, "must be tcp://"),
        ({"address": "tcp://*:1", "bind": True, "curve": {"peer_key": "x" * 40}}, "side that connects"),
        ({"address": "tcp://a:1", "curve": {"allow": ["x" * 40]}}, "side that binds"),
        ({"address": "tcp://a:1", "curve": {"secret_key": "short"}}, "40 characters"),
    ],
)
async def test_wrong_settings_are_refused(config, why):
    with pytest.raises(ValueError, match=why):
        async with drive(ZmqIn, **config):
            pass
