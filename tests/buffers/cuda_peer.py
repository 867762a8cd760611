"""Another process with buffers on a device that is a stand-in (`fake_cuda.py`), told what to do like `peer_process.py`.

python cuda_peer.py FOLDER DEVICES MUTATION
"""

import gc
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2]))

from flowcore.buffers import Codec, Pools, Tensor, cuda_driver, cuda_memory, cuda_probe
from flowcore.buffers.cuda_probe import Probe
from tests.buffers.fake_cuda import FakeArray, FakeCuda
from tests.buffers.peer_answers import answer_all

SHAPE = (1 << 20,)


class CudaPeer:
    """What the commands work on."""

    def __init__(self, folder: str, devices: str, mutation: str = "") -> None:
        self.cuda = FakeCuda(Path(folder), int(devices))
        cuda_driver.install(self.cuda)
        cuda_probe.assume(Probe(""))
        self.codec = Codec(Pools(64 << 20))
        self.tensors: dict[str, Tensor] = {}
        self.results: dict[str, np.ndarray] = {}
        self.holds: dict[str, Any] = {}
        mutate(mutation)

    def send(self, fill: int, lasts_s: float) -> bytes:
        """A tensor that a kernel fills, sent at once and held."""
        tensor = filled(self.codec, self.cuda, fill, lasts_s)
        data = self.codec.pack(tensor)
        self.holds[str(fill)] = self.codec.taken
        return data

    def forward(self, name: str) -> bytes:
        """What was received, passed on; the device is not touched."""
        data = self.codec.pack(self.tensors[name])
        self.holds[name] = self.codec.taken
        return data

    def receive(self, name: str, data: bytes) -> str:
        """Decode and hold; its state."""
        self.tensors[name] = self.codec.unpack(data)
        return self.tensors[name].state

    def read(self, name: str, lasts_s: float = 0.0, device: int = 0) -> None:
        """Queue a kernel that takes all bytes, after a while."""
        self.cuda.use(device)
        array, result = self.tensors[name].cupy(), np.empty(SHAPE, np.uint8)
        assert isinstance(array, FakeArray) and array.device.id == device
        self.results[name] = result
        view = array.view
        self.cuda.launch(lambda: np.copyto(result, view), lasts_s=lasts_s)

    def seen(self, name: str) -> list[int]:
        """The values that the kernel saw, when it is done."""
        for device in range(self.cuda.devices):
            self.cuda.synchronize(device)
        return np.unique(self.results[name]).tolist()

    def host_copy(self, name: str) -> list[int]:
        """The values as numpy has them."""
        return np.unique(self.tensors[name].numpy()).tolist()

    def drop(self, name: str) -> None:
        """Let go."""
        self.tensors.pop(name, None)
        self.holds.pop(name, None)
        gc.collect()

    def trim(self) -> int:
        """Close pools that are over; how many are open."""
        self.codec.readers.trim(time.monotonic() + 1e6)
        return len(self.codec.readers._pools)

    def calls(self) -> list[str]:
        """Copies between devices."""
        return self.cuda.calls


def filled(codec: Codec, cuda: FakeCuda, fill: int, lasts_s: float) -> Tensor:
    """A tensor that a kernel fills after `lasts_s`."""
    tensor = codec.pools.alloc(SHAPE, device="cuda", wait=True)
    view = tensor.cupy().view
    cuda.launch(lambda: view.fill(fill), lasts_s=lasts_s)
    return tensor


def mutate(mutation: str) -> None:
    """Leave one of the waits out."""
    if mutation == "sealed without an event":
        cuda_memory.OwnMemory.sealed = lambda self, slot: None  # type: ignore[method-assign]
    elif mutation == "read without waiting":
        cuda_memory.ForeignMemory._wait_for_owner = lambda self, slot: None  # type: ignore[method-assign]
    elif mutation == "let go without waiting":
        cuda_memory.CudaMemory.finished = lambda self, slot, let_go: True  # type: ignore[method-assign]
        cuda_memory.OwnMemory.finished = cuda_memory.CudaMemory.finished  # type: ignore[method-assign]
    elif mutation == "freed while open":
        cuda_memory.lock = lambda *asked: True  # type: ignore[attr-defined]
    else:
        assert not mutation, mutation


if __name__ == "__main__":
    answer_all(CudaPeer(*sys.argv[1:]))
