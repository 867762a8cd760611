"""Frames and tensors as a node sees them, on real pools: made, sent, sealed, refused, waited for."""

import pytest

from flowcore.node import In, Node, NodeConfig, Out, field
from flowcore.node.testing import drive

FRAME = (480, 640, 3)


class Camera(Node):
    """Makes frames in shared memory, and fills them in place."""

    type = "test/camera"

    class Config(NodeConfig):
        frames: int = field(3, description="How many")

    frame = Out("frame")

    async def run(self):
        for n in range(self.config.frames):
            frame = await self.alloc_when_free(FRAME)
            frame.numpy()[:] = n
            await self.send(frame, topic=str(n))


class Mean(Node):
    """The mean of a frame."""

    type = "test/mean"
    frame = In("frame")
    mean = Out(float)

    def on_message(self, message):
        return float(message.payload.numpy().mean())


class Pass(Node):
    """Passes on what it gets."""

    type = "test/pass"
    in_ = In()
    out = Out()

    def on_message(self, message):
        return message.payload


async def test_frames_are_made_in_place_and_read_only_once_sent():
    async with drive(Camera) as node:
        frames = await node.sent(3)
        assert [frame.numpy()[0, 0, 0] for frame in frames] == [0, 1, 2]
        assert frames[0].shape == FRAME and frames[0].dtype == "uint8" and not frames[0].is_writable
        with pytest.raises(ValueError, match="read-only"):
            frames[0].numpy()[:] = 1
