"""What a tensor costs on its way through shared memory: time of one process's work, no bus, no wires.

    python benchmarks/buffers.py [repetitions]

Prints medians in microseconds, best of five rounds: the steps of a 1920 x 1080 x 3 frame by handle; what a codec adds
to a message without tensors; arrays of rising size with their bytes and by handle, beside what the bus takes for a
message of that size: where by handle is less than both other columns together, the threshold should be.
"""

import asyncio
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from flowcore.buffers import Codec, Pools, Readers
from flowcore.bus.connection import Connection
from flowcore.bus.envelope import pack, unpack
from flowcore.bus.permissions import full_user
from flowcore.bus.server import EmbeddedServer

_FRAME = (1080, 1920, 3)
_PAYLOAD = {"machine": "press-7", "temp_c": 71.25, "vibration": 0.031, "ok": True}
_ROUNDS = 5
_KIB = (1, 2, 4, 8, 16, 32, 64, 128)


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
        for pool in codec.pools.by_id.values():
            pool.close_if_idle()
    return steps.medians()


def by_size(repetitions: int) -> dict[str, float]:
    """Sending, receiving and looking at an array of so many KiB: with its bytes, and by handle."""
    found = {}
    for kib in _KIB:
        source = np.ones(kib * 1024, np.uint8)
        for how, threshold in (("bytes", 1 << 30), ("handle", 0)):
            sender, reader = Codec(Pools(), threshold=threshold), Codec(Pools(), Readers())
            steps = Steps()

            def once(sender: Codec = sender, reader: Codec = reader, source: np.ndarray = source) -> None:
                data = sender.pack({"a": source})
                held = sender.taken
                array = reader.unpack(bytes(bytearray(data)))["a"].numpy()  # the socket's own copy
                del array, held

            for _ in range(repetitions // _ROUNDS):
                steps.time("all", once)
            found[f"{kib} {how}"] = steps.medians()["all"]
    return found


async def bus(repetitions: int) -> dict[int, float]:
    """KiB of a message, then microseconds over the server and back, one at a time, beyond those of 200 bytes."""
    user = full_user("buffers")
    heard = asyncio.Event()
    found: dict[int, float] = {}
    with tempfile.TemporaryDirectory(prefix="flowcore-") as folder:
        server = EmbeddedServer(Path(folder), nats_port=0, mqtt_port=0)
        await server.start([user])
        connection = Connection(server.url, user=user.name, password=user.password)
        await connection.connect()
        await connection.subscribe("buffers", lambda *_: heard.set())
        for kib in (0, *_KIB) * _ROUNDS:
            body = b"x" * (kib * 1024 or 200)
            took = []
            for _ in range(repetitions // _ROUNDS):
                begun_s = time.perf_counter()
                connection.publish("buffers", body)
                await heard.wait()
                heard.clear()
                took.append((time.perf_counter() - begun_s) * 1e6)
            found[kib] = min(statistics.median(took), found.get(kib, 1e9))
        await connection.close()
        await server.stop()
    return {kib: us - found[0] for kib, us in found.items()}


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
    over_bus = asyncio.run(bus(repetitions))
    print("an array there and back, us\n        KiB   with its bytes   by handle   bus, beyond 200 bytes")
    us = best(by_size, repetitions)
    for kib in _KIB:
        print(f"    {kib:>7}{us[f'{kib} bytes']:>17,.1f}{us[f'{kib} handle']:>12,.1f}{over_bus[kib]:>24,.1f}")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 2000)
