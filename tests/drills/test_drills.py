"""The short form of every drill, so that none rots; `make drills` runs the long forms."""

import pytest

from tests.drills.catalogue import DRILLS
from tests.drills.drill import Skipped

HEAVY = frozenset({"detection away", "frames"})  # both processors for a while: others would wait too long


@pytest.mark.drill
@pytest.mark.parametrize(
    "drill",
    [
        pytest.param(one, id=one.name.replace(" ", "-"), marks=[pytest.mark.alone] if one.name in HEAVY else [])
        for one in DRILLS
    ],
)
async def test_drill(drill, tmp_path):
    """What it promises is kept."""
    try:
        found = await drill.run(tmp_path, is_long=False)
    except Skipped as e:
        pytest.skip(str(e))
    assert not found.faults, f"{'; '.join(found.faults)} ({found})"
