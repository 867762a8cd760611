"""Our nodes give what Node-RED's gave when it was recorded, or the case says why not. `make parity` records anew.

A case that differs without a reason fails, and so does a reason for a case that does not differ.
"""

from itertools import groupby

import pytest

from tests.parity import cases, recorded, table
from tests.parity.ours import Deployed
from tests.parity.outcome import normal

CASES = cases.read()
RECORDED = recorded.load()
NODES = [(node, list(of)) for node, of in groupby(CASES, key=lambda case: case.node)]
_PROVEN_DEPLOYED = 2  # cases of each node that also run on a real host; those of several nodes all do


def recording(case) -> list:
    """What Node-RED gave for this very case."""
    entry = RECORDED.get((case.node, case.name))
    assert entry and entry["of"] == case.fingerprint, f"{case}: not recorded as it is now; run make parity"
    return entry["outcome"]


def _judge(case, got) -> str:
    """What is wrong with an outcome; empty when nothing is."""
    is_same = normal(got) == recording(case)
    if is_same and case.differs:
        return f"{case}\n  gives the same as Node-RED now: take its `differs` away"
    if not is_same and not case.differs:
        return f"{case}\n  theirs {recording(case)}\n  ours   {normal(got)}"
    return ""


@pytest.mark.parametrize(("node", "of"), NODES, ids=[node for node, _ in NODES])
def test_there_are_enough_cases(node, of):
    """At least fifteen sequences of messages a node, each with a name of its own."""
    assert len({case.name for case in of}) == len(of) >= 15


@pytest.mark.parametrize(("node", "of"), NODES, ids=[node for node, _ in NODES])
async def test_a_node_gives_what_node_red_gives(driven, node, of):
    """Each case by itself, on the real engine."""
    wrong = [found for case in of if driven.takes(case) and (found := _judge(case, await driven.run(case)))]
    assert not wrong, "\n".join(wrong)


async def test_cases_give_the_same_as_processes_on_a_bus(host, driven, types):
    """Cases of several nodes, and some of each node, as one imported flow on a host."""
    some = [case for case in CASES if not driven.takes(case)]
    for _, of in NODES:
        plain = [case for case in of if case not in some and case.can_share and not case.differs]
        some += plain[:_PROVEN_DEPLOYED]
    outcomes = await Deployed(host, types).run(some)
    wrong = [found for case in some if (found := _judge(case, outcomes[case.id]))]
    assert not wrong, "\n".join(wrong)


def test_the_page_for_node_red_users_has_the_table():
    """Which cases are equal and why others are not: written by make parity."""
    assert table.PAGE.read_text(encoding="utf-8") == table.filled(table.PAGE.read_text(encoding="utf-8"), CASES)
