"""Schedules of faults that once broke a wire, or that a rule of the protocol exists for; each is a promise."""

import pytest
import sim_nodes
from graphs import GRAPHS, chain, cycle, diamond, fan, latest, replicas, state
from sim_world import Graph, World, wire


@pytest.mark.parametrize("graph", GRAPHS)
def test_without_faults_nothing_comes_twice(graph):
    """Every number reaches every sink, each once, in order, and all is acked."""
    with World(GRAPHS[graph](), seed=1) as world:
        world.run(0.5)
        world.finish(within_s=5)
        sinks = world.graph.sinks
        assert [world.handlings[sink] for sink in sinks] == [world.total] * len(sinks)


def test_a_new_consumer_mid_stream_gets_what_comes_after_the_deploy():
    """It starts where the wire began, is not asked for what was before, and takes part in back-pressure."""
    for seed in range(5):
        with World(fan(), seed) as world:
            world.run(0.3)
            world.add_wire(world.graph.spare)
            world.run(0.3)
            world.finish()
            seen = list(world.first_seen["extra"])
            assert seen[0] > 20
            assert seen == list(range(seen[0], world.total + 1))


def test_a_source_replaced_and_killed_before_its_inherited_were_acked_loses_nothing():
    """The saved position stays at what is acked, whatever was handed over."""
    for seed in range(10):
        with World(chain(), seed) as world:
            world.run(0.2)
            old = world.current["src"]
            world.kill("sink")
            world.run(0.02)
            world.replace("src")
            world.until(lambda world=world, old=old: world.current["src"] is not old, 5, "the source is replaced")
            world.run(0.001 * seed)
            world.kill("src")
            world.finish()


def test_what_was_stored_and_acked_is_sent_by_the_successor_without_further_input():
    """The record's outbox: its input will not come again."""
    for seed in range(10):
        with World(state(), seed, total=40) as world:
            world.kill("sink")

            def all_stored(world: World = world) -> bool:
                record = world.records.get("total")
                return record is not None and record.values["count"] >= 8

            world.until(all_stored, 5, "eight numbers are in the record")
            world.kill("total")
            world.finish()


def test_a_counter_that_is_killed_counts_each_message_once():
    """Twenty kills of a node with state: its sum is the input's."""
    with World(state(), seed=3, total=600) as world:
        for _ in range(20):
            world.run(0.05)
            world.kill("total")
        world.finish()
        assert world.records["total"].values == {"sum": 600 * 601 // 2, "count": 600}


def test_a_replaced_counter_counts_each_message_once():
    """The same for hot reloads: the old one's record is complete before the new one reads it."""
    with World(state(), seed=4, total=600) as world:
        for _ in range(12):
            world.run(0.1)
            world.replace("total")
        world.finish()
        assert world.records["total"].values == {"sum": 600 * 601 // 2, "count": 600}


@pytest.mark.parametrize("graph", ["chain", "state", "diamond"])
def test_the_last_message_in_flight_when_the_bus_goes_down_arrives(graph):
    """Nothing comes after it, so only a probe or the reconnect finds it."""
    for seed in range(10):
        with World(GRAPHS[graph](), seed, total=24) as world:
            world.until(lambda world=world: world.sent == 24, 5, "all is sent")
            world.server.stop()
            world.run(0.2)
            world.server.start()
            world.finish()


def test_a_wire_removed_and_added_again_goes_on_while_what_was_taken_before_is_handled_late():
    """What the consumer had taken is acked late, on a wire that is there again: it must not count for new messages."""
    for seed in range(10):
        graph = fan()
        graph.wires.append(graph.spare)
        with World(graph, seed) as world:
            world.run(0.2)
            paused = world.current["extra"]
            paused.call(paused.runner.engine.pause)
            world.run(0.05)
            world.remove_wire(graph.spare.id)
            world.run(0.03)
            world.add_wire(graph.spare)
            world.run(0.05)
            paused.call(paused.runner.engine.resume)
            world.run(0.1)
            world.finish()
            assert world.handlings["extra"] == len(world.first_seen["extra"])


def test_another_window_loses_nothing_and_repeats_nothing():
    """A deploy that changes a wire's window is no reason to handle a message twice."""
    for seed in range(5):
        with World(chain(), seed) as world:
            for window in (16, 4, 8):
                world.run(0.1)
                for one in list(world.wires):
                    world.change_wire(one, window=window)
            world.finish()
            assert world.handlings["sink"] == world.total


@pytest.mark.parametrize("pair", [("a", "b"), ("b", "a"), ("src", "a"), ("b", "c"), ("a", "c"), ("c", "sink")])
def test_neighbours_killed_ten_milliseconds_apart(pair):
    """Ten times each, from a source that can replay."""
    with World(chain(), seed=len(pair[0])) as world:
        for _ in range(10):
            world.run(0.1)
            world.kill_pair(*pair, apart_s=0.01)
        world.finish()


def test_a_cycle_at_its_full_window_goes_on():
    """The closing wire never blocks: with it, every window of the cycle may be full."""
    for seed in range(5):
        with World(cycle(), seed) as world:
            world.run(1.0)
            world.finish()


def test_a_cycle_past_its_bound_rejects_the_newest():
    """It goes to `.error`; the rest of the flow is not held up."""
    graph = cycle()
    graph.wires = [wire("far.out>ring.back", feedback=True, bound=3) if one.feedback else one for one in graph.wires]
    with World(graph, seed=1) as world:
        world.run(1.0)
        world.finish()
        assert world.rejected


def test_a_group_larger_than_the_window_does_not_stop_a_diamond():
    """A node that holds messages stores them and acks them."""
    with World(diamond(), seed=2) as world:
        world.run(0.5)
        world.finish(within_s=5)


def test_a_replica_that_is_scaled_away_dead_leaves_what_it_had_to_the_others():
    """Under new numbers: the others may be past the old ones."""
    for seed in range(10):
        with World(replicas(), seed) as world:
            world.scale("work", 3)
            world.run(0.3)
            world.kill("work#2")
            world.run(0.01)
            world.scale("work", 2)
            world.run(1.5)
            world.finish()


def test_scaling_repeats_nothing_while_all_live():
    """A replica that leaves finishes what it took."""
    for seed in range(5):
        with World(replicas(), seed) as world:
            for count in (3, 2, 4, 2):
                world.run(0.3)
                world.scale("work", count)
            world.finish()
            assert world.handlings["work"] == world.total
            assert world.handlings["sink"] == world.total


def test_latest_skips_counts_and_ends_with_the_newest():
    """A slow consumer of a latest wire gets the newest, and holds up nobody."""
    with World(latest(), seed=5) as world:
        world.run(0.2)
        world.current["gauge"].call(world.current["gauge"].runner.engine.pause)
        world.run(0.2)
        behind = world.sent
        world.current["gauge"].call(world.current["gauge"].runner.engine.resume)
        world.run(0.05)
        assert world.latest["gauge"] > behind - 8
        world.finish()
        end = world.current["gauge"].runner.wiring.ins.wires["a.out>gauge.in"]
        assert end.counts["drops"] > 0
        assert end.counts["drops"] + len(world.first_seen["gauge"]) == world.total


def test_a_producer_that_comes_and_goes_cannot_fill_its_consumers_queue():
    """What was taken of ended epochs is still handled, so it counts against the window."""
    graph = Graph(
        {"src": sim_nodes.Numbers, "sink": sim_nodes.Sink},
        [wire("src.out>sink.in")],
        ordered=("sink",),
        sinks=("sink",),
    )
    with World(graph, seed=1) as world:
        world.run(0.1)
        sink = world.current["sink"]
        sink.call(sink.runner.engine.pause)
        for _ in range(12):
            world.run(0.15)
            world.kill("src")
        world.run(0.2)
        assert len(sink.runner.engine.queue) <= 20
        sink.call(sink.runner.engine.resume)
        world.finish()


def test_the_bus_is_away_for_minutes():
    """Nothing is lost, and all goes on at once when it is back."""
    with World(chain(), seed=6) as world:
        world.run(0.3)
        world.server.stop()
        world.run(150)
        world.server.start()
        assert world.finish() < 6


def test_faults_with_a_seed_are_the_same_each_time():
    """A failure that hypothesis prints can be run again."""
    from faults import play

    first, second = play(chain(), 11), play(chain(), 11)
    assert (first.handlings, first.total) == (second.handlings, second.total)


def test_a_wire_that_becomes_another_kind_and_back_loses_nothing_it_owed():
    """What is un-acked goes over to the new wire under new numbers, and the new ends believe each other."""
    for seed in range(5):
        graph = chain()
        graph.sinks = graph.ordered = ()  # no ack waits for a closing wire, which it is for a while
        with World(graph, seed) as world:
            world.widest["b.out>c.in"] = 1024  # what a closing wire owes is taken over, also past the window
            for is_closing in (True, False):
                world.run(0.2)
                world.change_wire("b.out>c.in", feedback=is_closing)
            world.run(0.2)
            world.finish()
            world.run(1.0)
            assert sorted(world.first_seen["sink"]) == list(range(1, world.total + 1))


def test_a_wire_that_becomes_latest_and_reliable_again_carries_on():
    """It skips meanwhile; afterwards everything comes."""
    for seed in range(5):
        graph = chain()
        graph.sinks = graph.ordered = ()
        with World(graph, seed) as world:
            world.run(0.2)
            world.change_wire("b.out>c.in", delivery="latest")
            world.run(0.2)
            world.change_wire("b.out>c.in", delivery="reliable")
            world.run(0.1)
            since = world.sent
            world.finish()
            assert set(range(since, world.total + 1)) <= set(world.first_seen["sink"])
