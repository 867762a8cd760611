"""The bench beside the peers still measures: raw nats-py and flowcore, for half a second each."""

import psutil
import pytest

from benchmarks.peers import __main__ as peers
from benchmarks.peers import tables
from benchmarks.peers.measure import Times
from benchmarks.peers.own import Flowcore
from benchmarks.peers.raw_nats import RawNats
from benchmarks.peers.rig import FRAME, HOP, Contestant, Work
from benchmarks.peers.rounds import play


@pytest.mark.parametrize(
    ("work", "line_up"), [(HOP, [RawNats(), Flowcore()]), (FRAME, [Flowcore()])], ids=["hop", "frame"]
)
async def test_a_round(work: Work, line_up: list[Contestant]) -> None:
    """All are measured and found in the table, nothing is lost at a steady pace, and no process is left behind."""
    before = set(psutil.Process().children())
    said: list[str] = []
    entries = await play(work, line_up, 1, Times.short(), said.append)
    assert not [fault for entry in entries for fault in entry.faults], "\n".join(said)
    for entry in entries:
        (found,) = entry.rounds
        assert not [name for name in ("calm_lost", "busy_lost", "paced_lost") if found.figures.get(name)]
        assert all(found.ages_ms.values())
    rows = tables.table(entries, peers.COLUMNS[work][1]).splitlines()[2:]
    assert [row.split(" | ")[0] for row in rows] == [f"| {one.name}" for one in line_up]
    assert set(psutil.Process().children()) <= before


def test_the_table_has_a_place_in_the_readme() -> None:
    """`--write` finds where to write."""
    text = peers.README.read_text()
    assert text.index(peers.BEGIN) < text.index(peers.END)
