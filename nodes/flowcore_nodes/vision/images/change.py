"""One image operation from a tensor into another, wherever both are: OpenCV in host memory, cupy on a GPU."""

from typing import Any

from flowcore.node import GiveUp, Tensor
from flowcore_nodes.vision.images import on_cpu, on_gpu


def _gpu(source: Tensor, target: Tensor) -> tuple[Any, Any, Any] | None:
    """cupy and both arrays when they are on a GPU; a source that is not where the target is was no GPU's for long."""
    if target.device == "cpu":
        return None
    import cupy

    return cupy, source.cupy(), target.cupy()


def resize(source: Tensor, target: Tensor, method: str = "auto") -> None:
    """See `on_cpu.resize`; on a GPU "area" and "cubic" are "linear"."""
    if on := _gpu(source, target):
        on_gpu.resize(*on, method != "nearest")
    else:
        on_cpu.resize(source.numpy(), target.numpy(), method)


def colour(source: Tensor, target: Tensor, wanted: str) -> None:
    """See `on_cpu.colour`.

    Raises:
        GiveUp: a colour space that there is not on a GPU.
    """
    if on := _gpu(source, target):
        if "hsv" in wanted or "lab" in wanted:
            raise GiveUp(f"{wanted} is not there for a frame on a GPU")
        on_gpu.colour(*on, wanted)
    else:
        on_cpu.colour(source.numpy(), target.numpy(), wanted)


def turn(source: Tensor, target: Tensor, quarters: int) -> None:
    """See `on_cpu.turn`."""
    if on := _gpu(source, target):
        on_gpu.turn(*on, quarters)
    else:
        on_cpu.turn(source.numpy(), target.numpy(), quarters)


def mirror(source: Tensor, target: Tensor, axis: int) -> None:
    """See `on_cpu.mirror`."""
    if on := _gpu(source, target):
        on_gpu.mirror(*on, axis)
    else:
        on_cpu.mirror(source.numpy(), target.numpy(), axis)


def normalise(source: Tensor, target: Tensor, factor: Any, shift: Any, is_chw: bool, swap: bool) -> None:
    """See `on_cpu.normalise`."""
    if on := _gpu(source, target):
        on_gpu.normalise(*on, factor, shift, is_chw, swap)
    else:
        on_cpu.normalise(source.numpy(), target.numpy(), factor, shift, is_chw, swap)


def copy(source: Tensor, target: Tensor, at: tuple[slice, slice] | None = None) -> None:
    """Copy a part of a frame, `at` rows and columns, or all of it."""
    part = at or (slice(None), slice(None))
    if on := _gpu(source, target):
        on[2][...] = on[1][part]
    else:
        target.numpy()[...] = source.numpy()[part]


def paste(source: Tensor, target: Tensor, x: int, y: int, width: int, height: int, fill: Any, method: str) -> None:
    """Fill `target`, and put `source` into it with a size of width x height at x, y."""
    if on := _gpu(source, target):
        on[2][...] = on[0].asarray(fill, on[2].dtype)
        on_gpu.resize(on[0], on[1], on[2][y : y + height, x : x + width], method != "nearest")
        return
    array = target.numpy()
    array[...] = fill
    on_cpu.resize(source.numpy(), array[y : y + height, x : x + width], method)
