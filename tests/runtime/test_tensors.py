"""Frames through real processes: nothing is copied, nothing is lost, nothing reads what was not written."""

import pytest
from frame_flow import NODES, flow, lines
from line_flow import install, until


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """The nodes of `frame_flow`, installed."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))
    return install(tmp_path / "site", "frametest", NODES)


async def test_frames_go_through_a_forwarder_without_a_copy(host, tmp_path):
    """More of them than the camera has slots for: they are used again, and only when everybody is done."""
    out = tmp_path / "out"
    nodes = {
        "camera": ("camera", {"to": 200}, {"pool_mb": 8}),
        "forward": ("forward",),
        "check": ("check", {"path": str(out)}),
    }
    await host.deploy(flow(nodes, ["camera.frame > forward.in", "forward.out > check.in"]), "frames.json")
    await until(lambda: len(lines(out)) >= 200)
    assert lines(out) == [str(n) for n in range(1, 201)]
