"""The map that detectors send: it travels as it is documented, and what does not fit is named."""

import numpy as np
import pytest
from flowcore_nodes.vision.detections import Detections, describe
from pydantic import ValidationError

PERSON = {"class": "person", "class_id": 0, "confidence": 0.5, "box": [1, 2, 11, 22]}


def test_it_travels_under_its_documented_names():
    """Also through a second node, and with what others have added."""
    sent = {"width": 64, "height": 48, "number": 3, "detections": [{**PERSON, "track": 7}], "model": {"name": "m"}}
    again = Detections.model_validate(Detections.model_validate(sent).model_dump())
    (seen,) = again.model_dump()["detections"]
    assert seen["class"] == "person" and seen["track"] == 7 and "class_" not in seen
    assert again.model_dump()["model"] == {"name": "m"}
    assert again.detections[0].centre == (6, 12) and again.detections[0].foot == (6, 22)


def test_a_frame_is_described_by_its_camera():
    frame = np.zeros((48, 64, 3), np.uint8)
    meta = {"number": 5, "source": "gate", "time_ns": 9, "region": [1, 2, 64, 48], "qos": 1}
    made = Detections(**describe(frame, meta))
    assert (made.width, made.height, made.number, made.source, made.time_ns) == (64, 48, 5, "gate", 9)
    assert made.region == (1, 2, 64, 48) and made.frame is frame


@pytest.mark.parametrize(
    ("change", "where"),
    [({"box": [9, 0, 1, 1]}, "x1 <= x2"), ({"box": [1, 2, 3]}, "box"), ({"confidence": 2}, "confidence")],
)
def test_what_is_no_detection_is_refused(change, where):
    with pytest.raises(ValidationError, match=where):
        Detections.model_validate({"width": 64, "height": 48, "detections": [{**PERSON, **change}]})
