"""Bluetooth LE nodes through bleak, whose radio is a backend of ours: a player in the place of the device."""

import asyncio
import json
from pathlib import Path

import pytest

pytest.importorskip("bleak")

from flowcore_nodes.iot.ble import BOARDS, Characteristic, full_uuid
from flowcore_nodes.iot.ble_device import BleDevice
from flowcore_nodes.iot.ble_scan import BleScan
from flowcore_nodes.iot.simulated.nano import ADDRESS, NAME, NanoStation

from flowcore.node.testing import drive
from flowcore.simulate.devices import At

NOTIFICATIONS = Path(__file__).with_name("fixtures") / "nano33_notifications.json"
PEER = "bleak's backend seam, played"


class Board:
    """The simulated board at a port that it keeps when it goes and comes."""

    def __init__(self) -> None:
        self.port, self.said = 0, []

    async def start(self) -> None:
        there: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        at = At(self.port, Path(), there.set_result, self.said.append)
        self.task = asyncio.create_task(NanoStation(seed=3).serve(at))
        where = (await there).partition(",")[0]
        self.port, self.adapter = int(where.rpartition(":")[2]), where

    async def stop(self) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


@pytest.fixture
async def board():
    made = Board()
    await made.start()
    yield made
    await made.stop()


def test_recorded_bytes_are_read_as_documented():
    """What the board's documents say about each characteristic, byte for byte."""
    known = {one.uuid: one for one in [*BOARDS["nano33"], *BOARDS["environmental-sensing"]]}
    recorded = json.loads(NOTIFICATIONS.read_text())
    assert {one["uuid"] for one in recorded["notifications"]} == set(known)
    for one in recorded["notifications"]:
        part = known[one["uuid"]]
        got = part.decoded(bytes.fromhex(one["data"]))
        assert got == pytest.approx(one["value"], rel=1e-6), part.name
        assert part.encoded(got) == bytes.fromhex(one["data"])


@pytest.mark.survives("iot/ble-device", PEER, "peer restart", "malformed data")
async def test_a_board_is_heard_read_written_and_found_again(board):
    """Notifications, reads, a write that the board takes; it goes and comes back; a value that it does not have."""
    extra = [{"name": "battery", "uuid": "2a19", "type": "uint8"}]
    config = {"device": NAME.upper(), "adapter": board.adapter, "board": "nano33", "values": extra, "timeout_s": 0.5}
    async with drive(BleDevice, **config) as node:
        await node.wait_for(lambda: len(heard(node, "acceleration")) > 3 and heard(node, "temperature"))
        one = next(one for one in node.messages("out") if one.topic == "temperature")
        assert 20 < one.payload < 35 and one.meta["ble"] == {"device": NAME.upper(), "unit": "°C"}
        assert [error["text"] for error in node.errors] == [f"{NAME.upper()} has no battery ({full_uuid('2a19')})"]
        await node.put({"led": {"r": 255, "g": 0, "b": 7}})
        assert any("led" in line and "255" in line for line in board.said)
        await node.put({"led": {"r": 300, "g": 0, "b": 7}}, {"led": 5}, {"other": 1}, "on", {"temperature": 1})
        assert [error["error"] for error in node.errors[1:]] == ["GiveUp"] * 5
        await board.stop()
        await node.wait_for(lambda: node.statuses[-1][1] == "error")
        putting = asyncio.create_task(node.put({"led": {"r": 0, "g": 9, "b": 0}}))
        await board.start()
        (missed,) = await node.sent(1, port="missed")
        assert missed["device"] == NAME.upper() and missed["seconds"] > 0
        await putting
        before = len(heard(node, "acceleration"))
        await node.wait_for(lambda: len(heard(node, "acceleration")) > before)
        assert any("'g': 9" in line for line in board.said)


async def test_an_address_is_as_good_and_what_has_another_length_is_an_error(board):
    wrong = [{"name": "short", "uuid": "e905de3e-3001-44de-92c4-bb6e04fb0212", "type": "uint8"}]
    async with drive(BleDevice, device=ADDRESS, adapter=board.adapter, values=wrong, timeout_s=0.5) as node:
        await node.wait_for(lambda: node.errors)
        assert "short: 1 bytes are needed, got 12" in node.errors[0]["text"] and node.messages("out") == []
    async with drive(BleDevice, device="somebody", adapter=board.adapter, board="nano33", timeout_s=0.2) as node:
        await node.wait_for(lambda: node.errors)
        assert "not heard within" in node.errors[0]["text"]


@pytest.mark.survives("iot/ble-scan", PEER, "peer restart")
async def test_who_is_around_is_told(board):
    """Also when it was away for a while; with what it is and has, or not."""
    async with drive(BleScan, adapter=board.adapter, names=["Nano33"], every_s=0) as node:
        (first, *_) = await node.sent(2)
        assert (first["address"], first["name"]) == (ADDRESS, NAME) and first["rssi_dbm"] < -30
        assert first["manufacturer"] == {"2467": b"\x01\x33"}
        await board.stop()
        heard = len(node.messages())
        await board.start()
        await node.wait_for(lambda: len(node.messages()) > heard)
    async with drive(BleScan, adapter=board.adapter, every_s=0, services=["2a6e"]) as node:
        await node.wait_for(lambda: node.statuses and "listening" in node.statuses[-1][0])
        assert node.messages() == []


class Mute:
    """A device at the same seam that says what it is told to, and nothing else: None is silence."""

    def __init__(self) -> None:
        self.adverts = [json.dumps({"advert": ADVERT}).encode()]
        self.answers: dict[str, dict | None] = {}
        self.asked: list[dict] = []

    async def __aenter__(self) -> "Mute":
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", 0, limit=1 << 21)
        self.adapter = f"played://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_) -> None:
        self._server.close()

    async def _talk(self, reader, writer) -> None:
        while line := await reader.readline():
            ask = json.loads(line)
            self.asked.append(ask)
            if "scan" in ask:
                for one in self.adverts:
                    writer.write(one + b"\n")
                continue
            answer = self.answers.get(next(one for one in ("connect", "read", "write", "notify") if one in ask))
            if answer is not None:
                writer.write(json.dumps({"id": ask.get("id"), **answer}).encode() + b"\n")
        writer.close()


ADVERT = {"address": "00:11:22:33:44:55", "name": "mute", "rssi": -50, "services": [], "manufacturer": {}}
BOTH = [{"name": "battery", "uuid": "2a19", "type": "uint8", "how": "read"},
        {"name": "led", "uuid": "2a57", "type": "uint8", "how": "write"}]  # fmt: skip


@pytest.mark.survives("iot/ble-device", PEER, "slow peer")
async def test_a_device_that_says_nothing_is_tried_again():
    """Silent when it is connected, when it is written to, when it is read: what was to be written waits, in order."""
    characteristics = [{"uuid": full_uuid(one["uuid"]), "properties": [one["how"]]} for one in BOTH]
    services = {"services": [{"uuid": full_uuid("180f"), "characteristics": characteristics}]}
    async with (
        Mute() as mute,
        drive(BleDevice, device="mute", adapter=mute.adapter, values=BOTH, timeout_s=0.2) as node,
    ):
        await node.wait_for(lambda: any(kind == "error" for _, kind in node.statuses))
        assert mute.asked[1] == {"connect": ADVERT["address"]}
        mute.answers["connect"] = services
        await node.wait_for(lambda: node.statuses[-1][1] == "ok")
        putting = asyncio.create_task(node.put({"led": 7}))
        await node.wait_for(lambda: "no answer within 0.2 s" in node.statuses[-1][0])
        assert not putting.done()
        mute.answers["write"] = {}
        await putting
        putting = asyncio.create_task(node.put(None))
        silent = len(node.statuses)
        await node.wait_for(lambda: any("no answer" in text for text, _ in node.statuses[silent:]))
        mute.answers["read"] = {"data": "63"}
        await putting
        assert await node.sent(1, port="out") == [99]
        assert {error["error"] for error in node.errors} == {"ConnectionError"}


@pytest.mark.survives("iot/ble-scan", PEER, "malformed data")
async def test_rubbish_on_the_air_stops_no_scan():
    """What is no advertisement, has no bytes, a name that is no text, is far too long: the next one is heard."""
    broken = [
        {"rssi": "loud"}, {"rssi": None}, {"manufacturer": {"x": "00"}}, {"manufacturer": {"1": "zz"}},
        {"manufacturer": None}, {"name": "\ud800"}, {"services": 5},
    ]  # fmt: skip
    async with Mute() as mute:
        whole = mute.adverts[0]
        mute.adverts = [
            *(b"\xff\x00", b"[]", b"{", b'{"advert": null}', b"x" * (2 << 20)),
            *(json.dumps({"advert": ADVERT | one}).encode() for one in broken),
            whole,
        ]
        async with drive(BleScan, adapter=mute.adapter, every_s=0) as node:
            await node.wait_for(lambda: any(one.payload["name"] == "mute" for one in node.messages()))
            assert [one.payload["rssi_dbm"] for one in node.messages() if one.payload["name"] == "mute"] == [-50]
            assert node.statuses[-1][1] == "ok" and mute.asked == [{"scan": True}]


@pytest.mark.parametrize(
    ("config", "why"),
    [
        ({}, "give a board"),
        ({"board": "nano33", "adapter": "played://x"}, "host:port"),
        ({"board": "nano33", "adapter": "/dev/ttyUSB0"}, "no radio"),
        ({"values": [{"name": "a", "uuid": "temperature"}]}, "no UUID"),
        ({"values": [{"name": "a", "uuid": "2a6e", "type": "text", "fields": ["x"]}]}, "has no fields"),
        ({"values": [{"name": "a", "uuid": "2a6e"}] * 2}, "twice: a"),
    ],
)
async def test_wrong_settings_are_refused(config, why):
    with pytest.raises(ValueError, match=why):
        async with drive(BleDevice, device="x", **config):
            pass


def test_values_that_do_not_fit_are_refused():
    part = Characteristic(name="a", uuid="2a6e", type="int16", scale=0.01)
    assert part.decoded(part.encoded(-12.34)) == -12.34 and part.uuid == full_uuid("0x2A6E")
    for value in (400, "x", True, float("nan"), None):
        with pytest.raises(ValueError, match="a: "):
            part.encoded(value)


def heard(node, name: str) -> list:
    return [one.payload for one in node.messages("out") if one.topic == name]
