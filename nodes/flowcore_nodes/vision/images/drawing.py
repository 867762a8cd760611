"""Boxes, labels, traces, lines and zones, drawn into a frame with OpenCV.

Colours are BGR. What is drawn twice on the same spot stays readable: labels have a background in their box's colour.
"""

from collections.abc import Iterable, Sequence

import cv2
import numpy as np

_PALETTE = (
    (80, 175, 76), (54, 67, 244), (243, 150, 33), (0, 152, 255), (176, 39, 156), (212, 188, 0),
    (99, 30, 233), (59, 235, 255), (139, 125, 96), (72, 85, 121), (136, 150, 0), (181, 81, 63),
)  # fmt: skip
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def colour_of(number: int) -> tuple[int, int, int]:
    """A colour for a class or a track; the same number has the same one."""
    return _PALETTE[number % len(_PALETTE)]


def stroke(image: np.ndarray) -> int:
    """Width of lines that suits a frame's size, in pixels."""
    return max(1, round(min(image.shape[:2]) / 300))


def _whole(points: Iterable[Sequence[float]]) -> np.ndarray:
    return np.array([[round(x), round(y)] for x, y in points], np.int32).reshape(-1, 1, 2)


def box(image: np.ndarray, corners: Sequence[float], colour: tuple[int, int, int]) -> None:
    """A rectangle x1, y1, x2, y2."""
    x1, y1, x2, y2 = (round(value) for value in corners)
    cv2.rectangle(image, (x1, y1), (x2 - 1, y2 - 1), colour, stroke(image))


def label(image: np.ndarray, text: str, x: float, y: float, colour: tuple[int, int, int], scale: float = 1.0) -> None:
    """Text on a background, above (x, y) and within the frame."""
    size = max(0.35, min(image.shape[:2]) / 900) * scale
    thick = max(1, round(size * 1.5))
    (width, height), below = cv2.getTextSize(text, _FONT, size, thick)
    left = int(min(max(x, 0), max(image.shape[1] - width - 4, 0)))
    bottom = int(min(max(y, height + below + 2), image.shape[0]))
    cv2.rectangle(image, (left, bottom - height - below - 2), (left + width + 4, bottom), colour, -1)
    ink = (0, 0, 0) if sum(colour) > 380 else (255, 255, 255)
    cv2.putText(image, text, (left + 2, bottom - below), _FONT, size, ink, thick, cv2.LINE_AA)


def trace(image: np.ndarray, points: Sequence[Sequence[float]], colour: tuple[int, int, int]) -> None:
    """Where a track was."""
    if len(points) > 1:
        cv2.polylines(image, [_whole(points)], False, colour, stroke(image), cv2.LINE_AA)


def line(image: np.ndarray, start: Sequence[float], end: Sequence[float], colour: tuple[int, int, int]) -> None:
    """A line with a mark at its start."""
    (x1, y1), (x2, y2) = (round(start[0]), round(start[1])), (round(end[0]), round(end[1]))
    cv2.line(image, (x1, y1), (x2, y2), colour, stroke(image) + 1, cv2.LINE_AA)
    cv2.circle(image, (x1, y1), stroke(image) * 3, colour, -1, cv2.LINE_AA)


def zone(image: np.ndarray, corners: Sequence[Sequence[float]], colour: tuple[int, int, int]) -> None:
    """An area, lightly filled."""
    polygon = _whole(corners)
    x, y, width, height = cv2.boundingRect(polygon)
    x1, y1, x2, y2 = max(x, 0), max(y, 0), min(x + width, image.shape[1]), min(y + height, image.shape[0])
    if x1 < x2 and y1 < y2:
        part = image[y1:y2, x1:x2]
        filled = part.copy()
        cv2.fillPoly(filled, [polygon - (x1, y1)], colour)
        cv2.addWeighted(filled, 0.2, part, 0.8, 0, dst=part)
    cv2.polylines(image, [polygon], True, colour, stroke(image), cv2.LINE_AA)
