"""The flows that are simulated: chain, state, fan-out, diamond, cycle, replicas, latest."""

from sim_frames import Around, CountFrames, Frames, KeepFrames, MakeFrame, PassFrame
from sim_nodes import Batch, Carry, Join, Numbers, Pass, PassAsync, PassBatch, Ring, Sink, Total
from sim_world import Graph, wire


def chain() -> Graph:
    """Four nodes in a row: sync, async and batch handlers."""
    return Graph(
        {"src": Numbers, "a": Pass, "b": PassAsync, "c": PassBatch, "sink": Sink},
        [wire("src.out>a.in"), wire("a.out>b.in"), wire("b.out>c.in"), wire("c.out>sink.in")],
        ordered=("a", "b", "c", "sink"),
        sinks=("sink",),
    )


def state() -> Graph:
    """A node that counts, in the middle of a chain."""
    return Graph(
        {"src": Numbers, "a": Pass, "total": Total, "sink": Sink},
        [wire("src.out>a.in"), wire("a.out>total.in"), wire("total.out>sink.in")],
        ordered=("a", "total", "sink"),
        sinks=("sink",),
    )


def fan() -> Graph:
    """Two sinks behind one port, one of which comes and goes."""
    return Graph(
        {"src": Numbers, "a": Pass, "sink": Sink, "extra": Sink},
        [wire("src.out>a.in"), wire("a.out>sink.in")],
        ordered=("a", "sink"),
        sinks=("sink",),
        spare=wire("a.out>extra.in", window=4),
    )


def diamond() -> Graph:
    """One branch holds back groups larger than a window; the branches are joined."""
    return Graph(
        {"src": Numbers, "left": Pass, "batch": Batch, "join": Join, "sink": Sink},
        [
            wire("src.out>left.in"),
            wire("src.out>batch.in"),
            wire("left.out>join.one"),
            wire("batch.out>join.many"),
            wire("join.out>sink.in"),
        ],
        ordered=("left", "batch"),
        sinks=("sink",),
        group=12,
    )


def cycle() -> Graph:
    """A node that feeds itself through another."""
    return Graph(
        {"src": Numbers, "ring": Ring, "far": Carry, "sink": Sink},
        [
            wire("src.out>ring.in"),
            wire("ring.around>far.in"),
            wire("far.out>ring.back", feedback=True, bound=64),
            wire("ring.out>sink.in"),
        ],
        ordered=("ring", "sink"),
        sinks=("sink",),
    )


def replicas(share: str = "any") -> Graph:
    """One consumer, two or three processes."""
    return Graph(
        {"src": Numbers, "work": Pass, "sink": Sink},
        [wire("src.out>work.in", replicas=2, share=share), wire("work.out>sink.in", producer_replicas=2)],
        sinks=("sink", "work"),
    )


def latest() -> Graph:
    """A consumer that only wants the newest, beside one that wants all."""
    return Graph(
        {"src": Numbers, "a": Pass, "gauge": Sink, "sink": Sink},
        [wire("src.out>a.in"), wire("a.out>gauge.in", delivery="latest"), wire("a.out>sink.in")],
        ordered=("a", "sink"),
        sinks=("sink",),
        latest=("gauge",),
    )


def frames() -> Graph:
    """Frames through two forwarders, one of which counts, to one that keeps; and to another that keeps, on the way."""
    return Graph(
        {"src": Frames, "a": PassFrame, "count": CountFrames, "keep": KeepFrames, "far": KeepFrames},
        [wire("src.out>a.in"), wire("a.out>count.in"), wire("a.out>keep.in"), wire("count.out>far.in")],
        ordered=("a", "count", "keep", "far"),
        sinks=("keep", "far"),
    )


def made_frames() -> Graph:
    """A node that makes frames of frames, acked when sent; its consumers keep, one of them the newest alone."""
    return Graph(
        {"src": Frames, "make": MakeFrame, "a": PassFrame, "far": KeepFrames, "newest": KeepFrames},
        [
            wire("src.out>make.in"),
            wire("make.out>a.in"),
            wire("a.out>far.in"),
            wire("a.out>newest.in", delivery="latest"),
        ],
        ordered=("make", "a", "far"),
        sinks=("far",),
        settings={"make": {"ack": "sent"}, "a": {"ack": "sent"}},
    )


def frame_cycle() -> Graph:
    """Frames that go around a cycle."""
    return Graph(
        {"src": Frames, "around": Around, "carry": PassFrame, "sink": Sink},
        [
            wire("src.out>around.in"),
            wire("around.around>carry.in"),
            wire("carry.out>around.back", feedback=True, bound=64),
            wire("around.out>sink.in"),
        ],
        ordered=("around", "sink"),
        sinks=("sink",),
    )


GRAPHS = {
    "chain": chain,
    "state": state,
    "fan": fan,
    "diamond": diamond,
    "cycle": cycle,
    "replicas": replicas,
    "replicas by key": lambda: replicas("key"),
    "latest": latest,
    "frames": frames,
    "made frames": made_frames,
    "frame cycle": frame_cycle,
}
