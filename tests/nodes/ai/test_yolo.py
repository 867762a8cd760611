"""`ai/yolo`: the layouts of v5, v8 and v11 give the boxes that were put into them, in pixels of the camera's frame."""

import numpy as np
import pytest
from flowcore_nodes.ai.boxes import COCO_ANCHORS, Boxes, overlaps, suppress
from flowcore_nodes.ai.yolo import Yolo
from flowcore_nodes.vision.detections import Detections

from flowcore.node.testing import drive

NAMES = ["good", "scratched", "misplaced"]
# middle x, y, width, height in the model's 320 x 192; class; confidence
SEEN = [((100, 90, 40, 20), 0, 0.9), ((200, 60, 30, 30), 2, 0.7), ((102, 91, 40, 20), 0, 0.8), ((10, 10, 8, 8), 1, 0.1)]
BOXES = [[80, 80, 120, 100], [185, 45, 215, 75]]


def flat(cells: int = 240) -> np.ndarray:
    """(1, 4 + 3, cells), as v8 has it."""
    output = np.zeros((1, 7, cells), np.float32)
    for k, (box, class_id, confidence) in enumerate(SEEN):
        output[0, :4, k * 5] = box
        output[0, 4 + class_id, k * 5] = confidence
    return output


def with_objectness() -> np.ndarray:
    """(1, cells, 5 + 3), as v5 has it."""
    v8 = flat()[0].T
    scores = v8[:, 4:]
    there = np.where(scores.max(1, keepdims=True) > 0, 0.95, 0.01)
    return np.concatenate([v8[:, :4], there, scores / there], 1)[None].astype(np.float32)


def anchored() -> dict[str, np.ndarray]:
    """Three scales of logits, as they leave v5's network: each box in the cell of its middle, by the second anchor."""
    outputs = {
        f"scale{stride}": np.full((1, 3, 192 // stride, 320 // stride, 8), -12.0, np.float32) for stride in (8, 16, 32)
    }
    (aw, ah), stride = COCO_ANCHORS[0][1], 8
    for (x, y, w, h), class_id, confidence in reversed(SEEN):
        column, row = int(x // stride), int(y // stride)
        place = [
            (x / stride - column + 0.5) / 2,
            (y / stride - row + 0.5) / 2,
            (w / aw) ** 0.5 / 2,
            (h / ah) ** 0.5 / 2,
        ]
        scores = [confidence / 0.95 if k == class_id else 1e-6 for k in range(3)]
        chances = np.array([*place, 0.95, *scores])
        outputs["scale8"][0, 1, row, column] = np.log(chances / (1 - chances))
    return outputs


@pytest.mark.parametrize(
    ("layout", "outputs"),
    [
        ("auto", {"output0": flat()}),
        ("v8", {"output0": flat()}),
        ("v11", {"output0": flat().transpose(0, 2, 1)}),
        ("auto", {"output0": with_objectness()}),
        ("v5", {"output0": with_objectness()}),
        ("auto", anchored()),
        ("v5-anchored", anchored()),
    ],
)
async def test_boxes_come_out_as_they_went_in(layout, outputs):
    """What overlaps is one thing, what is unlikely is nothing."""
    async with drive(Yolo, layout=layout, names=NAMES, width=320, height=192) as node:
        await node.put({"outputs": outputs, "model": {"name": "m", "version": "1"}})
        (made,) = await node.sent(1)
    assert [one["class"] for one in made["detections"]] == ["good", "misplaced"]
    assert [one["class_id"] for one in made["detections"]] == [0, 2]
    np.testing.assert_allclose([one["box"] for one in made["detections"]], BOXES, atol=0.02)
    np.testing.assert_allclose([one["confidence"] for one in made["detections"]], [0.9, 0.7], atol=1e-3)
    assert made["model"] == {"name": "m", "version": "1"} and "outputs" not in made
    assert Detections.model_validate(made).detections[0].class_ == "good"


async def test_boxes_are_in_pixels_of_the_frame_that_was_letterboxed():
    """And are cut at its edges; what the camera said goes along."""
    letterbox = {"scale": 0.5, "x": 0, "y": 6, "width": 640, "height": 360}
    meta = {"number": 12, "source": "gate", "width": 320, "height": 192, "letterbox": letterbox}
    async with drive(Yolo, names=NAMES, confidence=0.05) as node:
        await node.put({"outputs": {"output0": flat()}}, meta=meta)
        (message,) = await node.sent_messages(1)
    made = message.payload
    assert [one["box"] for one in made["detections"]] == [
        [160, 148, 240, 188],
        [370, 78, 430, 138],
        [12, 0, 28, 16],
    ]
    assert (made["width"], made["height"], made["number"], made["source"]) == (640, 360, 12, "gate")
    assert "letterbox" not in message.meta


async def test_only_wanted_classes_pass_and_classes_may_leave_each_other_alone():
    """`keep` by name; one thing may be of two classes, or not."""
    output = flat()
    output[0, :4, 50], output[0, 5, 50] = (101, 90, 40, 20), 0.6
    for config, wanted in [
        ({"keep": ["misplaced", "scratched"]}, ["misplaced", "scratched"]),
        ({}, ["good", "misplaced", "scratched"]),
        ({"each_class": False}, ["good", "misplaced"]),
        ({"most": 1}, ["good"]),
    ]:
        async with drive(Yolo, names=NAMES, width=320, height=192, **config) as node:
            await node.put({"outputs": {"output0": output}})
            (made,) = await node.sent(1)
        assert [one["class"] for one in made["detections"]] == wanted


@pytest.mark.parametrize(
    ("payload", "meta", "says"),
    [
        ({"outputs": {}}, {}, "no outputs of a model"),
        ({"outputs": {"a": np.zeros((1, 300, 6), np.float32)}}, {}, "has 2 classes, and 3 have names"),
        ({"outputs": {"a": np.zeros((2, 7, 240), np.float32)}}, {}, "the outputs of 2"),
        ({"outputs": {"a": np.zeros(7, np.float32)}}, {}, "an output of 3 dimensions"),
        ({"outputs": {"a": "text"}}, {}, "'a' is str, not a tensor of numbers"),
        ({"outputs": {"a": np.zeros((1, 3, 8, 8, 8), np.float32)}}, {}, "set width and height"),
        ("text", {}, "'output' is str"),
        ({"outputs": {"output0": flat()}}, {}, "the size of the frame is not known"),
        ({"outputs": {"output0": flat()}}, {"width": "wide", "height": 9}, "the size of the frame is not known"),
        ({"outputs": {"output0": flat()}}, {"letterbox": {"scale": 0}}, "meta.letterbox is no letterbox's"),
        ({"outputs": {"output0": flat()}}, {"letterbox": {"scale": 0.5, "x": 0, "y": 0}}, "'width'"),
    ],
)
async def test_what_is_no_such_output_is_told(payload, meta, says):
    """With what came, and the next message is decoded."""
    async with drive(Yolo, names=NAMES) as node:
        await node.put(payload, meta=meta)
        await node.put({"outputs": {"output0": flat()}}, meta={"width": 320, "height": 192})
        await node.sent(1)
    assert says in node.given_up[0]["text"]


async def test_scores_that_are_no_numbers_are_no_detections():
    """NaN and infinity never become boxes without a class."""
    output = flat()
    output[0, 4:, 100:] = np.nan
    async with drive(Yolo, names=NAMES, width=320, height=192) as node:
        await node.put({"outputs": {"output0": output}})
        (made,) = await node.sent(1)
    assert len(made["detections"]) == 2


def test_suppression_is_what_a_plain_double_loop_gives():
    """On 200 random pictures."""
    rng = np.random.default_rng(5)
    for _ in range(200):
        n = int(rng.integers(0, 40))
        corner, size = rng.uniform(0, 60, (n, 2)), rng.uniform(5, 40, (n, 2))
        found = Boxes(np.concatenate([corner, corner + size], 1), rng.integers(0, 3, n), rng.uniform(0, 1, n))
        kept: list[int] = []
        for k in np.argsort(-found.confidences):
            clash = False
            for other in kept:
                a, b = found.boxes[k], found.boxes[other]
                w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
                common = max(w, 0) * max(h, 0)
                union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - common
                clash |= bool(common / union > 0.45 and found.classes[k] == found.classes[other])
            if not clash:
                kept.append(int(k))
        assert suppress(found, 0.45, 1000).confidences.tolist() == found.confidences[kept].tolist()
    assert overlaps(np.zeros((1, 4)), np.zeros((1, 4))).item() == 0
