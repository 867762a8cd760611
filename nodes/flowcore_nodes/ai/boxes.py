"""Boxes out of a detector's raw outputs: the layouts of YOLO, and non-maximum suppression. Pure numpy.

v8, v11        (N, 4 + classes, cells), or (N, cells, 4 + classes): middle x, y, width, height; a score a class
v5             (N, cells, 5 + classes): the same, and before the scores how likely anything is there
v5, anchored   a tensor a scale, (N, anchors, rows, columns, 5 + classes): logits, as they leave the network
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

LAYOUTS = ("auto", "v5", "v8", "v11", "v5-anchored")
COCO_ANCHORS = (
    ((10, 13), (16, 30), (33, 23)),
    ((30, 61), (62, 45), (59, 119)),
    ((116, 90), (156, 198), (373, 326)),
)  # of YOLO v5, in pixels: of strides 8, 16 and 32


class LayoutMismatch(ValueError):
    """A model's outputs are not what the layout says; names both."""


@dataclass(frozen=True)
class Boxes:
    """What was seen on one picture: (n, 4) x1, y1, x2, y2 in its pixels; (n,) classes; (n,) confidences."""

    boxes: np.ndarray
    classes: np.ndarray
    confidences: np.ndarray

    def __len__(self) -> int:
        return len(self.boxes)

    def at(self, kept: np.ndarray) -> "Boxes":
        """Some of them, by index or mask."""
        return Boxes(self.boxes[kept], self.classes[kept], self.confidences[kept])


def decode(
    outputs: Sequence[np.ndarray],
    layout: str,
    classes: int | None,
    confidence: float,
    size: tuple[int, int] | None = None,
    anchors: Sequence = COCO_ANCHORS,
) -> list[Boxes]:
    """Boxes above a confidence, for each picture of a batch; many of one thing.

    Args:
        outputs: of the model, in its order; the layouts but the anchored one have one.
        classes: how many there are; None: as the layout says. It tells v5 from v8 when layout is "auto".
        size: width and height of the model's input, in pixels; for the anchored layout.
        anchors: widths and heights in pixels, for each scale.
    Raises:
        LayoutMismatch: shapes that are none of the layout.
    """
    if layout == "v5-anchored" or (layout == "auto" and outputs[0].ndim == 5):
        if size is None:
            raise LayoutMismatch("the anchored layout needs the size of the model's input: set width and height")
        rows, has_objectness = _unanchored(outputs, size, anchors), True
    else:
        rows, has_objectness = _as_rows(outputs[0], layout, classes)
    skipped = 5 if has_objectness else 4
    if classes is not None and rows.shape[2] - skipped != classes:
        raise LayoutMismatch(
            f"the output {_dims(outputs[0])} has {rows.shape[2] - skipped} classes, and {classes} have names"
        )
    return [_picture(one, skipped, confidence) for one in rows.astype(np.float32, copy=False)]


def _as_rows(output: np.ndarray, layout: str, classes: int | None) -> tuple[np.ndarray, bool]:
    if output.ndim == 2:
        output = output[None]
    if output.ndim != 3 or min(output.shape[1:]) < 5:
        raise LayoutMismatch(f"{layout} has an output of 3 dimensions with 5 or more values a box, got {_dims(output)}")
    is_flat = output.shape[1] < output.shape[2]
    values = min(output.shape[1:])
    if classes is not None and is_flat != (output.shape[1] in (classes + 4, classes + 5)):
        is_flat = not is_flat if classes + 4 in output.shape[1:] or classes + 5 in output.shape[1:] else is_flat
        values = output.shape[1] if is_flat else output.shape[2]
    rows = output.transpose(0, 2, 1) if is_flat else output
    if layout == "auto":
        return rows, values == classes + 5 if classes is not None else not is_flat
    return rows, layout == "v5"


def _unanchored(outputs: Sequence[np.ndarray], size: tuple[int, int], anchors: Sequence) -> np.ndarray:
    if len(outputs) != len(anchors):
        raise LayoutMismatch(f"{len(anchors)} scales have anchors, and the model has {len(outputs)} outputs")
    found = []
    for output, sizes in zip(outputs, anchors, strict=True):
        if output.ndim != 5 or output.shape[1] != len(sizes) or output.shape[4] < 6:
            raise LayoutMismatch(
                f"an anchored output is (N, {len(sizes)}, rows, columns, 5 + classes), got {_dims(output)}"
            )
        n, _, rows, columns, values = output.shape
        said = 1 / (1 + np.exp(-output.astype(np.float32)))
        stride = np.array([size[0] / columns, size[1] / rows], np.float32)
        cell = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), -1).astype(np.float32)
        said[..., :2] = (said[..., :2] * 2 - 0.5 + cell) * stride
        said[..., 2:4] = (said[..., 2:4] * 2) ** 2 * np.array(sizes, np.float32)[None, :, None, None]
        found.append(said.reshape(n, -1, values))
    return np.concatenate(found, 1)


def _picture(rows: np.ndarray, skipped: int, confidence: float) -> Boxes:
    scores = rows[:, skipped:]
    if skipped == 5:
        may = rows[:, 4] >= confidence
        rows, scores = rows[may], scores[may] * rows[may, 4:5]
    best = scores.argmax(1) if scores.shape[1] else np.zeros(len(scores), np.intp)
    confidences = scores[np.arange(len(scores)), best]
    kept = confidences >= confidence  # NaN is not
    middle, half = rows[kept, :2], rows[kept, 2:4] / 2
    return Boxes(np.concatenate([middle - half, middle + half], 1), best[kept], confidences[kept])


def suppress(found: Boxes, overlap: float, most: int, each_class: bool = True) -> Boxes:
    """Non-maximum suppression: of boxes that overlap by more the most confident one stays.

    Args:
        overlap: intersection over union, 0 to 1.
        most: boxes that stay, at most.
        each_class: boxes of different classes leave each other alone.
    Returns:
        The rest, the most confident first.
    """
    order = np.argsort(-found.confidences, kind="stable")
    found = found.at(order)
    left = np.arange(len(found))
    kept: list[int] = []
    while len(left) and len(kept) < most:
        first, left = left[0], left[1:]
        kept.append(int(first))
        same = found.classes[left] == found.classes[first] if each_class else np.ones(len(left), bool)
        left = left[~(same & (overlaps(found.boxes[first : first + 1], found.boxes[left])[0] > overlap))]
    return found.at(np.array(kept, np.intp))


def overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of (n, 4) and (m, 4) boxes: (n, m)."""
    low, high = np.maximum(a[:, None, :2], b[None, :, :2]), np.minimum(a[:, None, 2:], b[None, :, 2:])
    common = np.clip(high - low, 0, None).prod(2)
    areas = [np.clip(one[:, 2:] - one[:, :2], 0, None).prod(1) for one in (a, b)]
    return common / np.maximum(areas[0][:, None] + areas[1][None] - common, 1e-9)


def _dims(array: np.ndarray) -> str:
    return "(" + ", ".join(map(str, array.shape)) + ")"
