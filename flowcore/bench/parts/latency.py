"""How old a message is in its handler, by payload size and by hops, at a steady pace; one hop beside raw nats-py."""

from collections.abc import Sequence

from flowcore.bench import figures
from flowcore.bench.figures import Row, at_most
from flowcore.bench.line import WARM_S, Line
from flowcore.bench.raw import Raw
from flowcore.bench.session import Part, Trial

RATE_HZ = 200
_RAW_BYTES = 200  # about what the envelope of a small message has
_SIZES = (1_000, 100_000, 1_000_000)  # the last is more than an envelope holds: shared memory
_HOPS = (2, 4, 8)


async def _measure(trial: Trial) -> None:
    await _beside_raw(trial)
    await _by_size(trial)
    await _by_hops(trial)


async def _beside_raw(trial: Trial) -> None:
    """One hop and raw nats-py in turn, a run each, so that whatever the machine does meets both."""
    raw_runs, sync_runs, async_runs = list[Sequence[float]](), list[Sequence[float]](), list[Sequence[float]]()
    runtime, options = trial.runtime, trial.options
    async with (
        Raw(runtime.client.target) as raw,
        Line.of_hops(runtime, "hop", 1) as line,
        Line.of_hops(runtime, "hop-async", 1, sink="bench/async-sink") as async_line,
    ):
        for _ in range(options.runs):
            raw_runs.append(await raw.run(options.seconds, warm_s=WARM_S, rate_hz=RATE_HZ, size_bytes=_RAW_BYTES))
            sync_runs.append(await _ages(trial, line, "1 hop"))
            async_runs.append(await _ages(trial, async_line, "1 hop, async handler"))
        trial.look(*raw.pids)
    hop = figures.latency("1 hop, small message", sync_runs, hops=1, bytes=0)
    beside = figures.latency("raw nats-py, same pace", raw_runs, bytes=_RAW_BYTES, peer="nats-py")
    ratios = [ours / theirs for ours, theirs in zip(hop.values, beside.values, strict=True)]
    trial.add(hop)
    trial.add(figures.latency("1 hop, small message, async handler", async_runs, hops=1, bytes=0, handler="async"))
    trial.add(beside)
    trial.add(Row("1 hop against raw nats-py, p50", "x", ratios, at_most(1.3)))


async def _by_size(trial: Trial) -> None:
    async with Line.of_hops(trial.runtime, "sizes", 1) as line:
        for size in trial.options.either(_SIZES, _SIZES[-1:]):
            runs = [await _ages(trial, line, f"{size} bytes", size) for _ in range(trial.options.runs)]
            trial.add(figures.latency(f"1 hop, {size:,} bytes", runs, hops=1, bytes=size))


async def _by_hops(trial: Trial) -> None:
    for hops in trial.options.either(_HOPS, _HOPS[:1]):
        async with Line.of_hops(trial.runtime, f"hops{hops}", hops) as line:
            runs = [await _ages(trial, line, f"{hops} hops") for _ in range(trial.options.runs)]
        trial.add(figures.latency(f"{hops} hops, small message", runs, hops=hops, bytes=0))


async def _ages(trial: Trial, line: Line, what: str, size: int = 0) -> Sequence[float]:
    (run,) = await trial.run(line, what, rate_hz=RATE_HZ, bytes=size, ages="origin")
    return run.ages_ms


PART = Part("latency", f"from a message's ts to its handler, {RATE_HZ} messages a second", _measure)
