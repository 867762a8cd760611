"""One source and several sinks: each message goes over the bus once, and every sink gets it."""

from flowcore.bench.documents import NodeLike, flow
from flowcore.bench.figures import Row
from flowcore.bench.line import Line
from flowcore.bench.session import Part, Trial

_WIDTHS = (1, 2, 8)


async def _measure(trial: Trial) -> None:
    options = trial.options
    for width in options.either(_WIDTHS, _WIDTHS[1:2]):
        sinks = [f"sink{k}" for k in range(1, width + 1)]
        nodes: dict[str, NodeLike] = {"source": "bench/source", **dict.fromkeys(sinks, "bench/sink")}
        document = flow(f"fan{width}", nodes, [f"source.out > {sink}.in" for sink in sinks])
        sent, delivered = [], []
        async with Line(trial.runtime, document, sinks) as line:
            for _ in range(options.runs):
                delivered.append(sum(run.rate_hz for run in await trial.run(line, f"{width} sinks")))
                sent.append(delivered[-1] / width)
            trial.look()
        trial.add(Row(f"sent to {width} sink{'s' * (width > 1)}", "msg/s", sent, of={"sinks": width}))
        if width > 1:
            trial.add(Row(f"delivered to {width} sinks in all", "msg/s", delivered, of={"sinks": width, "all": True}))


PART = Part("fanout", "small messages from one source to several sinks, as fast as the wires take them", _measure)
