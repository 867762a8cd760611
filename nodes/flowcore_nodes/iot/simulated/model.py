"""What a simulated device measures and does, apart from how it is spoken to: values that change in small steps.

Chance comes from the seed and is drawn the same way whatever is written, so that a command changes what it should and
nothing else.
"""

import asyncio
import random
from collections.abc import Callable
from typing import Any

STEP_S = 0.1


class Model:
    """Named values. A subclass sets them in `begin` and changes them in `step`.

    Attributes:
        values: name -> number, bool or text, as they are now.
        writable: names that may be written from outside.
    """

    writable: frozenset[str] = frozenset()

    def __init__(self, name: str, seed: int) -> None:
        self.name = name
        self.chance = random.Random(f"{seed}/{name}")
        self.values: dict[str, Any] = {}
        self.begin()

    def begin(self) -> None:
        """Set the first values."""
        raise NotImplementedError

    def step(self) -> None:
        """Go on by STEP_S."""
        raise NotImplementedError

    def write(self, name: str, value: Any) -> str:
        """Take a value from outside; returns a line for people.

        Raises:
            ValueError: this value is not to be written.
        """
        if name not in self.writable:
            raise ValueError(f"{self.name}: {name} can't be written")
        before, self.values[name] = self.values[name], value
        return f"{self.name}: {name} {before} -> {value}"

    def near(self, name: str, aim: float, slowness_s: float, noise: float, digits: int = 2) -> float:
        """Move a value towards where it wants to be, and shake it a little."""
        now = self.values[name]
        now += (aim - now) * STEP_S / slowness_s + noise * self.chance.gauss(0, 1)
        self.values[name] = round(now, digits)
        return now

    async def live(self, after: Callable[[], Any]) -> None:
        """Go on in real time for ever; `after` is called (and awaited) after each step."""
        loop = asyncio.get_running_loop()
        due_s = loop.time()
        while True:
            due_s += STEP_S
            await asyncio.sleep(max(0.0, due_s - loop.time()))
            self.step()
            done = after()
            if done is not None:
                await done


class Air(Model):
    """The air handling of a building: it warms what goes in; its filter clogs, its motor draws power."""

    writable = frozenset({"setpoint_c", "fan_pct", "running"})

    def begin(self) -> None:
        self.values = {
            "supply_c": round(self.chance.uniform(17, 19), 1), "setpoint_c": 21.0, "fan_pct": 60, "filter_pa": 80,
            "running": True, "alarm": False, "power_kw": 0.0, "energy_wh": 1_000_000,
        }  # fmt: skip
        self._energy_wh, self._filter_pa = 1e6, self.chance.uniform(70, 90)

    def step(self) -> None:
        values = self.values
        runs = bool(values["running"])
        self.near("supply_c", values["setpoint_c"] if runs else 14.0, 8.0, 0.02)
        self.near("power_kw", 0.3 + 4.2 * (values["fan_pct"] / 100) ** 3 if runs else 0.05, 1.0, 0.01, 3)
        self._filter_pa = min(400.0, self._filter_pa + runs * self.chance.uniform(0, 0.05))
        self._energy_wh += max(values["power_kw"], 0.0) * 1000 * STEP_S / 3600
        values |= {
            "filter_pa": round(self._filter_pa), "energy_wh": round(self._energy_wh),
            "alarm": self._filter_pa > 250 or abs(values["supply_c"] - values["setpoint_c"]) > 12,
        }  # fmt: skip


class Rooms(Model):
    """Three rooms: people come and go, the air gets worse and better, a valve heats."""

    writable = frozenset({"room1.valve_pct", "room2.valve_pct", "room3.valve_pct"})

    def begin(self) -> None:
        self.values = {}
        for room in ("room1", "room2", "room3"):
            self.values |= {
                f"{room}.temp_c": round(self.chance.uniform(19, 22), 2), f"{room}.co2_ppm": 450.0,
                f"{room}.persons": self.chance.randint(0, 4), f"{room}.valve_pct": 40.0,
            }  # fmt: skip

    def step(self) -> None:
        for room in ("room1", "room2", "room3"):
            moved = self.chance.random()
            persons = self.values[f"{room}.persons"] + (moved < 0.01) - (moved > 0.99)
            self.values[f"{room}.persons"] = persons = min(12, max(0, persons))
            self.near(f"{room}.co2_ppm", 420.0 + 110 * persons, 60.0, 0.4, 1)
            self.near(f"{room}.temp_c", 16.0 + 0.12 * self.values[f"{room}.valve_pct"] + 0.2 * persons, 120.0, 0.005)


class Press(Model):
    """A press: strokes, force, oil that warms up; now and then a stroke is too hard."""

    writable = frozenset({"strokes_per_min", "running"})

    def begin(self) -> None:
        self.values = {
            "running": True, "strokes_per_min": 60, "strokes": 0, "force_kn": 0.0, "oil_c": 35.0, "state": "running",
            "too_hard": 0,
        }  # fmt: skip
        self._until_stroke_s = 0.5

    def step(self) -> None:
        values, hits, spread = self.values, self.chance.random(), self.chance.gauss(0, 1)
        runs = bool(values["running"]) and values["strokes_per_min"] > 0
        values["state"] = "running" if runs else "stopped"
        self.near("oil_c", 35 + runs * 0.4 * values["strokes_per_min"], 90.0, 0.02)
        if not runs:
            return
        self._until_stroke_s -= STEP_S
        if self._until_stroke_s <= 1e-9:
            self._until_stroke_s += max(STEP_S, 60 / values["strokes_per_min"])
            is_hard = hits < 0.03
            values["force_kn"] = round(250 + 4 * spread + 60 * is_hard, 1)
            values["strokes"] += 1
            values["too_hard"] += is_hard


class Belt(Model):
    """A conveyor: parts pass, its motor draws current; now and then a part is stuck, and it draws more."""

    writable = frozenset({"speed_m_s", "running"})

    def begin(self) -> None:
        self.values = {"speed_m_s": 0.5, "running": True, "jam": False, "motor_a": 2.0, "parts": 0}
        self._way_m, self._jam_s = 0.0, 0.0

    def step(self) -> None:
        values, dice = self.values, self.chance.random()
        if dice < 0.002:
            self._jam_s = 3.0
        self._jam_s = max(0.0, self._jam_s - STEP_S)
        runs = bool(values["running"])
        values["jam"] = runs and self._jam_s > 0
        self.near("motor_a", (1.2 + 1.6 * values["speed_m_s"] + 4 * values["jam"]) if runs else 0.0, 0.5, 0.02)
        if runs and not values["jam"]:
            self._way_m += values["speed_m_s"] * STEP_S
            while self._way_m >= 0.5:
                self._way_m -= 0.5
                values["parts"] += 1


class Weights(Model):
    """A checkweigher: every second a part, some of them too light."""

    def begin(self) -> None:
        self.values = {"part": 0, "grams": 0.0}
        self._wait_s = 1.0

    def step(self) -> None:
        self._wait_s -= STEP_S
        if self._wait_s <= 1e-9:
            self._wait_s += 1.0
            light = self.chance.random() < 0.05
            self.values["part"] += 1
            self.values["grams"] = round(self.chance.gauss(500, 2) - 25 * light, 1)


class Meter(Model):
    """An electricity meter."""

    writable = frozenset({"tariff"})

    def begin(self) -> None:
        self.values = {"volts": 230.0, "amps": 8.0, "kw": 1.84, "kwh": 4210.0, "tariff": 1}
        self._kwh = 4210.0

    def step(self) -> None:
        volts, amps = self.near("volts", 230.0, 5.0, 0.1, 1), self.near("amps", 8.0, 20.0, 0.1)
        self._kwh += volts * amps / 1000 * STEP_S / 3600
        self.values |= {"kw": round(volts * amps / 1000, 3), "kwh": round(self._kwh, 4)}
