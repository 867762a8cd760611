"""What is measured on a rig: one function a piece of work, each giving named figures of one round.

A source that nothing holds back, let loose, floods what comes after it: messages are lost, or pile up somewhere. Where
that happens, the highest rate at which nothing is lost and nothing piles up is looked for as well, which is the fair
figure beside a contestant with back-pressure.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

from benchmarks.peers.control import Order, Run
from benchmarks.peers.rig import CHAIN, FRAME, HOP, Rig, Work

HOP_HZ = 200
FRAME_HZ = 30
_PROBES = 6
_KEEPS_UP = 0.97  # of the rate asked for, at the sink, within the measured time
_KEEPS_UP_FLOODED = 0.8  # of what a source sent on the average: a start is slower than what follows


@dataclass(frozen=True)
class Times:
    """How long things are measured, in seconds, beside the warm-up."""

    warm_s: float = 0.5
    flood_s: float = 2.0
    paced_s: float = 3.0
    probe_s: float = 1.0
    busy_s: float = 1.0

    @classmethod
    def short(cls) -> "Times":
        """To see that it works; the figures say little."""
        return cls(warm_s=0.2, flood_s=0.5, paced_s=0.5, probe_s=0.3, busy_s=0.3)


@dataclass
class Found:
    """Figures of one round.

    Attributes:
        figures: by name; a rate in messages a second, a count, or seconds.
        ages_ms: by name, of single messages.
    """

    figures: dict[str, float] = field(default_factory=dict)
    ages_ms: dict[str, list[float]] = field(default_factory=dict)


async def _chain(rig: Rig, times: Times) -> Found:
    flood = await rig.run(Order(times.warm_s + times.flood_s, times.warm_s))
    found = Found({"flood_hz": flood.rate_hz, "flood_sent": flood.sent, "flood_lost": flood.lost})
    sent_hz = flood.sent / (times.warm_s + times.flood_s)
    is_held_back = flood.lost == 0 and flood.rate_hz >= _KEEPS_UP_FLOODED * sent_hz
    found.figures["steady_hz"] = flood.rate_hz if is_held_back else await _highest_steady(rig, flood, times)
    return found


async def _hop(rig: Rig, times: Times) -> Found:
    order = Order(times.warm_s + times.paced_s, times.warm_s, HOP_HZ, ages=True)
    calm = await rig.run(order)
    found = Found({"calm_lost": calm.lost}, {"calm": list(calm.ages_ms)})
    order = replace(order, seconds=times.warm_s + 2 * times.busy_s, due=True)

    async def disturb() -> None:
        await asyncio.sleep(times.warm_s + 0.5 * times.busy_s)
        await rig.be_busy(times.busy_s)

    disturbance = asyncio.create_task(disturb())
    disturbed = await rig.run(order)
    await disturbance
    found.figures |= {"busy_lost": disturbed.lost}
    found.ages_ms |= {"busy": list(disturbed.ages_ms)}
    return found


async def _frame(rig: Rig, times: Times) -> Found:
    paced = await rig.run(Order(times.warm_s + times.paced_s, times.warm_s, FRAME_HZ, ages=True, frames=True))
    flood = await rig.run(Order(times.warm_s + times.flood_s, times.warm_s, frames=True))
    figures = {"paced_lost": paced.lost, "flood_hz": flood.rate_hz, "flood_sent": flood.sent, "flood_lost": flood.lost}
    return Found(figures, {"paced": list(paced.ages_ms)})


async def _highest_steady(rig: Rig, flood: Run, times: Times) -> float:
    """Look for the highest rate at which nothing is lost and the sink keeps up; 0 when none was found."""
    best, low, high, rate_hz = 0.0, 0.0, 0.0, max(10.0, flood.rate_hz)
    for _ in range(_PROBES):
        run = await rig.run(Order(times.warm_s + times.probe_s, times.warm_s, rate_hz))
        if run.lost == 0 and run.rate_hz >= _KEEPS_UP * rate_hz:
            best, low = max(best, run.rate_hz), rate_hz
        else:
            high = rate_hz
        rate_hz = (low + high) / 2 if low and high else 1.4 * low if low else 0.6 * high
    return best


MEASURES: Mapping[Work, Callable[[Rig, Times], Awaitable[Found]]] = {
    CHAIN: _chain,
    HOP: _hop,
    FRAME: _frame,
}
