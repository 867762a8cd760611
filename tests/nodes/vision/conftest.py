"""Videos that the tests write themselves."""

from pathlib import Path

import cv2
import numpy as np
import pytest


@pytest.fixture(scope="session")
def video(tmp_path_factory) -> Path:
    """40 frames of 160 x 120: a bright square that moves 3 pixels a frame."""
    path = tmp_path_factory.mktemp("video") / "square.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 20.0, (160, 120))
    for number in range(40):
        image = np.full((120, 160, 3), 30, np.uint8)
        image[50:70, 3 * number : 3 * number + 20] = (40, 200, 220)
        writer.write(image)
    writer.release()
    return path


def bare_loop(path: Path) -> list[np.ndarray]:
    """What OpenCV itself reads of a video."""
    capture, frames = cv2.VideoCapture(str(path)), []
    while (found := capture.read())[0]:
        frames.append(found[1])
    return frames
