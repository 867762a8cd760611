"""What a message may hold, and what becomes of it on the other side."""

import gc
import pickle
import threading

import numpy as np
import pytest
from pydantic import BaseModel

from flowcore.buffers import BufferExpired, Codec, NoRoom, Spilled, Tensor, matches, mismatch, parts
from flowcore.bus.envelope import MAX_ENVELOPE, Malformed, pack, unpack, unpack_foreign

LARGE = (200, 100, 3)  # 60,000 bytes: above the threshold


def there_and_back(codec: Codec, value):
    """Through the bus, within one process."""
    data = codec.pack(value)
    held = codec.taken
    back = codec.unpack(data)
    del held
    return back


ARRAYS = {
    "large": np.arange(60_000, dtype=np.uint8).reshape(LARGE),
    "small": np.arange(6, dtype=np.int16).reshape(2, 3),
    "strided": np.arange(120_000, dtype=np.uint8).reshape(200, 200, 3)[:, ::2],
    "backwards": np.arange(60_000, dtype=np.uint8)[::-1],
    "fortran": np.asfortranarray(np.arange(30_000, dtype=np.int32).reshape(100, 300)),
    "small fortran": np.asfortranarray(np.arange(6).reshape(2, 3)),
    "nothing": np.zeros((0, 3)),
    "no dimensions": np.array(7.5),
    "bool": np.arange(20_000) % 3 == 0,
    "half": np.linspace(0, 1, 20_000, dtype=np.float16),
    "complex": np.linspace(0, 1j, 20_000, dtype=np.complex64),
    "big endian": np.arange(20_000, dtype=">f4"),
    "time": np.arange(20_000).astype("datetime64[ns]"),
    "texts": np.array(["a", "längst"] * 2000),
    "read-only": np.broadcast_to(np.float32(3), (100, 100)),
    "subclass": np.ma.masked_array(np.arange(20_000), mask=False),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_arrive_as_they_were(codec, name):
    """Any strides, any byte order, any size; small ones with their bytes, large ones by handle, in C order."""
    array = ARRAYS[name]
    tensor = there_and_back(codec, {"a": [array]})["a"][0]
    assert isinstance(tensor, Tensor)
    assert tensor.state == ("sealed" if array.nbytes >= 16 * 1024 else "private")
    back = tensor.numpy()
    assert (back.dtype, back.shape, tensor.shape, tensor.dtype) == (
        array.dtype,
        array.shape,
        array.shape,
        array.dtype.name,
    )
    assert np.array_equal(back, np.asarray(array)) and back.flags.c_contiguous and not back.flags.writeable
    assert tensor.tobytes() == array.tobytes()


@pytest.mark.parametrize("length", [4, 100_000])
@pytest.mark.parametrize(
    ("dtype", "why"),
    [("O", "Python objects"), ([("x", "f4"), ("y", "i8")], "a map of arrays"), ("longdouble", "extended precision")],
)
def test_arrays_that_cannot_travel(codec, dtype, length, why):
    """Named before anything is sent, by the plain packer too."""
    array = np.zeros(length, dtype)
    for send in (codec.pack, pack):
        with pytest.raises(TypeError, match=why):
            send({"a": array})
    assert codec.pools.stats() == []


def test_numbers_of_numpy_are_numbers(codec):
    """They do not become tensors without dimensions."""
    values = [np.float32(0.5), np.float64(0.25), np.int16(-3), np.uint64(1 << 63), np.bool_(True), np.str_("x")]
    assert there_and_back(codec, values) == [0.5, 0.25, -3, 1 << 63, True, "x"]
    assert unpack(pack(values)) == [0.5, 0.25, -3, 1 << 63, True, "x"]
    for wrong in (np.complex64(1j), np.datetime64(1, "ns"), np.longdouble(1)):
        with pytest.raises(TypeError, match="can not serialize"):
            codec.pack(wrong)


def test_models_and_plain_values(codec):
    """A codec packs what the bus packs, to the byte, and takes nothing for it."""

    class Box(BaseModel):
        x: int
        label: str | None = None

    value = {"n": [1, 2.5, None, True, b"x"], 3: {"boxes": (Box(x=1), Box(x=2, label="a"))}}
    assert codec.pack(value) == pack(value)
    assert (codec.taken, codec.seen) == ((), 0)
    with pytest.raises(TypeError, match="can not serialize 'set'"):
        codec.pack({1, 2})
    with pytest.raises(ValueError, match="64 bits"):
        codec.pack(1 << 64)


def test_without_a_codec_tensors_travel_with_their_bytes(codec):
    """State, links and durable wires: nothing in them refers to a slot."""
    tensor = there_and_back(codec, ARRAYS["large"])
    data = pack({"frame": tensor, "own": ARRAYS["small"]})
    back = codec.unpack(data)
    assert [part.state for part in parts(back)] == ["private", "private"]
    assert np.array_equal(back["frame"].numpy(), ARRAYS["large"])
    assert np.array_equal(pickle.loads(pickle.dumps(tensor)).numpy(), ARRAYS["large"])
    for from_outside in (data, codec.pack(ARRAYS["large"])):
        with pytest.raises(Malformed, match="extension type"):
            unpack_foreign(from_outside, limit=1 << 20)


def test_sealed_when_sent(codec):
    """The array that was filled cannot be written any more, nor can one made later."""
    tensor = codec.pools.alloc(LARGE, np.float32)
    array = tensor.numpy()
    array[...] = 1
    assert (tensor.state, tensor.dtype, tensor.is_writable) == ("fresh", "float32", True)
    codec.pack([tensor, tensor])
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 2
    with pytest.raises(ValueError, match=r"WRITEABLE|read-only"):
        tensor.numpy().flags.writeable = True
    copy = tensor.copy()
    copy[0] = 2
    assert (tensor.numpy() == 1).all()


def test_a_pack_that_fails_changes_nothing(codec):
    """Neither sealed nor in use: the same message may be sent again, or another one."""
    codec.pools.limit_bytes = 256 << 10
    mine = codec.pools.alloc(LARGE)
    before = codec.pools.stats()
    for bad, error in (({1}, TypeError), (1 << 64, ValueError), ([np.zeros(LARGE, np.uint8)] * 9, NoRoom)):
        with pytest.raises(error):
            codec.pack([np.ones(LARGE, np.uint8), mine, bad])
        assert mine.is_writable and codec.taken == ()
        gc.collect()
        assert codec.pools.stats()[0]["used"] == before[0]["used"] == 1
    mine.numpy()[...] = 5
    assert (there_and_back(codec, mine).numpy() == 5).all()


def test_what_a_pack_takes_is_handed_over_once(codec):
    """The slot is in use for as long as what was handed over lives, and no longer."""
    data = codec.pack({"a": np.ones(LARGE, np.uint8), "b": np.zeros(LARGE, np.uint8)})
    held = codec.taken
    assert len(held) == 2 and codec.taken == ()
    assert codec.pools.stats()[0]["used"] == 2
    del held
    assert codec.pools.stats()[0]["used"] == 0
    assert codec.unpack(data)["a"].state == "sealed", "not written since"


def test_a_private_tensor_is_shared_when_it_is_large(codec):
    """One that was fetched is sent on by handle, from here."""
    small = Tensor.private("|u1", (3,), b"abc")
    large = Tensor.private("|u1", LARGE, ARRAYS["large"].tobytes())
    back = there_and_back(codec, [small, large])
    assert [tensor.state for tensor in back] == ["private", "sealed"]
    assert np.array_equal(back[1].numpy(), large.numpy())


def test_interfaces(codec):
    """What other libraries ask an array for, each without a copy, each holding the slot by itself."""
    ways = {
        "asarray": np.asarray,
        "dlpack": np.from_dlpack,
        "numpy": Tensor.numpy,
    }
    for name, way in ways.items():
        tensor = there_and_back(codec, ARRAYS["large"])
        array = way(tensor)
        assert array.ctypes.data == tensor.numpy().ctypes.data, name
        tensor.release()
        with pytest.raises(BufferExpired, match="released"):
            way(tensor)
        for _ in range(8):
            there_and_back(codec, np.zeros(LARGE, np.uint8))
        assert np.array_equal(array, ARRAYS["large"]), name
        del tensor, array
        assert codec.pools.stats()[0]["used"] == 0, name
    tensor = there_and_back(codec, ARRAYS["large"])
    assert (len(tensor), tensor.ndim, tensor.nbytes, bytes(tensor)) == (200, 3, 60_000, ARRAYS["large"].tobytes())
    assert np.asarray(tensor, dtype=np.float32).dtype == np.float32
    assert np.array(tensor, copy=True).flags.writeable
    assert repr(tensor) == "<Tensor uint8 200x100x3 on cpu, sealed>"


def test_kept_on_purpose_or_forgotten(codec):
    """What is in use after its message is done is listed with its port and message, until it is let go."""
    kept, forgotten, gone = (there_and_back(codec, np.ones(LARGE, np.uint8)) for _ in range(3))
    for name, tensor in (("kept", kept), ("forgotten", forgotten), ("gone", gone)):
        codec.lingering.done(codec.lingering.of([tensor]), "image", name)
    with kept.keep() as same:
        assert same is kept
        view = forgotten.numpy()[3]
        del tensor, forgotten, gone
        gc.collect()
        on_purpose, others = codec.lingering.listed(older_than_s=0.0)
        assert [entry["message"] for entry in on_purpose] == ["kept"]
        assert [(entry["message"], entry["port"], entry["bytes"]) for entry in others] == [
            ("forgotten", "image", 65_536)
        ]
    assert view.any()
    del view
    assert codec.lingering.listed(older_than_s=0.0) == ([], [])
    with pytest.raises(BufferExpired, match="released"):
        kept.numpy()


@pytest.mark.parametrize(
    ("payload", "spilled"),
    [
        (b"\x00\xff" * 300_000, 1),
        ("ä" * 300_000, 1),
        ({"deep": [[{"text": "x" * 200_000, "more": (b"y" * 100_000, "small")}]], "n": 1}, 2),
        ([float(n) for n in range(50_000)], 1),
        ({"list": list(range(100_000)), "text": "x" * 300_000, "frame": np.ones(LARGE, np.uint8)}, 1),
    ],
    ids=["bytes", "text", "at any depth", "many small", "all of it"],
)
def test_nothing_fails_for_being_large(codec, payload, spilled):
    """Long texts and bytes go into slots, else the whole payload; it is put back together on the other side."""
    envelope = {"seq": 1, "topic": "t", "payload": payload, "meta": {}}
    assert len(pack(envelope)) > MAX_ENVELOPE
    data = codec.pack_large(envelope)
    held = codec.taken
    assert len(data) < MAX_ENVELOPE
    back = codec.unpack(data)
    assert len([part for part in parts(back) if isinstance(part, Spilled)]) == spilled == codec.unresolved
    with pytest.raises(TypeError, match="not resolved"):
        codec.pack(back)
    del held
    resolved = codec.resolve(back)["payload"]
    if isinstance(payload, dict) and "frame" in payload:
        assert np.array_equal(resolved.pop("frame").numpy(), payload["frame"])
        payload = {key: part for key, part in payload.items() if key != "frame"}
    assert pack(resolved) == pack(payload)
    del back, resolved
    assert all(pool["used"] == 0 for pool in codec.pools.stats())


def test_every_part_of_an_envelope_may_be_large(codec):
    """Payload and meta, each too large by itself, with a frame in one of them."""
    numbers = list(range(100_000))
    envelope = {"seq": 1, "payload": [numbers, np.ones(LARGE, np.uint8)], "meta": {"numbers": numbers}, "topic": "t"}
    data = codec.pack_large(envelope)
    held = codec.taken
    back = codec.resolve(codec.unpack(data))
    assert (back["payload"][0], back["meta"], back["topic"]) == (numbers, envelope["meta"], "t")
    assert (back["payload"][1].numpy() == 1).all() and len(held) == 3
    del held, back
    assert all(pool["used"] == 0 for pool in codec.pools.stats())


def test_too_large_for_all_there_is(codec):
    """It would never fit, so nobody waits for it."""
    with pytest.raises(ValueError, match="pool_mb"):
        codec.pools.alloc(17 << 20)
    with pytest.raises(ValueError, match="pool_mb"):
        codec.pack_large({"payload": b"x" * (17 << 20)})
    with pytest.raises(ValueError, match="topic"):
        codec.pack_large({"payload": b"x" * 300_000, "topic": "x" * 300_000})
    assert codec.taken == () and all(pool["used"] == 0 for pool in codec.pools.stats())


def test_threads_pack_side_by_side(codec):
    """Each has its own turn: what one takes is never handed to another."""
    wrong: list[str] = []

    def work(fill: int) -> None:
        for _ in range(300):
            array = np.full(LARGE, fill, np.uint8)
            data = codec.pack({"a": array})
            held = codec.taken
            tensor = codec.unpack(data)["a"]
            if len(held) != 1 or not (tensor.numpy() == fill).all():
                wrong.append(f"{fill}: {held} {tensor}")

    threads = [threading.Thread(target=work, args=(fill,)) for fill in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    gc.collect()
    assert not wrong
    assert codec.pools.stats()[0]["used"] == 0


@pytest.mark.parametrize(
    ("port_type", "fits"),
    [
        ("any", True),
        ("tensor", True),
        ("frame", True),
        ("tensor[uint8]", True),
        ("tensor[float32]", False),
        ("tensor[uint8, ?, ?, 3]", True),
        ("tensor[?, h, w, c]", True),
        ("tensor[uint8, n, n, 3]", False),
        ("tensor[uint8, 200, ...]", True),
        ("tensor[uint8, 199, ...]", False),
        ("tensor[uint8, ?, ?]", False),
        ("tensor[uint8, ?, ?, 4]", False),
        ("tensor[any, ...]", True),
    ],
)
def test_port_types(codec, port_type, fits):
    """Checked against the tensor, and against an array that was not sent yet."""
    tensor = there_and_back(codec, ARRAYS["large"])
    assert matches(tensor, port_type) is matches(ARRAYS["large"], port_type) is fits
    if not fits:
        assert mismatch(tensor, port_type) == f"a tensor of uint8 (200, 100, 3), where {port_type} is wanted"
    assert matches("text", port_type) is (port_type == "any")
