"""Image operations in the words that numpy and cupy share, for frames that are on a GPU.

Each takes arrays and the module they are of. With numpy in its place they give what `on_cpu` gives, to one grey level:
so they are tested where there is no GPU.
"""

from typing import Any

_SHARES = (0.114, 0.587, 0.299)  # of blue, green and red in grey


def resize(xp: Any, source: Any, target: Any, smooth: bool) -> None:
    """Fit a frame into another size: bilinear, with pixel centres as OpenCV has them, or the nearest pixel."""
    height, width = target.shape[:2]
    if not smooth:
        rows = (2 * xp.arange(height) + 1) * source.shape[0] // (2 * height)
        columns = (2 * xp.arange(width) + 1) * source.shape[1] // (2 * width)
        target[...] = source[rows[:, None], columns[None, :]]
        return

    def ends(length: int, wanted: int) -> tuple[Any, Any, Any]:
        at = xp.clip((xp.arange(wanted, dtype=xp.float32) + 0.5) * (length / wanted) - 0.5, 0, length - 1)
        low = xp.floor(at).astype(xp.int32)
        return low, xp.minimum(low + 1, length - 1), (at - low).astype(xp.float32)

    top, bottom, down = ends(source.shape[0], height)
    left, right, across = ends(source.shape[1], width)
    more = (slice(None),) * 2 + (None,) * (source.ndim - 2)
    across, down = across[None, :][more], down[:, None][more]
    rows = source[top].astype(xp.float32) * (1 - down) + source[bottom].astype(xp.float32) * down
    target[...] = xp.rint(rows[:, left] * (1 - across) + rows[:, right] * across).astype(target.dtype)


def colour(xp: Any, source: Any, target: Any, wanted: str) -> None:
    """Another order of channels, or grey."""
    if wanted in ("bgr-to-rgb", "rgb-to-bgr"):
        target[...] = source[..., ::-1]
    elif wanted == "grey-to-bgr":
        target[...] = source[..., None]
    else:
        shares = _SHARES if wanted == "bgr-to-grey" else _SHARES[::-1]
        mixed = sum(source[..., channel].astype(xp.float32) * share for channel, share in enumerate(shares))
        target[...] = xp.rint(mixed).astype(target.dtype)


def turn(xp: Any, source: Any, target: Any, quarters: int) -> None:
    """Turn by quarters, clockwise."""
    target[...] = xp.rot90(source, -quarters)


def mirror(xp: Any, source: Any, target: Any, axis: int) -> None:
    """Mirror along an axis: 0 top to bottom, 1 left to right."""
    target[...] = xp.flip(source, axis)


def normalise(xp: Any, source: Any, target: Any, factor: Any, shift: Any, is_chw: bool, swap: bool) -> None:
    """`source * factor - shift` for each channel, in another layout and order of channels."""
    planes = source[..., None] if source.ndim == 2 else source
    planes = planes[..., ::-1] if swap else planes
    made = planes.astype(xp.float32) * xp.asarray(factor, xp.float32) - xp.asarray(shift, xp.float32)
    target[...] = (made.transpose(2, 0, 1) if is_chw else made).astype(target.dtype)


def coarsen(xp: Any, part: Any, cell: int) -> None:
    """Make cells of `cell` pixels, each of one colour, in place."""
    for y in range(0, part.shape[0], cell):
        for x in range(0, part.shape[1], cell):
            piece = part[y : y + cell, x : x + cell]
            piece[...] = xp.rint(piece.mean(axis=(0, 1))).astype(part.dtype)
