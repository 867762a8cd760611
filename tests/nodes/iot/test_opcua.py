"""OPC UA nodes against asyncua's server, a process of its own that is killed, stopped and started again."""

import asyncio
import contextlib
import os
import signal
from pathlib import Path

import pytest

pytest.importorskip("asyncua")

from asyncua import ua
from asyncua.crypto.cert_gen import setup_self_signed_certificate
from cryptography.x509.oid import ExtendedKeyUsageOID
from flowcore_nodes.iot.opcua import plain, typed
from flowcore_nodes.iot.opcua_read import OpcuaRead
from flowcore_nodes.iot.opcua_subscribe import OpcuaSubscribe
from flowcore_nodes.iot.opcua_write import OpcuaWrite

from flowcore.node.testing import drive
from tests.nodes.iot.opcua_process import LINE, PEER, Server, values


class Line:
    """A network between node and server that can be cut, and swallow what the server says."""

    def __init__(self, port: int) -> None:
        self._port, self._ways, self._is_cut, self.is_deaf = port, [], False, False

    async def __aenter__(self) -> "Line":
        self._server = await asyncio.start_server(self._carry, "127.0.0.1", 0)
        self.url = f"opc.tcp://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/plant"
        return self

    async def __aexit__(self, *_) -> None:
        self.cut()
        self._server.close()

    async def _carry(self, reader, writer) -> None:
        if self._is_cut:
            return writer.transport.abort()
        there = await asyncio.open_connection("127.0.0.1", self._port)
        self._ways += [writer, there[1]]

        async def way(source, sink) -> None:
            with contextlib.suppress(OSError):
                while data := await source.read(65536):
                    if not (self.is_deaf and sink is writer):
                        sink.write(data)
            sink.close()

        await asyncio.gather(way(reader, there[1]), way(there[0], writer))

    def cut(self) -> None:
        self._is_cut = True
        for writer in self._ways:
            writer.transport.abort()

    def mend(self) -> None:
        self._is_cut = self.is_deaf = False


@pytest.fixture(scope="module")
def server():
    """One for all tests, which leave it running: it takes seconds to start."""
    made = Server()
    yield made
    made.kill()


def is_up(node) -> bool:
    return bool(node.statuses) and node.statuses[-1][1] == "ok"


def is_away(node) -> bool:
    return bool(node.statuses) and node.statuses[-1][1] == "error"


@pytest.mark.survives("iot/opcua-read", PEER, "peer restart", "slow peer", "malformed data")
async def test_values_are_read_whatever_happens_to_the_server(server):
    """Each type; a node that is not there and one that is bad; a server killed, and one that stands still."""
    names = ("speed", "set", "label", "on", "since", "points", "name")
    read = {
        "speed": 1.5, "set": 20, "label": "Hello", "on": True, "since": "2026-03-01T00:00:00.000+00:00",
        "points": [1.0, 2.0], "name": "Press",
    }  # fmt: skip
    config = {"url": server.url, "timeout_s": 0.5}
    async with drive(OpcuaRead, server=config, values=values(*names), every_s=0.05) as node:
        assert (await node.sent(1))[0] == read
        assert node.messages()[0].meta["times"]["speed"].endswith("+00:00")
        server.kill()
        await node.wait_for(lambda: is_away(node))
        server.start()
        await node.wait_for(lambda: is_up(node))
        os.kill(server.process.pid, signal.SIGSTOP)
        await node.wait_for(lambda: is_away(node))
        os.kill(server.process.pid, signal.SIGCONT)
        await node.wait_for(lambda: is_up(node))
        assert (await node.sent(len(node.messages()) + 1))[-1] == read
        assert [error["error"] for error in node.errors] == ["ConnectionError"] * 2
    wrong = [
        *values("speed", "broken", "missing"), {"name": "far", "node": "nsu=http://nobody;s=x"},
        {"name": "clock", "node": "i=2258"},
    ]  # fmt: skip
    async with drive(OpcuaRead, server=config, values=wrong, every_s=0) as node:
        await node.wait_for(lambda: is_up(node))
        await node.put("now")
        (got,) = node.messages()
        assert set(got.payload) == {"speed", "clock"} and got.payload["clock"].startswith("20")
        errors = got.meta["errors"]
        assert "BadSensorFailure" in errors["broken"] and "BadNodeIdUnknown" in errors["missing"]
        assert "no namespace" in errors["far"] and "3 values can't be read" in node.statuses[-1][0]


@pytest.mark.survives("iot/opcua-write", PEER, "peer restart", "slow peer", "malformed data")
async def test_values_are_written_and_wait_for_the_server(server):
    names = ("speed", "set", "label", "on", "since", "points", "name", "locked", "missing")
    config = {"url": server.url, "timeout_s": 0.5}
    new = {
        "speed": 2, "set": -5, "label": "Bye", "on": False, "since": "2026-03-01T12:00:00+01:00", "points": [3, 4.5],
        "name": "Mill",
    }  # fmt: skip
    async with drive(OpcuaWrite, server=config, values=values(*names)) as node:
        await node.put(new)
        assert await node.sent() == [new]
        wrong = {
            "does not fit Int16": {"speed": 99, "set": 40000}, "no value 'other'": {"other": 1}, "a map is needed": 5,
            "whole number": {"set": 1.5}, "true or false": {"on": "yes"}, "a text": {"label": 7},
            "Invalid isoformat": {"since": "now"}, "locked: Bad": {"locked": 2}, "BadNodeIdUnknown": {"missing": 1},
        }  # fmt: skip
        await node.put(*wrong.values())
        assert len(node.errors) == len(wrong)
        for error, why in zip(node.errors, wrong, strict=True):
            assert why in error["text"]
        async with drive(OpcuaRead, server=config, values=values(*new), every_s=0) as reader:
            await reader.wait_for(lambda: is_up(reader))
            await reader.put(None)
            (read,) = await reader.sent()
            assert read == {**new, "since": "2026-03-01T11:00:00.000+00:00"}
        server.kill()
        putting = asyncio.create_task(node.put({"set": 1}))
        await node.wait_for(lambda: is_away(node))
        server.start()
        await putting
        assert len(await node.sent()) == 2 and is_up(node)
        os.kill(server.process.pid, signal.SIGSTOP)
        putting = asyncio.create_task(node.put({"set": 2}, {"label": "on"}))
        await node.wait_for(lambda: is_away(node))
        assert not putting.done()
        os.kill(server.process.pid, signal.SIGCONT)
        await putting
        assert (await node.sent())[2:] == [{"set": 2}, {"label": "on"}] and is_up(node)


@pytest.mark.survives("iot/opcua-subscribe", PEER, "peer restart", "malformed data")
async def test_changes_are_told_and_a_server_that_forgot_says_what_was_missed(server, tmp_path):
    """Each change of a counter; a value that turns bad; a server that is started anew."""
    config = {"url": server.url, "timeout_s": 0.5}
    watched = values("counter", "speed", "missing", "broken")
    kept = {"extras": {"data_folder": tmp_path}}
    async with drive(OpcuaSubscribe, server=config, values=watched, publish_ms=50, **kept) as node:
        await node.wait_for(lambda: len(counts(node)) > 20)
        before = counts(node)
        assert before == list(range(before[0], before[0] + len(before)))
        bad = await node.sent(1, port="bad")
        assert (bad[0]["name"], bad[0]["status"]) == ("broken", "BadSensorFailure")
        assert [error["text"] for error in node.errors if "missing: BadNodeIdUnknown" in error["text"]]
        await server.write("speed", ua.DataValue(ua.Variant(7.5), ua.StatusCode(0x480)))
        missed = await node.sent(1, port="missed")
        assert missed == [{"reason": "overflow", "name": "speed"}]
        speed = [one for one in node.messages("out") if one.topic == "speed"][-1]
        assert speed.payload == 7.5 and speed.meta["opcua"]["node"] == LINE + "speed"
        node.clear()
        server.kill()
        await node.wait_for(lambda: is_away(node))
        server.start()
        (missed,) = await node.sent(1, port="missed")
        assert missed["reason"] == "forgotten" and missed["seconds"] > 0.1 and missed["from"] < missed["to"]
        await node.wait_for(lambda: len(counts(node)) > 5)


@pytest.mark.survives("iot/opcua-subscribe", PEER, "killed in between", "slow peer")
async def test_a_subscription_outlives_cut_lines_and_restarts_and_nothing_is_missed(server, tmp_path):
    """The server keeps what changes, and what it had sent into the void is asked for again."""
    got: list[int] = []
    async with Line(server.port) as line:
        config = {"server": {"url": line.url, "timeout_s": 0.5}, "publish_ms": 50, "queue": 500}
        config |= {"values": values("counter"), "extras": {"data_folder": tmp_path}}
        async with drive(OpcuaSubscribe, **config) as node:
            await node.wait_for(lambda: len(counts(node)) > 5)
            for _ in range(3):
                line.cut()
                await node.wait_for(lambda: is_away(node))
                line.mend()
                await node.wait_for(lambda: is_up(node))
                heard = len(counts(node))
                await node.wait_for(lambda heard=heard: len(counts(node)) > heard + 5)
            os.kill(server.process.pid, signal.SIGSTOP)
            await node.wait_for(lambda: is_away(node))
            os.kill(server.process.pid, signal.SIGCONT)
            await node.wait_for(lambda: is_up(node))
            got += counts(node)
            assert node.messages("missed") == []
        async with drive(OpcuaSubscribe, **config) as node:
            await node.wait_for(lambda: len(counts(node)) > 20)
            got += counts(node)
            assert node.messages("missed") == []
    assert sorted({*got}) == list(range(got[0], max(got) + 1))


async def test_what_the_server_no_longer_has_is_told(server, tmp_path):
    """Sent into the void, and forgotten there when the line is back."""
    async with Line(server.port) as line:
        config = {"server": {"url": line.url, "timeout_s": 0.5}, "publish_ms": 50, "queue": 500}
        config |= {"values": values("counter"), "extras": {"data_folder": tmp_path}}
        async with drive(OpcuaSubscribe, **config) as node:
            await node.wait_for(lambda: len(counts(node)) > 5)
            line.is_deaf = True
            await asyncio.sleep(0.3)  # several times what it takes to tell something
            os.kill(server.process.pid, signal.SIGUSR1)
            await server.write("set", 20, ua.VariantType.Int16)  # it has answered: it has forgotten by now
            line.cut()
            await node.wait_for(lambda: is_away(node))
            line.mend()
            (missed,) = await node.sent(1, port="missed")
            assert missed["reason"] == "gap" and missed["count"] >= 1
            heard = len(counts(node))
            await node.wait_for(lambda: len(counts(node)) > heard + 5)
            assert node.messages("missed")[1:] == []


def counts(node) -> list[int]:
    return [one.payload for one in node.messages("out") if one.topic == "counter"]


@pytest.fixture(scope="module")
def secured(tmp_path_factory):
    """A server with a certificate, and one of our own beside it."""
    folder = tmp_path_factory.mktemp("opcua")
    for name, usage in (("server", ExtendedKeyUsageOID.SERVER_AUTH), ("client", ExtendedKeyUsageOID.CLIENT_AUTH)):
        files = folder / f"{name}.key", folder / f"{name}.der"
        asyncio.run(setup_self_signed_certificate(*files, f"urn:plant:{name}", "localhost", [usage], {}))
    made = Server(folder)
    yield made, folder
    made.kill()


def let_in(folder: Path, **more) -> dict:
    """What a node's `server` needs for the secured one, but for its url."""
    return {
        "security": "sign_and_encrypt", "timeout_s": 2, "user": "plant", "password": "secret",
        "certificate": str(folder / "client.der"), "key": str(folder / "client.key"),
        "server_certificate": str(folder / "server.der"), **more,
    }  # fmt: skip


@pytest.mark.survives("iot/opcua-read", PEER, "wrong password")
@pytest.mark.parametrize(
    ("security", "policy"), [("sign_and_encrypt", "Basic256Sha256"), ("sign", "Aes256Sha256RsaPss")]
)
async def test_certificates_and_passwords(secured, security, policy):
    """Signed and encrypted; a wrong password, a key of another, a file that is not there, no security."""
    server, folder = secured
    config = let_in(folder, url=server.url, security=security, policy=policy)
    async with drive(OpcuaRead, server=config, values=values("speed"), every_s=0.05) as node:
        assert (await node.sent(1)) == [{"speed": 1.5}]
    wrong = [
        ({"password": "wrong"}, "BadUserAccessDenied"),
        ({"certificate": str(folder / "none.der")}, "No such file"),
        ({"key": str(folder / "server.key")}, ""),
        ({"security": "none"}, ""),
    ]
    for change, why in wrong:
        async with drive(OpcuaRead, server=config | change, values=values("speed"), every_s=0.05) as node:
            await node.wait_for(lambda node=node: is_away(node))
            assert node.messages() == []
            assert why in node.statuses[-1][0] and node.messages() == []


@pytest.mark.survives("iot/opcua-write", PEER, "wrong password")
@pytest.mark.survives("iot/opcua-subscribe", PEER, "wrong password")
async def test_with_a_wrong_password_nothing_is_written_and_nothing_heard(secured, tmp_path):
    """Both say why and try again; with the right one what waited is written, and changes are told."""
    server, folder = secured
    wrong, right = (let_in(folder, url=server.url, password=one) for one in ("wrong", "secret"))
    heard = {"values": values("speed"), "publish_ms": 50, "extras": {"data_folder": tmp_path}}
    async with (
        drive(OpcuaWrite, server=wrong, values=values("speed")) as node,
        drive(OpcuaSubscribe, server=wrong, **heard) as listener,
    ):
        putting = asyncio.create_task(node.put({"speed": 4.5}))
        for one in (node, listener):
            await one.wait_for(lambda one=one: is_away(one) and "BadUserAccessDenied" in one.statuses[-1][0])
            assert [error["error"] for error in one.errors] == ["ConnectionError"]
        assert not putting.done() and listener.messages("out") == []
        putting.cancel()
    async with (
        drive(OpcuaWrite, server=right, values=values("speed")) as node,
        drive(OpcuaSubscribe, server=right, **heard) as listener,
    ):
        await node.put({"speed": 4.5})
        await listener.wait_for(lambda: [one.payload for one in listener.messages("out")][-1:] == [4.5])
        await node.put({"speed": 1.5})


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({"values": []}, "at least 1"),
        ({"values": values("a", "a")}, "twice: a"),
        ({"values": [{"name": "a", "node": "speed"}]}, "no node id"),
        ({"values": [{"name": "a", "node": "ns=x;i=1"}]}, "no node id"),
        ({"values": [{"name": "a", "node": "g=123"}]}, "no node id"),
        ({"values": [{"name": "a", "node": "b=abc"}]}, "no node id"),
        ({"values": [{"name": "a", "node": "i=4294967296"}]}, "at most 4294967295"),
        ({"values": values("a"), "server": {"url": "http://x"}}, "opc.tcp://host:port"),
        ({"values": values("a"), "server": {"url": "opc.tcp://me:secret@x"}}, "no user"),
        ({"values": values("a"), "server": {"security": "sign"}}, "certificate and key"),
        ({"values": values("a"), "server": {"security": "sign", "certificate": "c", "key": "k"}}, "insecure"),
    ],
)
@pytest.mark.parametrize("node_class", [OpcuaRead, OpcuaWrite, OpcuaSubscribe])
async def test_wrong_settings_are_refused(node_class, config, why):
    with pytest.raises(ValueError, match=why):
        async with drive(node_class, **config):
            pass


def test_values_travel_and_come_back():
    """Limits of the types; what has no form of its own is text or a map."""
    assert typed(255, "Byte") == 255 and typed(2**64 - 1, "UInt64") == 2**64 - 1 and typed(-128, "SByte") == -128
    for value, kind in (
        (256, "Byte"),
        (-1, "UInt32"),
        (2**63, "Int64"),
        (1e39, "Float"),
        (True, "Int16"),
        (1, "Variant"),
    ):
        with pytest.raises(ValueError):
            typed(value, kind)
    assert plain(float("nan")) is None and plain(ua.NodeId("x", 2)) == "ns=2;s=x"
    assert plain("W\udce4rme") == "W\N{REPLACEMENT CHARACTER}rme" and plain("Wärme") == "Wärme"
    assert plain(ua.LocalizedText(None)) is None and plain(ua.LocalizedText("Press")) == "Press"
    assert plain(ua.Range(1.0, 2.0)) == {"Low": 1.0, "High": 2.0}
