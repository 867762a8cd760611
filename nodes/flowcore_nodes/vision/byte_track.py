"""ByteTrack: boxes of one frame after the other become tracks, weak boxes continue tracks that strong ones lost.

After Zhang et al., "ByteTrack: Multi-Object Tracking by Associating Every Detection Box", 2022. The motion model is a
constant velocity for each of centre x, centre y, width and height. Its noise is independent for each of the four, so
the Kalman filter of eight dimensions falls apart into four of two, and all tracks are worked out at once.

The state of a tracker is plain data, so that a node can keep it over a restart (`state`, `ByteTrack(..., state)`).
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

_PLACE_NOISE, _SPEED_NOISE = 1 / 20, 1 / 160  # as shares of a track's size, as in the paper's code


@dataclass(frozen=True)
class Limits:
    """When what counts.

    Attributes:
        strong: confidence from which a box may begin or continue a track at once; weak: from which it may continue one.
        begin: confidence from which a track begins.
        iou, iou_weak: overlap with where a track should be, for strong and for weak boxes.
        lost: frames that a track may be out of sight.
        hits: frames in a row until a track gets its number.
    """

    strong: float = 0.5
    weak: float = 0.1
    begin: float = 0.6
    iou: float = 0.2
    iou_weak: float = 0.5
    lost: int = 30
    hits: int = 2


@dataclass
class Track:
    """One thing over time.

    Attributes:
        number: None until it was seen often enough.
        kind: number of its class.
        mean: (4, 2) of centre x, centre y, width, height: value and change a frame; spread: (4, 3) their variances and
            covariance.
        seen: the centre where it was last seen; misses: frames since.
    """

    number: int | None
    kind: int
    mean: np.ndarray
    spread: np.ndarray
    seen: tuple[float, float]
    misses: int = 0
    hits: int = 1


class ByteTrack:
    """The tracks of one camera.

    Args:
        state: `state` of an earlier one; None: a new one.
    """

    def __init__(self, limits: Limits, state: dict[str, Any] | None = None) -> None:
        self._limits = limits
        self._next = state["next"] if state else 1
        self._tracks = [
            Track(one[0], one[1], np.array(one[2]), np.array(one[3]), tuple(one[4]), one[5], one[6])
            for one in (state["tracks"] if state else ())
        ]

    @property
    def state(self) -> dict[str, Any]:
        """As plain data."""
        tracks = [
            [one.number, one.kind, one.mean.tolist(), one.spread.tolist(), list(one.seen), one.misses, one.hits]
            for one in self._tracks
        ]
        return {"next": self._next, "tracks": tracks}

    def update(
        self, boxes: np.ndarray, confidences: np.ndarray, kinds: np.ndarray
    ) -> list[tuple[int | None, tuple[float, float] | None]]:
        """The next frame.

        Args:
            boxes: (n, 4) x1, y1, x2, y2; confidences: (n,); kinds: (n,) numbers of classes: a track keeps to its own.
        Returns:
            For each box its track's number, None while it has none, and that track's centre on the frame it was seen
            on before.
        """
        found: list[tuple[int | None, tuple[float, float] | None]] = [(None, None)] * len(boxes)
        self._predict()
        strong = np.flatnonzero(confidences >= self._limits.strong)
        weak = np.flatnonzero((confidences < self._limits.strong) & (confidences >= self._limits.weak))
        known = [one for one in self._tracks if one.number is not None]
        fresh = [one for one in self._tracks if one.number is None]
        left_tracks, left = self._match(known, boxes, kinds, strong, self._limits.iou, found)
        in_sight = [one for one in left_tracks if one.misses == 0]
        self._match(in_sight, boxes, kinds, weak, self._limits.iou_weak, found)
        _, left = self._match(fresh, boxes, kinds, left, self._limits.iou, found)
        for track in self._tracks:
            track.misses += 1  # `_match` put those that were seen to -1
        self._tracks = [
            one for one in self._tracks if one.misses <= (self._limits.lost if one.number is not None else 0)
        ]
        for index in left:
            if confidences[index] >= self._limits.begin:
                found[index] = (self._begin(boxes[index], int(kinds[index])), None)
        return found

    def _predict(self) -> None:
        for track in self._tracks:
            size = max(track.mean[3, 0], 1.0)
            mean, (place, both, speed) = track.mean, track.spread.T
            if track.misses > 0:
                mean[2:, 1] = 0  # what is out of sight does not grow
            mean[:, 0] += mean[:, 1]
            mean[2:, 0] = np.maximum(mean[2:, 0], 1.0)
            track.spread = np.stack(
                [
                    place + 2 * both + speed + (_PLACE_NOISE * size) ** 2,
                    both + speed,
                    speed + (_SPEED_NOISE * size) ** 2,
                ],
                axis=1,
            )

    def _match(
        self,
        tracks: list[Track],
        boxes: np.ndarray,
        kinds: np.ndarray,
        indices: np.ndarray,
        least: float,
        found: list[tuple[int | None, tuple[float, float] | None]],
    ) -> tuple[list[Track], np.ndarray]:
        """Give tracks their boxes, as well as all together overlap; returns what is left of both."""
        if not tracks or not len(indices):
            return tracks, indices
        overlaps = _overlaps(np.array([_box(one.mean) for one in tracks]), boxes[indices])
        overlaps[np.array([one.kind for one in tracks])[:, None] != kinds[indices][None, :]] = 0
        rows, columns = linear_sum_assignment(overlaps, maximize=True)
        enough = overlaps[rows, columns] >= least
        rows, columns = rows[enough], columns[enough]
        for row, column in zip(rows, columns, strict=True):
            track, index = tracks[row], int(indices[column])
            before = track.seen
            self._correct(track, boxes[index])
            found[index] = (track.number, before)
        matched = set(rows.tolist())
        return [one for k, one in enumerate(tracks) if k not in matched], np.delete(indices, columns)

    def _correct(self, track: Track, box: np.ndarray) -> None:
        measured = _measured(box)
        noise = (_PLACE_NOISE * max(track.mean[3, 0], 1.0)) ** 2
        place, both, speed = track.spread.T
        gain_place, gain_speed = place / (place + noise), both / (place + noise)
        off = measured - track.mean[:, 0]
        track.mean[:, 0] += gain_place * off
        track.mean[:, 1] += gain_speed * off
        track.spread = np.stack([(1 - gain_place) * place, (1 - gain_place) * both, speed - gain_speed * both], axis=1)
        track.seen, track.misses, track.hits = (float(measured[0]), float(measured[1])), -1, track.hits + 1
        if track.number is None and track.hits >= self._limits.hits:
            track.number = self._number()

    def _begin(self, box: np.ndarray, kind: int) -> int | None:
        measured = _measured(box)
        size = max(measured[3], 1.0)
        spread = np.tile([(2 * _PLACE_NOISE * size) ** 2, 0.0, (10 * _SPEED_NOISE * size) ** 2], (4, 1))
        mean = np.stack([measured, np.zeros(4)], axis=1)
        number = self._number() if self._limits.hits <= 1 else None
        self._tracks.append(Track(number, kind, mean, spread, (float(measured[0]), float(measured[1]))))
        return number

    def _number(self) -> int:
        number, self._next = self._next, self._next + 1
        return number


def _measured(box: np.ndarray) -> np.ndarray:
    x1, y1, x2, y2 = (float(value) for value in box)
    return np.array([(x1 + x2) / 2, (y1 + y2) / 2, x2 - x1, y2 - y1])


def _box(mean: np.ndarray) -> tuple[float, float, float, float]:
    x, y, width, height = mean[:, 0]
    return x - width / 2, y - height / 2, x + width / 2, y + height / 2


def _overlaps(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Intersection over union of each with each: (n, m)."""
    top_left = np.maximum(ours[:, None, :2], theirs[None, :, :2])
    bottom_right = np.minimum(ours[:, None, 2:], theirs[None, :, 2:])
    shared = np.clip(bottom_right - top_left, 0, None).prod(axis=2)
    areas = [(boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]) for boxes in (ours, theirs)]
    whole = areas[0][:, None] + areas[1][None, :] - shared
    return np.divide(shared, whole, out=np.zeros_like(shared), where=whole > 0)
