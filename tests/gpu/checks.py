"""The promises of `flowcore/buffers/cuda_memory.py` on a real device. Each check runs in a process of its own, and
returns what is worth saying or nothing; `Skip` where it cannot be made.
"""

import gc
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import cupy
import numpy as np

from flowcore.buffers import BufferExpired, cuda_probe
from flowcore.buffers.cuda_driver import LEGACY, CudaError, driver
from tests.gpu.lab import (
    NBYTES,
    SHAPE,
    Peer,
    Skip,
    Work,
    filled,
    free_bytes,
    is_cuda_well,
    new_codec,
    peers,
    until,
    values,
)

LONG_S = 0.3
CHECKS: dict[str, Callable[[], str | None]] = {}


def check(function: Callable[[], str | None]) -> Callable[[], str | None]:
    """Add it to the list."""
    CHECKS[function.__name__] = function
    return function


@check
def probe() -> str:
    """Two processes share memory and an event; what the probe says is what is printed by `flowcore doctor`."""
    found = cuda_probe.probe_now()
    assert not found.why, f"{found.why}. {found.fix}"
    return ", ".join(found.devices)


@check
def cupy_after_a_fork() -> None:
    """Libraries may be imported before a fork, as node processes are made, and CUDA used after it."""
    program = (
        "import importlib.util, os, sys\n"
        "import cupy\n"
        "if importlib.util.find_spec('torch'): import torch\n"
        "import flowcore.buffers.cuda_memory\n"
        "from flowcore.buffers import Codec, Pools\n"
        "pid = os.fork()\n"
        "if pid: sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))\n"
        "tensor = Codec(Pools()).pools.alloc((64, 64), device='cuda')\n"
        "tensor.cupy().data.ptr\n"
        "os._exit(0 if tensor.device == 'cuda:0' else 3)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-800:] or f"status {done.returncode}"


@check
def without_a_device() -> None:
    """Where CUDA shows no device, "cuda" means host memory, and the log says so."""
    program = (
        "import logging; logging.basicConfig()\n"
        "from flowcore.buffers import Pools\n"
        "print(Pools().alloc(10, device='cuda').device)\n"
    )
    environ = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1", "XDG_CACHE_HOME": "/nonexistent"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=90, env=environ, check=False
    )
    assert done.stdout.strip() == "cpu", done.stdout + done.stderr[-800:]
    assert "tensors for a CUDA device are in host memory" in done.stderr, done.stderr[-800:]


@check
def one_writes_another_reads() -> None:
    """Through a handle, in this direction and back; a copy on the host as well."""
    codec, work = new_codec(), Work()
    with peers() as (peer,):
        data = codec.pack(filled(codec, work, 7))
        assert peer.receive("frame", data) == "sealed"
        peer.read("frame")
        assert peer.seen("frame") == [7] and peer.host_copy("frame") == [7]
        received = codec.unpack(peer.send(9))
        assert values(work.read(received.cupy())) == [9]
        assert np.unique(received.numpy()).tolist() == [9]


@check
def a_read_waits_for_the_write() -> str:
    """What is sent while the device is still busy before the write is complete for its reader, also in used slots."""
    codec, work = new_codec(32 << 20), Work()
    begun = 0
    with peers() as (peer,):
        for value in range(1, 11):
            data = codec.pack(filled(codec, work, value, LONG_S))
            held = codec.taken
            lease = held[0]
            begun += not driver().is_done(lease.pool.memory._events[lease.slot])
            peer.receive("frame", data)
            peer.read("frame")
            assert peer.seen("frame") == [value]
            peer.drop("frame")
            del held, lease
    assert begun == 10, f"the device was done before the send in {10 - begun} of 10: no test of the order"
    return "10 of 10 were sent before they were written"


@check
def a_write_waits_for_the_read() -> str:
    """The reader lets go while its copy waits behind other work: the slot is written after that copy."""
    codec, work, slowest_s = new_codec(8 << 20), Work(), 0.0
    with peers() as (peer,):
        for value in range(1, 6):
            data = codec.pack(filled(codec, work, value))
            held = codec.taken
            peer.receive("frame", data)
            peer.read("frame", LONG_S)
            slowest_s = max(slowest_s, peer.drop("frame"))
            del held
            gc.collect()
            assert filled(codec, work, 99).nbytes == NBYTES  # there is one slot alone
            driver().synchronize(0)
            assert peer.seen("frame") == [value]
            assert until(lambda: codec.pools.stats()[0]["used"] == 0)
    assert slowest_s < LONG_S / 2, f"letting go took {slowest_s:.3f} s"
    return f"letting go took {1e3 * slowest_s:.1f} ms at most, while {LONG_S} s of work were to be done"


@check
def an_owner_waits_for_itself() -> None:
    """It lets go of a tensor that it still reads on a stream of its own."""
    codec, work = new_codec(8 << 20), Work()
    tensor = filled(codec, work, 1)
    driver().synchronize(0)
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:
        array = tensor.cupy()
        work.busy(LONG_S)
        copy = work.read(array)
    del tensor, array
    gc.collect()
    filled(codec, work, 2)
    assert values(copy) == [1]


@check
def streams_that_wait_for_no_other() -> None:
    """The stream that is current, and one that was named, both non-blocking, write one tensor."""
    codec, work = new_codec(), Work()
    first, second = cupy.cuda.Stream(non_blocking=True), cupy.cuda.Stream(non_blocking=True)
    with peers() as (peer,):
        tensor = codec.pools.alloc(SHAPE, device="cuda")
        with first:
            array = tensor.cupy()
            work.busy(LONG_S)
            work.fill(array[:540], 5)
        tensor.used_on(second)
        work.busy(LONG_S / 2, stream=second.ptr)
        work.fill(array[540:], 5, stream=second.ptr)
        peer.receive("frame", codec.pack(tensor))
        peer.read("frame")
        assert peer.seen("frame") == [5]


@check
def a_killed_owner() -> str:
    """Its reader is told within two seconds, whatever the owner had to do, and goes on; the memory comes back."""
    codec, before = new_codec(), free_bytes()
    with peers() as (owner,):
        complete = codec.unpack(owner.send(3))
        assert np.unique(complete.numpy()).tolist() == [3]
        unfinished, unread = codec.unpack(owner.send(4, 5.0)), codec.unpack(owner.send(5))
        owner.kill()
        begun_s = time.monotonic()
        for tensor in (unfinished, unread):
            try:
                tensor.cupy()
            except BufferExpired:
                continue
            raise AssertionError("a tensor of a dead owner was given out")
        told_s = time.monotonic() - begun_s
    assert told_s < 2, f"told after {told_s:.1f} s"
    assert is_cuda_well(), "this process's context is broken"
    del complete, unfinished, unread, tensor
    gc.collect()
    codec.readers.trim(time.monotonic() + 1e6)
    assert until(lambda: free_bytes() >= before - (16 << 20)), f"{before - free_bytes():,} bytes did not come back"
    with peers() as (successor,):
        assert values(codec.unpack(successor.send(6)).cupy()) == [6]
    return f"told after {1e3 * told_s:.0f} ms"


@check
def what_cuda_does_when_an_owner_is_killed() -> str:
    """Not promised by CUDA, and not relied on: memory and events of a dead process, in a reader that has them open."""
    said = []
    for busy_s in (0.0, 5.0):
        with peers(2) as (owner, reader):
            reader.raw_import(*owner.raw_export(busy_s))
            if not busy_s:
                reader.raw_read()
            owner.kill()
            if busy_s:
                passed = reader.raw_wait(8.0)
                said.append(f"a stream that waits for its unfinished event {'goes on' if passed else 'stands still'}")
                continue
            try:
                seen = reader.raw_read()
                said.append("its memory stays as it was" if seen == [7] else f"its memory becomes {seen[:5]}")
            except Exception as e:
                said.append(f"reading its memory fails ({e})")
    return "; ".join(said)


@check
def a_killed_reader() -> None:
    """Neither the slot nor the memory stays taken, and the owner's context is well."""
    codec, work = new_codec(8 << 20), Work()
    with peers() as (reader,):
        data = codec.pack(filled(codec, work, 3))
        held = codec.taken
        reader.receive("frame", data)
        reader.read("frame", 5.0)
        del held
        assert until(lambda: codec.pools.stats()[0]["waiting"] == 1)
        reader.kill()
        assert codec.pools.stats()[0]["waiting"] == 0
    assert is_cuda_well(), "this process's context is broken"
    assert values(filled(codec, work, 4).cupy()) == [4]


@check
def memory_comes_back() -> str:
    """1,000 pools made, read and given back, and 10 owners killed, leave the free memory of the device as it was."""
    codec, work = new_codec(8 << 20), Work()

    def one(read: Callable[[bytes], Any]) -> None:
        tensor = codec.pools.alloc((512, 512), device="cuda")
        work.fill(tensor.cupy(), 1)
        read(codec.pack(tensor))
        codec.taken  # noqa: B018 - reading it hands it over
        del tensor

    def give_back() -> None:
        nonlocal now_s
        now_s += 60
        codec.pools.trim(now_s)

    now_s = time.monotonic()
    with peers() as (peer,):
        for round_ in range(1000):
            if round_ == 10:
                driver().synchronize(0)
                assert until(lambda: free_bytes() > 0)
                before = free_bytes()
            one((lambda data: peer.receive("frame", data)) if round_ % 20 == 0 else (lambda data: None))
            if round_ % 20 == 0:
                peer.read("frame")
                peer.seen("frame")
                peer.drop("frame")
            assert until(lambda: give_back() or not codec.pools.stats()), codec.pools.stats()
        peer.trim()
        assert until(lambda: free_bytes() >= before - (8 << 20)), f"{before - free_bytes():,} bytes leaked by pools"
    kept = free_bytes()
    for _ in range(10):
        with peers() as (owner,):
            tensor = codec.unpack(owner.send(1))
            tensor.cupy()
            owner.kill()
        del tensor
        gc.collect()
        codec.readers.trim(time.monotonic() + 1e6)
    assert until(lambda: free_bytes() >= kept - (8 << 20)), f"{kept - free_bytes():,} bytes leaked by killed owners"
    return f"free: {before >> 20} MiB before, {free_bytes() >> 20} MiB after"


@check
def pools_are_freed_after_their_readers() -> None:
    """A pool that was given back stays while another process has it open."""
    codec, work = new_codec(64 << 20), Work()
    with peers() as (peer,):
        peer.receive("frame", codec.pack(filled(codec, work, 3)))
        peer.read("frame")
        peer.seen("frame")
        peer.drop("frame")
        freed = free_bytes() + (20 << 20)  # of a pool of four frames
        codec.taken  # noqa: B018 - reading it hands it over
        gc.collect()
        minutes = iter(range(1, 10_000))

        def is_closed() -> bool:
            codec.pools.trim(time.monotonic() + 60 * next(minutes))
            return not codec.pools.stats()

        assert until(is_closed)
        assert not until(lambda: free_bytes() >= freed, 1.0), "freed while another process had it open"
        assert peer.trim() == 0
        assert until(lambda: free_bytes() >= freed), f"{freed - free_bytes():,} bytes are still taken"


@check
def arrays_in_payloads() -> None:
    """cupy's and torch's arrays are copied into the pool in the order of the default stream."""
    codec, work = new_codec(), Work()
    with peers() as (peer,):
        array = cupy.empty(SHAPE, cupy.uint8)
        work.busy(LONG_S)
        work.fill(array, 6)
        message = codec.unpack(codec.pack({"frame": array, "small": cupy.asarray(np.arange(4))}))
        work.fill(array, 1)
        assert message["frame"].device == "cuda:0" and message["small"].device == "cpu"
        peer.receive("frame", codec.pack(message["frame"]))
        peer.read("frame")
        assert peer.seen("frame") == [6]
        assert message["small"].numpy().tolist() == [0, 1, 2, 3]
        torch = _torch()
        if torch is not None:
            made = torch.full(SHAPE, 8, dtype=torch.uint8, device="cuda")
            peer.receive("frame", codec.pack(made))
            peer.read("frame")
            assert peer.seen("frame") == [8]


@check
def cupy_interfaces() -> None:
    """The same pointer by each way, for `stream` as the protocols have it."""
    codec, work = new_codec(), Work()
    tensor = filled(codec, work, 2, LONG_S)
    ptr = tensor.cupy().data.ptr
    assert cupy.asarray(tensor).data.ptr == ptr and cupy.from_dlpack(tensor).data.ptr == ptr
    assert tensor.__cuda_array_interface__["stream"] == LEGACY
    assert ptr % 256 == 0
    with peers() as (peer,):
        received = codec.unpack(peer.send(5, LONG_S))
        ptr = received.cupy().data.ptr
        assert cupy.asarray(received).data.ptr == ptr
        shared = cupy.from_dlpack(received)
        assert shared.data.ptr == ptr
        del received
        gc.collect()
        assert values(work.read(shared)) == [5]  # the array alone holds the slot
    kernel = cupy.arange(10, dtype=cupy.int32) * 2  # compiled: needs NVRTC
    assert int(kernel.sum()) == 90


@check
def torch_reads_and_writes_without_a_copy() -> str:
    """torch.from_dlpack has the pointer of the slot; what torch writes on a side stream is there for the reader."""
    torch = _torch()
    if torch is None:
        raise Skip("torch is not installed, or has no CUDA: pip install torch")
    codec, work = new_codec(), Work()
    with peers() as (peer,):
        received = codec.unpack(peer.send(4, LONG_S))
        shared = torch.from_dlpack(received)
        assert shared.data_ptr() == received.cupy().data.ptr and shared.is_cuda
        assert tuple(shared.shape) == SHAPE and torch.unique(shared).tolist() == [4]
        tensor = codec.pools.alloc(SHAPE, device="cuda")
        side = torch.cuda.Stream()
        with torch.cuda.stream(side):
            written = torch.from_dlpack(tensor)
            assert written.data_ptr() == tensor.cupy().data.ptr
            work.busy(LONG_S, stream=side.cuda_stream)
            written.fill_(9)
        peer.receive("frame", codec.pack(tensor))
        peer.read("frame")
        assert peer.seen("frame") == [9]
        try:
            torch.as_tensor(received, device="cuda")
        except TypeError:
            how = "as_tensor refuses what is read-only, from_dlpack takes it"
        else:
            how = "as_tensor takes it too"
    return f"torch {torch.__version__}: {how}"


@check
def tensorrt_reads_without_a_copy() -> str:
    """An engine runs on the slot's own pointer."""
    if importlib.util.find_spec("tensorrt") is None:
        raise Skip("tensorrt is not installed: pip install tensorrt")
    import tensorrt as trt

    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    output = network.add_identity(network.add_input("x", trt.float32, (64, 64))).get_output(0)
    output.name = "y"
    network.mark_output(output)
    plan = builder.build_serialized_network(network, builder.create_builder_config())
    engine = trt.Runtime(logger).deserialize_cuda_engine(plan)
    context = engine.create_execution_context()
    codec = new_codec()
    tensor = codec.pools.alloc((64, 64), "float32", "cuda")
    tensor.cupy()[...] = 3
    codec.pack(tensor)
    stream, result = cupy.cuda.Stream(non_blocking=True), cupy.zeros((64, 64), cupy.float32)
    cupy.cuda.get_current_stream().synchronize()
    tensor.used_on(stream)
    context.set_tensor_address("x", tensor.cupy().data.ptr)
    context.set_tensor_address("y", result.data.ptr)
    assert context.execute_async_v3(stream.ptr)
    stream.synchronize()
    assert cupy.asnumpy(result).tolist() == [[3.0] * 64] * 64
    return f"tensorrt {trt.__version__}"


@check
def a_reader_on_another_device() -> str:
    """It gets a copy on the device that it works on."""
    if driver().device_count() < 2:
        raise Skip("there is one device")
    codec, work = new_codec(), Work()
    with peers() as (peer,):
        peer.receive("frame", codec.pack(filled(codec, work, 5, LONG_S)))
        peer.read("frame", 0.0, 1)
        assert peer.seen("frame") == [5]
    with peers() as (peer,), _visible("1"):
        other = Peer()
        try:
            other.receive("frame", codec.pack(filled(codec, work, 6)))
            other.read("frame")
            hidden = f"an owner's device that a reader does not see: {other.seen('frame')}"
        except RuntimeError as e:
            hidden = f"an owner's device that a reader does not see: {e}"
        finally:
            other.kill()
    return hidden


@check
def shared_events_there_are() -> str:
    """More than slots that a process has; where they end, the owner waits before it sends."""
    cuda, events = driver(), []
    try:
        while len(events) < 10_000:
            events.append(cuda.new_event(0, is_shared=True))
            cuda.export_event(events[-1])
        said = "at least 10,000"
    except CudaError as e:
        said = f"{len(events):,} ({e})"
    for event in events:
        cuda.destroy_event(event)
    codec, work = new_codec(), Work()
    tensor = filled(codec, work, 5, LONG_S)
    lease = tensor.lease
    assert lease is not None
    lease.pool.memory._events[lease.slot] = 0  # as where there are no more
    with peers() as (peer,):
        peer.receive("frame", codec.pack(tensor))
        peer.read("frame")
        assert peer.seen("frame") == [5]
    return said


@check
def a_program_of_torch_export_reads_a_shared_frame() -> str:
    """A frame that another process wrote on the device is made a tensor by cupy and run by PyTorch, without a copy."""
    torch = _torch()
    if torch is None:
        raise Skip("PyTorch is not installed, or sees no CUDA device")
    from flowcore_nodes.ai.engines import Options, open_model
    from flowcore_nodes.vision.images import on_gpu

    class Mean(torch.nn.Module):
        def forward(self, images: Any) -> Any:
            return {"mean": images.mean(dim=(2, 3))}

    shape = (1, 3, *SHAPE[:2])
    codec = new_codec(64 << 20)
    with tempfile.TemporaryDirectory() as folder, peers() as (peer,):
        file = f"{folder}/mean.pt2"
        torch.export.save(torch.export.export(Mean().eval(), (torch.zeros(shape),)), file)
        model = open_model(file, "torch-export", Options(device="cuda:0"))
        frame = codec.unpack(peer.send(51))
        images = codec.pools.alloc(shape, "float32", "cuda", wait=True)
        on_gpu.normalise(cupy, frame.cupy(), images.cupy()[0], [1 / 255] * 3, [0.0] * 3, True, True)
        images.seal()
        assert frame.device == images.device == "cuda:0"
        assert torch.from_dlpack(images).data_ptr() == images.cupy().data.ptr, "PyTorch was given a copy"
        feeds, _ = model.fitted(images)
        assert feeds["images"] is images, "the tensor was fetched to the host"
        made = model.engine.run(feeds)["mean"]
    assert np.allclose(made, 51 / 255, atol=1e-3), made
    return f"PyTorch {torch.__version__} and cupy {cupy.__version__}: mean {made[0].tolist()}"


def _torch() -> Any:
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    return torch if torch.cuda.is_available() else None


class _visible:
    """Other processes see these devices."""

    def __init__(self, devices: str) -> None:
        self._devices, self._before = devices, os.environ.get("CUDA_VISIBLE_DEVICES")

    def __enter__(self) -> None:
        os.environ["CUDA_VISIBLE_DEVICES"] = self._devices

    def __exit__(self, *error: object) -> None:
        if self._before is None:
            del os.environ["CUDA_VISIBLE_DEVICES"]
        else:
            os.environ["CUDA_VISIBLE_DEVICES"] = self._before
