"""The detector: a small convolutional network with the output of YOLO v8, and its loss.

A part's class and the distances to its four sides are said by the cells, 16 pixels wide, that lie near its middle. The
exported model gives (batch, 4 + classes, cells): middle, width and height in pixels, then a score a class.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

STRIDE = 16


class _Conv(nn.Sequential):
    def __init__(self, given: int, made: int, stride: int = 1) -> None:
        super().__init__(nn.Conv2d(given, made, 3, stride, 1, bias=False), nn.BatchNorm2d(made), nn.ReLU())


class _Block(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.inner = nn.Sequential(_Conv(channels, channels), _Conv(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


class Detector(nn.Module):
    """See the module; `forward` gives (batch, 4 + classes, rows, columns) of logarithms and logits for training."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            _Conv(3, 16, 2), _Conv(16, 24, 2), _Block(24), _Conv(24, 48, 2), _Block(48), _Block(48), _Conv(48, 64, 2),
            _Block(64),
        )  # fmt: skip
        self.sides = nn.Conv2d(64, 4, 1)
        self.scores = nn.Conv2d(64, classes, 1)
        nn.init.constant_(self.scores.bias, -4.0)  # most cells are empty

    def forward(self, images: Tensor) -> Tensor:
        seen = self.body(images)
        return torch.cat([self.sides(seen), self.scores(seen)], 1)


class Exported(nn.Module):
    """The detector with its decoding: (batch, 3, H, W) to (batch, 4 + classes, cells)."""

    def __init__(self, detector: Detector, height: int, width: int) -> None:
        super().__init__()
        self.detector = detector
        x, y = grid(height, width)
        self.register_buffer("x", x[None])
        self.register_buffer("y", y[None])

    def forward(self, images: Tensor) -> Tensor:
        said = self.detector(images).flatten(2)
        left, top, right, bottom = (side_pixels(said[:, :4])[:, k] for k in range(4))
        box = [self.x + (right - left) / 2, self.y + (bottom - top) / 2, left + right, top + bottom]
        return torch.cat([torch.stack(box, 1), said[:, 4:].sigmoid()], 1)


def side_pixels(logarithms: Tensor) -> Tensor:
    """From what the network says to pixels."""
    return logarithms.clamp(-3.0, 3.0).exp() * STRIDE


def grid(height: int, width: int) -> tuple[Tensor, Tensor]:
    """Middles of the cells, row by row, in pixels."""
    y, x = torch.meshgrid(
        (torch.arange(height // STRIDE) + 0.5) * STRIDE, (torch.arange(width // STRIDE) + 0.5) * STRIDE, indexing="ij"
    )
    return x.flatten(), y.flatten()


def loss(said: Tensor, boxes: list[Tensor], classes: list[Tensor], ignored: list[Tensor]) -> Tensor:
    """Of a batch.

    Args:
        said: as `Detector.forward` gives it.
        boxes: for each picture (n, 4), in pixels; classes: (n,); ignored: (n,), True for parts mostly out of view.
    """
    height, width = said.shape[2] * STRIDE, said.shape[3] * STRIDE
    x, y = grid(height, width)
    flat = said.flatten(2).transpose(1, 2)  # batch, cells, 4 + classes
    wanted = torch.zeros_like(flat[..., 4:])
    weight = torch.ones_like(wanted)
    apart = torch.zeros(())
    matched = 0
    for k, (box, kind, out) in enumerate(zip(boxes, classes, ignored, strict=True)):
        for (x1, y1, x2, y2), class_id, is_ignored in zip(box, kind, out, strict=True):
            distance = torch.maximum((x - (x1 + x2) / 2).abs(), (y - (y1 + y2) / 2).abs())
            if is_ignored:
                weight[k, distance < STRIDE * 1.5] = 0
                continue
            near = distance < STRIDE * 0.8
            between = (distance < STRIDE * 1.4) & ~near
            weight[k, between] = 0  # either is right there
            wanted[k, near, class_id] = 1
            sides = torch.stack([x[near] - x1, y[near] - y1, x2 - x[near], y2 - y[near]], 1).clamp(min=1)
            apart = apart + (1 - _overlap(side_pixels(flat[k, near, :4]), sides)).sum()
            matched += int(near.sum())
    chance = flat[..., 4:].sigmoid()
    focus = (wanted - chance).abs().detach() ** 1.5  # what is easy says little
    scores = functional.binary_cross_entropy_with_logits(flat[..., 4:], wanted, weight * focus, reduction="sum")
    return (2 * scores + 2 * apart) / max(matched, 1)


def _overlap(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of boxes around the same point, given as distances to their sides."""
    common = torch.minimum(a, b)
    inner = (common[:, 0] + common[:, 2]) * (common[:, 1] + common[:, 3])
    areas = [(one[:, 0] + one[:, 2]) * (one[:, 1] + one[:, 3]) for one in (a, b)]
    return inner / (areas[0] + areas[1] - inner)
