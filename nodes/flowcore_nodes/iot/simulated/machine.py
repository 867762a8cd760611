"""A machine that warms up under load, shakes, fouls the air around it, and has sensors that fail now and then."""

import json
import math
import random
from collections.abc import Iterator
from typing import Any

NAMES = ("press", "mill", "lathe", "oven", "saw", "drill", "robot", "pump")
AMBIENT_C = 22.0
HEATING_S = 25.0  # how slowly it warms up and cools down
FULL_LOAD_C = 95.0  # where full load ends up without cooling
COOLED_C = 48.0  # and with it
SPIKE_C = 850.0  # what a broken contact reads as
OUT_OF_ORDER = b"ERR 17 sensor"  # what a confused sensor sends in place of JSON


class Machine:
    """Publishes `sensors/<name>/env`, obeys `actuators/<name>/cooling`.

    A reading is `{"n", "machine", "t_s", "temp_c", "vibration_mm_s", "air_ug_m3"}`. Once in a while a value spikes or
    is null, a reading is no JSON at all, or the sensor is silent for some seconds. Under load the temperature passes
    80 °C within a minute; with the cooling on (`{"on": true}`, or `on`) it falls below 60 °C.
    """

    def __init__(self, number: int, seed: int) -> None:
        self.name = f"{NAMES[(number - 1) % len(NAMES)]}-{number}"
        self.commands = (f"actuators/{self.name}/cooling",)
        self.is_cooled = False
        self._chance = random.Random(f"{seed}/{self.name}")
        self._n = 0
        self._now_s = 0.0
        self._temp_c = self._chance.uniform(60, 74)
        self._load = self._chance.uniform(0.85, 1.0)
        self._wear = self._chance.uniform(0.5, 1.5)
        self._dust = self._chance.uniform(10, 25)
        self._silent_until_s = 0.0
        self._has_changed = True  # the state of the cooling is published when it has

    def play(self, now_s: float) -> Iterator[tuple[str, Any] | tuple[str, Any, bool]]:
        """The readings at `now_s`: one of the sensor, unless it is silent; the cooling's state after a change."""
        step_s, self._now_s = max(now_s - self._now_s, 0.0), now_s
        self._drift(step_s)
        fault = self._fault(step_s)
        if self._has_changed:
            self._has_changed = False
            yield f"machines/{self.name}/cooling", {"on": self.is_cooled}, True
        if now_s < self._silent_until_s:
            return
        self._n += 1
        reading: dict[str, Any] = {
            "n": self._n,
            "machine": self.name,
            "t_s": round(now_s, 3),
            "temp_c": round(self._temp_c, 2),
            "vibration_mm_s": round(self._wear * self._load * 3, 3),
            "air_ug_m3": round(self._dust, 1),
        }
        if fault == "spike":
            reading["temp_c"] = SPIKE_C
        elif fault == "shock":
            reading["vibration_mm_s"] = round(reading["vibration_mm_s"] * 12, 3)
        elif fault == "null":
            reading["temp_c"] = None
        yield f"sensors/{self.name}/env", OUT_OF_ORDER if fault == "garbage" else reading

    def command(self, topic: str, payload: bytes) -> str | None:
        """Switch the cooling: `{"on": true}`, `true`, `on` and their opposites."""
        if topic not in self.commands:
            return None
        wanted = _is_on(payload)
        if wanted is None:
            return f"{self.name}: does not understand {payload[:40]!r}"
        if wanted == self.is_cooled:
            return f"{self.name}: the cooling is {'on' if wanted else 'off'} already"
        self.is_cooled, self._has_changed = wanted, True
        return f"{self.name}: cooling {'on' if wanted else 'off'} at {self._temp_c:.1f} °C"

    def _drift(self, step_s: float) -> None:
        # The same draws whatever the machine does, so that a command changes the temperature and nothing else.
        pull, shake, puff = (self._chance.gauss(0, 1) for _ in range(3))
        root_s = math.sqrt(step_s)
        self._load = min(1.1, max(0.6, self._load + 0.02 * root_s * pull + 0.05 * step_s * (0.95 - self._load)))
        aim_c = COOLED_C if self.is_cooled else AMBIENT_C + (FULL_LOAD_C - AMBIENT_C) * self._load
        self._temp_c += (aim_c - self._temp_c) * (1 - math.exp(-step_s / HEATING_S)) + 0.15 * root_s * pull
        self._wear = min(3.0, max(0.3, self._wear + 0.001 * step_s + 0.03 * root_s * shake))
        self._dust = max(1.0, self._dust + 1.5 * root_s * puff + 0.1 * step_s * (20 - self._dust))

    def _fault(self, step_s: float) -> str | None:
        """What goes wrong at this reading, by chances a second; a drop-out begins here too."""
        dice, length = self._chance.random(), self._chance.uniform(2, 6)
        for chance_hz, fault in (
            (0.02, "spike"),
            (0.02, "shock"),
            (0.01, "null"),
            (0.005, "garbage"),
            (0.01, "silent"),
        ):
            dice -= min(chance_hz * max(step_s, 1e-9), chance_hz)
            if dice < 0:
                if fault == "silent":
                    self._silent_until_s = self._now_s + length
                return fault
        return None


def _is_on(payload: bytes) -> bool | None:
    text = payload.decode(errors="replace").strip().lower()
    if text in ("on", "off"):
        return text == "on"
    try:
        value = json.loads(text)
    except ValueError:
        return None
    value = value.get("on") if isinstance(value, dict) else value
    return bool(value) if isinstance(value, (bool, int)) else None
