"""All drills, in the order of the table: importing a module enters its drills."""

# ruff: noqa: F401, I001
from tests.drills import kills
from tests.drills import hostile
from tests.drills import reloads
from tests.drills import slow
from tests.drills import frames
from tests.drills import durable
from tests.drills import away
from tests.drills import poison
from tests.drills import counting
from tests.drills import storing
from tests.drills import outside
from tests.drills import scripts
from tests.drills import broken
from tests.drills import dispatch
from tests.drills import figures
from tests.drills.drill import DRILLS

__all__ = ["DRILLS"]
