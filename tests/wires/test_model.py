"""Model-based test: hypothesis makes up schedules of faults, and shrinks those that break a promise.

`FLOWCORE_WIRES_LONG=2000` plays that many schedules a graph instead of the few that fit into the suite.
What is checked is in `sim_world.World`: every number reaches every sink; first handlings in order; all acked soon after
the faults stop; windows and queues; no floor past what is not done; no two processes of a node at once; no outside
frame changes a wire; a stored count contains exactly what it says.
"""

import os

import pytest
from faults import ACTS, PAUSES_S, play
from graphs import GRAPHS
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule
from sim_world import World

_LONG = int(os.environ.get("FLOWCORE_WIRES_LONG", "0"))
_SCHEDULES = _LONG or 25
_NODES = ("src", "a", "b", "c", "left", "batch", "join", "ring", "far", "work#0", "work#1", "total", "extra", "sink")


class Flow(RuleBasedStateMachine):
    """One flow under faults; at the end the faults stop and everything must arrive."""

    graph = "chain"

    def __init__(self) -> None:
        super().__init__()
        self.world: World | None = None

    @initialize(seed=st.integers(0, 1 << 16))
    def begin(self, seed):
        self.world = World(GRAPHS[self.graph](), seed).__enter__()
        self.world.run(0.1)

    @rule(seconds=st.sampled_from(PAUSES_S))
    def wait(self, seconds):
        self.world.run(seconds)

    @rule(node=st.sampled_from(_NODES), after=st.sampled_from(PAUSES_S))
    def kill(self, node, after):
        self.world.kill(node)
        self.world.run(after)

    @rule(one=st.sampled_from(_NODES), other=st.sampled_from(_NODES), after=st.sampled_from(PAUSES_S))
    def kill_pair(self, one, other, after):
        self.world.kill_pair(one, other)
        self.world.run(after)

    @rule(node=st.sampled_from(_NODES), after=st.sampled_from(PAUSES_S))
    def replace(self, node, after):
        self.world.replace(node)
        self.world.run(after)

    @rule(act=st.sampled_from(("bus_down", "cut", "widen", "weather", "outsider")), after=st.sampled_from(PAUSES_S))
    def happens(self, act, after):
        ACTS[act](self.world, self.world.rng)
        self.world.run(after)

    @precondition(lambda self: self.world is not None and self.world.graph.spare is not None)
    @rule(act=st.sampled_from(("rewire", "rewire_twice")), after=st.sampled_from(PAUSES_S))
    def rewire(self, act, after):
        ACTS[act](self.world, self.world.rng)
        self.world.run(after)

    @precondition(lambda self: self.world is not None and self.world.replicas)
    @rule(after=st.sampled_from(PAUSES_S))
    def scale(self, after):
        ACTS["scale"](self.world, self.world.rng)
        self.world.run(after)

    def teardown(self):
        if self.world is not None:
            try:
                if not self.world.problems:
                    self.world.finish()
            finally:
                self.world.__exit__()


@pytest.mark.parametrize("graph", GRAPHS)
def test_flow_under_faults(graph):
    """No schedule that hypothesis finds breaks a promise."""
    machine = type(f"Flow_{graph.replace(' ', '_')}", (Flow,), {"graph": graph})
    machine.TestCase.settings = settings(
        max_examples=_SCHEDULES,
        stateful_step_count=12,
        deadline=None,
        derandomize=not _LONG,
        phases=[phase for phase in Phase if phase is not Phase.explain],  # which traces each line, for an hour
        suppress_health_check=list(HealthCheck),
        print_blob=True,
    )
    machine.TestCase().runTest()


@pytest.mark.parametrize("graph", GRAPHS)
def test_random_schedules(graph):
    """The same with plain seeds: faster, so more of them, and a failure names its seed."""
    for seed in range(_LONG or 30):
        try:
            play(GRAPHS[graph](), seed)
        except BaseException:
            print(f"graph {graph!r}, seed {seed}")
            raise
