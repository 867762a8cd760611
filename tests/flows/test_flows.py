"""Every example flow is valid, runs on a real host, and does what its description says."""

import asyncio
import contextlib
import json
import math
import os
import re
import socket
import sys
import tty
from pathlib import Path

import aiohttp
import aiomqtt
import pytest
from aiohttp import web
from aiosmtpd.controller import Controller
from asyncua import Client
from flowcore_nodes.iot.simulated import machine
from flowcore_nodes.vision.conveyor import Conveyor
from pymodbus.client import AsyncModbusTcpClient

from flowcore.bus.envelope import unpack
from flowcore.flow.format import format_flow
from flowcore.runtime.control.nodes import StatusRequest, status
from flowcore.runtime.host import Host
from flowcore.simulate.devices import At, make
from flowcore.simulate.player import Broker, Player
from tests.ports import free_port

FLOWS = sorted(
    path for path in (Path(__file__).parents[2] / "flows").glob("*.json") if not path.name.endswith(".test.json")
)


def example(name: str, **env) -> dict:
    """An example flow, with other values in its env."""
    (path,) = [path for path in FLOWS if path.stem == name]
    document = json.loads(path.read_text())
    document["env"] = document.get("env", {}) | env
    return document


async def deploy(host: Host, document: dict) -> None:
    result = await host.documents.deploy(json.dumps(document), f"{document['id']}.json")
    assert not result.failed and not result.problems, result


async def json_lines(path: Path, enough, timeout: float = 40.0) -> list[dict]:
    """The lines of a file, once `enough(lines)`."""
    return await whole_lines(path, enough, json.loads, timeout)


async def whole_lines(path: Path, enough, read=str, timeout: float = 40.0) -> list:
    """What `read` makes of the whole lines of a file, once `enough(lines)`."""
    async with asyncio.timeout(timeout):
        while True:
            text = path.read_text() if path.exists() else ""
            lines = [read(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]
            if enough(lines):
                return lines
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("path", FLOWS, ids=lambda path: path.stem)
def test_the_file_reads_as_a_deploy_writes_it(path):
    """A deploy from the editor writes the file back: that must make no difference."""
    assert path.read_text() == format_flow(json.loads(path.read_text()))


@pytest.mark.parametrize("path", FLOWS, ids=lambda path: path.stem)
async def test_is_valid(host, path):
    """Not even a warning."""
    for name in re.findall(r'"\$secret": "([^"]+)"', path.read_text()):
        host.secrets.set(name, "a secret")
    assert not host.documents.check(path.read_text(), path.name).problems


async def test_the_factory_cools_what_runs_hot(host, tmp_path, monkeypatch):
    """The loop is closed: hot machines raise an alarm, get the command, cool down, and the alarm clears."""
    monkeypatch.setattr(machine, "HEATING_S", 3.0)  # small machines: they warm up and cool down quickly
    events = tmp_path / "events.jsonl"
    await deploy(host, example("factory", LIMIT_C=55, CLEAR_C=54, WINDOW_S=0.5, EVENTS=str(events)))
    machines = make("machines", 2, seed=4)
    broker = Broker("127.0.0.1", host.bus.server.mqtt_port, host.bus.user, host.bus.password)
    said: asyncio.Queue[str] = asyncio.Queue()
    player = Player(broker, machines, rate_hz=20, on_event=said.put_nowait)
    playing = asyncio.create_task(player.run())

    def has_cooled(lines: list[dict]) -> bool:
        states = {(line["key"], line["state"]) for line in lines if line["alarm"] == "temperature"}
        return {(one.name, state) for one in machines for state in ("raised", "cleared")} <= states

    lines = await json_lines(events, has_cooled)
    for one in machines:
        heat = [line for line in lines if line["key"] == one.name and line["alarm"] == "temperature"]
        assert [line["state"] for line in heat[:2]] == ["raised", "cleared"]
        assert heat[0]["value"] > 55 and heat[1]["value"] <= 54
    async with asyncio.timeout(10):
        assert "cooling on" in await said.get()
        while "cooling off" not in await said.get():
            pass
    playing.cancel()


async def test_the_factory_counts_parts_from_pixels(host):
    """A belt that no model was trained on: every part is counted as what it is."""
    belt = {"seed": 9007, "fps": 5, "parts_per_s": 1.5}
    document = example("factory", BELT="sim://conveyor?" + "&".join(f"{key}={one}" for key, one in belt.items()))
    branch = [node for node in document["nodes"] if node["ui"]["y"] >= 660]
    ids = {node["id"] for node in branch}
    wires = [wire | {"delivery": "reliable"} for wire in document["wires"] if wire["to"].partition(".")[0] in ids]
    for node in branch:
        if node["id"] == "belt":
            node["config"] |= {"pace": "consumer", "frames": 120}
    shown: asyncio.Queue[bytes] = asyncio.Queue()
    await host.bus.connection.subscribe("flow.factory.counts.debug", lambda _, data, *__: shown.put_nowait(data))
    await deploy(host, document | {"nodes": branch, "wires": wires})
    counts: dict = {}
    passed = {name: number for name, number in Conveyor(**belt).passed(0, 119).items() if number}
    async with asyncio.timeout(90):
        while counts.get("truth") != passed or sum(counts["seen"].values()) < sum(passed.values()):
            counts = unpack(await shown.get())["value"]
    assert counts["seen"] == passed and sum(passed.values()) > 20
    print(f"counted from pixels {counts['seen']}, drawn {passed}")


async def test_numbers_sums_ten_at_a_time(host, tmp_path):
    """Each number of the file is in one summary, and what is no number is left out."""
    source, summary = FLOWS[0].parent / "numbers.txt", tmp_path / "summary.jsonl"
    await deploy(host, example("numbers", FILE=str(source), SUMMARY=str(summary)))
    numbers = [float(line) for line in source.read_text().split() if line != "n/a"]
    lines = await json_lines(summary, lambda lines: len(lines) >= len(numbers) // 10)
    assert [line["count"] for line in lines] == [10] * len(lines)
    assert sum(line["sum"] for line in lines) == pytest.approx(sum(numbers[: len(lines) * 10]))


async def test_hello_greets(host):
    """The script runs, and counts."""
    shown: asyncio.Queue[str] = asyncio.Queue()
    await host.bus.connection.subscribe(
        "flow.hello.show.debug", lambda subject, data, *_: shown.put_nowait(unpack(data))
    )
    await deploy(host, example("hello"))
    async with asyncio.timeout(20):
        for n in (1, 2):
            assert (await shown.get())["value"] == f"hello world, for the {n}. time"


async def test_resilience_books_every_order_or_says_why_not(host, tmp_path):
    """Orders that fail are tried again and booked; no order is booked twice."""
    book = tmp_path / "book.jsonl"
    await deploy(host, example("resilience", BOOK=str(book)))
    lines = await json_lines(book, lambda lines: len(lines) >= 10)
    orders = [line["order"] for line in lines]
    assert len(set(orders)) == len(orders)


async def test_meters_make_an_overview(host):
    """What programs outside publish comes back as one map, at a change that counts."""
    said: asyncio.Queue[dict] = asyncio.Queue()
    await host.bus.connection.subscribe("plant.overview", lambda subject, data, *_: said.put_nowait(json.loads(data)))
    await deploy(host, example("meters"))
    async with asyncio.timeout(20):  # what is published before it listens is for nobody
        while "listening" not in str(host.status("meters")):  # noqa: ASYNC110 - the host tells nobody
            await asyncio.sleep(0.02)
    for room, kw in (("hall", 3.2), ("office", 1.0), ("hall", 3.25), ("hall", 4.0)):
        host.bus.connection.publish(f"plant.{room}.power", json.dumps({"kw": kw}).encode())
    async with asyncio.timeout(20):
        assert await said.get() == {"plant.hall.power": 3.2, "plant.office.power": 1.0}
        assert await said.get() == {"plant.hall.power": 4.0, "plant.office.power": 1.0}


async def test_packing_packs_each_order_once(host, tmp_path):
    """What was split up is together again, heavy items first; weight and photo of an order find each other."""
    book = tmp_path / "book.jsonl"
    shown: asyncio.Queue[dict] = asyncio.Queue()
    await host.bus.connection.subscribe("flow.packing.both.out.out", lambda subject, data, *_: shown.put_nowait(data))
    await deploy(host, example("packing", BOOK=str(book), PER_S=100))
    lines = await json_lines(book, lambda lines: len(lines) >= 3)
    assert [[item["item"] for item in line] for line in lines[:3]] == [["axle", "bracket", "bolt", "washer"]] * 3
    async with asyncio.timeout(20):
        assert set(unpack(await shown.get())[0]["payload"]) == {"weight", "photo"}


async def test_kiln_reports_what_is_too_hot(host, tmp_path):
    """JavaScript decodes, Python converts and filters, the template writes."""
    report = tmp_path / "report.txt"
    document = example("kiln", REPORT=str(report))
    document["nodes"][0]["config"]["every_s"] = 0.05
    await deploy(host, document)
    for line in await whole_lines(report, lambda lines: len(lines) >= 5):
        found = re.fullmatch(r"kiln/1, poll (\d+): ([\d.]+) °F, ([\d.]+) above the limit\n", line)
        assert found, line
        now_f = round((1255 + 30 * math.sin(int(found[1]))) * 1.8 + 32, 1)
        assert float(found[2]) == now_f > 2300
        assert float(found[3]) == pytest.approx(now_f - 2300, abs=0.051)


async def test_stations_have_their_parts_inspected_as_they_say(host, tmp_path):
    """Each part is in the book once for each station, judged by its own inspection; the instances show their counts."""
    book = tmp_path / "book.jsonl"
    await deploy(host, example("stations", BOOK=str(book)))
    lines = await json_lines(book, lambda lines: len(lines) >= 20)
    allowed_g = {"Press": 1, "Lathe": 3}
    assert {line["station"] for line in lines} == set(allowed_g)
    for line in lines:
        assert line["good"] == (abs(line["grams"] - 100) <= allowed_g[line["station"]]), line
    parts = [(line["station"], line["part"]) for line in lines]
    assert len(set(parts)) == len(parts)
    [flow] = (await status(host, StatusRequest(flow="stations"))).flows
    assert {one.instance: "good" in one.text for one in flow.instances} == {"press": True, "lathe": True}


async def test_press_counts_strokes_in_batches(host, tmp_path):
    """A pressure that rises and falls becomes strokes, each counted once."""
    batches = tmp_path / "batches.jsonl"
    await deploy(host, example("press", STROKE_MS=1000, BATCH=2, BATCHES=str(batches)))
    lines = await json_lines(batches, lambda lines: len(lines) >= 2)
    assert [line["strokes"] for line in lines[:2]] == [2, 2]
    assert {line["state"] for line in lines} == {"pressing"}


async def test_inbox_reads_what_is_dropped_there(host, tmp_path):
    """Good rows are written on, the bad one is told."""
    told: asyncio.Queue[dict] = asyncio.Queue()
    await host.bus.connection.subscribe(
        "flow.inbox.wrong.debug", lambda subject, data, *_: told.put_nowait(unpack(data))
    )
    await deploy(host, example("inbox", INBOX=str(tmp_path / "in"), OUT=str(tmp_path / "out"), EVERY_S=1))
    async with asyncio.timeout(30):
        (reason,) = (await told.get())["value"]
        assert (reason["check"], reason["path"]) == ("schema", "payload.pieces")
        xml = tmp_path / "out" / "orders.xml"
        while not xml.exists() or len(xml.read_text().splitlines()) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    assert xml.read_text().splitlines()[:2] == [
        "<order><order>A-1</order><pieces>12</pieces><price>2.5</price></order>",
        "<order><order>B-1</order><pieces>3</pieces><price>120</price></order>",
    ]


async def test_commands_asks_again_until_somebody_answers(host, tmp_path):
    """What nobody answered waits aside, and none of it is lost."""
    log, answers = tmp_path / "load.log", tmp_path / "answers.jsonl"
    await deploy(host, example("commands", LOG=str(log), ANSWERS=str(answers), EVERY_S=0.3))
    waiting: asyncio.Queue[dict] = asyncio.Queue()
    await host.bus.connection.subscribe(
        "flow.commands.again.status", lambda subject, data, *_: waiting.put_nowait(unpack(data))
    )
    async with asyncio.timeout(30):
        while (await waiting.get())["text"] != "2 wait":
            pass
    await host.bus.connection.subscribe(
        "advice.load", lambda subject, data, reply, headers: host.bus.connection.publish(reply, b'{"load":%s}' % data)
    )
    lines = await json_lines(answers, lambda lines: len(lines) >= 4)
    logged = log.read_text().splitlines()
    assert all(line["load"] in logged for line in lines)


async def test_orders_are_answered_when_the_warehouse_has_them(host, tmp_path):
    """Real HTTP: seven http-in, -request, -response and -out nodes, each a process, on one port."""
    book, port = tmp_path / "book.jsonl", free_port()
    await deploy(host, example("orders", PORT=port, WAREHOUSE=f"http://127.0.0.1:{port}", BOOK=str(book)))
    async with aiohttp.ClientSession(f"http://127.0.0.1:{port}") as shop, asyncio.timeout(40):

        async def answer(method: str, path: str, **body) -> tuple[int, dict]:
            while True:
                with contextlib.suppress(aiohttp.ClientConnectionError):  # until all of them listen
                    async with shop.request(method, path, **body) as said:
                        if said.status not in (404, 405, 503):
                            return said.status, await said.json()
                await asyncio.sleep(0.05)

        assert await answer("GET", "/stock") == (200, {"bolts": 120, "nuts": 80})
        for order in range(3):
            assert await answer("POST", "/orders", json={"order": order, "pieces": 1}) == (200, {"done": True})
    assert [line["order"] for line in await json_lines(book, lambda lines: len(lines) >= 3)] == [0, 1, 2]


async def test_hall_shows_devices_and_prints_what_the_page_says(host, tmp_path):
    """TCP, UDP, a pseudo-terminal and WebSocket, each with a real other end."""
    fd, other = os.openpty()
    tty.setraw(other)
    printed: asyncio.Queue[bytes] = asyncio.Queue()

    async def printer(reader, writer):
        while line := await reader.readline():
            printed.put_nowait(line)

    async def numbers(reader, writer):
        while line := await reader.readline():
            writer.write(b"No. 7: " + line)

    printing = await asyncio.start_server(printer, "127.0.0.1", 0)
    numbering = await asyncio.start_server(numbers, "127.0.0.1", 0)
    scale_port, beacon_port, page_port = (free_port() for _ in range(3))
    ports = {
        "SCALE_PORT": scale_port, "BEACON_PORT": beacon_port, "PAGE_PORT": page_port, "LAMP_PORT": free_port(),
        "PRINTER_PORT": printing.sockets[0].getsockname()[1], "CLOCK_PORT": numbering.sockets[0].getsockname()[1],
    }  # fmt: skip
    await deploy(host, example("hall", READER=os.ttyname(other), **ports))
    async with aiohttp.ClientSession() as browser, asyncio.timeout(40):
        while True:
            try:
                page = await browser.ws_connect(f"http://127.0.0.1:{page_port}/")
                reader, writer = await asyncio.open_connection("127.0.0.1", scale_port)
                break
            except (aiohttp.ClientConnectionError, OSError):
                await asyncio.sleep(0.05)
        writer.write(b'{"kg": 12.5}\n')
        assert await reader.readline() == b"OK\n"
        assert json.loads(await page.receive_str()) == {"kg": 12.5}
        while f"connected: {os.ttyname(other)}" not in str(host.status("hall")):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        os.write(fd, b"4006381333931\r\n")
        assert await page.receive_str() == "4006381333931"
        with socket.socket(type=socket.SOCK_DGRAM) as beacon:
            beacon.sendto(b"here I am", ("127.0.0.1", beacon_port))
        assert await page.receive_str() == "here I am"
        await page.send_str("a label")
        assert await printed.get() == b"No. 7: a label\n"
    printing.close()
    numbering.close()
    os.close(fd)
    os.close(other)


async def test_boiler_opens_the_valve_when_it_is_too_hot(host, tmp_path):
    """Against pymodbus's server, a process of its own."""
    log, port = tmp_path / "log.jsonl", free_port()
    program = Path(__file__).parents[1] / "nodes" / "iot" / "modbus_server.py"
    server = await asyncio.create_subprocess_exec(sys.executable, str(program), "tcp", str(port))
    try:
        await deploy(host, example("boiler", PORT=port, EVERY_S=0.1, LIMIT_C=20, LOG=str(log)))
        lines = await json_lines(log, lambda lines: len(lines) >= 5)
        assert {"temp_c": 25.0, "flow_m3_h": 21.5, "pump": True} in lines
        assert {"energy_wh": 2**40} in lines
        client = AsyncModbusTcpClient("127.0.0.1", port=port)
        async with asyncio.timeout(20):
            await client.connect()
            while not (await client.read_coils(3)).bits[0]:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
            while (await client.read_holding_registers(100)).registers != [455]:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        client.close()
    finally:
        server.kill()
        await server.wait()


@contextlib.asynccontextmanager
async def stations(folder: Path, *names: str, seed: int = 1):
    """Simulated stations at free ports, in this process: name -> where it listens."""
    where: dict[str, asyncio.Future[str]] = {name: asyncio.get_running_loop().create_future() for name in names}
    playing = [
        asyncio.create_task(one.serve(At(0, folder, where[one.name].set_result, lambda _: None)))
        for name in names
        for one in make(name, 1, seed)
    ]
    yield {name: await one for name, one in where.items()}
    for one in playing:
        one.cancel()
    await asyncio.gather(*playing, return_exceptions=True)


async def test_ledger_counts_what_was_measured(host, tmp_path):
    """What was written into the table is found in it."""
    shown: asyncio.Queue[dict] = asyncio.Queue()
    await host.bus.connection.subscribe("flow.ledger.show.debug", lambda _, data, *__: shown.put_nowait(unpack(data)))
    await deploy(host, example("ledger", FILE=str(tmp_path / "ledger.db"), EVERY_S=0.2))
    async with asyncio.timeout(40):
        counts = [(await shown.get())["value"]["measurements"]]
        while counts[-1] < counts[0] + 5:
            counts.append((await shown.get())["value"]["measurements"])
    assert counts == sorted(counts)


async def test_alarms_reach_a_chat_and_a_mailbox(host):
    """Against aiosmtpd, and a server in the place of Telegram's."""
    mails: asyncio.Queue[list[str]] = asyncio.Queue()
    chats: asyncio.Queue[tuple[str, dict]] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    class Mailbox:
        async def handle_DATA(self, server, session, envelope):
            text = (list(envelope.rcpt_tos), envelope.content.decode())
            loop.call_soon_threadsafe(mails.put_nowait, text)
            return "250 taken"

    async def chat(request):
        chats.put_nowait((request.path, await request.json()))
        return web.json_response({"ok": True})

    app = web.Application()
    app.router.add_post("/{path:.*}", chat)
    runner = web.AppRunner(app)
    await runner.setup()
    port, chat_port, mail_port = (free_port() for _ in range(3))
    await web.TCPSite(runner, "127.0.0.1", chat_port).start()
    mailbox = Controller(Mailbox(), "127.0.0.1", mail_port)
    mailbox.start()
    host.secrets.set("telegram-bot", "123:abc")
    env = {"PORT": port, "MAIL_HOST": "127.0.0.1", "MAIL_PORT": mail_port, "CHAT": f"http://127.0.0.1:{chat_port}"}
    await deploy(host, example("alarms", DIGEST_S=1, **env))
    async with aiohttp.ClientSession() as device, asyncio.timeout(40):
        for level in ("warning", "critical"):
            while True:
                with contextlib.suppress(aiohttp.ClientConnectionError):
                    body = {"level": level, "text": "door open"}
                    async with device.post(f"http://127.0.0.1:{port}/alarms", json=body) as answer:
                        if answer.status == 202:
                            break
                await asyncio.sleep(0.05)
        said = [await chats.get() for _ in range(2)]
        assert said[1] == ("/bot123:abc/sendMessage", {"chat_id": "@line1", "text": "critical: door open"})
        receivers = set()
        while receivers != {"shift@example.org", "office@example.org"}:
            to, text = await mails.get()
            receivers |= set(to)
            assert "door open" in text
    mailbox.stop()
    await runner.cleanup()


async def test_building_heats_where_people_are_and_tells_bad_air(host, tmp_path):
    """Simulated stations, real protocols: Modbus, OPC UA and MQTT, read and written."""
    events, energy = tmp_path / "events.jsonl", tmp_path / "energy.jsonl"
    async with stations(tmp_path, "air", "rooms") as where:
        rooms = where["rooms"].partition(", ")[0]
        air = re.search(r":(\d+),", where["air"])[1]
        env = {
            "AIR_PORT": int(air),
            "ROOMS": rooms,
            "CO2_PPM": 100,
            "CO2_CLEAR_PPM": 90,
            "EVENTS": str(events),
            "ENERGY": str(energy),
        }
        await deploy(host, example("building", WINDOW_S=1, **env))
        lines = await json_lines(events, lambda lines: len(lines) >= 3)
        assert {line["key"] for line in lines} >= {"room1.co2_ppm", "room2.co2_ppm", "room3.co2_ppm"}
        assert (await json_lines(energy, lambda lines: len(lines) >= 2))[-1]["max"] > 0.3
        broker = aiomqtt.Client(
            "127.0.0.1", host.bus.server.mqtt_port, username=host.bus.user, password=host.bus.password
        )
        presence = json.dumps({"room": "room3", "present": True, "lux": 300})
        async with asyncio.timeout(30), broker as plant, Client(rooms) as there:
            index = await there.get_namespace_index("urn:flowcore:simulated")
            valve = there.get_node(f"ns={index};s=room3.valve_pct")
            assert await valve.read_value() == 40
            while await valve.read_value() != 60:
                await plant.publish("building/room3/presence", presence, 1)
                await asyncio.sleep(0.1)


async def test_line_counts_weighs_and_writes_down(host, tmp_path):
    """Serial, Modbus, OPC UA and Bluetooth, simulated and spoken to as they are; the table has what was weighed."""
    shown: asyncio.Queue[dict] = asyncio.Queue()
    found: asyncio.Queue[dict] = asyncio.Queue()
    await host.bus.connection.subscribe("flow.line.found.debug", lambda _, data, *__: found.put_nowait(unpack(data)))
    await host.bus.connection.subscribe("flow.line.show.debug", lambda _, data, *__: shown.put_nowait(unpack(data)))
    async with stations(tmp_path, "scale", "belt", "press", "nano") as where:
        ports = {"BELT_PORT": int(re.search(r":(\d+),", where["belt"])[1]), "PRESS": where["press"].partition(", ")[0]}
        files = {
            "SCALE": str(tmp_path / "scale"),
            "BOOK": str(tmp_path / "book.db"),
            "EVENTS": str(tmp_path / "events"),
        }
        document = example("line", LEAST_G=0, RADIO=where["nano"].partition(",")[0], **ports, **files)
        for node in document["nodes"]:
            if node["id"] == "ask":
                node["config"]["every_s"] = 0.5
        await deploy(host, document)
        async with asyncio.timeout(40):
            while (told := (await shown.get())["value"])["parts"] < 3:
                pass
            listed = (await found.get())["value"]["nodes"]
        assert 450 < told["grams"] < 550
        (strokes,) = [one for one in listed if one["path"] == "press/strokes"]
        assert (strokes["node"], strokes["type"]) == ("nsu=urn:flowcore:simulated;s=strokes", "Int32")
        up = str(host.status("line"))
        for name in ("Nano33BLESense", "modbus 127.0.0.1", "opc.tcp://"):
            assert f"connected: {name}" in up


async def test_shifts_reports_on_time(host, tmp_path):
    """Each second here; the history says so."""
    book = tmp_path / "book.jsonl"
    await deploy(host, example("shifts", REPORT_CRON="* * * * * *", BOOK=str(book)))
    assert (await json_lines(book, lambda lines: len(lines) >= 2))[:2] == [{"report": "shift"}] * 2
