"""A presence detector of a room: publishes who is there, and takes no commands."""

import random
from collections.abc import Iterator
from typing import Any


class Presence:
    """Publishes `building/room<n>/presence`: `{"room", "present", "lux", "t_s"}`."""

    commands: tuple[str, ...] = ()

    def __init__(self, number: int, seed: int) -> None:
        self.name = f"presence-{number}"
        self._room = f"room{number}"
        self._chance = random.Random(f"{seed}/{self.name}")
        self._is_present = self._chance.random() < 0.5

    def play(self, now_s: float) -> Iterator[tuple[str, Any]]:
        """One reading."""
        if self._chance.random() < 0.1:
            self._is_present = not self._is_present
        lux = round(self._chance.gauss(320 if self._is_present else 60, 10))
        reading = {"room": self._room, "present": self._is_present, "lux": max(0, lux), "t_s": round(now_s, 3)}
        yield f"building/{self._room}/presence", reading

    def command(self, topic: str, payload: bytes) -> str | None:
        """None: it takes none."""
        return None
