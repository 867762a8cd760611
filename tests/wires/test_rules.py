"""Each rule of the wires is needed: with it switched off, the simulation breaks. (`mutations.py` prints the table.)"""

import pytest
from mutations import MUTATIONS, failures

# Resting on argument: another rule repairs the same damage in every schedule that was tried.
_UNSEEN = {
    "want while waiting",
    "a tensor that is gone is asked for again",
    "ordered epochs",
    "ack fence by incarnation",
}
_HARD_TO_SEE = {"tail probe": 1, "outbox in the record": 0, "new numbers for what a replica leaves": 0}


@pytest.mark.parametrize("rule", [name for name in MUTATIONS if name not in _UNSEEN])
def test_the_simulation_notices_when_a_rule_is_off(rule):
    """A model that can't fail proves nothing."""
    graph = MUTATIONS[rule][0][_HARD_TO_SEE.get(rule, 0)]
    failed, _ = failures(rule, graph, range(80), at_most=1)
    assert failed
