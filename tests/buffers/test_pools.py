"""How pools grow, how much they may be together, and which slot is next."""

import os
import signal
import threading
import time

import numpy as np
import pytest

from flowcore.buffers import Codec, NoRoom, Pools
from flowcore.buffers.pools import class_of

KIB = 1024


@pytest.mark.parametrize(
    ("nbytes", "slot_bytes"),
    [
        (0, 4 * KIB),
        (1, 4 * KIB),
        (4097, 8 * KIB),
        (16 * KIB, 16 * KIB),
        (16 * KIB + 1, 20 * KIB),
        (1 << 20, 1 << 20),
        ((1 << 20) + 1, 1280 * KIB),
        (1920 * 1080 * 3, 6 << 20),
        (6 * 1024 * 1024 + 1, 7 << 20),
    ],
)
def test_size_classes(nbytes, slot_bytes):
    """Powers of two and quarter steps between them, in whole pages: at most a quarter is wasted."""
    assert class_of(nbytes) == slot_bytes


def test_growth_to_the_limit():
    """4, 8, 16 slots, then what is left of the limit, then `NoRoom`, which has changed nothing."""
    pools = Pools(40 << 20)
    tensors = [pools.alloc(1 << 20) for _ in range(40)]
    (pool,) = pools.stats()
    assert (pool["slots"], pool["used"], pool["bytes"]) == (40, 40, 40 << 20)
    assert len({tensor.lease.pool for tensor in tensors}) == 4
    with pytest.raises(NoRoom, match="pool_mb") as error:
        pools.alloc(1 << 20)
    assert (error.value.nbytes, error.value.pools) == (1 << 20, [pool])
    tensors.pop(7)
    tensors.append(pools.alloc(1 << 20))
    assert pools.stats() == [pool]


def test_other_sizes_give_way():
    """What another size does not use is given back when the limit is reached; a larger slot will do in the end."""
    pools = Pools(8 << 20)
    large = [pools.alloc(2 << 20) for _ in range(4)]
    with pytest.raises(NoRoom):
        pools.alloc(1 << 20)
    large.pop()
    small = pools.alloc(1 << 20)
    assert small.lease.pool.slot_bytes == 2 << 20
    del large, small
    tensors = [pools.alloc(1 << 20) for _ in range(8)]
    assert [pool["slot_bytes"] for pool in pools.stats()] == [1 << 20] and len(tensors) == 8


def test_the_slot_freed_first_is_next():
    """Its readers have had the most time; those outside, who copy and check, too."""
    pools = Pools(4 << 20)
    tensors = {slot: pools.alloc(1 << 20) for slot in range(4)}
    freed = [tensors.pop(slot).lease.slot for slot in (2, 0, 3)]
    assert [pools.alloc(1 << 20).lease.slot] + [pools.alloc(1 << 20).lease.slot for _ in range(2)] == freed


def test_scarce_is_told_to_readers():
    """With three quarters of the slots in use, in every tensor of that size, and not after."""
    codec = Codec(Pools(8 << 20))
    data = codec.pack(codec.pools.alloc(1 << 20))
    tensors = [codec.unpack(data)]
    for _ in range(4):
        tensors.append(codec.pools.alloc(1 << 20))
    assert not tensors[0].is_scarce and not codec.pools.is_scarce
    tensors.append(codec.pools.alloc(1 << 20))
    assert tensors[0].is_scarce and codec.pools.is_scarce
    del tensors[2:]
    codec.pools.trim(1.0)
    assert not tensors[0].is_scarce and not codec.pools.is_scarce


def test_a_thread_waits_for_a_slot():
    """It goes on as soon as one is free, and is let go when the process ends."""
    pools = Pools(4 << 20)
    tensors = [pools.alloc(1 << 20) for _ in range(4)]
    got: list[object] = []

    def wait() -> None:
        try:
            got.append(pools.alloc(1 << 20, wait=True).lease.slot)
        except RuntimeError as e:
            got.append(e)

    thread = threading.Thread(target=wait)
    thread.start()
    slot = tensors.pop().lease.slot
    thread.join(10)
    assert got == [slot]
    tensors.append(pools.alloc(1 << 20))
    thread = threading.Thread(target=wait)
    thread.start()
    pools.close()
    thread.join(10)
    assert isinstance(got[1], RuntimeError)


def test_wrong_calls():
    """Shapes and dtypes that are none, devices that are not there."""
    pools = Pools()
    with pytest.raises(ValueError, match="shape"):
        pools.alloc((-1, 3))
    with pytest.raises(ValueError, match="no device 'tpu:0'"):
        pools.alloc(3, device="tpu:0")
    with pytest.raises(TypeError):
        pools.alloc(3, "float31")
    with pytest.raises(TypeError, match="Python objects"):
        pools.alloc(3, object)
    assert pools.alloc((), "float64").numpy().shape == ()
    assert pools.alloc(np.int64(5), np.dtype(">i2")).numpy().dtype == ">i2"


def test_a_fork_leaves_its_parents_slots_alone():
    """A node may start a process of its own: what ends there must not let go of anything here."""
    codec = Codec(Pools(1 << 20))
    data = codec.pack(np.ones(100_000, np.uint8))
    held = codec.taken
    tensor = codec.unpack(data)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            del tensor, held
            codec.pools.alloc(10)
        except RuntimeError:
            status = 0
        os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0
    assert codec.pools.stats()[0]["used"] == 1
    assert (tensor.numpy() == 1).all()


def test_letting_go_within_a_garbage_collection_within_an_alloc():
    """Leases that go while this very thread has the pool's lock are counted a moment later, not lost, no deadlock."""
    import gc

    pools = Pools(4 << 20)
    was = gc.get_threshold()
    gc.collect()
    gc.freeze()  # what is there already need not be looked at each time
    gc.set_threshold(1, 1, 1)
    signal.alarm(60)
    try:
        for _ in range(2000):
            ring: list = [pools.alloc(1 << 20)]
            ring.append(ring)
            del ring
            time.sleep(0)
    finally:
        gc.set_threshold(*was)
        gc.unfreeze()
        signal.alarm(0)
    gc.collect()
    assert pools.stats()[0]["used"] == 0


def test_many_threads_and_few_slots():
    """No slot is given to two, none is lost."""
    pools = Pools(8 << 20)
    wrong: list[str] = []

    def work(number: int) -> None:
        for _ in range(200):
            tensor = pools.alloc(1 << 20, wait=True)
            array = tensor.numpy()
            array[:64] = number
            time.sleep(0)
            if not (array[:64] == number).all():
                wrong.append("another thread wrote into the slot")
            del tensor, array  # twelve that hold one while they wait for the next would wait for ever

    threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert pools.stats()[0]["used"] == 0
