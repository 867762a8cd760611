import base64
import binascii
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pydantic import model_validator

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, field
from flowcore.node.paths import MessagePath
from flowcore_nodes.core.event_time import EventTime, TimeUnit
from flowcore_nodes.core.path_fields import ReadPath, ReadPathOrEmpty
from flowcore_nodes.vision.jpeg_stream import look

if TYPE_CHECKING:
    from flowcore_nodes.vision.jpeg_stream import Jpeg

# What self.state holds of a camera, `s:<source>`: the number of its next frame, and of the frame that comes in pieces
# its id, numbers of the pieces that are there (`c:<source>:<number>`), bytes, when it began, its time.
_NUMBER, _FRAME, _PIECES, _BYTES, _SINCE_S, _TIME_NS = range(6)

_SAY_EVERY_S = 1.0


class BrokenJpeg(ValueError):
    """A picture that a camera sent and that can't be decoded."""


class JpegFrames(Node):
    """Make frames of the JPEGs that cameras such as an ESP32 send by MQTT or HTTP, one by one, in bursts or in pieces.

    Takes what iot/mqtt-in and core/http-in give: bytes with one JPEG, several of them or a piece of one, base64 text,
    an upload, or lists and maps of those. Pieces come in order, or say their number (`piece`, `pieces`). Frames are as
    those of vision/camera: (H, W, 3) uint8 in BGR, `meta` has source, number, time_ns, width, height, region. A broken
    JPEG is counted, reported, and leaves a gap in the numbers; a lost piece in the middle of a picture is only noticed
    where pieces are numbered. Numbers and pieces survive restarts.
    """

    type = "vision/jpeg-frames"
    title = "JPEG frames"
    category = "vision"
    icon = "images"
    needs = ("cv2",)
    install = "pip install 'flowcore[vision]'"
    stateful = True

    class Config(NodeConfig):
        image: ReadPath = field("payload", description="Path of the JPEG: payload, payload.image ...")
        source: ReadPathOrEmpty = field(
            "topic",
            description="Path of what tells cameras apart, such as meta.http.params.camera; empty: the node's id",
        )
        number: ReadPathOrEmpty = field(
            "", description="Path of the camera's own number of the frame; empty: counted here, from 0"
        )
        time: ReadPathOrEmpty = field(
            "", description="Path of when it was taken: a number since 1970 or ISO 8601; empty: when it came"
        )
        unit: TimeUnit = field("s", description="Unit of a time that is a number: s, ms, us or ns")
        piece: ReadPathOrEmpty = field(
            "", description="Numbered pieces: path of the piece's number, from 0; empty: pieces come in order"
        )
        pieces: ReadPathOrEmpty = field("", description="Numbered pieces: path of how many the frame has")
        frame: ReadPathOrEmpty = field(
            "", description="Numbered pieces: path of what tells frames apart; empty: piece 0 begins one"
        )
        gap_s: float = field(
            5.0, gt=0, le=3600, description="A frame that is not whole so long after it began is broken, in seconds"
        )
        max_bytes: int = field(4_194_304, ge=1000, le=12_000_000, description="Largest JPEG, in bytes")
        max_pixels: int = field(50_000_000, ge=1, le=200_000_000, description="Largest frame, in pixels")

        @model_validator(mode="after")
        def _pieces_fit(self) -> "JpegFrames.Config":
            if bool(self.piece) != bool(self.pieces) or (self.frame and not self.piece):
                raise ValueError("numbered pieces need both piece and pieces")
            return self

    in_ = In(description="bytes, base64 text, an upload, or several of them")
    out = Out("frame", "the frame; meta: source, number, time_ns, width, height, region")

    def on_start(self) -> None:
        self._frames = self._broken = 0
        self._said_s = 0.0
        self._read_config()

    def on_go(self) -> None:
        self.every(1.0, self._wait_no_longer)

    def on_reconfigure(self, old: Any) -> None:
        self._read_config()

    def _read_config(self) -> None:
        config = self.config
        self._image = MessagePath(config.image).get
        self._source = MessagePath(config.source).find if config.source else None
        self._number = MessagePath(config.number).find if config.number else None
        self._time = EventTime(config.time, config.unit) if config.time else None
        self._piece, self._count, self._frame = (
            MessagePath(path).find if path else None for path in (config.piece, config.pieces, config.frame)
        )

    def on_message(self, message: Message) -> Iterator[Message]:
        parts = list(_bytes_in(self._image(message), self.config.image))
        source = self._source(message) if self._source else self.id
        source = source if isinstance(source, str) else str(source)
        time_ns = int(self._time.of(message) * 1e9) if self._time else message.origin_ns or int(self.now_s() * 1e9)
        key = f"s:{source}"
        kept = list(self.state.get(key) or [0, None, [], 0, 0.0, 0])
        for part in parts:
            if self._piece is None:
                yield from self._in_order(source, kept, part, time_ns, message)
            else:
                yield from self._numbered(source, kept, part, time_ns, message)
        self.state[key] = kept

    def _in_order(self, source: str, kept: list, part: bytes, time_ns: int, message: Message) -> Iterator[Message]:
        before = kept[_PIECES]
        if not before:
            kept[_SINCE_S], kept[_TIME_NS] = self.now_s(), time_ns
        may_end = b"\xff\xd9" in part or part.startswith((b"\xd9", b"\xff\xd8\xff"))
        if before and not may_end:
            self._hold(source, kept, before[-1] + 1, part)
        else:
            began_ns = kept[_TIME_NS]
            data = self._joined(source, kept) + part
            found = look(data)
            for jpeg in found.whole:
                yield from self._decoded(source, kept, jpeg, began_ns, message)
                began_ns = time_ns
            for why in found.broken:
                self._tell_broken(source, kept, why, message)
            if not found.whole and not found.broken and not before and found.rest == len(data):
                what = f"{len(data)} bytes that begin with {data[:8]!r}" if data else "no bytes"
                self._tell_broken(source, kept, f"no JPEG: {what}", message)
            if found.rest < len(data):
                if found.rest:
                    kept[_SINCE_S] = self.now_s()
                kept[_TIME_NS] = began_ns
                self._hold(source, kept, 0, data[found.rest :])
        if kept[_BYTES] > self.config.max_bytes:
            self._joined(source, kept)
            self._tell_broken(source, kept, f"a JPEG is longer than max_bytes = {self.config.max_bytes}", message)

    def _numbered(self, source: str, kept: list, part: bytes, time_ns: int, message: Message) -> Iterator[Message]:
        piece, count = self._piece(message), self._count(message)  # type: ignore[misc]
        for what, value in (("piece", piece), ("pieces", count)):
            if type(value) is not int or not 0 <= value <= 100_000:
                raise GiveUp(f"{what} must be a whole number, got {str(value)[:40]!r}")
        if piece >= count:
            raise GiveUp(f"piece {piece} of {count}: they are numbered from 0")
        frame = self._frame(message) if self._frame else None
        is_next = frame != kept[_FRAME] if self._frame else piece == 0 and 0 in kept[_PIECES]
        if kept[_PIECES] and is_next:
            self._give_up_pieces(source, kept, message)
        if piece in kept[_PIECES]:
            return  # it came twice
        if not kept[_PIECES]:
            kept[_FRAME], kept[_SINCE_S], kept[_TIME_NS] = frame, self.now_s(), time_ns
        self._hold(source, kept, piece, part)
        if kept[_BYTES] > self.config.max_bytes:
            self._joined(source, kept)
            self._tell_broken(source, kept, f"a JPEG is longer than max_bytes = {self.config.max_bytes}", message)
        elif len(kept[_PIECES]) == count:
            found = look(self._joined(source, kept))
            for jpeg in found.whole:
                yield from self._decoded(source, kept, jpeg, kept[_TIME_NS], message)
            for why in found.broken or ([] if found.whole else ["its pieces are no JPEG"]):
                self._tell_broken(source, kept, why, message)

    def _hold(self, source: str, kept: list, number: int, part: bytes) -> None:
        self.state[f"c:{number}:{source}"] = part
        kept[_PIECES] = [*kept[_PIECES], number]
        kept[_BYTES] += len(part)

    def _joined(self, source: str, kept: list) -> bytes:
        """The pieces that are there, one after the other; they are forgotten."""
        numbers, kept[_PIECES], kept[_BYTES] = sorted(kept[_PIECES]), [], 0
        return b"".join(self.state.pop(f"c:{number}:{source}") for number in numbers)

    def _give_up_pieces(self, source: str, kept: list, message: Message | None) -> None:
        count, size = len(kept[_PIECES]), kept[_BYTES]
        self._joined(source, kept)
        self._tell_broken(source, kept, f"a JPEG did not come whole: {count} pieces, {size} bytes", message)

    def _wait_no_longer(self) -> None:
        for key in [key for key in self.state if key.startswith("s:")]:
            kept = self.state[key]
            if kept[_PIECES] and self.now_s() - kept[_SINCE_S] >= self.config.gap_s:
                kept = list(kept)
                self._give_up_pieces(key[2:], kept, None)
                self.state[key] = kept

    def _decoded(self, source: str, kept: list, jpeg: "Jpeg", time_ns: int, message: Message) -> Iterator[Message]:
        import cv2
        import numpy as np

        limits = self.config
        if len(jpeg.coded) > limits.max_bytes or jpeg.width * jpeg.height > limits.max_pixels:
            size = f"{jpeg.width} x {jpeg.height} pixels, {len(jpeg.coded)} bytes"
            self._tell_broken(source, kept, f"a JPEG is too large: {size}", message)
            return
        try:
            image = cv2.imdecode(np.frombuffer(jpeg.coded, np.uint8), cv2.IMREAD_COLOR)
        except cv2.error:
            image = None
        if image is None:
            self._tell_broken(source, kept, f"a JPEG of {len(jpeg.coded)} bytes can't be decoded", message)
            return
        frame = self.alloc(image.shape)
        frame.numpy()[...] = image
        height, width = image.shape[:2]
        meta = {
            "source": source, "number": self._numbering(kept, message), "time_ns": time_ns, "width": width,
            "height": height, "region": [0, 0, width, height],
        }  # fmt: skip
        self._frames += 1
        self._show()
        yield message.derive(frame, topic=source, meta={**message.meta, **meta})

    def _numbering(self, kept: list, message: Message) -> int:
        number = self._number(message) if self._number else None
        if type(number) is int:
            kept[_NUMBER] = number
        kept[_NUMBER] += 1
        return kept[_NUMBER] - 1

    def _tell_broken(self, source: str, kept: list, why: str, message: Message | None) -> None:
        kept[_NUMBER] += 1
        self._broken += 1
        self.report(BrokenJpeg(f"{source}: {why}"), message)
        self._say()

    def _show(self) -> None:
        if self.now_s() - self._said_s >= _SAY_EVERY_S:
            self._say()

    def _say(self) -> None:
        self._said_s = self.now_s()
        text = f"{self._frames} frames" + (f", {self._broken} broken" if self._broken else "")
        self.set_status(text, "warn" if self._broken else "ok")


def _bytes_in(value: Any, path: str) -> Iterator[bytes]:
    """The bytes in what mqtt-in and http-in give, in order.

    Raises:
        GiveUp: there are none.
    """
    if isinstance(value, (bytes, bytearray, memoryview)):
        yield bytes(value)
    elif isinstance(value, str):
        try:
            yield base64.b64decode(re.sub(r"^data:[^,]{0,100},", "", value), validate=True)
        except (binascii.Error, ValueError):
            raise GiveUp(f"{path} is no base64 text: {value[:20]!r}") from None
    elif isinstance(value, list) and value:
        for one in value:
            yield from _bytes_in(one, path)
    elif isinstance(value, dict) and "content" in value:
        yield from _bytes_in(value["content"], path)
    elif isinstance(value, dict) and (uploads := [one for one in value.values() if isinstance(one, (dict, list))]):
        for one in uploads:  # the other fields of a form say something about it
            yield from _bytes_in(one, path)
    else:
        raise GiveUp(f"{path} must be bytes, base64 text or an upload, got {type(value).__name__} {str(value)[:40]!r}")
