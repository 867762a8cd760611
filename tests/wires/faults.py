"""What can happen to a simulated world, as acts by name; and schedules of such acts from a seed."""

import random
from collections.abc import Callable

from sim_world import Graph, World

PAUSES_S = (0.01, 0.05, 0.1, 0.3)


def kill(world: World, rng: random.Random) -> None:
    """kill -9."""
    world.kill(rng.choice(sorted(world.current)))


def kill_pair(world: World, rng: random.Random) -> None:
    """Two processes die a moment apart."""
    names = sorted(world.current)
    pairs = [(one.producer, one.consumer) for one in world.wires.values()]
    pair = rng.choice(pairs) if rng.random() < 0.7 else (rng.choice(names), rng.choice(names))
    world.kill_pair(*(pair if rng.random() < 0.5 else reversed(pair)), rng.choice((0.0, 0.01, 0.03)))


def bus_down(world: World, rng: random.Random) -> None:
    """nats-server dies and comes back."""
    world.server.stop()
    world.run(rng.choice((0.05, 0.3, 1.0)))
    world.server.start()


def cut(world: World, rng: random.Random) -> None:
    """One connection breaks."""
    if world.server.connections:
        rng.choice(world.server.connections).cut()


def replace(world: World, rng: random.Random) -> None:
    """A hot reload of one node."""
    world.replace(rng.choice(sorted(world.current)))


def rewire(world: World, rng: random.Random) -> None:
    """The spare wire is removed, or added (again)."""
    spare = world.graph.spare
    if spare is not None and spare.id in world.wires:
        world.remove_wire(spare.id)
    elif spare is not None:
        world.add_wire(spare)


def rewire_twice(world: World, rng: random.Random) -> None:
    """Removed and added again, or added and removed, a moment apart."""
    rewire(world, rng)
    world.run(rng.choice((0.002, 0.02, 0.2)))
    rewire(world, rng)


def widen(world: World, rng: random.Random) -> None:
    """A wire gets another window."""
    world.change_wire(rng.choice(sorted(world.wires)), window=rng.choice((6, 8, 16)))


def scale(world: World, rng: random.Random) -> None:
    """Other numbers of replicas."""
    for node, replicas in list(world.replicas.items()):
        if rng.random() < 0.5:
            world.kill(f"{node}#{replicas - 1}")
        world.scale(node, rng.choice([n for n in (2, 3, 4) if n != replicas]))


def weather(world: World, rng: random.Random) -> None:
    """From now on some frames are lost, come twice, are overtaken, or all are slow."""
    if rng.random() < 0.4:
        world.server.latency_s = rng.choice(((0.0002, 0.004), (0.005, 0.06)))
    else:
        setattr(world.server, rng.choice(("drop", "repeat", "reorder")), rng.choice((0.0, 0.02, 0.1)))


def outsider(world: World, rng: random.Random) -> None:
    """Frames that no wire may believe."""
    world.send_forged(rng)


ACTS: dict[str, Callable[[World, random.Random], None]] = {
    one.__name__: one
    for one in (kill, kill_pair, bus_down, cut, replace, rewire, rewire_twice, widen, scale, weather, outsider)
}
_OFTEN = ("kill", "kill_pair", "kill_pair", "replace", "weather", "weather")


def play(graph: Graph, seed: int, faults: int = 8) -> World:
    """One schedule of random faults to its end. Returns the finished world; raises `Broken`."""
    rng = random.Random(seed * 7919 + 1)
    with World(graph, seed) as world:
        world.run(0.2)
        for _ in range(faults):
            ACTS[rng.choice((*ACTS, *_OFTEN))](world, rng)
            world.run(rng.choice(PAUSES_S))
        world.finish()
    return world
