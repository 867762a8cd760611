"""A slot is in use while anything in any process refers to it, and free again when nothing does."""

import zlib

import numpy as np
import pytest

from flowcore.buffers import BufferExpired, Codec, NoRoom, Pools, Readers

SHAPE = (256, 1024)  # 256 KiB: a pool begins with four of them


def send(codec: Codec, fill: int) -> tuple[bytes, tuple]:
    """A packed tensor, and what keeps it until it is acked."""
    tensor = codec.pools.alloc(SHAPE)
    tensor.numpy()[...] = fill
    return codec.pack(tensor), codec.taken


def crc(fill: int) -> int:
    """Of what `send` sends."""
    return zlib.crc32(np.full(SHAPE, fill, np.uint8))


def slots(codec: Codec) -> dict:
    """The one size that is in use."""
    (pool,) = codec.pools.stats()
    return pool


def test_a_slot_waits_for_its_reader(codec, peer):
    """Acked, but a reader still has it: it is not written until the reader has let go, and not a moment longer."""
    codec.pools.limit_bytes = 1 << 20
    first, held = send(codec, 1)
    assert peer.read("a", first) == ("sealed", "uint8", SHAPE, crc(1))
    del held
    for fill in range(2, 12):
        send(codec, fill)
    assert peer.look("a") == ("sealed", "uint8", SHAPE, crc(1))
    assert (slots(codec)["used"], slots(codec)["waiting"]) == (0, 1)
    taken = [codec.pools.alloc(SHAPE) for _ in range(3)]
    with pytest.raises(NoRoom, match="3 in use here, 1 held by readers"):
        codec.pools.alloc(SHAPE)
    peer.drop("a")
    taken.append(codec.pools.alloc(SHAPE))
    assert len({tensor.lease.slot for tensor in taken}) == 4


def test_a_view_holds_the_slot_without_its_tensor(codec, peer):
    """A slice of an array is all that is left."""
    codec.pools.limit_bytes = 1 << 20
    data, held = send(codec, 7)
    peer.read("a", data)
    peer.only_view("a")
    del held
    seen = peer.look("a")
    for fill in range(8, 20):
        send(codec, fill)
    assert peer.look("a") == seen
    assert slots(codec)["waiting"] == 1
    peer.drop("a")
    assert slots(codec)["waiting"] == 0


def test_a_killed_reader_holds_nothing(codec, new_peer):
    """The kernel gives its locks back; another reader of the same slot keeps its own."""
    data, held = send(codec, 3)
    first, second = new_peer(), new_peer()
    first.read("a", data)
    second.read("a", data)
    del held
    first.kill()
    assert slots(codec)["waiting"] == 1
    second.kill()
    assert slots(codec)["waiting"] == 0


def test_a_stale_handle_expires(codec, peer):
    """Nobody held it, it was written again: the reader is told, and sees no other frame in its place."""
    stale, held = send(codec, 1)
    del held
    for fill in range(2, 6):
        fresh, _held = send(codec, fill)
    assert peer.read("a", stale) == "expired"
    assert peer.read("b", fresh) == ("sealed", "uint8", SHAPE, crc(5))
    with pytest.raises(RuntimeError, match=r"BufferExpired: slot \d+ of pool .* was written again"):
        peer.forward("a")


def test_what_is_being_written_is_not_read(codec, peer):
    """The lock, not only the generation, keeps readers out."""
    data, held = send(codec, 1)
    slot = held[0].slot
    del held
    writing = [codec.pools.alloc(SHAPE) for _ in range(4)]
    assert slot in {tensor.lease.slot for tensor in writing}
    assert peer.read("a", data) == "expired"


def test_passed_on_without_a_copy_and_outliving_its_owner(codec, new_peer):
    """From a process that is killed, over two that pass it on: the last reader has opened nothing before."""
    owner, first, second = new_peer(), new_peer(), new_peer()
    expected = ("sealed", "uint8", SHAPE, crc(9))
    data = owner.make("x", SHAPE, 9)
    assert first.read("x", data) == expected
    owner.kill()
    data = first.forward("x")
    assert second.read("x", data) == expected
    data = second.forward("x")
    first.kill()
    tensor = codec.unpack(data)
    assert zlib.crc32(tensor.numpy()) == crc(9)
    assert tensor.handle.owner.pid == owner.process.pid and tensor.handle.via.pid == second.process.pid
    second.kill()
    assert zlib.crc32(tensor.numpy()) == crc(9)
    del tensor
    codec.readers.trim(1e9)
    assert codec.unpack(data).state == "expired"


def test_our_own_handle_comes_back(codec, peer):
    """Around a cycle: a tensor of ours, passed on by another, after we have let go of it ourselves."""
    data, held = send(codec, 4)
    peer.read("a", data)
    del held
    back = codec.unpack(peer.forward("a"))
    peer.drop("a")
    assert back.state == "sealed"
    for fill in range(5, 12):
        send(codec, fill)
    assert (back.numpy() == 4).all()
    assert slots(codec)["used"] == 1
    again = codec.pack({"twice": [back, back]})
    assert peer.read("b", again)["twice"] == [("sealed", "uint8", SHAPE, crc(4))] * 2


def test_one_process_reads_what_it_wrote():
    """A wire from a node to itself needs no reader of its own pool."""
    codec = Codec(Pools(1 << 20), Readers())
    data, held = send(codec, 6)
    tensor = codec.unpack(data)
    del held
    for fill in range(10):
        send(codec, fill)
    assert (tensor.numpy() == 6).all()
    tensor.release()
    with pytest.raises(BufferExpired, match="released"):
        tensor.numpy()
    assert slots(codec)["used"] == 0


def test_idle_memory_is_given_back(codec, peer):
    """After 30 seconds without a use, when no reader holds a slot; the reader unmaps it, too."""
    data, held = send(codec, 1)
    peer.read("a", data)
    del held
    for now_s in (100.0, 129.0, 131.0):
        codec.pools.trim(now_s)
    assert slots(codec)["waiting"] == 1, "a reader has a slot"
    peer.drop("a")
    codec.pools.trim(132.0)
    assert codec.pools.stats() == []
    assert codec.pools.total_bytes == 0
    assert peer.trim() == 0
    assert peer.read("a", data) == "expired"
    data, _held = send(codec, 2)
    assert peer.read("a", data) == ("sealed", "uint8", SHAPE, crc(2))


def test_other_host(codec, peer, monkeypatch):
    """Who says that it is another host opens nothing: it has to fetch."""
    data, held = send(codec, 1)
    monkeypatch.setenv("FLOWCORE_HOST_ID", "elsewhere")
    stranger = Codec(Pools())
    tensor = stranger.unpack(data)
    assert (tensor.state, stranger.unresolved) == ("remote", 1)
    with pytest.raises(BufferExpired, match="not fetched"):
        tensor.numpy()
    lease = codec.lease(tensor.handle)  # what the owner answers a request with
    tensor.fill(bytes(lease.copy_out(tensor.nbytes)))
    assert tensor.state == "private" and (tensor.numpy() == 1).all()
    assert held
