"""What a node process says of itself each second on `flow.<flow>.<node>.stats`: one schema for all who read it."""

import os
import time
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel

from flowcore.wires.durable import DurableWire
from flowcore.wires.out_wire import FeedbackWire, LatestWire
from flowcore.wires.share import SharedWire

if TYPE_CHECKING:
    from flowcore.node.engine import Engine
    from flowcore.runtime.wiring import Wiring

QUIET_S = 10.0  # a node to which nothing happens says so this often
_MOST_HELD = 20  # slots of each list
_PSS_EACH_S, _PSS_QUIET_S = 5.0, 60.0  # the kernel walks all pages for it: a millisecond
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class InputStats(BaseModel):
    """One wire, at its consumer. `queued`: taken and not done; `age_s`: of the oldest of them."""

    wire: str
    delivery: str
    queued: int
    taken: int
    duplicates: int
    gaps: int
    drops: int
    age_s: float


class OutputStats(BaseModel):
    """One wire, at its producer. `unacked` of `window` messages; `blocked`: it makes the producer wait now."""

    wire: str
    delivery: str
    window: int
    unacked: int
    bytes: int
    resent: int
    drops: int
    discarded: int
    age_s: float
    blocked: bool
    trouble: str = ""


class PoolStats(BaseModel):
    """Shared memory that the process made, of one size: slots, `used` by itself, `waiting` for readers to let go."""

    device: str
    slot_bytes: int
    slots: int
    used: int
    waiting: int
    bytes: int


class HeldStats(BaseModel):
    """A slot that the process still uses although the message is done that came to `port` with it."""

    owner: int
    pool: str
    slot: int
    bytes: int
    age_s: float
    port: str
    message: str


class NodeStats(BaseModel):
    """One process, each second while something changes, else every ten. Times in ms are of the last 512 turns.

    `rss_bytes` counts in full what it shares with its fork server, `pss_bytes` (of the last five seconds; of the last
    minute where nothing happens) its share. `kept` are the slots of tensors that it keeps by `keep()`, `lingering`
    those that it holds without having said so: the oldest of each. `expired`: messages that were asked for again
    because a tensor in them was gone.
    """

    flow: str
    node: str
    process: str
    type: str
    pid: int
    inc: int
    ts: int
    state: str
    handled: int
    sent: int
    rate_hz: float
    errors: int
    late: int
    retried: int
    given_up: int
    source_drops: int
    queue: int
    p50_ms: float | None
    p99_ms: float | None
    cpu: float
    rss_bytes: int
    pss_bytes: int
    malformed: int
    refused: int
    overflow: int
    inputs: list[InputStats]
    outputs: list[OutputStats]
    ports: dict[str, int]
    pools: list[PoolStats]
    kept: list[HeldStats]
    lingering: list[HeldStats]
    expired: int


class Statistics:
    """Collects the numbers of one process."""

    def __init__(self, spec: dict[str, Any], engine: "Engine", wiring: "Wiring") -> None:
        self._spec, self._engine, self._wiring = spec, engine, wiring
        self._said: tuple = ()
        self._said_s = 0.0
        self._is_quiet = False  # nothing has happened since the last report
        self._is_at_work = True  # something waits here, or for acks
        self._at_s, self._cpu_s = time.monotonic(), time.process_time()
        self._counted = 0
        self._pss_bytes, self._pss_at_s = 0, -_PSS_EACH_S

    @property
    def is_settled(self) -> bool:
        """True when, unless something comes or goes, there is nothing to say yet."""
        return not self._is_at_work and time.monotonic() - self._said_s < QUIET_S

    def due(self, state: str) -> dict[str, Any] | None:
        """The statistics when there is something new to say, else None."""
        now_s = time.monotonic()
        engine, wiring = self._engine, self._wiring
        sent = sum(port.sent for port in wiring.outs.ports.values())
        outs = sum(len(wire.owed_messages()) for wire in wiring.outs.wires.values())
        kept, lingering = engine.tensors.codec.lingering.listed()
        held = len(kept), len(lingering), wiring.ins.incoming.expired
        new = (state, *engine.counts.values(), sent, len(engine.queue), outs, *held, *wiring.outside.counts.values())
        self._is_at_work = bool(outs or engine.queue)
        if new == self._said and now_s - self._said_s < QUIET_S:
            return None
        self._is_quiet = new == self._said
        self._said, self._said_s = new, now_s
        tensors = {
            "pools": engine.tensors.stats(),
            "kept": _oldest(kept),
            "lingering": _oldest(lingering),
            "expired": wiring.ins.incoming.expired,
        }
        return self._collect(state, sent, now_s) | tensors

    def _collect(self, state: str, sent: int, now_s: float) -> dict[str, Any]:
        engine, wiring, spec = self._engine, self._wiring, self._spec
        passed_s = max(now_s - self._at_s, 1e-6)
        cpu_s = time.process_time()
        counted = engine.counts["handled"] or sent
        latencies = sorted(engine.latencies_ms)
        body = {
            "flow": spec["flow"],
            "node": spec["node"],
            "process": spec["process"],
            "type": spec["type"],
            "pid": os.getpid(),
            "inc": spec["inc"],
            "ts": time.time_ns(),
            "state": state,
            **engine.counts,
            "sent": sent,
            "rate_hz": (counted - self._counted) / passed_s,
            "source_drops": engine.emitter.drops,
            "queue": len(engine.queue),
            "p50_ms": latencies[len(latencies) // 2] if latencies else None,
            "p99_ms": latencies[len(latencies) * 99 // 100] if latencies else None,
            "cpu": (cpu_s - self._cpu_s) / passed_s,
            "rss_bytes": rss_bytes(),
            "pss_bytes": self._pss(now_s),
            **wiring.outside.counts,
            "inputs": [_input(wire_id, wire) for wire_id, wire in wiring.ins.wires.items()],
            "outputs": [line for wire_id, wire in wiring.outs.wires.items() for line in _outputs(wire_id, wire, now_s)],
            "ports": {name: port.sent for name, port in wiring.outs.ports.items()},
        }
        engine.latencies_ms.clear()
        self._at_s, self._cpu_s, self._counted = now_s, cpu_s, counted
        return body

    def _pss(self, now_s: float) -> int:
        if now_s - self._pss_at_s >= (_PSS_QUIET_S if self._is_quiet else _PSS_EACH_S):
            self._pss_bytes, self._pss_at_s = pss_bytes(), now_s
        return self._pss_bytes


def _oldest(held: list[dict]) -> list[dict]:
    return sorted(held, key=lambda one: -one["age_s"])[:_MOST_HELD]


def _input(wire_id: str, wire: Any) -> dict:
    counts = {key: wire.counts[key] for key in ("taken", "duplicates", "gaps", "drops")}
    return {
        "wire": wire_id,
        "delivery": wire.delivery,
        "queued": wire.queued,
        **counts,
        "age_s": round(wire.age_s(time.time_ns()), 3),
    }


def _outputs(wire_id: str, wire: Any, now_s: float) -> list[dict]:
    if isinstance(wire, SharedWire):
        return [line for k, one in wire.wires.items() for line in _outputs(f"{wire_id}#{k}", one, now_s)]
    kind = "durable" if isinstance(wire, DurableWire) else "latest" if isinstance(wire, LatestWire) else "reliable"
    return [
        {
            "wire": wire_id,
            "delivery": kind,
            "window": wire.window,
            "unacked": len(wire.owed),
            "bytes": wire.owed_bytes,
            "resent": wire.resent,
            "drops": wire.drops,
            "discarded": wire.discarded,
            "age_s": round(now_s - wire.owed[0].sent_s, 3) if wire.owed else 0.0,
            "blocked": not isinstance(wire, (LatestWire, FeedbackWire)) and not wire.has_credit(),
            "trouble": getattr(wire, "trouble", ""),
        }
    ]


def rss_bytes() -> int:
    """Resident memory of this process."""
    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 (once a second in every process)
        return int(file.read().split()[1]) * _PAGE_BYTES


def pss_bytes() -> int:
    """Memory of this process, of shared pages its share; resident memory where the kernel does not say."""
    try:
        with open("/proc/self/smaps_rollup", "rb") as file:  # noqa: PTH123 (as above)
            for line in file:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        pass
    return rss_bytes()
