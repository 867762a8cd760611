"""Example flows for what is out of doors and on microcontrollers, on a real host with real MQTT and HTTP."""

import asyncio
import contextlib
import hashlib
import hmac
import json

import aiohttp
import aiomqtt
import cv2
import numpy as np
from aiohttp import web
from aiosmtpd.controller import Controller
from flowcore_nodes.iot.simulated import truck

from flowcore.bus.envelope import pack, unpack
from flowcore.simulate.devices import make
from flowcore.simulate.player import Broker, Player
from tests.flows.test_flows import deploy, example, json_lines
from tests.ports import free_port


async def test_the_cold_chain_books_rounds_and_tells_people(host, tmp_path, monkeypatch):
    """Trucks of a seed, in a hurry: each enters, stays and leaves; what gets warm and stays open is told."""
    monkeypatch.setattr(truck, "SPEED_M_S", 3000.0)
    monkeypatch.setattr(truck, "STOP_S", 2.0)
    told: asyncio.Queue[tuple[str, bytes, str]] = asyncio.Queue()

    async def listen(request):
        body = await request.read()
        told.put_nowait((request.path, body, request.headers.get("X-Hub-Signature-256", "")))
        return web.json_response({"ok": True})

    loop, mails = asyncio.get_running_loop(), []

    class Mailbox:
        async def handle_DATA(self, server, session, envelope):
            loop.call_soon_threadsafe(mails.append, envelope.content.decode())
            return "250 taken"

    mailbox = Controller(Mailbox(), "127.0.0.1", free_port())
    mailbox.start()
    app = web.Application()
    app.router.add_post("/{path:.*}", listen)
    runner = web.AppRunner(app)
    await runner.setup()
    port, book = free_port(), tmp_path / "book.jsonl"
    await web.TCPSite(runner, "127.0.0.1", port).start()
    host.secrets.set("telegram-bot", "123:abc")
    host.secrets.set("coldchain-hook", "a key")
    env = {
        "LIMIT_C": -19.7, "CLEAR_C": -19.8, "HOLD_S": 0.1, "DOOR_S": 0.3, "DWELL_S": 0.5, "BOOK": str(book),
        "HOOK": f"http://127.0.0.1:{port}/alarms", "CHAT": f"http://127.0.0.1:{port}", "MAIL_HOST": "127.0.0.1",
        "MAIL_PORT": mailbox.port,
    }  # fmt: skip
    await deploy(host, example("coldchain", **env))
    trucks = make("trucks", 2, seed=4)
    broker = Broker("127.0.0.1", host.bus.server.mqtt_port, host.bus.user, host.bus.password)
    playing = asyncio.create_task(Player(broker, trucks, rate_hz=20).run())

    def has_gone_round(lines: list[dict]) -> bool:
        seen = [(line.get("thing"), line.get("event")) for line in lines]
        return all(seen.count((one.name, event)) >= 2 for one in trucks for event in ("enter", "dwell"))

    lines = await json_lines(book, has_gone_round)
    for one in trucks:  # what it is in it leaves before it is in the next
        mine = [(line["event"], line["area"]) for line in lines if line.get("thing") == one.name]
        crossings = [each for each in mine if each[0] != "dwell"]
        assert [event for event, _ in crossings[:3]] == ["enter", "exit", "enter"]
        assert crossings[0][1] == crossings[1][1] != crossings[2][1]
    wanted = {"stands at", "is at", "is open"}
    async with asyncio.timeout(30):
        while wanted:
            path, body, signature = await told.get()
            wanted = {text for text in wanted if text not in body.decode()}
            if path == "/alarms":
                assert signature == "sha256=" + hmac.new(b"a key", body, hashlib.sha256).hexdigest()
            else:
                assert path == "/bot123:abc/sendMessage" and json.loads(body)["chat_id"] == "@trucks"
        while not mails:  # noqa: ASYNC110 - it comes from another thread
            await asyncio.sleep(0.05)
    assert "To: quality@example.org" in mails[0]
    playing.cancel()
    mailbox.stop()
    await runner.cleanup()


async def test_microcontrollers_send_msgpack_and_jpegs(host, tmp_path):
    """A bearing that begins to rattle is in the book; something moves before two cameras, by MQTT and by HTTP."""
    port, book = free_port(), tmp_path / "book.jsonl"
    seen: dict[str, list[dict]] = {}
    moved = asyncio.Event()

    def note(subject: str, data: bytes, *_) -> None:
        for envelope in unpack(data):
            seen.setdefault(envelope["payload"]["source"], []).append(envelope["payload"])
        both = [any(one["detections"] for one in ones) for ones in seen.values()]
        if len(both) == 2 and all(both):
            moved.set()

    await host.bus.connection.subscribe("flow.esp32.motion.out.out", note)
    await deploy(host, example("esp32", PORT=port, BOOK=str(book)))
    url = f"http://127.0.0.1:{port}/esp32/gate"
    time_s, noise = np.arange(256) / 1000, np.random.default_rng(3)
    bus = host.bus
    mqtt = aiomqtt.Client("127.0.0.1", bus.server.mqtt_port, username=bus.user, password=bus.password)
    async with mqtt as esp, aiohttp.ClientSession() as camera, asyncio.timeout(60):
        while True:  # until they listen
            with contextlib.suppress(aiohttp.ClientConnectionError):
                async with camera.post(url, data=jpeg(0)) as answer:
                    if answer.status == 200:
                        break
            await asyncio.sleep(0.05)
        while "subscribed" not in str(host.status("esp32")) and "connected" not in str(host.status("esp32")):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        for window in range(12):
            rattle = 0.0 if window < 10 else 2.0
            wave = np.sin(2 * np.pi * 47 * time_s) + rattle * np.sin(2 * np.pi * 300 * time_s)
            wave += noise.normal(0, 0.05, 256)
            for at in range(0, 256, 64):
                packed = pack({"accel": [float(one) for one in wave[at : at + 64]]})
                await esp.publish("esp32/pump/vibration", packed, qos=1)
        for step in range(8):
            coded = jpeg(step)
            for at in range(0, len(coded), 700):
                await esp.publish("esp32/door/jpeg", coded[at : at + 700], qos=1)
            form = aiohttp.FormData()
            form.add_field("image", coded, filename="a.jpg", content_type="image/jpeg")
            async with camera.post(url, data=form) as answer:
                assert answer.status == 200
        (unusual, *_) = await json_lines(book, lambda lines: len(lines) >= 1)
        assert unusual["key"] == "esp32/pump/vibration" and unusual["value"] > unusual["high"]
        await moved.wait()
    assert set(seen) == {"esp32/door/jpeg", "/esp32/gate"}


def jpeg(step: int) -> bytes:
    """Something bright that moves."""
    image = np.full((120, 160, 3), 60, np.uint8)
    cv2.rectangle(image, (10 + step * 12, 40), (40 + step * 12, 80), (240, 240, 240), -1)
    return cv2.imencode(".jpg", image)[1].tobytes()
