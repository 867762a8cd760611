"""What a script gets instead of a tensor: what it is, not what is in it. It can be passed on.

The node keeps the tensor; here there is a token that only the node can read. One that it did not give out, or gave out
with another message, is refused there.
"""

from typing import Any, NoReturn

from flowcore.bus.envelope import Extension, Malformed, packer, plain, unpack

CODE = 3  # extension type of msgpack, between a node and its worker alone
_MAX_BYTES = 4096


class StandIn:
    """A tensor as a script sees it.

    Attributes:
        shape: its dimensions, (480, 640, 3) for example; dtype: "uint8" ...; device: "cpu" or "cuda:0" ...
        nbytes: how large it is.
    """

    __slots__ = ("device", "dtype", "nbytes", "shape", "token")

    def __init__(self, token: bytes, shape: tuple[int, ...], dtype: str, device: str, nbytes: int) -> None:
        self.token = token
        self.shape, self.dtype, self.device, self.nbytes = shape, dtype, device, nbytes

    @property
    def ndim(self) -> int:
        """How many dimensions."""
        return len(self.shape)

    def packed(self) -> Extension:
        """As it travels."""
        return Extension(CODE, _pack([self.token, self.shape, self.dtype, self.device, self.nbytes]))

    def __repr__(self) -> str:
        return f"<Tensor {self.dtype} {'x'.join(map(str, self.shape)) or 'scalar'} on {self.device}>"

    def __bool__(self) -> bool:
        return True

    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError(
            "a script sees what a tensor is (shape, dtype, device, nbytes), not what is in it; it can be passed on. "
            "For its content write a node"
        )

    numpy = copy = tobytes = cupy = keep = release = _refuse
    __array__ = __bytes__ = __getitem__ = __iter__ = __len__ = __setitem__ = __contains__ = _refuse


def decode(code: int, data: bytes) -> StandIn:
    """The extension hook of both ends: nothing else may come, least of all a handle that a script made up.

    Raises:
        Malformed: another extension, or no stand-in.
    """
    if code != CODE:
        raise Malformed(f"extension type {code} between a script and its node")
    fields = unpack(data, limit=_MAX_BYTES)
    if type(fields) is not list or len(fields) != 5 or type(fields[0]) is not bytes or type(fields[1]) is not list:
        raise Malformed("no stand-in of a tensor")
    token, shape, dtype, device, nbytes = fields
    return StandIn(token, tuple(shape), dtype, device, nbytes)


def _default(value: Any) -> Any:
    return value.packed() if type(value) is StandIn else plain(value)


_pack = packer(plain)  # of what is in a stand-in: a packer at work packs nothing else
pack = packer(_default)
"""`pack` that knows stand-ins."""
