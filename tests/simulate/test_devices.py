"""Devices come from plug-ins, and play the same for the same seed."""

import json

import pytest

from flowcore.simulate import devices


class Point:
    """An entry point as a package would bring it."""

    def __init__(self, name, value):
        self.name, self._value = name, value

    def load(self):
        if isinstance(self._value, Exception):
            raise self._value
        return self._value


class Bell:
    """A device of another package."""

    commands = ("bells/ring",)

    def __init__(self, number, seed):
        self.name = f"bell-{number}"

    def play(self, now_s):
        return [("bells", b"ding")]

    def command(self, topic, payload):
        return None


class Plugin:
    @devices.hookimpl
    def flowcore_simulators(self):
        return {"bells": Bell}


def test_a_plug_in_brings_devices_and_a_broken_one_hides_none(monkeypatch):
    """A package's devices are played by their name; another's failed import is a line of its own."""
    points = [Point("acme", Plugin()), Point("broken", ImportError("no module named 'acme_pumps'"))]
    monkeypatch.setattr(devices, "entry_points", lambda group: points)
    assert [one.name for one in devices.make("bells", 2, seed=1)] == ["bell-1", "bell-2"]
    assert devices.installed().problems == [
        "plug-in 'broken' could not be loaded: ImportError: no module named 'acme_pumps'"
    ]
    with pytest.raises(devices.UnknownDevices, match=r"did you mean 'bells'.*acme_pumps"):
        devices.make("bell", 1, seed=1)


def readings(seed: int, seconds: int, command: bytes | None = None) -> list:
    """What the first machine says, one reading a second."""
    (machine,) = devices.make("machines", 1, seed)
    if command is not None:
        machine.command("actuators/press-1/cooling", command)
    return [reading for second in range(seconds) for reading in machine.play(float(second))]


def test_machines_play_alike_for_one_seed():
    """The same seed: the same readings. Another: others."""
    assert readings(3, 300) == readings(3, 300)
    assert readings(3, 300) != readings(4, 300)


def test_machines_drift_spike_fail_and_drop_out():
    """In an hour each kind of trouble happens, and every reading can be published."""
    said = readings(5, 3600)
    sensed = [payload for topic, payload, *_ in said if topic.startswith("sensors/")]
    maps = [payload for payload in sensed if isinstance(payload, dict)]
    assert len(maps) < len(sensed) < 3600  # garbage, and silence
    temperatures = [payload["temp_c"] for payload in maps]
    assert None in temperatures and 850.0 in temperatures
    assert any(80 < t < 120 for t in temperatures if t is not None)
    assert max(payload["vibration_mm_s"] for payload in maps) > 20
    json.dumps(maps, allow_nan=False)


def test_cooling_changes_the_temperature_and_nothing_else():
    """A cooled machine stays under 60 °C in the end; its other sensors read as without."""
    hot = [p for t, p, *_ in readings(6, 200) if t.startswith("sensors/") and isinstance(p, dict)]
    cold = [p for t, p, *_ in readings(6, 200, b'{"on": true}') if t.startswith("sensors/") and isinstance(p, dict)]
    assert [p["vibration_mm_s"] for p in hot] == [p["vibration_mm_s"] for p in cold]
    usual = [p["temp_c"] for p in cold[-20:] if p["temp_c"] is not None and p["temp_c"] < 200]
    assert max(usual) < 60


@pytest.mark.parametrize("payload", [b"{", b'{"on": "maybe"}', b"\xff", b"5.5"])
def test_a_command_that_is_none_changes_nothing(payload):
    """A machine says that it does not understand, and goes on."""
    (machine,) = devices.make("machines", 1, 1)
    assert "does not understand" in machine.command("actuators/press-1/cooling", payload)
    assert machine.command("actuators/mill-2/cooling", b"on") is None
    assert not machine.is_cooled


def test_trucks_go_round_get_warm_and_lose_their_fix():
    """In an hour each stands at all three stops, with an open door; the same seed says the same."""

    def said(seed: int) -> list[dict]:
        (truck,) = devices.make("trucks", 1, seed)
        return [payload for second in range(3600) for _, payload in truck.play(float(second))]

    readings = said(2)
    assert readings == said(2) != said(3)
    fixed = [one for one in readings if one["lon"] is not None]
    assert 0.9 < len(fixed) / len(readings) < 1
    stops = {(round(one["lon"], 2), round(one["lat"], 2)) for one in fixed if one["door"]}
    assert stops == {(13.30, 52.50), (13.34, 52.53), (13.36, 52.48)}
    warmest_f, coldest_f = max(one["temp_f"] for one in readings), min(one["temp_f"] for one in readings)
    assert coldest_f < -3 and warmest_f > 5
