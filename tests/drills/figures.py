"""How fast: every part of `flowcore bench`. Its figures are printed and never asserted; what it promises is.

That every message arrives, that other processes stay, that nothing is left behind.
"""

from functools import partial
from pathlib import Path

from flowcore.bench.parts import PARTS
from flowcore.bench.session import Options, Part, run_part
from tests.drills.drill import DRILLS, Drill, Findings


async def _measure(part: Part, folder: Path, options: Options) -> Findings:
    """Its faults are the drill's."""
    done = await run_part(part, options, None, lambda text: None)  # the drill's folder has too long a name for sockets
    figures = {f"{row.name} ({row.unit})" if row.unit else row.name: row.median for row in done["rows"]}
    return Findings(figures, list(done["faults"]))


DRILLS += [
    Drill(
        f"bench {part.name}", part.what, partial(_measure, part), {"options": Options.quick()}, {"options": Options()}
    )
    for part in PARTS.values()
]
