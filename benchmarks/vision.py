"""People on a real video: a flow of camera, HOG detector, tracker, line and zone, beside a bare OpenCV loop.

    python -m benchmarks.vision [VIDEO] [--frames N] [--rounds N]

Without VIDEO it takes vtest.avi of Debian's `opencv-doc` where that is installed. The bare loop reads and detects, in
one process; the flow does so too, tracks, and looks at a line and a zone besides, each in a process of its own. Runs
take turns, so that what else the machine does meets both. Prints frames a second and their ratio; ends with 1 when a
box differs on any frame.
"""

import argparse
import asyncio
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from flowcore.bus.envelope import unpack
from flowcore.runtime.host import Host
from flowcore.runtime.options import HostOptions

DEBIANS = Path("/usr/share/doc/opencv-doc/examples/data/vtest.avi")
REACH = 0.9
Boxes = list[list[tuple[int, ...]]]


def bare(video: Path, frames: int) -> tuple[float, Boxes]:
    """Frames a second of a bare loop, and the boxes of each frame."""
    hog = cv2.HOGDescriptor()
    hog.setSVMDetector(np.asarray(cv2.HOGDescriptor.getDefaultPeopleDetector()))
    capture, found = cv2.VideoCapture(str(video)), []
    image = capture.read()[1]
    began_s = time.perf_counter()
    while len(found) < frames and image is not None:
        boxes, _ = hog.detectMultiScale(image, winStride=(8, 8), padding=(8, 8), scale=1.05)
        found.append(sorted((x, y, x + w, y + h) for x, y, w, h in np.asarray(boxes).reshape(-1, 4).tolist()))
        image = capture.read()[1]
    return len(found) / (time.perf_counter() - began_s), found


def document(video: Path, frames: int) -> str:
    """The flow. `overlap` 1 keeps all boxes of the detector, as the bare loop does."""
    nodes = [
        ("camera", "vision/camera", {"source": str(video), "frames": frames}),
        ("people", "vision/people", {"overlap": 1.0}),
        ("track", "vision/tracker", {}),
        ("line", "vision/line", {"lines": [{"name": "middle", "start": [50, 100], "end": [50, 0]}]}),
        ("zone", "vision/zone", {"zones": [{"name": "square", "rectangle": [25, 25, 50, 50]}]}),
    ]
    wires = [("camera.out", "people.in"), ("people.out", "track.in"), ("track.out", "line.in"), ("line.out", "zone.in")]
    return json.dumps(
        {
            "flowcore": 1,
            "id": "bench",
            "nodes": [{"id": name, "type": kind, "config": config} for name, kind, config in nodes],
            "wires": [{"from": begin, "to": end, "window": 16} for begin, end in wires],
        }
    )


async def flow(host: Host, video: Path, frames: int) -> tuple[float, Boxes]:
    """Frames a second at the end of the flow, on a host that runs, and the boxes of each frame."""
    found: dict[int, list] = {}
    times: list[float] = []
    done = asyncio.Event()

    def arrived(subject: str, data: bytes, *_: object) -> None:
        for envelope in unpack(data):
            seen = envelope["payload"]
            found[seen["number"]] = sorted(tuple(map(int, one["box"])) for one in seen["detections"])
            times.append(time.perf_counter())
        if len(found) >= frames:
            done.set()

    await host.bus.connection.subscribe("flow.bench.zone.out.out", arrived)
    result = await host.documents.deploy(document(video, frames), "bench.json")
    assert not result.failed and not result.problems, result
    await asyncio.wait_for(done.wait(), 600)
    warm = min(5, frames // 4)  # processes start while the first ones come
    return (len(times) - 1 - warm) / (times[-1] - times[warm]), [found[number] for number in sorted(found)]


async def flow_alone(video: Path, frames: int) -> tuple[float, Boxes]:
    """The same on a host of its own."""
    with tempfile.TemporaryDirectory() as folder:
        host = Host(HostOptions(folder=Path(folder) / "data", nats_port=0, mqtt_port=0, drain_s=1.0))
        await host.start()
        try:
            return await flow(host, video, frames)
        finally:
            await host.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", nargs="?", type=Path, default=DEBIANS)
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    if not asked.video.exists():
        print(f"{asked.video}: no such video. Name one, or: apt-get install opencv-doc", file=sys.stderr)
        return 2
    ratios = []
    for number in range(asked.rounds):
        bare_hz, wanted = bare(asked.video, asked.frames)
        flow_hz, found = asyncio.run(flow_alone(asked.video, len(wanted)))
        differ = [frame for frame, (one, other) in enumerate(zip(wanted, found, strict=True)) if one != other]
        if differ:
            print(f"boxes differ on {len(differ)} of {len(wanted)} frames, first on frame {differ[0]}", file=sys.stderr)
            return 1
        ratios.append(flow_hz / bare_hz)
        rates = f"bare loop {bare_hz:.2f}/s, flow {flow_hz:.2f}/s: {ratios[-1]:.2f}"
        print(f"round {number + 1}: {rates}; {sum(map(len, wanted))} boxes equal", flush=True)
    middle = statistics.median(ratios)
    print(
        f"median {middle:.2f} of the bare loop's rate, to reach {REACH}: {'reached' if middle >= REACH else 'missed'}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
