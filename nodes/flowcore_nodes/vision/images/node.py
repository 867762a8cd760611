"""Base of the nodes that make one frame of another."""

from typing import Any

from flowcore.node import GiveUp, In, Message, Node, Out, Tensor


class ImageNode(Node):
    """A frame comes in, another goes out; what the camera said about it goes along, with the new size."""

    category = "vision"
    needs = ("cv2",)
    install = "pip install 'flowcore[vision]'"

    in_ = In("frame", "a frame, in host memory or on a GPU")
    out = Out("frame", "the frame made of it, where the other one was")

    def on_message(self, message: Message) -> Any:
        frame: Tensor = message.payload
        made, meta = self.changed(frame, message)
        height, width = made.shape[:2]
        return message.derive(made, meta={**message.meta, "width": width, "height": height, **meta})

    def changed(self, frame: Tensor, message: Message) -> tuple[Tensor, dict[str, Any]]:
        """The new frame, and what `meta` is to say beside its size."""
        raise NotImplementedError

    def like(self, frame: Tensor, height: int, width: int, channels: int | None = None) -> Tensor:
        """Memory for a frame of another size, where `frame` is; channels: 0 none, None as many as `frame` has."""
        shape = (height, width, *frame.shape[2:]) if channels is None else (height, width, channels)
        return self.alloc(shape[:2] if channels == 0 else shape, "uint8", frame.device)


def check_channels(frame: Tensor, wanted: int, what: str) -> None:
    """Refuse a frame with another number of channels.

    Raises:
        GiveUp: it has.
    """
    has = 1 if len(frame.shape) == 2 else frame.shape[2]
    if has != wanted:
        raise GiveUp(f"{what} takes a frame of {wanted} channel{'s' * (wanted > 1)}, this one has {has}")


def letterboxed(node: Node, frame: Tensor, width: int, height: int, fill: int) -> tuple[Tensor, dict[str, Any]]:
    """Fit a frame into a size without changing its proportions; the rest is grey.

    Returns:
        The new frame, and for `meta`: `letterbox` with scale, x, y, and width and height of the frame that came; a
        point of the new one is (p - (x, y)) / scale in that.
    """
    from flowcore_nodes.vision.images import change

    had_height, had_width = frame.shape[:2]
    scale = min(width / had_width, height / had_height)
    w, h = max(1, round(had_width * scale)), max(1, round(had_height * scale))
    x, y = (width - w) // 2, (height - h) // 2
    made = node.alloc((height, width, *frame.shape[2:]), "uint8", frame.device)
    change.paste(frame, made, x, y, w, h, fill, "linear")
    return made, {"letterbox": {"scale": scale, "x": x, "y": y, "width": had_width, "height": had_height}}
