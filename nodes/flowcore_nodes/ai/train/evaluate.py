"""How good a detector of the conveyor's parts is: on belts that it was not trained on, and without PyTorch."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from flowcore_nodes.ai.boxes import Boxes, decode, overlaps, suppress
from flowcore_nodes.ai.engines import Options, open_model
from flowcore_nodes.ai.train import belts
from flowcore_nodes.ai.train.belts import NAMES, UNSEEN_SEEDS, Truth
from flowcore_nodes.vision.conveyor import Conveyor

IN_VIEW = 0.75  # parts of which less is in view are asked of nobody: a scratch may be out of view
_LIKELY = 0.25  # confidence of what precision, recall and counts go by
_OVERLAP = 0.3  # of two boxes that are one part: parts never lie so close
_STEP = 3  # frames from one that is looked at to the next: ten a second
_JUDGED = 5  # of those, each so-many-th is judged box by box


def evaluate(file: Path, seeds: int, seconds: int) -> dict[str, Any]:
    """Precision, recall, mAP50 and counts over the first `seeds` unseen belts, `seconds` of each."""
    model = open_model(str(file), "onnxruntime", Options())
    judge, counted, passed, run_s, frames = Judge(), dict.fromkeys(NAMES, 0), dict.fromkeys(NAMES, 0), 0.0, 0
    for seed in UNSEEN_SEEDS[:seeds]:
        belt = Conveyor(seed=seed)
        first, last = 150, 150 + int(seconds * belt.fps)
        line = Line(belt.width / 2)
        for k, number in enumerate(range(first, last + 1, _STEP)):
            frame, truth = belts.drawn(belt, number)
            image, scale, corner = belts.letterboxed(frame)
            given = {model.inputs[0].name: belts.tensor(image)[None]}
            began_s = time.perf_counter()
            outputs = model.engine.run(given)
            run_s, frames = run_s + time.perf_counter() - began_s, frames + 1
            found = suppress(decode(list(outputs.values()), "v8", len(NAMES), 0.01)[0], _OVERLAP, 100, each_class=False)
            found = Boxes((found.boxes - [*corner, *corner]) / scale, found.classes, found.confidences)
            if k % _JUDGED == 0:
                judge.add(found, truth)
            line.add(found.at(found.confidences >= _LIKELY))
        end = first + (last - first) // _STEP * _STEP
        for name, number in belt.passed(first, end).items():
            passed[name] += number
        for class_id, number in enumerate(line.counts):
            counted[NAMES[class_id]] += number
    wrong = sum(abs(counted[name] - passed[name]) for name in NAMES)
    return {
        **judge.read(),
        "counted": counted,
        "passed": passed,
        "count_error": round(wrong / max(1, sum(passed.values())), 5),
        "ms_a_frame": round(run_s / frames * 1e3, 2),
        "frames": frames,
    }


class Judge:
    """Compares what was found with the truth, frame by frame: a match overlaps by half and has the right class."""

    def __init__(self) -> None:
        self._found: list[list[tuple[float, bool]]] = [[] for _ in NAMES]  # confidence, right?
        self._there = [0] * len(NAMES)

    def add(self, found: Boxes, truth: Truth) -> None:
        """One frame."""
        is_asked = truth.visible >= IN_VIEW
        shared = (
            overlaps(found.boxes, truth.boxes)
            if len(found) and len(truth.boxes)
            else np.zeros((len(found), len(is_asked)))
        )
        for class_id in range(len(NAMES)):
            asked = np.flatnonzero(is_asked & (truth.classes == class_id))
            self._there[class_id] += len(asked)
            left = set(asked.tolist())
            for k in np.flatnonzero(found.classes == class_id):
                match = max(left, key=shared[k].__getitem__, default=None)
                if match is not None and shared[k, match] >= 0.5:
                    left.discard(match)
                    self._found[class_id].append((float(found.confidences[k]), True))
                elif not (shared[k, ~is_asked] >= 0.3).any():
                    self._found[class_id].append((float(found.confidences[k]), False))

    def read(self) -> dict[str, Any]:
        """Figures over all frames."""
        likely = [right for each in self._found for confidence, right in each if confidence >= _LIKELY]
        there = sum(self._there)
        each = {name: round(average_precision(self._found[k], self._there[k]), 4) for k, name in enumerate(NAMES)}
        return {
            "mAP50": round(float(np.mean(list(each.values()))), 4),
            "AP50": each,
            "precision": round(sum(likely) / max(1, len(likely)), 4),
            "recall": round(sum(likely) / max(1, there), 4),
            "parts": there,
        }


def average_precision(found: list[tuple[float, bool]], there: int) -> float:
    """Area under precision over recall, precision made falling: of (confidence, right?) and how many there were."""
    if not there:
        return 1.0 if not found else 0.0
    right = np.array([one for _, one in sorted(found, key=lambda one: -one[0])], float)
    hits = right.cumsum()
    precision = np.maximum.accumulate((hits / np.arange(1, len(right) + 1))[::-1])[::-1]
    return float((precision * right).sum() / there)


@dataclass(eq=False)
class _Part:
    x: float
    y: float
    votes: np.ndarray
    missed: int = 0
    has_passed: bool = False


@dataclass
class Line:
    """Counts parts that go over a line from left to right, each as the class that most frames before said."""

    x: float
    counts: list[int] = field(default_factory=lambda: [0] * len(NAMES))
    _parts: list[_Part] = field(default_factory=list)

    def add(self, found: Boxes) -> None:
        """One frame."""
        middles = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
        left = set(range(len(found)))
        for part in self._parts:
            part.missed += 1
            near = [
                k for k in left if -8 <= middles[k, 0] - part.x < 32 * part.missed and abs(middles[k, 1] - part.y) < 24
            ]
            if not near:
                continue
            k = near[int(np.abs(middles[near, 0] - part.x).argmin())]
            left.discard(k)
            part.votes[found.classes[k]] += found.confidences[k]
            part.x, part.y, part.missed = float(middles[k, 0]), float(middles[k, 1]), 0
            if part.x >= self.x and not part.has_passed:
                part.has_passed = True
                self.counts[int(part.votes.argmax())] += 1
        for k in left:
            part = _Part(float(middles[k, 0]), float(middles[k, 1]), np.zeros(len(NAMES)))
            part.votes[found.classes[k]] += found.confidences[k]
            part.has_passed = part.x >= self.x
            self._parts.append(part)
        self._parts = [part for part in self._parts if part.missed < 4]
