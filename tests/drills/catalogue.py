"""All drills, in the order of the table: importing a module enters its drills."""

# ruff: noqa: F401
from tests.drills import counting, hostile, kills, poison, reloads, slow
from tests.drills.drill import DRILLS

__all__ = ["DRILLS"]
