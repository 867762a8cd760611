"""The short form of `tests.drills.peers`: every peer is away for a moment, all at the same time."""

import pytest

from tests.drills.peers.cases import CASES
from tests.drills.peers.drill import Away, all_away

SLOW_TO_START = (  # their peers; tests/nodes has their restarts
    "iot/opcua-read", "iot/opcua-write", "iot/modbus-read", "iot/modbus-read RTU", "core/s3-get", "core/s3-put",
)  # fmt: skip


@pytest.mark.drill
@pytest.mark.alone  # two dozen connectors at once
async def test_every_connector_is_back_and_nothing_is_lost():
    """How soon is a figure of the drill itself: here all come back at once."""
    cases = [case for case in CASES if case.can_be_away and case.needs() and case.name not in SLOW_TO_START]
    found = await all_away(cases, away_s=2.0)
    bad = {name: one for name, one in found.items() if not isinstance(one, Away) or one.lost}
    assert not bad and len(found) >= 20
