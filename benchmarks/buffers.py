"""What a tensor costs on its way through shared memory: time of one process's work, no bus, no wires.

    python benchmarks/buffers.py [repetitions]

Prints medians in microseconds, best of five rounds: the steps of a 1920 x 1080 x 3 frame by handle; arrays of rising
size with their bytes and by handle (where the threshold should be); what a codec adds to a message without tensors.
"""

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from flowcore.buffers import Codec, Pools, Readers
from flowcore.bus.envelope import pack, unpack

_FRAME = (1080, 1920, 3)
_PAYLOAD = {"machine": "press-7", "temp_c": 71.25, "vibration": 0.031, "ok": True}
_ROUNDS = 5


class Steps:
    """Times of named steps that follow one another."""

    def __init__(self) -> None:
        self.took: dict[str, list[float]] = {}

    def time(self, step: str, act: Callable[..., Any], *arguments: Any) -> Any:
        """Do it, and note how long it took."""
        begun_s = time.perf_counter()
        result = act(*arguments)
        self.took.setdefault(step, []).append((time.perf_counter() - begun_s) * 1e6)
        return result

    def medians(self) -> dict[str, float]:
        """Microseconds of each."""
        return {step: statistics.median(times) for step, times in self.took.items()}


def frame(repetitions: int) -> dict[str, float]:
    """From `alloc` to the reader's letting go; written once at the start, so that only the handling is in it."""
    sender, reader = Codec(Pools()), Codec(Pools(), Readers())
    steps = Steps()
    for _ in range(repetitions):
        tensor = steps.time("alloc", sender.pools.alloc, _FRAME)
        steps.time("numpy, to write", tensor.numpy)
        data = steps.time("pack, seal", sender.pack, {"frame": tensor})
        held = sender.taken
        received = steps.time("unpack, lock", reader.unpack, data)
        array = steps.time("numpy, to read", received["frame"].numpy)
        passed_on = steps.time("pack again, to pass it on", reader.pack, received)
        held_there = reader.taken
        del array, held_there
        steps.time("let go, reader", received.clear)
        del passed_on, tensor
        mine = [held]
        del held
        steps.time("let go, owner", mine.clear)
    return steps.medians()


def filled(repetitions: int) -> dict[str, float]:
    """Copying a frame into slots: the first time, when the kernel has to find the pages, and again."""
    steps = Steps()
    source = np.random.default_rng(1).integers(0, 255, _FRAME, np.uint8)
    for _ in range(max(1, repetitions // 20)):
        codec = Codec(Pools())
        for slot in range(8):
            data = steps.time(
                "send a numpy frame, new slot" if slot < 4 else "send a numpy frame, used slot",
                codec.pack,
                {"frame": source},
            )
            del data
            held = codec.taken
            del held
        for pool in codec.pools._by_id.values():
            pool.close_if_idle()
    return steps.medians()


def by_size(repetitions: int) -> list[tuple[int, float, float]]:
    """Bytes of an array, then microseconds to send, receive and look at it: with its bytes, and by handle."""
    rows = []
    for kib in (1, 2, 4, 8, 16, 32, 64, 128):
        source = np.ones(kib * 1024, np.uint8)
        took = []
        for threshold in (1 << 30, 0):
            sender, reader = Codec(Pools(), threshold=threshold), Codec(Pools(), Readers())
            steps = Steps()

            def once(sender: Codec = sender, reader: Codec = reader, source: np.ndarray = source) -> None:
                data = sender.pack({"a": source})
                held = sender.taken
                array = reader.unpack(bytes(bytearray(data)))["a"].numpy()  # the socket's own copy
                del array, held

            for _ in range(repetitions):
                steps.time("all", once)
            took.append(steps.medians()["all"])
        rows.append((kib, *took))
    return rows


def ordinary(repetitions: int) -> dict[str, float]:
    """A message without tensors: the bus's packer, and the codec."""
    codec = Codec(Pools())
    data = pack(_PAYLOAD)
    found = {}
    for name, act in (
        ("pack, plain", lambda: pack(_PAYLOAD)),
        ("pack, codec", lambda: codec.pack(_PAYLOAD)),
        ("unpack, plain", lambda: unpack(data)),
        ("unpack, codec", lambda: codec.unpack(data)),
    ):
        begun_s = time.perf_counter()
        for _ in range(repetitions * 20):
            act()
        found[name] = (time.perf_counter() - begun_s) / repetitions / 20 * 1e6
    return found


def best(measure: Callable[[int], dict[str, float]], repetitions: int) -> dict[str, float]:
    """The least of some rounds, step by step."""
    rounds = [measure(repetitions) for _ in range(_ROUNDS)]
    return {step: min(found[step] for found in rounds) for step in rounds[0]}


def main(repetitions: int) -> None:
    """Measure and print."""
    for title, measure in (("a frame by handle", frame), ("a frame copied", filled), ("no tensor", ordinary)):
        print(f"{title}, us")
        for step, us in best(measure, repetitions).items():
            print(f"    {step:<32}{us:>10,.2f}")
    print("an array there and back, us\n        KiB   with its bytes   by handle")
    for kib, inline, handle in by_size(repetitions):
        print(f"    {kib:>7}{inline:>17,.1f}{handle:>12,.1f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
