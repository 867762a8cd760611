"""Device memory between processes: what a reader sees is what was written, whatever the device still has to do.

The device is a stand-in (`fake_cuda.py`); `tests/gpu` has the same promises on a real one. A test that holds only
because of a wait is shown to fail without it.
"""

import gc
import itertools
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from flowcore.buffers import BufferExpired, Codec, Pools, cuda_driver, cuda_memory, cuda_probe, cuda_waiter
from flowcore.buffers.cuda_driver import LEGACY, Stream
from flowcore.buffers.cuda_probe import Probe
from tests.buffers.conftest import Peer
from tests.buffers.cuda_peer import SHAPE, filled, mutate
from tests.buffers.fake_cuda import FakeArray, FakeCuda

LONG_S = 0.3
TWO_SLOTS = 2 << 20


class CudaPeer(Peer):
    """A process on the same device: each method of `cuda_peer.CudaPeer` is one here."""

    def __init__(self, folder: Path, devices: int, mutation: str) -> None:
        program = Path(__file__).with_name("cuda_peer.py")
        self.process = subprocess.Popen(
            [sys.executable, program, str(folder), str(devices), mutation],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )


@pytest.fixture
def cuda(tmp_path, monkeypatch) -> Iterator[FakeCuda]:
    """The device, in this process."""
    fake = FakeCuda(tmp_path, devices=2)
    cuda_driver.install(fake)  # for good: what this test leaves behind is let go later
    monkeypatch.setattr(cuda_probe, "_assumed", [Probe("")])
    cuda_waiter._waiter_of.cache_clear()  # it knows events of the device before
    yield fake
    assert not fake.faults


@pytest.fixture
def new_peer(tmp_path) -> Iterator[Callable[..., CudaPeer]]:
    """Start a process on the device, one of its waits left out when told so."""
    peers: list[CudaPeer] = []

    def start(mutation: str = "") -> CudaPeer:
        peers.append(CudaPeer(tmp_path, 2, mutation))
        peers[-1].trim()  # it has started: the tests are about what is not over yet
        return peers[-1]

    yield start
    for peer in peers:
        peer.kill()


@pytest.fixture
def codec(cuda) -> Codec:
    """Of this process, with room for two tensors."""
    return Codec(Pools(TWO_SLOTS))


def until(is_so: Callable[[], bool], limit_s: float = 5.0) -> bool:
    """Whether it becomes so in time."""
    end_s = time.monotonic() + limit_s
    while not is_so() and time.monotonic() < end_s:
        time.sleep(0.001)
    return is_so()


@pytest.mark.parametrize("mutation", ["", "sealed without an event", "read without waiting"])
def test_a_reader_sees_what_was_queued_before_the_send(codec, cuda, new_peer, monkeypatch, mutation):
    """A kernel that is not done when the tensor is sent, or even read, has written it before any read."""
    if mutation == "sealed without an event":
        monkeypatch.setattr(cuda_memory.OwnMemory, "sealed", lambda self, slot: None)
    reader = new_peer(mutation if mutation == "read without waiting" else "")
    for fill in (7, 8, 9):  # slots and events are used again
        data = codec.pack(filled(codec, cuda, fill, LONG_S / 3))
        held = codec.taken
        assert reader.receive("frame", data) == "sealed"
        reader.read("frame")
        assert (reader.seen("frame") == [fill]) is not bool(mutation)
        reader.drop("frame")
        del held


@pytest.mark.parametrize("mutation", ["", "let go without waiting"])
def test_a_slot_is_not_written_before_its_reader_is_done(codec, cuda, new_peer, mutation):
    """The reader has let go, its kernel has not begun: the owner waits for it, and the reader's handler does not."""
    reader = new_peer(mutation)
    data = codec.pack(filled(codec, cuda, 7, 0))
    held = codec.taken
    reader.receive("frame", data)
    reader.read("frame", 2 * LONG_S)
    begun_s = time.monotonic()
    reader.drop("frame")
    assert time.monotonic() - begun_s < LONG_S
    del held
    gc.collect()
    others = [filled(codec, cuda, fill, 0) for fill in (8, 9)]
    cuda.synchronize(0)
    assert (reader.seen("frame") == [7]) is not bool(mutation)
    assert len(others) == 2


@pytest.mark.parametrize("mutation", ["", "let go without waiting"])
def test_an_owner_does_not_write_under_its_own_kernel(codec, cuda, monkeypatch, mutation):
    """It reads what it made on one stream, lets go, and writes the next on another."""
    if mutation:
        for kind in (cuda_memory.CudaMemory, cuda_memory.OwnMemory):
            monkeypatch.setattr(kind, "finished", lambda self, slot, let_go: True)
    codec.pools.limit_bytes = 1 << 20
    tensor = filled(codec, cuda, 1, 0)
    slow, seen = cuda.new_stream(0), np.empty(SHAPE, np.uint8)
    cuda.synchronize(0)
    cuda.set_streams(slow)
    cuda.launch(partial(np.copyto, seen, tensor.cupy().view), lasts_s=LONG_S)
    del tensor
    cuda.set_streams()
    filled(codec, cuda, 2, 0)
    cuda.synchronize(0)
    assert (np.unique(seen).tolist() == [1]) is not bool(mutation)


def test_several_streams_write_one_tensor(codec, cuda, new_peer):
    """All that were current when its array was asked for, and those named, are waited for."""
    reader, streams = new_peer(), [cuda.new_stream(0) for _ in range(3)]
    tensor = codec.pools.alloc(SHAPE, device="cuda")
    cuda.set_streams(*streams[:2])
    view = tensor.cupy().view
    tensor.used_on(streams[2])
    for part, stream in enumerate(streams):
        third = view[part::3]
        cuda.launch(lambda third=third: third.fill(5), lasts_s=LONG_S / (part + 1), stream=stream)
    reader.receive("frame", codec.pack(tensor))
    reader.read("frame")
    assert reader.seen("frame") == [5]


def test_random_work_through_a_forwarder(cuda, new_peer):
    """Frames through a process that never touches the device, to two readers with kernels of any length."""
    codec = Codec(Pools(4 << 20))
    random = np.random.default_rng(3)
    forwarder, readers = new_peer(), [new_peer(), new_peer()]
    for fill in range(1, 61):
        data = codec.pack(filled(codec, cuda, fill, random.uniform(0, 0.01)))
        held = codec.taken
        assert forwarder.receive(f"{fill}", data) == "sealed"
        passed_on = forwarder.forward(f"{fill}")
        for reader in readers:
            reader.receive(f"{fill}", passed_on)
            reader.read(f"{fill}", random.uniform(0, 0.01))
            reader.drop(f"{fill}")
        forwarder.drop(f"{fill}")
        del held
    for reader in readers:
        assert [reader.seen(f"{fill}") for fill in range(1, 61)] == [[fill] for fill in range(1, 61)]
    assert until(lambda: codec.pools.stats()[0]["used"] + codec.pools.stats()[0]["waiting"] == 0)


def test_a_killed_owner_is_not_waited_for(cuda, codec, new_peer):
    """Its kernel will never be done: the reader is told, instead of standing still."""
    owner = new_peer()
    complete = codec.unpack(owner.send(3, 0.0))
    assert np.unique(complete.numpy()).tolist() == [3]
    unfinished, unread = codec.unpack(owner.send(4, 60.0)), codec.unpack(owner.send(5, 0.0))
    owner.kill()
    begun_s = time.monotonic()
    for tensor in (unfinished, unread):
        with pytest.raises(BufferExpired, match="has ended"):
            tensor.cupy()
    assert time.monotonic() - begun_s < 2


def test_a_killed_reader_holds_nothing(cuda, codec, new_peer):
    """Neither the slot that it was reading, nor the memory that it had open."""
    reader = new_peer()
    data = codec.pack(filled(codec, cuda, 3, 0))
    held = codec.taken
    reader.receive("frame", data)
    reader.read("frame", 60.0)
    del held
    assert until(lambda: codec.pools.stats()[0]["waiting"] == 1)
    reader.kill()
    assert codec.pools.stats()[0]["waiting"] == 0
    give_back(codec)
    assert until(lambda: cuda.allocations == 0)


@pytest.mark.parametrize("mutation", ["", "freed while open"])
def test_memory_is_freed_after_its_last_reader_closed_it(cuda, codec, new_peer, monkeypatch, mutation):
    """CUDA leaves it undefined otherwise."""
    monkeypatch.setattr(cuda_memory, "lock", cuda_memory.lock)
    mutate(mutation)
    reader = new_peer()
    reader.receive("frame", codec.pack(filled(codec, cuda, 3, 0)))
    reader.read("frame")
    reader.drop("frame")
    give_back(codec)
    if mutation:
        assert until(lambda: bool(cuda.faults))
        next(cuda.folder.glob("fault-*")).unlink()
        return
    assert not until(lambda: cuda.allocations == 0, 0.5)
    assert reader.trim() == 0
    assert until(lambda: cuda.allocations == 0)


def give_back(codec: Codec) -> None:
    """Close the pools of this process, as after minutes without use."""
    minutes = itertools.count(1)

    def is_closed() -> bool:
        codec.pools.trim(time.monotonic() + 60 * next(minutes))
        return not codec.pools.stats()

    gc.collect()
    codec.taken  # noqa: B018 - reading it hands it over
    assert until(is_closed)


def test_a_consumer_on_another_device_gets_a_copy(cuda, codec, new_peer):
    """In the order of its stream, from a process's own memory as from another's."""
    reader = new_peer()
    tensor = filled(codec, cuda, 6, LONG_S)
    reader.receive("frame", codec.pack(tensor))
    reader.read("frame", 0.0, 1)
    assert reader.seen("frame") == [6] and reader.calls() == ["copy from 0 to 1"]
    cuda.use(1)
    array = tensor.cupy()
    assert array.device.id == 1
    assert np.unique(cuda.to_numpy(array)).tolist() == [6]


def test_a_host_that_cannot_open_it_gets_the_bytes(codec, cuda, monkeypatch):
    """Where there is no CUDA a device tensor is like one of another host: its bytes come by request."""
    tensor = filled(codec, cuda, 6, LONG_S)
    data = codec.pack(tensor)
    monkeypatch.setattr(cuda_probe, "_assumed", [])
    monkeypatch.setattr(cuda_probe, "_at_a_glance", lambda: Probe("there is no driver"))
    other = Codec(Pools(1 << 20))
    received = other.unpack(data)
    assert received.state == "remote" and other.unresolved == 1
    lease = codec.lease(received.handle)
    received.fill(bytes(lease.copy_out(received.nbytes)))
    assert received.device == "cpu" and np.unique(received.numpy()).tolist() == [6]


def test_host_copies(codec, cuda, new_peer):
    """numpy() of what a kernel still writes is what it will have written, in both processes; so are bytes to pickle."""
    tensor = filled(codec, cuda, 4, LONG_S)
    assert np.unique(tensor.numpy()).tolist() == [4] and not tensor.numpy().flags.writeable
    assert set(tensor.tobytes()) == {4}
    reader = new_peer()
    reader.receive("frame", codec.pack(tensor))
    assert reader.host_copy("frame") == [4]
    with pytest.raises(ValueError, match="without a copy"):
        np.array(tensor, copy=False)
    assert Codec(Pools()).pools.alloc(3).cupy().view.shape == (3,)


def test_interfaces(codec, cuda):
    """Pointers to the slot itself, and what the protocols say about order and writing."""
    tensor = codec.pools.alloc((512, 1024), "<f2", "cuda")
    array = tensor.cupy()
    before = tensor.__cuda_array_interface__
    assert before["data"] == (array.data.ptr, False) and before["stream"] == LEGACY
    assert (before["shape"], before["typestr"], before["version"]) == ((512, 1024), "<f2", 3)
    data = codec.pack(tensor)
    assert tensor.__cuda_array_interface__["data"] == (array.data.ptr, True)
    assert tensor.__dlpack_device__() == (2, 0)
    name, shared, stream, asked = tensor.__dlpack__(stream=LEGACY, max_version=(1, 0))
    assert (name, shared.data.ptr, stream, asked) == ("capsule", array.data.ptr, -1, {"max_version": (1, 0)})
    with pytest.raises(AttributeError):
        tensor.__array_interface__  # noqa: B018
    with pytest.raises(AttributeError):
        Pools().alloc(3).__cuda_array_interface__  # noqa: B018
    big_endian = codec.pools.alloc(3, ">f4", "cuda")
    with pytest.raises(TypeError, match=">f4"):
        big_endian.cupy()
    assert codec.unpack(data).device == "cuda:0"


def test_device_arrays_in_a_payload(cuda, new_peer):
    """Large ones are copied into the pool, small ones travel with their bytes; they may change after the send."""
    codec, reader = Codec(Pools(8 << 20)), new_peer()
    large, small = cuda.empty(0, SHAPE, "|u1"), cuda.empty(0, (4,), "<i4")
    small.view[:] = 3
    cuda.launch(lambda: large.view.fill(9), lasts_s=LONG_S)
    message = codec.unpack(codec.pack({"large": large, "small": [small]}))
    cuda.launch(lambda: large.view.fill(1))
    assert message["large"].device == "cuda:0"
    reader.receive("frame", codec.pack(message["large"]))
    reader.read("frame")
    assert reader.seen("frame") == [9]
    assert message["small"][0].device == "cpu" and message["small"][0].numpy().tolist() == [3, 3, 3, 3]


def test_without_cuda_it_is_host_memory(cuda, monkeypatch, caplog):
    """Said once; arrays of a device are copied to the host."""
    monkeypatch.setattr(cuda_probe, "_assumed", [Probe("no driver here", "get one")])
    cuda_probe._tell.cache_clear()
    codec = Codec(Pools())
    tensor = codec.pools.alloc((4, 4), device="cuda:5")
    tensor.numpy()[...] = 1
    codec.pools.alloc(4, device="cuda")
    assert tensor.device == "cpu" and codec.pools.stats()[0]["device"] == "cpu"
    assert [record.getMessage() for record in caplog.records] == [
        "tensors for a CUDA device are in host memory: no driver here. To change that: get one"
    ]
    large = cuda.empty(0, SHAPE, "|u1")
    large.view[...] = 2
    assert codec.unpack(codec.pack(large)).numpy()[0] == 2
    with pytest.raises(ValueError, match="no device 'cuda:x'"):
        codec.pools.alloc(4, device="cuda:x")


def test_streams_that_may_be_gone_are_waited_for_with_the_device(cuda, codec, new_peer):
    """A pointer without an owner may be stale when its event would be recorded."""
    reader, stream = new_peer(), Stream(0, 0x5EED)
    tensor = codec.pools.alloc(SHAPE, device="cuda")
    view = tensor.cupy().view
    tensor.used_on(stream)
    cuda.launch(lambda: view.fill(8), lasts_s=LONG_S, stream=stream)
    reader.receive("frame", codec.pack(tensor))
    reader.read("frame")
    assert reader.seen("frame") == [8]
    assert isinstance(tensor.cupy(), FakeArray)
