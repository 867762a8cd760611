"""Outsiders: their rights on the real server, with NATS and with MQTT."""

import asyncio
import stat

import nats
import nats.errors
import paho.mqtt.client as mqtt
import pytest

from flowcore.bus.access import AccessStore, BadAccess, UnknownUser, subject_of_topic
from flowcore.bus.connection import Connection
from tests.outsiders import settled


async def test_an_outsider_has_its_rights_and_no_others(server, tmp_path):
    """It hears and says what it was given, requests with its own inbox, and cannot read another's replies."""
    store = AccessStore(tmp_path)
    password = store.add("scada", subscribe=["flow.factory.>"], publish=["flow.factory.hmi.in.>"])
    await server.set_users([server.host, *store.users()])
    host = Connection(server.url, user=server.host.name, password=server.host.password)
    await host.connect(5)
    refused = asyncio.Queue()

    async def on_error(error):
        refused.put_nowait(str(error))

    scada = await nats.connect(
        server.url, user="scada", password=password, inbox_prefix="_INBOX.scada", error_cb=on_error, pedantic=True
    )
    feed = await scada.subscribe("flow.factory.>")
    await settled(scada)
    host.publish("flow.factory.hot.out.out", b"1")
    assert (await feed.next_msg(timeout=2)).data == b"1"

    await host.subscribe("flow.factory.hmi.in.x", lambda subject, data, reply, headers: host.publish(reply, b"done"))
    await host.flush()
    assert (await scada.request("flow.factory.hmi.in.x", b"{}", timeout=2)).data == b"done"
    await host.subscribe("fetch.factory.>", lambda subject, data, reply, headers: host.publish(reply, b"a frame"))
    await host.flush()
    assert (await scada.request("fetch.factory.camera.frame.7", b"", timeout=2)).data == b"a frame"

    for subject in (
        "flow.factory.hot.out.out",
        "flowcore.deploy",
        "fetch.other.camera.frame.7",
        "$JS.API.STREAM.LIST",
        "wire.factory.a.out.b.in.ack",
    ):
        await scada.publish(subject, b"")
        assert subject.lower() in await asyncio.wait_for(refused.get(), 2)
    for subject in ("_INBOX.>", "_INBOX.other.>", "wire.>", "flow.other.>", "$SYS.>"):
        await scada.subscribe(subject)
        assert subject.lower() in await asyncio.wait_for(refused.get(), 2)
    await scada.close()
    await host.close()


async def test_a_removed_outsider_is_cut_off(server, tmp_path):
    """The connection ends with the right to it, and a new one is refused; the file never held the password."""
    store = AccessStore(tmp_path)
    password = store.add("scada", subscribe=["flow.>"])
    assert password not in (tmp_path / "access.json").read_text()
    assert stat.S_IMODE((tmp_path / "access.json").stat().st_mode) == 0o600
    await server.set_users([server.host, *store.users()])
    cut = asyncio.Event()

    async def on_cut():
        cut.set()

    async def quiet(error):
        pass

    scada = await nats.connect(server.url, user="scada", password=password, disconnected_cb=on_cut, error_cb=quiet)
    store.remove("scada")
    await server.set_users([server.host, *store.users()])
    await asyncio.wait_for(cut.wait(), 2)
    await scada.close()
    with pytest.raises(nats.errors.Error):
        await nats.connect(server.url, user="scada", password=password, allow_reconnect=False, error_cb=quiet)


class Device:
    """An ordinary MQTT client; what happens to it is queued."""

    def __init__(self, server, user, password, **options):
        loop = asyncio.get_running_loop()
        self.happened = asyncio.Queue()

        def tell(*what):
            loop.call_soon_threadsafe(self.happened.put_nowait, what)

        self.client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, client_id=f"device-{user}", **options)
        self.client.username_pw_set(user, password)
        self.client.on_connect = lambda c, u, flags, code, p: tell("connected", str(code))
        self.client.on_disconnect = lambda c, u, flags, code, p: tell("disconnected", str(code))
        self.client.on_message = lambda c, u, m: tell("message", m.topic, m.payload, m.qos)
        self.client.on_publish = lambda c, u, mid, code, p: tell("published", mid)
        self.client.on_subscribe = lambda c, u, mid, codes, p: tell("subscribed", [code.value for code in codes])
        self.client.connect_async("127.0.0.1", server.mqtt_port)
        self.client.loop_start()

    async def next(self, kind):
        async with asyncio.timeout(30):
            while (what := await self.happened.get())[0] != kind:
                pass
        return what[1:]

    def close(self):
        self.client.disconnect()
        self.client.loop_stop()


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_a_device_publishes_and_hears_with_each_quality(server, tmp_path, qos):
    """Topic a/b is subject a.b; both ways, at QoS 0, 1 and 2, with rights given as topics."""
    store = AccessStore(tmp_path)
    password = store.add(
        "press", subscribe=["press/+/set", "press/all/#"], publish=["press/1/#", "press/all/x"], mqtt=True
    )
    await server.set_users([server.host, *store.users()])
    host = Connection(server.url, user=server.host.name, password=server.host.password)
    await host.connect(5)
    heard = asyncio.Queue()
    await host.subscribe("press.>", lambda subject, data, reply, headers: heard.put_nowait((subject, data)))
    await host.flush()

    device = Device(server, "press", password)
    assert (await device.next("connected"))[0] == "Success"
    device.client.subscribe([("press/+/set", qos), ("press/all/#", qos)])
    assert await device.next("subscribed") == ([qos, qos],)
    device.client.publish("press/1/temp", b"21", qos=qos)
    await device.next("published")
    assert await asyncio.wait_for(heard.get(), 2) == ("press.1.temp", b"21")
    host.publish("press.1.set", b"5")  # from plain NATS it arrives at QoS 0
    assert await device.next("message") == ("press/1/set", b"5", 0)
    device.client.publish("press/all/x", b"6", qos=qos)
    assert await device.next("message") == ("press/all/x", b"6", qos)
    device.close()
    await host.close()


async def test_a_device_gets_no_further_than_its_rights(server, tmp_path):
    """A foreign subscription is refused with 128; a foreign publish reaches nobody; its user is no NATS user."""
    store = AccessStore(tmp_path)
    password = store.add("press", subscribe=["press/+/set"], publish=["press/1/#"], mqtt=True)
    other = store.add("scada", subscribe=["flow.>"])
    await server.set_users([server.host, *store.users()])
    host = Connection(server.url, user=server.host.name, password=server.host.password)
    await host.connect(5)
    heard = asyncio.Queue()
    for root in ("flow.>", "press.>", "wire.>"):
        await host.subscribe(root, lambda subject, data, reply, headers: heard.put_nowait(subject))
    await host.flush()

    device = Device(server, "press", password)
    await device.next("connected")
    device.client.subscribe([("flow/#", 0), ("press/2/temp", 1), ("press/+/set", 0)])
    assert await device.next("subscribed") == ([128, 128, 0],)
    for topic in ("flow/factory/hot/in/in", "wire/f/a/out/b/in/ack", "press/2/temp"):
        device.client.publish(topic, b"forged", qos=0)
    device.client.publish("press/1/temp", b"mine", qos=0)
    assert await asyncio.wait_for(heard.get(), 2) == "press.1.temp"
    device.close()

    with pytest.raises(nats.errors.Error):
        await nats.connect(server.url, user="press", password=password, allow_reconnect=False, error_cb=_quiet)
    stranger = Device(server, "scada", other)
    assert (await stranger.next("connected"))[0] == "Not authorized"
    stranger.close()
    await host.close()


async def _quiet(error):
    pass


def test_access_that_cannot_be(tmp_path):
    """Names that are ours, subjects that are none, and a user that could do nothing are refused, with the reason."""
    store = AccessStore(tmp_path)
    for name in ("", "a b", "factory.hot", "flowcore-system", "host"):
        with pytest.raises(BadAccess, match="user name"):
            store.add(name, subscribe=["flow.>"])
    with pytest.raises(BadAccess, match="empty token"):
        store.add("a", subscribe=["flow..x"])
    with pytest.raises(BadAccess, match="could do nothing"):
        store.add("a")
    with pytest.raises(UnknownUser, match="there are: none"):
        store.remove("a")
    assert store.list() == []
    (tmp_path / "access.json").write_text("{")
    with pytest.raises(BadAccess, match="damaged"):
        store.list()


def test_topics_as_subjects():
    assert subject_of_topic("sensors/+/env") == "sensors.*.env" and subject_of_topic("#") == ">"
    for topic in ("/a", "a//b", "a.b", "a b", "a/"):
        with pytest.raises(BadAccess):
            subject_of_topic(topic)


async def test_a_device_keeps_its_session_and_retained_messages(server, tmp_path):
    """Limited users need no rights to the server's own subjects for retained messages and persistent sessions."""
    store = AccessStore(tmp_path)
    password = store.add("press", subscribe=["press/#"], publish=["press/#"], mqtt=True)
    sender = store.add("sender", publish=["press/#"], mqtt=True)
    await server.set_users([server.host, *store.users()])

    device = Device(server, "press", password, clean_session=False)
    await device.next("connected")
    device.client.subscribe("press/#", 1)
    await device.next("subscribed")
    device.close()
    other = Device(server, "sender", sender)
    await other.next("connected")
    other.client.publish("press/while-away", b"1", qos=1)
    await other.next("published")
    other.client.publish("press/retained", b"2", qos=1, retain=True)
    await other.next("published")
    other.close()
    device = Device(server, "press", password, clean_session=False)
    got = {(await device.next("message"))[0], (await device.next("message"))[0]}
    assert got == {"press/while-away", "press/retained"}
    device.close()


async def test_a_refused_publish_of_a_device_is_dropped_though_confirmed(server, tmp_path):
    """MQTT 3.1.1 has no word for a refusal: the server confirms, and nobody hears it; its log has a line."""
    store = AccessStore(tmp_path)
    password = store.add("press", publish=["press/#"], mqtt=True)
    await server.set_users([server.host, *store.users()])
    host = Connection(server.url, user=server.host.name, password=server.host.password)
    await host.connect(5)
    heard = asyncio.Queue()
    for root in ("other.>", "press.>"):
        await host.subscribe(root, lambda subject, data, reply, headers: heard.put_nowait(subject))
    await host.flush()
    device = Device(server, "press", password)
    await device.next("connected")
    for topic in ("other/x", "press/x"):
        device.client.publish(topic, b"", qos=1)
        await device.next("published")
    assert await asyncio.wait_for(heard.get(), 2) == "press.x"
    assert 'Subject "other.x"' in (server.folder / "server.log").read_text()
    device.close()
    await host.close()
