"""Pictures of `sim://conveyor` as the detector sees them, with the truth. Seeds for training and for judging differ."""

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from flowcore_nodes.vision.conveyor import CLASSES, Conveyor

WIDTH, HEIGHT = 320, 192  # what the model takes; a frame of 640 x 360 fills 320 x 180 of it
GREY = 114
TRAINING_SEEDS = range(1_000, 1_200)
CALIBRATION_SEEDS = range(2_000, 2_020)
UNSEEN_SEEDS = range(9_000, 9_100)
NAMES = CLASSES


@dataclass(frozen=True)
class Truth:
    """What is in a picture: (n, 4) boxes in pixels of the frame, (n,) classes, (n,) shares that are in view."""

    boxes: np.ndarray
    classes: np.ndarray
    visible: np.ndarray


def letterboxed(frame: np.ndarray) -> tuple[np.ndarray, float, tuple[int, int]]:
    """A frame in the middle of the model's picture.

    Returns:
        (HEIGHT, WIDTH, 3) uint8, BGR; pixels of it to a pixel of the frame; where its left upper corner is.
    """
    h, w = frame.shape[:2]
    scale = min(WIDTH / w, HEIGHT / h)
    size = round(w * scale), round(h * scale)
    left, top = (WIDTH - size[0]) // 2, (HEIGHT - size[1]) // 2
    image = np.full((HEIGHT, WIDTH, 3), GREY, np.uint8)
    image[top : top + size[1], left : left + size[0]] = cv2.resize(frame, size, interpolation=cv2.INTER_AREA)
    return image, scale, (left, top)


def tensor(image: np.ndarray) -> np.ndarray:
    """(3, H, W) float32, RGB, 0 to 1."""
    return np.ascontiguousarray(image[..., ::-1].transpose(2, 0, 1), np.float32) / np.float32(255)


def drawn(belt: Conveyor, number: int) -> tuple[np.ndarray, Truth]:
    """A frame and what is in it."""
    frame = np.empty(belt.shape, np.uint8)
    parts = belt.draw(number, frame)
    boxes = np.array([part.box for part in parts], np.float32).reshape(-1, 4)
    classes = np.array([part.class_id for part in parts], np.int64)
    return frame, Truth(boxes, classes, np.array([part.visible for part in parts], np.float32))


def varied(seeds: range, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, Truth]]:
    """Endless pictures of many belts: more of them flawed than usual, lights and camera different from belt to belt.

    Yields:
        A picture of the model's size; the truth in its pixels.
    """
    belts = [
        Conveyor(
            seed=seed,
            parts_per_s=rng.uniform(0.8, 1.7),
            scratched=0.35,
            misplaced=0.25,
            noise=rng.uniform(1, 8),
        )
        for seed in seeds
    ]
    while True:
        belt = belts[rng.integers(len(belts))]
        first = int(rng.integers(60, 20_000))
        for number in (first, first + 17, first + 41):  # the same parts elsewhere: they need not be drawn anew
            frame, truth = drawn(belt, number)
            image, scale, corner = letterboxed(frame)
            light = rng.uniform(0.8, 1.2) * image.astype(np.float32) + rng.uniform(-12, 12)
            boxes = truth.boxes * scale + np.array([*corner, *corner], np.float32)
            yield np.clip(light, 0, 255).astype(np.uint8), Truth(boxes, truth.classes, truth.visible)


def strip(image: np.ndarray, truth: Truth, height: int, rng: np.random.Generator) -> tuple[np.ndarray, Truth]:
    """Some rows of a picture, mostly those where the parts are: the rest of it teaches little."""
    spare = HEIGHT - height
    top = int(rng.integers(0, spare + 1) if rng.uniform() < 0.2 else spare // 2 + rng.integers(-16, 17))
    boxes = truth.boxes - np.array([0, top, 0, top], np.float32)
    inside = boxes.copy()
    inside[:, 1::2] = inside[:, 1::2].clip(0, height)
    share = (inside[:, 3] - inside[:, 1]) / (boxes[:, 3] - boxes[:, 1])
    kept = share > 0
    return image[top : top + height], Truth(inside[kept], truth.classes[kept], (truth.visible * share)[kept])
