"""The bench beside the peers still measures: raw nats-py and flowcore, for half a second each."""

import psutil
import pytest

from benchmarks.peers import __main__ as peers
from benchmarks.peers import tables
from benchmarks.peers.measure import Times
from benchmarks.peers.own import Flowcore
from benchmarks.peers.raw_nats import RawNats
from benchmarks.peers.rig import FRAME, HOP, Work
from benchmarks.peers.rounds import play


@pytest.mark.parametrize("work", [HOP, FRAME], ids=lambda work: work.name)
async def test_raw_nats_and_flowcore_go_through_a_round(work: Work) -> None:
    """Both are measured and found in the table, flowcore loses nothing, and no process is left behind."""
    before = set(psutil.Process().children())
    said: list[str] = []
    raw, own = await play(work, [RawNats(), Flowcore()], 1, Times.short(), said.append)
    assert not raw.faults + own.faults, "\n".join(said)
    assert not [name for name, lost in own.rounds[0].figures.items() if name.endswith("lost") and lost]
    assert all(run for entry in (raw, own) for runs in entry.rounds[0].ages_ms.values() for run in runs)
    rows = tables.table([raw, own], peers.COLUMNS[work][1]).splitlines()[2:]
    assert [row.split(" | ")[0] for row in rows] == ["| raw nats-py", "| flowcore, nodes of a package"]
    assert set(psutil.Process().children()) <= before


def test_the_table_has_a_place_in_the_readme() -> None:
    """`--write` finds where to write."""
    text = peers.README.read_text()
    assert text.index(peers.BEGIN) < text.index(peers.END)
