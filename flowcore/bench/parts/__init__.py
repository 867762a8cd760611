"""The parts of the bench by name, in the order in which they are measured and told."""

from flowcore.bench.parts import fanout, frames, idle, latency, reload, start, throughput
from flowcore.bench.session import Part

PARTS: dict[str, Part] = {
    part.name: part
    for part in (throughput.PART, latency.PART, fanout.PART, frames.PART, start.PART, reload.PART, idle.PART)
}

__all__ = ["PARTS"]
