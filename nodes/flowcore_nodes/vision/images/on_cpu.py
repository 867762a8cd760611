"""Image operations by OpenCV, written into the memory they are to be sent in."""

from typing import Any

import cv2
import numpy as np

_COLOURS = {
    "bgr-to-rgb": cv2.COLOR_BGR2RGB,
    "rgb-to-bgr": cv2.COLOR_RGB2BGR,
    "bgr-to-grey": cv2.COLOR_BGR2GRAY,
    "rgb-to-grey": cv2.COLOR_RGB2GRAY,
    "grey-to-bgr": cv2.COLOR_GRAY2BGR,
    "bgr-to-hsv": cv2.COLOR_BGR2HSV,
    "hsv-to-bgr": cv2.COLOR_HSV2BGR,
    "bgr-to-lab": cv2.COLOR_BGR2LAB,
    "lab-to-bgr": cv2.COLOR_LAB2BGR,
}
_METHODS = {
    "nearest": cv2.INTER_NEAREST_EXACT,
    "linear": cv2.INTER_LINEAR,
    "area": cv2.INTER_AREA,
    "cubic": cv2.INTER_CUBIC,
}
_TURNS = (cv2.ROTATE_90_CLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_COUNTERCLOCKWISE)


def _put(made: Any, target: np.ndarray) -> None:
    if made is not target:  # OpenCV had another shape in mind, (H, W) for (H, W, 1) for one
        np.copyto(target, made.reshape(target.shape))


def resize(source: np.ndarray, target: np.ndarray, method: str) -> None:
    """Fit a frame into another size; "auto" is "area" when it becomes smaller, else "linear"."""
    if method == "auto":
        method = "area" if target.shape[0] < source.shape[0] else "linear"
    _put(cv2.resize(source, (target.shape[1], target.shape[0]), dst=target, interpolation=_METHODS[method]), target)


def colour(source: np.ndarray, target: np.ndarray, wanted: str) -> None:
    """Another colour space."""
    _put(cv2.cvtColor(source, _COLOURS[wanted], dst=target), target)


def turn(source: np.ndarray, target: np.ndarray, quarters: int) -> None:
    """Turn by quarters, clockwise."""
    _put(cv2.rotate(source, _TURNS[quarters - 1], dst=target), target)


def turn_freely(source: np.ndarray, target: np.ndarray, degrees: float, fill: tuple[int, ...]) -> None:
    """Turn clockwise around the middle; what comes in from outside is `fill`."""
    height, width = source.shape[:2]
    matrix = cv2.getRotationMatrix2D((width / 2, height / 2), -degrees, 1.0)
    matrix[0, 2] += (target.shape[1] - width) / 2
    matrix[1, 2] += (target.shape[0] - height) / 2
    size = target.shape[1], target.shape[0]
    _put(cv2.warpAffine(source, matrix, size, dst=target, borderValue=fill), target)


def mirror(source: np.ndarray, target: np.ndarray, axis: int) -> None:
    """Mirror along an axis: 0 top to bottom, 1 left to right."""
    _put(cv2.flip(source, axis, dst=target), target)


def normalise(source: np.ndarray, target: np.ndarray, factor: Any, shift: Any, is_chw: bool, swap: bool) -> None:
    """`source * factor - shift` for each channel, in another layout and order of channels."""
    planes = source[..., None] if source.ndim == 2 else source
    target = target[0] if target.ndim == 4 else target
    channels = planes.shape[2]
    for channel in range(channels):
        plane = planes[..., channels - 1 - channel if swap else channel]
        out = target[channel] if is_chw else target[..., channel]
        if target.dtype == np.float32:
            np.multiply(plane, np.float32(factor[channel]), out=out, casting="unsafe")
            out -= np.float32(shift[channel])
        else:  # half precision: worked out in single
            out[...] = plane.astype(np.float32) * np.float32(factor[channel]) - np.float32(shift[channel])


def coarsen(part: np.ndarray, cell: int) -> None:
    """Make cells of `cell` pixels, each of one colour, in place."""
    height, width = part.shape[:2]
    small = cv2.resize(part, (-(-width // cell), -(-height // cell)), interpolation=cv2.INTER_AREA)
    part[...] = cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST).reshape(part.shape)


def soften(part: np.ndarray, radius: int) -> None:
    """Gaussian blur, in place."""
    part[...] = cv2.GaussianBlur(part, (2 * radius + 1, 2 * radius + 1), 0).reshape(part.shape)
