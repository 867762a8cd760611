"""A simulated conveyor belt: parts, some of them scratched or misplaced, and the truth about each frame.

Frame `n` depends on the settings and on `n` alone, so it can be drawn again at any time, in any process:

    belt = Conveyor(seed=7)
    image = np.empty(belt.shape, np.uint8)
    for part in belt.draw(120, image):      # a part: number, class, box in pixels, how much of it is in view
        ...
    belt.passed(0, 900)                      # {"good": 12, "scratched": 2, "misplaced": 1} over the middle until then

Needs numpy and OpenCV alone; knows nothing of nodes.
"""

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from typing import Any

import cv2
import numpy as np

CLASSES = ("good", "scratched", "misplaced")
_SPRITES = 64  # drawn parts that are kept: more than are ever in view
_NOISE = 97  # rows and columns by which the noise may be shifted


@dataclass(frozen=True)
class Part:
    """A part in view: what it is, and where.

    Attributes:
        number: of the part, from 0 in the order in which they come.
        class_id: index of `class_` in `CLASSES`.
        box: x1, y1, x2, y2 in pixels, cut at the frame's edge.
        visible: share of it that is in the frame, 0 to 1.
    """

    number: int
    class_: str
    class_id: int
    box: tuple[int, int, int, int]
    visible: float

    def asdict(self) -> dict[str, Any]:
        """As it travels with a frame."""
        return {
            "part": self.number,
            "class": self.class_,
            "class_id": self.class_id,
            "box": list(self.box),
            "visible": round(self.visible, 4),
        }


@dataclass(frozen=True)
class _Sprite:
    image: np.ndarray  # (h, w, 3) uint8
    mask: np.ndarray  # (h, w) bool
    class_id: int
    offset: tuple[int, int]  # of its middle from where the part would lie well, pixels


@dataclass(frozen=True)
class Conveyor:
    """A belt that runs from left to right.

    Args:
        seed: everything that is random comes of it.
        fps: frames a second.
        width, height: of a frame, in pixels; at least 160 x 120.
        parts_per_s: how many parts pass.
        crossing_s: how long a part takes from the left edge to the right one.
        scratched, misplaced: shares of the parts, 0 to 1; the rest is good.
        noise: of the camera, as a standard deviation in grey levels.
    Raises:
        ValueError: a setting that makes no belt.
    """

    seed: int = 0
    fps: float = 30.0
    width: int = 640
    height: int = 360
    parts_per_s: float = 1.0
    crossing_s: float = 4.0
    scratched: float = 0.15
    misplaced: float = 0.1
    noise: float = 4.0

    def __post_init__(self) -> None:
        for one in fields(self):
            value = getattr(self, one.name)
            if value < 0 or not np.isfinite(value):
                raise ValueError(f"{one.name} must be 0 or more, is {value}")
        for name, low, high in (("width", 160, 7680), ("height", 120, 4320), ("fps", 0.1, 1000)):
            if not low <= getattr(self, name) <= high:
                raise ValueError(f"{name} must be {low} to {high}, is {getattr(self, name)}")
        if self.scratched + self.misplaced > 1:
            raise ValueError(f"scratched and misplaced are {self.scratched + self.misplaced:g} together, more than 1")
        if self.parts_per_s <= 0 or self.crossing_s <= 0:
            raise ValueError("parts_per_s and crossing_s must be greater than 0")
        if self._spacing < self._size * 1.2:
            most = self.width / (self.crossing_s * self._size * 1.2)
            raise ValueError(f"parts_per_s is {self.parts_per_s:g}: they would overlap; at most {most:.2g} here")
        object.__setattr__(self, "_sprites", OrderedDict())

    @classmethod
    def of(cls, settings: dict[str, str]) -> "Conveyor":
        """From texts, such as the query of `sim://conveyor?seed=7&fps=30`.

        Raises:
            ValueError: an unknown setting, or no number.
        """
        kinds = {one.name: int if one.type in (int, "int") else float for one in fields(cls)}
        made: dict[str, Any] = {}
        for name, text in settings.items():
            if name not in kinds:
                raise ValueError(f"a conveyor has no setting {name!r}; it has: {', '.join(kinds)}")
            try:
                made[name] = kinds[name](text)
            except ValueError:
                raise ValueError(f"{name} must be a number, is {text!r}") from None
        return cls(**made)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of a frame: height, width, 3; uint8, BGR."""
        return self.height, self.width, 3

    def draw(self, number: int, out: np.ndarray) -> list[Part]:
        """Draw frame `number`, over what was in `out`.

        Args:
            number: 0 or more.
            out: `shape`, uint8; written in place.
        Returns:
            The truth: all parts of which something is in the frame.
        """
        shift = int(self._travelled(number)) % self.width
        out[:, shift:] = self._belt[:, : self.width - shift]
        out[:, :shift] = self._belt[:, self.width - shift :]
        parts = []
        for part, sprite, (x, y) in self._in_view(number):
            h, w = sprite.mask.shape
            left, top = x - w // 2, y - h // 2
            x1, y1, x2, y2 = max(left, 0), max(top, 0), min(left + w, self.width), min(top + h, self.height)
            inside = np.s_[y1 - top : y2 - top, x1 - left : x2 - left]
            np.copyto(out[y1:y2, x1:x2], sprite.image[inside], where=sprite.mask[inside][..., None])
            visible = (x2 - x1) * (y2 - y1) / (w * h)
            parts.append(Part(part, CLASSES[sprite.class_id], sprite.class_id, (x1, y1, x2, y2), visible))
        if self.noise:
            rng = np.random.default_rng((self.seed, 1, number))
            row, column = rng.integers(0, _NOISE, 2)
            grain = self._grain[row : row + self.height, column : column + self.width]
            cv2.add(out, grain, dst=out, dtype=cv2.CV_8U)
        return parts

    def passed(self, first: int, last: int, at: float = 0.5) -> dict[str, int]:
        """How many parts of each class went over a line, between two frames.

        Args:
            first, last: frames; a part counts when its middle was left of the line on `first` and is not on `last`.
            at: where the line is, as a share of the width.
        """
        counts = dict.fromkeys(CLASSES, 0)
        begin, end = self._travelled(first), self._travelled(last)
        line = self.width * at
        lowest = int((begin - line) / self._spacing) - 2
        for part in range(max(lowest, 0), int((end - line) / self._spacing) + 3):
            sprite, start = self._part(part)
            ahead = line - sprite.offset[0] - start
            if begin < ahead <= end:
                counts[CLASSES[sprite.class_id]] += 1
        return counts

    def asdict(self) -> dict[str, Any]:
        """Its settings."""
        return asdict(self)

    def _travelled(self, number: int) -> float:
        """Pixels that the belt has moved until a frame."""
        return number / self.fps * self.width / self.crossing_s

    @property
    def _size(self) -> float:
        """Length of a part, in pixels."""
        return self.height * 0.2

    @property
    def _spacing(self) -> float:
        """Pixels from one part to the next, on average."""
        return self.width / self.crossing_s / self.parts_per_s

    def _in_view(self, number: int) -> Iterator[tuple[int, _Sprite, tuple[int, int]]]:
        travelled, margin = self._travelled(number), self._size * 2
        lowest = int((travelled - self.width - margin) / self._spacing) - 1
        for part in range(max(lowest, 0), int((travelled + margin) / self._spacing) + 2):
            sprite, start = self._part(part)
            x, y = int(travelled + start + sprite.offset[0]), self.height // 2 + sprite.offset[1]
            if -sprite.mask.shape[1] // 2 < x < self.width + sprite.mask.shape[1] // 2:
                yield part, sprite, (x, y)

    def _part(self, number: int) -> tuple[_Sprite, float]:
        """How a part looks, and where its place was at frame 0 (left of the frame: less than 0)."""
        sprites: OrderedDict[int, tuple[_Sprite, float]] = self._sprites  # type: ignore[attr-defined]
        if number not in sprites:
            rng = np.random.default_rng((self.seed, 0, number))
            room = self._spacing - self._size * 1.2
            start = -self._size - self._spacing * number - rng.uniform(0, min(room, self._spacing * 0.4))
            sprites[number] = self._drawn(rng), start
            if len(sprites) > _SPRITES:
                sprites.popitem(last=False)
        return sprites[number]

    def _drawn(self, rng: np.random.Generator) -> _Sprite:
        """A plate with two holes and a ring."""
        kind = rng.uniform()
        class_id = 1 if kind < self.scratched else 2 if kind < self.scratched + self.misplaced else 0
        w, h = int(self._size), int(self._size * 0.7)
        side = int(np.hypot(w, h)) + 6
        canvas: np.ndarray = np.full((side, side, 3), 105, np.uint8)  # as its edge: what a turn blends with it is edge
        mask: np.ndarray = np.zeros((side, side), np.uint8)
        left, top = (side - w) // 2, (side - h) // 2
        metal = np.array(rng.uniform((150, 150, 140), (195, 190, 185)))
        shade = np.linspace(0.88, 1.08, h)[:, None, None] * rng.uniform(0.95, 1.05)
        cv2.rectangle(mask, (left, top), (left + w - 1, top + h - 1), 255, -1)
        canvas[top : top + h, left : left + w] = np.clip(metal * shade, 0, 255)
        middle, hole = side // 2, max(2, h // 9)
        for x in (left + w // 6, left + w - w // 6):
            cv2.circle(canvas, (x, middle), hole, (35, 35, 40), -1, cv2.LINE_AA)
        cv2.circle(canvas, (middle, middle), h // 4, (90, 95, 100), max(1, h // 16), cv2.LINE_AA)
        cv2.rectangle(canvas, (left, top), (left + w - 1, top + h - 1), (105, 105, 105), max(1, h // 24))
        if class_id == 1:
            self._scratch(canvas, (left, top, w, h), rng)
        offset, degrees = (0, int(rng.uniform(-0.03, 0.03) * self.height)), rng.uniform(-4, 4)
        if class_id == 2:
            degrees = rng.uniform(22, 68) * rng.choice((-1, 1))
            offset = (int(rng.uniform(-0.2, 0.2) * w), int(rng.uniform(-0.16, 0.16) * self.height))
        turn = cv2.getRotationMatrix2D((side / 2, side / 2), degrees, 1.0)
        canvas = cv2.warpAffine(canvas, turn, (side, side), borderValue=(105, 105, 105))
        mask = cv2.warpAffine(mask, turn, (side, side), flags=cv2.INTER_NEAREST)
        x, y, w, h = cv2.boundingRect(mask)
        return _Sprite(canvas[y : y + h, x : x + w].copy(), mask[y : y + h, x : x + w] > 0, class_id, offset)

    @staticmethod
    def _scratch(canvas: np.ndarray, plate: tuple[int, int, int, int], rng: np.random.Generator) -> None:
        """One to three bright lines with a dark edge, each at least a third of the plate long."""
        left, top, w, h = plate
        for _ in range(rng.integers(1, 4)):
            begin = np.array((left + rng.uniform(0.08, 0.45) * w, top + rng.uniform(0.1, 0.9) * h))
            end = np.array((begin[0] + rng.uniform(0.35, 0.5) * w, top + rng.uniform(0.1, 0.9) * h))
            bend = (begin + end) / 2 + rng.uniform(-0.08, 0.08, 2) * h
            line = np.array([begin, bend, end]).round().astype(np.int32)[:, None]
            thick = max(1, h // 22)
            cv2.polylines(canvas, [line + thick], False, (60, 60, 65), thick, cv2.LINE_AA)
            cv2.polylines(canvas, [line], False, (245, 250, 250), thick, cv2.LINE_AA)

    @cached_property
    def _belt(self) -> np.ndarray:
        """Dark rubber between two rails, as long as the frame is wide and without a seam."""
        rng = np.random.default_rng((self.seed, 2))
        belt: np.ndarray = rng.normal(52, 3, (self.height, self.width)).astype(np.float32)
        belt = cv2.blur(belt, (5, 3), borderType=cv2.BORDER_REFLECT)
        belt += 3 * np.sin(np.arange(self.width) * 2 * np.pi * 8 / self.width)
        rail = int(self.height * 0.12)
        belt[:rail] = belt[-rail:] = 96
        belt[[rail - 2, rail - 1, -rail, -rail + 1]] = 130
        return np.clip(belt[..., None] * (1.0, 0.98, 0.95), 0, 255).astype(np.uint8)

    @cached_property
    def _grain(self) -> np.ndarray:
        rng = np.random.default_rng((self.seed, 3))
        shape = self.height + _NOISE, self.width + _NOISE, 3
        return (rng.standard_normal(shape, np.float32) * self.noise).round().astype(np.int16)
