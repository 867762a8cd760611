"""A refrigerated truck on its round: position, temperature in the hold, door; its cooling fails now and then.

An hour of the road passes in a minute, so that a round takes some two minutes.
"""

import math
import random
from collections.abc import Iterator
from typing import Any

# [longitude, latitude] of where it stops; flows/coldchain.json has areas around them.
DEPOT, NORTH, SOUTH = (13.300, 52.500), (13.340, 52.530), (13.360, 52.480)
ROUND = (DEPOT, NORTH, SOUTH)
SPEED_M_S = 250.0  # of the minute that is an hour
STOP_S = 15.0  # it stands twice as long now and then
COLD_C, OUTSIDE_C = -20.0, 22.0
JITTER_M = 8.0  # of the receiver
_DEGREE_M = 111_195.0


class Truck:
    """Publishes `trucks/<name>/state`.

    A reading is `{"n", "truck", "t_s", "lon", "lat", "temp_f", "door"}`: degrees, Fahrenheit, open or not. `lon` and
    `lat` are null without a fix. The door is open for a part of a stop. On one leg in four the cooling is off, at one
    stop in five the door is open for long, at one in five the truck stands for long.
    """

    def __init__(self, number: int, seed: int) -> None:
        self.name = f"truck-{number}"
        self.commands: tuple[str, ...] = ()
        self._chance = random.Random(f"{seed}/{self.name}")
        self._n = 0
        self._now_s = 0.0
        self._temp_c = COLD_C
        self._leg = number % len(ROUND)  # it stands at the end of the leg before
        self._leg_since_s = -self._chance.uniform(0, STOP_S)
        self._is_off = False
        self._stop_s, self._door_share = STOP_S, 0.4

    def play(self, now_s: float) -> Iterator[tuple[str, Any]]:
        """The reading at `now_s`."""
        step_s, self._now_s = max(now_s - self._now_s, 0.0), now_s
        here_s = now_s - self._leg_since_s
        if here_s >= self._stop_s + self._drive_s():
            self._leg_since_s += self._stop_s + self._drive_s()
            here_s = now_s - self._leg_since_s
            self._leg = (self._leg + 1) % len(ROUND)
            self._is_off = self._chance.random() < 0.25
            self._door_share = 0.7 if self._chance.random() < 0.2 else 0.4
            self._stop_s = STOP_S * (2 if self._chance.random() < 0.2 else 1)
        begin, end = ROUND[self._leg - 1], ROUND[self._leg]
        door = 0.2 < here_s / self._stop_s < 0.2 + self._door_share
        self._warm(step_s, door, here_s > self._stop_s)
        gone = min(1.0, max(0.0, (here_s - self._stop_s) / self._drive_s()))
        lon, lat = (a + (b - a) * gone for a, b in zip(begin, end, strict=True))
        east_m, north_m, dice = self._chance.gauss(0, JITTER_M), self._chance.gauss(0, JITTER_M), self._chance.random()
        self._n += 1
        has_fix = dice > 0.02
        yield (
            f"trucks/{self.name}/state",
            {
                "n": self._n,
                "truck": self.name,
                "t_s": round(now_s, 3),
                "lon": round(lon + east_m / _DEGREE_M / math.cos(math.radians(lat)), 6) if has_fix else None,
                "lat": round(lat + north_m / _DEGREE_M, 6) if has_fix else None,
                "temp_f": round(self._temp_c * 1.8 + 32, 1),
                "door": door,
            },
        )

    def command(self, topic: str, payload: bytes) -> str | None:
        """It takes none."""
        return None

    def _drive_s(self) -> float:
        """How long the leg takes that it is on."""
        return math.dist(_metres(ROUND[self._leg - 1]), _metres(ROUND[self._leg])) / SPEED_M_S

    def _warm(self, step_s: float, door: bool, drives: bool) -> None:
        aim_c, time_s = (OUTSIDE_C, 60.0) if door else (OUTSIDE_C, 40.0) if self._is_off and drives else (COLD_C, 8.0)
        self._temp_c += (aim_c - self._temp_c) * (1 - math.exp(-step_s / time_s)) + self._chance.gauss(0, 0.05)


def _metres(at: tuple[float, float]) -> tuple[float, float]:
    return at[0] * _DEGREE_M * math.cos(math.radians(DEPOT[1])), at[1] * _DEGREE_M
