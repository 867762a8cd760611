"""Frames in shared memory: how old, how many a second, and what a hop costs that only passes them on."""

from collections.abc import Sequence
from typing import Any

from flowcore.bench import figures
from flowcore.bench.documents import NodeLike, flow
from flowcore.bench.figures import Row, at_least, at_most
from flowcore.bench.line import Line
from flowcore.bench.session import Part, Trial

RATE_HZ = 60  # a fast camera
HD = (1080, 1920, 3)  # 6.2 MB
_SHAPES = {"0.9 MB": (480, 640, 3), "6.2 MB": HD, "24.9 MB": (2160, 3840, 3)}
_WIDTH = 4


async def _measure(trial: Trial) -> None:
    await _one_wire(trial)
    await _forwarded(trial)
    await _fan_out(trial)


async def _one_wire(trial: Trial) -> None:
    runs = range(trial.options.runs)
    async with Line.of_hops(trial.runtime, "frames", 1) as line:
        await _first_frames(line)
        for write, name, target in (
            ("alloc", "written into a slot", at_most(2)),
            ("send", "a numpy array sent, one copy", None),
        ):
            ages = [await _ages(trial, line, name, "begun", HD, write) for _ in runs]
            row = f"1 hop, 6.2 MB frame, {name}, from before the write"
            trial.add(figures.latency(row, ages, target, hops=1, shape=HD, write=write))
        rates = [(await trial.run(line, "one wire", shape=HD, write="alloc"))[0].rate_hz for _ in runs]
        trial.look()
    trial.add(Row("6.2 MB frames on one wire, each written once", "frames/s", rates, at_least(1000), of={"shape": HD}))


async def _forwarded(trial: Trial) -> None:
    """The last of two hops, whose sender only passes on: small messages and frames of each size in turn."""
    small, frames = list[Sequence[float]](), dict[str, list[Sequence[float]]]()
    async with Line.of_hops(trial.runtime, "forwarded", 2) as line:
        await _first_frames(line)
        for _ in range(trial.options.runs):
            small.append(await _ages(trial, line, "small messages", "hop"))
            for name, shape in _SHAPES.items():
                frames.setdefault(name, []).append(await _ages(trial, line, f"{name} frames", "hop", shape))
    base = figures.latency("the last of 2 hops, small message", small, hops=2, bytes=0)
    trial.add(base)
    for name, ages in frames.items():
        row = figures.latency(f"the last of 2 hops, {name} frame passed on", ages, hops=2, shape=_SHAPES[name])
        ratios = [ours / theirs for ours, theirs in zip(row.values, base.values, strict=True)]
        trial.add(row)
        trial.add(Row(f"{name} frame passed on against a small message, p50", "x", ratios, at_most(1.3)))


async def _fan_out(trial: Trial) -> None:
    sinks = [f"sink{k}" for k in range(1, _WIDTH + 1)]
    nodes: dict[str, NodeLike] = {"source": "bench/source", **dict.fromkeys(sinks, "bench/sink")}
    document = flow("fan", nodes, [f"source.out > {sink}.in" for sink in sinks])
    rates = []
    async with Line(trial.runtime, document, sinks) as line:
        await _first_frames(line)
        for _ in range(trial.options.runs):
            runs = await trial.run(line, f"{_WIDTH} sinks", shape=HD, write="alloc")
            rates.append(sum(run.rate_hz for run in runs) / _WIDTH)
    trial.add(Row(f"6.2 MB frames to {_WIDTH} sinks, each written once", "frames/s", rates, of={"sinks": _WIDTH}))


async def _first_frames(line: Line) -> None:
    """The first frame of a process costs more: numpy is imported, pools are made and opened."""
    await line.run(0.1, shape=HD, write="alloc")


async def _ages(
    trial: Trial, line: Line, what: str, since: str, shape: Sequence[int] | None = None, write: str = "alloc"
) -> Sequence[float]:
    frame: dict[str, Any] = {} if shape is None else {"shape": shape, "write": write}
    (run,) = await trial.run(line, what, rate_hz=RATE_HZ, ages=since, **frame)
    return run.ages_ms


PART = Part("frames", f"frames in shared memory; latencies at {RATE_HZ} frames a second", _measure)
