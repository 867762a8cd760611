"""TCP and UDP nodes against real sockets, whose other end goes away and comes back."""

import asyncio
import contextlib
import socket

import pytest
from flowcore_nodes.iot.framing import FrameTooLong, FramingConfig, framed, frames
from flowcore_nodes.iot.tcp_in import TcpIn
from flowcore_nodes.iot.tcp_out import TcpOut
from flowcore_nodes.iot.tcp_request import TcpRequest
from flowcore_nodes.iot.udp_in import UdpIn
from flowcore_nodes.iot.udp_out import UdpOut
from flowcore_nodes.iot.udp_request import UdpRequest

from flowcore.node.testing import drive
from tests.certificates import make_certificate
from tests.ports import free_port


def is_up(node) -> bool:
    return bool(node.statuses) and node.statuses[-1][1] == "ok"


class Peer:
    """A TCP server that notes lines, answers as `answer` says, and can be cut and started again."""

    def __init__(self) -> None:
        self.port, self.lines = free_port(), []
        self.answer = lambda line: None
        self._writers, self._server = set(), None

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", self.port)

    async def _talk(self, reader, writer) -> None:
        self._writers.add(writer)
        with contextlib.suppress(OSError, EOFError):
            while line := await reader.readline():
                self.lines.append(line)
                if (answer := self.answer(line)) is not None:
                    writer.write(answer)
        writer.close()

    def cut(self) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()


@pytest.fixture
async def peer():
    made = Peer()
    await made.start()
    yield made
    made.cut()


@pytest.mark.parametrize(
    ("config", "contents", "blocks"),
    [
        ({"frame": "delimiter", "delimiter": "\\r\\n"}, [b"a\n", b"", b"c"], [b"a\n\r", b"\n\r\nc\r\n"]),
        ({"frame": "length", "length_bytes": 3}, [b"abc", b"def"], [b"a", b"bcde", b"f"]),
        ({"frame": "prefix", "prefix_bytes": 2}, [b"abc", b"", b"d"], [b"\0", b"\x03ab", b"c\0\0\0\x01d"]),
    ],
)
async def test_frames_are_found_however_the_bytes_come(config, contents, blocks):
    given, config = iter([*blocks, b""]), FramingConfig(**config)

    async def read(most):
        return next(given)

    assert [frame async for frame in frames(read, config)] == contents
    assert b"".join(framed(one, config) for one in contents) == b"".join(blocks)


@pytest.mark.parametrize("config", [{"frame": "delimiter"}, {"frame": "prefix", "prefix_bytes": 4}])
async def test_a_frame_without_an_end_is_refused(config):
    async def read(most):
        return b"x" * 600

    with pytest.raises(FrameTooLong, match="max_frame_bytes"):
        async for _ in frames(read, FramingConfig(max_frame_bytes=1000, **config)):
            pass


@pytest.mark.survives("iot/tcp-in", "asyncio sockets", "malformed data", "peer restart", "slow peer")
async def test_tcp_in_serves_many_and_answers_when_the_flow_is_done(tmp_path):
    """JSON lines, one that is none, one that is too long, one that never ends; with TLS."""
    cert, key = make_certificate(tmp_path)
    port = free_port()
    config = {"port": port, "format": "json", "confirm": "OK\\n", "max_frame_bytes": 100}
    async with drive(TcpIn, tls=True, tls_cert=str(cert), tls_key=str(key), **config) as node:
        await node.wait_for(lambda: is_up(node))
        import ssl

        context = ssl.create_default_context(cafile=cert)
        slow = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        slow[1].write(b'{"half"')
        too_long = await asyncio.open_connection("127.0.0.1", port, ssl=context)
        too_long[1].write(b"x" * 200)
        assert await too_long[0].read() == b""
        for _ in range(2):  # comes, goes, comes again
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
            writer.write(b'{"t": 1}\nbroken\n{"t": 2}\n')
            assert [await reader.readline() for _ in range(2)] == [b"OK\n"] * 2
            writer.close()
        slow[1].write(b": 1}\n")
        assert await slow[0].readline() == b"OK\n"
        assert await node.sent() == [{"t": 1}, {"t": 2}] * 2 + [{"half": 1}]
        assert [error["error"] for error in node.errors] == ["FrameTooLong", "ValueError", "ValueError"]
        about = node.messages()[-1].meta
        await node.put("hello", meta=about, port="reply")
        assert await slow[0].readline() == b"hello\n"
        await node.put("hello", meta={"tcp": {"connection": "7@nobody"}}, port="reply")
        assert "not there any more" in node.errors[-1]["text"]
        slow[1].close()
        await node.wait_for(lambda: "0 connections" in node.statuses[-1][0])


async def test_tcp_in_as_a_client_comes_back(peer):
    """A scale that says its weight to whoever connects."""
    server = await asyncio.start_server(lambda reader, writer: writer.write(b"12.5\n"), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with drive(TcpIn, mode="client", port=port) as node:
        assert await node.sent(1) == [12.5]
        server.close()
        server.close_clients() if hasattr(server, "close_clients") else None
    async with drive(TcpIn, mode="client", port=peer.port) as node:
        await node.wait_for(lambda: is_up(node))
        peer.cut()
        await node.wait_for(lambda: node.statuses[-1][1] == "error")
        await peer.start()
        await node.wait_for(lambda: is_up(node))


@pytest.mark.survives("iot/tcp-out", "asyncio sockets", "peer restart", "slow peer")
async def test_tcp_out_sends_again_what_was_not_confirmed(peer):
    peer.answer = lambda line: (
        b"OK\n" if peer.lines.count(line) > 1 or line != b"2\n" else b""
    )  # it does not answer to 2
    async with drive(TcpOut, port=peer.port, confirm="OK\\n", timeout_s=0.2) as node:
        await node.put(1, 2, 3)
        assert await node.sent() == [1, 2, 3]
        assert peer.lines == [b"1\n", b"2\n", b"2\n", b"3\n"]
        peer.cut()
        putting = asyncio.create_task(node.put(4))
        await node.wait_for(lambda: node.statuses[-1][1] == "error")
        assert not putting.done()
        await peer.start()
        await putting
        assert peer.lines[-1] == b"4\n" and is_up(node)


@pytest.mark.survives("iot/tcp-out", "asyncio sockets", "malformed data")
@pytest.mark.parametrize(
    ("framing", "wrong", "why", "whole"),
    [
        ({"frame": "length", "length_bytes": 3}, ["abcd", b"", {"a": 1}], "has 3 bytes", "12\n"),
        ({"frame": "prefix", "prefix_bytes": 1}, ["x" * 256], "too many for a prefix", "\n"),
        ({}, [float("nan"), {"a": [float("inf")]}], "", "ok"),
    ],
)
async def test_tcp_out_tells_what_it_cannot_frame(peer, framing, wrong, why, whole):
    """Nothing of it is written, and the next one goes its way."""
    async with drive(TcpOut, port=peer.port, **framing) as node:
        await node.put(*wrong, whole)
        await node.wait_for(lambda: peer.lines)
        assert b"".join(peer.lines).endswith(whole.strip().encode() + b"\n") and len(peer.lines) == 1
        assert [error["error"] for error in node.errors] == ["GiveUp"] * len(wrong)
        assert all(why in error["text"] for error in node.errors) and len(await node.sent()) == 1


async def test_tcp_out_without_confirmation_waits_for_its_peer(peer):
    async with drive(TcpOut, port=peer.port) as node:
        await node.put({"a": 1})
        peer.cut()
        await node.wait_for(lambda: node.statuses[-1][1] == "error")
        putting = asyncio.create_task(node.put("later"))
        await peer.start()
        await putting
        await node.wait_for(lambda: peer.lines == [b'{"a":1}\n', b"later\n"])


@pytest.mark.survives("iot/tcp-request", "asyncio sockets", "peer restart", "slow peer", "malformed data")
async def test_tcp_request_asks(peer):
    """A connection that has ended meanwhile, no answer, a broken one: each question gets its own answer."""
    peer.answer = lambda line: {b"slow\n": None, b"broken\n": b"{\n"}.get(line, b'{"for":"' + line.strip() + b'"}\n')
    async with drive(TcpRequest, port=peer.port, timeout_s=0.3, format="json") as node:
        await node.put("a")
        peer.cut()
        await peer.start()
        await node.put("b", "slow", "broken", "c")
        assert await node.sent() == [{"for": "a"}, {"for": "b"}, {"for": "c"}]
        assert [error["error"] for error in node.errors] == ["TimeoutError", "GiveUp"]
        peer.cut()
        await node.put("d")
        assert node.errors[-1]["error"] == "ConnectionRefusedError"


@pytest.mark.survives("iot/udp-in", "asyncio sockets", "malformed data")
@pytest.mark.survives("iot/udp-out", "asyncio sockets", "malformed data")
async def test_udp_in_and_out():
    """A datagram, one that can't be read, a flood; and one to a group."""
    port = free_port(socket.SOCK_DGRAM)
    async with drive(UdpIn, port=port, format="json") as node, drive(UdpOut, port=port) as sender:
        await node.wait_for(lambda: is_up(node))
        await sender.put({"a": 1}, "{broken", {"a": 2}, "x" * 70_000)
        assert await node.sent(2) == [{"a": 1}, {"a": 2}]
        assert "not JSON" in node.errors[0]["text"]
        assert "do not fit a datagram" in sender.errors[0]["text"]
        assert node.messages()[0].meta["udp"]["host"] == "127.0.0.1"
        async with drive(UdpOut, port=port, host={"$message": "meta.to"}) as sender:
            await sender.put({"a": 3}, meta={"to": "nowhere"})
            await sender.put(float("nan"), meta={"to": "127.0.0.1"})
            await sender.put({"a": 4}, meta={"to": "127.0.0.1"})
            assert [error["error"] for error in sender.errors] == ["GiveUp"] * 2
            assert "IPv4 address" in sender.errors[0]["text"]
        assert (await node.sent(3))[-1] == {"a": 4}
    group = {"group": "239.7.7.7", "interface": "127.0.0.1"}
    async with drive(UdpIn, port=port, **group) as node:
        await node.wait_for(lambda: is_up(node))
        async with drive(UdpOut, port=port, host="239.7.7.7", interface="127.0.0.1") as sender:
            await sender.put("to all")
        assert await node.sent(1) == ["to all"]


@pytest.mark.survives("iot/udp-request", "asyncio sockets", "peer restart", "slow peer", "malformed data")
async def test_udp_request_asks_again():
    """The first datagram is not answered, the second is; an answer from somebody else is none."""
    loop, heard = asyncio.get_running_loop(), []

    class Server(asyncio.DatagramProtocol):
        def connection_made(self, transport):
            self.transport = transport

        def datagram_received(self, data, addr):
            heard.append(data)
            if data == b"odd" or heard.count(data) > 1:
                with socket.socket(type=socket.SOCK_DGRAM) as stranger:
                    stranger.sendto(b"false", addr)
                self.transport.sendto(b"\xff" if data == b"odd" else b"answer to " + data, addr)

    transport, _ = await loop.create_datagram_endpoint(Server, local_addr=("127.0.0.1", 0))
    port = transport.get_extra_info("sockname")[1]
    async with drive(UdpRequest, port=port, timeout_s=0.1, answer_format="text") as node:
        await node.put("x", "odd")
        assert await node.sent() == ["answer to x"]
        transport.close()
        await node.put("y")
        assert [error["error"] for error in node.errors] == ["GiveUp", "TimeoutError"]
        transport, _ = await loop.create_datagram_endpoint(Server, local_addr=("127.0.0.1", port))
        await node.put("z", topic="")
        assert (await node.sent())[-1] == "answer to z"
        transport.close()
