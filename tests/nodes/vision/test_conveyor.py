"""The simulated belt: its frames depend on nothing but settings and number, and its truth is what is drawn."""

import numpy as np
import pytest
from flowcore_nodes.vision.conveyor import CLASSES, Conveyor


def drawn(belt: Conveyor, number: int):
    image = np.empty(belt.shape, np.uint8)
    return image, belt.draw(number, image)


def test_a_frame_depends_on_settings_and_number_alone():
    belt, other = Conveyor(seed=3), Conveyor(seed=3)
    frames = {number: drawn(belt, number) for number in (0, 500, 90)}
    for number, (image, parts) in sorted(frames.items()):
        again, same_parts = drawn(other, number)
        assert np.array_equal(image, again) and parts == same_parts
    assert not np.array_equal(frames[500][0], drawn(Conveyor(seed=4), 500)[0])


def test_boxes_hold_the_parts_and_nothing_else_is_as_bright():
    """Without noise: outside of all boxes there is only belt, and each box's edges touch its part."""
    belt = Conveyor(seed=5, noise=0, width=320, height=240)
    assert drawn(belt, 0)[1] == []
    for number in range(60, 600, 45):
        image, parts = drawn(belt, number)
        lane = image[40:200].max(axis=2) > 75
        outside = lane.copy()
        for part in parts:
            x1, y1, x2, y2 = part.box
            outside[y1 - 40 : y2 - 40, x1:x2] = False
            inside = image[y1:y2, x1:x2].max(axis=2) > 75
            if part.visible == 1:
                assert inside[0].any() and inside[-1].any() and inside[:, 0].any() and inside[:, -1].any()
        assert not outside.any()


def test_what_passed_is_what_the_boxes_say():
    """Counted from the truth of every frame, by hand: a part counts when its middle has gone over the line."""
    belt = Conveyor(seed=8, width=320, height=240, fps=20)
    seen: dict[int, tuple[float, str]] = {}
    counts = dict.fromkeys(CLASSES, 0)
    for number in range(900):
        for part in drawn(belt, number)[1]:
            if part.visible < 1:
                continue
            x = (part.box[0] + part.box[2]) / 2
            before = seen.get(part.number, (0, ""))[0]
            if before and before < 160 <= x:
                counts[part.class_] += 1
            seen[part.number] = x, part.class_
    assert counts == belt.passed(0, 899) and all(counts.values())


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"colour": "red"}, "no setting 'colour'; it has: seed, fps"),
        ({"fps": "fast"}, "fps must be a number, is 'fast'"),
        ({"fps": "0"}, "fps must be 0.1 to 1000, is 0.0"),
        ({"seed": "-1"}, "seed must be 0 or more"),
        ({"scratched": "0.9", "misplaced": "0.9"}, "more than 1"),
        ({"parts_per_s": "50"}, "they would overlap"),
        ({"noise": "nan"}, "noise must be 0 or more, is nan"),
    ],
)
def test_a_setting_that_makes_no_belt_is_named(settings, says):
    with pytest.raises(ValueError, match=says):
        Conveyor.of(settings)
