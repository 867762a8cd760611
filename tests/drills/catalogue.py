"""All drills, in the order of the table: importing a module enters its drills."""

# ruff: noqa: F401
from tests.drills import away, counting, durable, hostile, kills, outside, poison, reloads, scripts, slow
from tests.drills.drill import DRILLS

__all__ = ["DRILLS"]
