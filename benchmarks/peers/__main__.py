"""Measure Node-RED, dora, raw nats-py and flowcore at the same work, beside each other, and print the tables.

    python -m benchmarks.peers [--rounds N] [--short] [--only NAME]... [--json FILE] [--write]

The first run installs the peers, pinned, into `.peers/` (pip and npm; some 800 MB); what cannot be installed is said
and left out. Everything runs on loopback in temporary folders and is ended; nothing of it is left. Some eight minutes.
"""

import argparse
import asyncio
import json
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks.peers import install, tables
from benchmarks.peers.dora_rs import COPIED, Dora
from benchmarks.peers.measure import FRAME_HZ, HOP_HZ, Times
from benchmarks.peers.node_red import NodeRed
from benchmarks.peers.own import ASYNC, Flowcore
from benchmarks.peers.raw_nats import RawNats
from benchmarks.peers.rig import CHAIN, FRAME, HOP, HOPS, Contestant, LeftOut, Work
from benchmarks.peers.rounds import Entry, play
from flowcore.bench.machine import machine

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- peers: written by `python -m benchmarks.peers --write` -->", "<!-- peers: end -->"

COLUMNS: dict[Work, tuple[str, Sequence[tables.Column]]] = {
    CHAIN: (
        f"{HOPS} hops, small messages: messages a second at the sink",
        (
            ("steady, nothing lost", tables.steady),
            ("flat out", tables.rate("flood_hz")),
            ("lost flat out", tables.lost("flood_lost", "flood_sent")),
            ("processes", tables.processes),
        ),
    ),
    HOP: (
        f"One hop, small messages at {HOP_HZ}/s: age in ms, calm and while another node keeps a core busy for a second",
        (
            ("p50", tables.p50("calm")),
            ("p99", tables.pooled("calm", 99)),
            ("busy: p50", tables.p50("busy")),
            ("busy: p99", tables.pooled("busy", 99)),
            ("busy: oldest", tables.pooled("busy", 100)),
            ("lost", tables.count("calm_lost", "busy_lost")),
        ),
    ),
    FRAME: (
        f"One hop, frames of 6.2 MB (1920 x 1080 x 3): age in ms at {FRAME_HZ}/s, writing included; frames a second",
        (
            ("p50", tables.p50("paced")),
            ("p99", tables.pooled("paced", 99)),
            ("flat out, frames/s", tables.rate("flood_hz")),
            ("lost flat out", tables.lost("flood_lost", "flood_sent")),
        ),
    ),
}


def contestants(cache: Path, say: Callable[[str], None]) -> tuple[dict[Work, list[Contestant]], list[LeftOut]]:
    """Who takes part in what, and who could not be installed."""
    line_up: dict[Work, list[Contestant]] = {CHAIN: [], HOP: [], FRAME: []}
    left_out = []
    try:
        node_red = install.node_red(cache, say)
        line_up[CHAIN] += [NodeRed(node_red, stage) for stage in ("function", "change", "switch")]
        line_up[HOP].append(NodeRed(node_red))
    except install.NotInstalled as error:
        left_out.append(LeftOut("Node-RED", str(error)))
    try:
        dora = install.dora(cache, say)
        for work in line_up:
            line_up[work].append(Dora(dora))
        line_up[FRAME].append(Dora(dora, COPIED))
    except install.NotInstalled as error:
        left_out.append(LeftOut("dora", str(error)))
    for work in line_up:
        line_up[work] += [RawNats(), Flowcore()]
    for work in (HOP, FRAME):
        line_up[work].append(Flowcore(ASYNC))
    line_up[CHAIN].append(Flowcore(ack="sent"))
    line_up[CHAIN] += [Flowcore(stage) for stage in ("core/function", "core/change", "core/switch")]
    return line_up, left_out


def main() -> int:
    """Measure, print, write; 1 when a contestant failed in some round."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3, help="how often each is measured (3)")
    parser.add_argument("--short", action="store_true", help="short runs, to see that it works")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="those with NAME in theirs")
    parser.add_argument("--work", action="append", default=[], choices=[one.name for one in COLUMNS], help="only this")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--write", action="store_true", help="write the tables into benchmarks/README.md")
    parser.add_argument("--cache", type=Path, default=install.CACHE, help="where peers are installed (.peers)")
    asked = parser.parse_args()

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    line_up, left_out = contestants(asked.cache, say)
    times = Times.short() if asked.short else Times()
    begun_s = time.monotonic()
    found: dict[Work, list[Entry]] = {}
    for work, everybody in line_up.items():
        chosen = [one for one in everybody if not asked.only or any(name in one.name for name in asked.only)]
        if chosen and (not asked.work or work.name in asked.work):
            found[work] = asyncio.run(play(work, chosen, asked.rounds, times, say))
    took_s = time.monotonic() - begun_s
    text = _report(found, left_out, asked.rounds, took_s)
    print(text)
    if asked.json:
        asked.json.write_text(json.dumps(_as_json(found, left_out, took_s), indent=1) + "\n")
    if asked.write:
        _write(text)
    return int(any(entry.faults for entries in found.values() for entry in entries))


def _report(found: dict[Work, list[Entry]], left_out: Sequence[LeftOut], rounds: int, took_s: float) -> str:
    everybody = [entry for entries in found.values() for entry in entries]
    parts = [f"### {COLUMNS[work][0]}\n\n{tables.table(entries, COLUMNS[work][1])}" for work, entries in found.items()]
    command = shlex.join(["python", "-m", "benchmarks.peers", *sys.argv[1:]])
    parts.append(
        f"Median of {rounds} rounds, in brackets the smallest and the largest; p99 and the oldest over the messages of "
        f"all rounds. Measured on {datetime.now(UTC):%Y-%m-%d} in {took_s / 60:.0f} minutes with `{command}`, on "
        f"{tables.statement(machine(), everybody)}"
    )
    parts.append("What ran, with what settings:\n\n" + tables.about(found))
    parts += [f"Left out: {one.name}, because {one.reason}" for one in left_out]
    parts += [f"Failed: {entry.contestant.name}, {fault}" for entry in everybody for fault in entry.faults]
    return "\n\n".join(parts)


def _as_json(found: dict[Work, list[Entry]], left_out: Sequence[LeftOut], took_s: float) -> dict[str, Any]:
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "took_s": took_s,
        "machine": machine(),
        "work": {
            work.name: [
                {
                    "name": entry.contestant.name,
                    "versions": dict(entry.contestant.versions),
                    "settings": entry.contestant.settings,
                    "processes": dict(entry.processes),
                    "rounds": [{"figures": one.figures, "ages_ms": one.ages_ms} for one in entry.rounds],
                    "beside_cores": entry.beside,
                    "faults": entry.faults,
                }
                for entry in entries
            ]
            for work, entries in found.items()
        },
        "left_out": [{"name": one.name, "reason": one.reason} for one in left_out],
    }


def _write(text: str) -> None:
    before, _, rest = README.read_text().partition(BEGIN)
    _, found, after = rest.partition(END)
    if not found:
        sys.exit(f"{README}: has no lines '{BEGIN}' and '{END}' to write between")
    README.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}")


if __name__ == "__main__":
    sys.exit(main())
