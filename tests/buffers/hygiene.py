"""Kill producers and consumers of frames, many times, and look what they leave behind.

    python tests/buffers/hygiene.py [rounds]

Each round forks a producer and a consumer, waits until frames are held at both ends, and kills one or both with
SIGKILL; the one that is left has to find everything in order. Prints a JSON map: what was killed, what went wrong,
what is left in memory.
"""

import json
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from flowcore.buffers import Codec, NoRoom, Pools, Readers
from flowcore.buffers.place import namespace

FRAME = (1024, 1024)  # 1 MiB
_SLOTS = 4


def produce(control: socket.socket, out: socket.socket) -> None:
    """Send three frames of four slots, then prove on demand that all slots can be written."""
    codec = Codec(Pools(_SLOTS << 20))
    held = []
    for fill in range(3):
        tensor = codec.pools.alloc(FRAME)
        tensor.numpy()[...] = fill + 1
        send(out, codec.pack(tensor))
        held.append(codec.taken)
    writing = codec.pools.alloc(FRAME)  # one is in the middle of being written
    control.send(b"ready")
    control.recv(16)  # the consumer was killed
    del held, tensor, writing
    try:
        codec.pools.alloc(FRAME)
        again = [codec.pools.alloc(FRAME) for _ in range(_SLOTS)]
        control.send(f"{len(again)} slots".encode())
    except NoRoom as e:
        control.send(str(e).encode())


def consume(control: socket.socket, into: socket.socket) -> None:
    """Hold three frames, then prove on demand that they still are what was sent."""
    codec = Codec(Pools(_SLOTS << 20), Readers())
    tensors = [codec.unpack(receive(into)) for _ in range(3)]
    arrays = [tensor.numpy() for tensor in tensors]
    control.send(b"ready")
    control.recv(16)  # the producer was killed
    is_whole = all((array == fill + 1).all() for fill, array in enumerate(arrays))
    del tensors, arrays
    codec.readers.trim(1e9)
    control.send(f"{'whole' if is_whole else 'broken'}, {len(codec.readers._pools)} pools open".encode())


def send(out: socket.socket, data: bytes) -> None:
    """With its length."""
    out.sendall(len(data).to_bytes(4) + data)


def receive(into: socket.socket) -> bytes:
    """What `send` sent."""
    size = int.from_bytes(into.recv(4, socket.MSG_WAITALL))
    return into.recv(size, socket.MSG_WAITALL)


def forked(work: Callable[[socket.socket, socket.socket], None], wire: socket.socket) -> tuple[int, socket.socket]:
    """A child at work, and the socket that it is controlled by."""
    here, there = socket.socketpair()
    here.settimeout(20)
    pid = os.fork()
    if pid:
        there.close()
        return pid, here
    try:
        here.close()
        work(there, wire)
    finally:
        os._exit(0)


def one_round(kind: str) -> str:
    """What the survivor says."""
    out, into = socket.socketpair()
    producer, at_producer = forked(produce, out)
    consumer, at_consumer = forked(consume, into)
    out.close()
    into.close()
    for control in (at_producer, at_consumer):
        assert control.recv(16) == b"ready"
    said = "nobody is left"
    for pid, name in ((producer, "producer"), (consumer, "consumer")):
        if kind in (name, "both"):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    if kind != "both":
        survivor = at_consumer if kind == "producer" else at_producer
        survivor.send(b"look")
        said = survivor.recv(1000).decode()
        os.waitpid(consumer if kind == "producer" else producer, 0)
    at_producer.close()
    at_consumer.close()
    return said


def shared_kib() -> int:
    """Shared memory of the whole machine: memfds count in it until they are freed."""
    (line,) = (line for line in Path("/proc/meminfo").read_text().splitlines() if line.startswith("Shmem:"))
    return int(line.split()[1])


def main(rounds: int) -> None:
    """Run and print."""
    np.ones(1)
    before = shared_kib()
    said: dict[str, dict[str, int]] = {}
    for number in range(rounds):
        kind = ("producer", "consumer", "both")[number % 3]
        outcome = one_round(kind)
        said.setdefault(kind, {}).setdefault(outcome, 0)
        said[kind][outcome] += 1
    left = sorted(path.name for path in Path("/dev/shm").glob(f"flowcore-{namespace()}-*"))
    print(json.dumps({"killed": said, "shared_mib": (shared_kib() - before) // 1024, "named_files": left}))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
