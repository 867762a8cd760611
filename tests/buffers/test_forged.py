"""A handle says what somebody wrote into it: nothing in it makes a process read what is no pool, or crash."""

import mmap
import os
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flowcore.buffers import Codec, Handle, Pools, Readers, Spilled, Tensor, parts
from flowcore.buffers.ledger import Ledger
from flowcore.buffers.place import Place, own
from flowcore.bus.envelope import INLINE, MAX_FRAME, TENSOR, Extension, Malformed, pack

SHAPE = (100, 200)


def handles(codec: Codec) -> tuple[Handle, tuple]:
    """A good handle, and what keeps it good."""
    data = codec.pack(np.ones(SHAPE, np.uint8))
    held = codec.taken
    return codec.unpack(data).handle, held


def decoded(codec: Codec, handle: Handle) -> Tensor:
    """What another process makes of a handle."""
    return codec.unpack(pack(Extension(TENSOR, handle.packed())))


@pytest.mark.parametrize(
    "wrong",
    [
        {"slot": 4},
        {"slot": (1 << 32) - 1},
        {"generation": 3},
        {"nbytes": 1 << 40, "shape": (1 << 40,)},
        {"pool": 12345},
        {"owner": Place(1, 1, 0)},
        {"owner": Place(1 << 22, 5, 3)},
        {"device": "cuda:7"},
        {"device": "cpu/../.."},
    ],
    ids=str,
)
def test_what_is_not_there_has_expired(codec, wrong):
    """Whole in itself, but no slot of a pool: the tensor says so, the frame stays good."""
    handle, held = handles(codec)
    reader = Codec(Pools(), Readers())
    assert decoded(reader, handle._replace(**wrong)).state == "expired"
    assert decoded(reader, handle).state == "sealed"
    assert held


@pytest.mark.parametrize(
    "wrong",
    [
        {"nbytes": 10},
        {"nbytes": -1},
        {"nbytes": "20000"},
        {"pool": -1},
        {"pool": True},
        {"kind": 4},
        {"kind": 2, "dtype": "<i4"},
        {"shape": [-100, -200]},
        {"shape": [1] * 40 + [20_000]},
        {"shape": None},
        {"dtype": "|O8", "shape": [2500]},
        {"dtype": "|V1"},
        {"dtype": "<f16", "shape": [1250]},
        {"dtype": "|u1,|u1"},
        {"dtype": 5},
        {"owner": None},
        {"owner": [1, 2]},
        {"owner": ["../../x", 2, 3]},
        {"via": [1, 2, 3.5]},
        {"host": None},
        {"device": 7},
    ],
    ids=str,
)
def test_what_does_not_fit_together_is_malformed(codec, wrong):
    """The frame is dropped, counted and reported like any other rubbish."""
    handle, _held = handles(codec)
    fields = list((handle._asdict() | wrong).values())[2:]
    head = handle.packed()[:12]
    for content in (head + pack(fields), head + pack(list(handle[2:-1])), head, head[:5], pack(list(handle))):
        with pytest.raises(Malformed):
            codec.unpack(pack({"payload": Extension(TENSOR, content)}))


def foreign_file(kind: str, size: int = 1 << 20, head: bytes = b"") -> int:
    """A descriptor of this process that is no pool."""
    if kind == "unsealed":
        fd = os.memfd_create("flowcore-pool", os.MFD_ALLOW_SEALING)
    elif kind == "other name":
        fd = os.memfd_create("something")
    else:
        return os.pipe()[0]
    os.ftruncate(fd, size)
    os.pwrite(fd, head, 0)
    return fd


def test_descriptors_that_are_something_else(codec):
    """A pipe, a file, a memfd that could be cut short, a pool with another number: none is mapped."""
    handle, held = handles(codec)
    head = bytes(codec.pools.by_id[handle.pool].ledger.map[:4096])
    reader = Codec(Pools(), Readers())
    for kind in ("pipe", "other name", "unsealed"):
        fd = foreign_file(kind, head=head)
        try:
            tensor = decoded(reader, handle._replace(owner=Place(*own(), fd)))
            assert tensor.state == "expired"
            with pytest.raises(RuntimeError, match=r"no pool|cut short"):
                tensor.numpy()
        finally:
            os.close(fd)
    other = codec.pools.alloc(1 << 20)
    wrong = handle._replace(owner=other.lease.pool.ledger.place)
    assert decoded(reader, wrong).state == "expired"
    assert held


@pytest.mark.parametrize(
    ("offset", "number"),
    [(0, 0), (8, 2), (24, 0), (24, 1 << 40), (32, 4097), (32, 1 << 40), (40, 0), (64, 0xFFFF)],
    ids=["magic", "version", "no slots", "slots", "slot bytes", "large slots", "data offset", "device"],
)
def test_broken_headers(codec, monkeypatch, offset, number):
    """What its owner wrote into a pool's header is checked as well."""
    monkeypatch.setattr("flowcore.buffers.files.seal", lambda fd: None)
    ledger = Ledger.create(77, 4, 20_480)
    struct.pack_into("=Q", ledger.map, offset, number)
    monkeypatch.undo()
    with pytest.raises(FileNotFoundError, match=r"no pool|another pool|cut short"):
        Ledger.open(77, ledger.place)
    ledger.close()


def test_readers_cannot_write_or_shrink(codec):
    """The kernel refuses it to everyone, by the seals."""
    handle, held = handles(codec)
    fd = os.open(handle.owner.path, os.O_RDWR)
    with pytest.raises(PermissionError):
        mmap.mmap(fd, 4096)
    with pytest.raises(PermissionError):
        os.pwrite(fd, b"x", 0)
    with pytest.raises(PermissionError):
        os.ftruncate(fd, 0)
    os.close(fd)
    assert held


@pytest.mark.parametrize(
    "fields",
    [[], ["|u1", [3], b"ab"], ["|O8", [1], b"12345678"], ["|u1", 3, b"abc"], ["|u1", [3], "abc"], "x", None],
    ids=str,
)
def test_inline_arrays_that_are_none(codec, fields):
    """Dtype, shape and bytes have to fit together."""
    with pytest.raises(Malformed):
        codec.unpack(pack(Extension(INLINE, pack(fields))))


def test_a_large_payload_within_itself(codec):
    """A slot that names itself ends in an error, not in a loop."""
    data = codec.pack_large({"payload": [0.5] * 40_000})
    held = codec.taken
    (part,) = parts(codec.unpack(data))
    assert isinstance(part, Spilled)
    packed = pack(Extension(TENSOR, part.handle.packed()))
    lease = codec.lease(part.handle)
    inside = pack([Extension(TENSOR, part.handle.packed()), b"\0" * (part.handle.nbytes - len(packed) - 6)])
    assert len(inside) == part.handle.nbytes
    lease.pool.memory.copy_in(lease.slot, inside)
    with pytest.raises(Malformed, match="within a large payload"):
        codec.resolve(codec.unpack(packed))
    text = part.handle._replace(kind=2)
    lease.pool.memory.copy_in(lease.slot, b"\xff" * part.handle.nbytes)
    with pytest.raises(Malformed, match="text that is none"):
        codec.resolve(decoded(codec, text))
    many = [Extension(TENSOR, part.handle._replace(kind=1).packed())] * 3000
    with pytest.raises(Malformed, match="more than 1,073,741,824 bytes"):
        codec.resolve(codec.unpack(pack(many), limit=1 << 20))
    assert held


_NUMBERS = st.integers(-(1 << 63), (1 << 64) - 1) | st.integers(0, 5) | st.none() | st.text(max_size=5)
_FIELDS = st.lists(_NUMBERS | st.lists(_NUMBERS, max_size=4) | st.sampled_from(["|u1", "<f4", "cpu"]), max_size=12)


@settings(max_examples=300, deadline=None)
@given(fields=_FIELDS, changed=st.integers(0, 8), data=st.binary(max_size=100))
def test_rubbish_is_malformed_or_expired(fields, changed, data):
    """Whatever the bytes of an extension are, decoding ends in a tensor without bytes or in `Malformed`."""
    codec = Codec(Pools(1 << 20), Readers())
    handle, held = handles(codec)
    one_wrong = list(handle[2:])
    one_wrong[changed] = fields[0] if fields else None
    head = handle.packed()[:12]
    for content in (head + pack(fields), head + pack(one_wrong), head + data, data):
        try:
            (part,) = parts([codec.unpack(pack(Extension(TENSOR, content)), limit=MAX_FRAME)])
        except Malformed:
            continue
        if part.state in ("expired", "remote"):
            continue
        assert part.tobytes() == b"\1" * 20_000
    assert held
