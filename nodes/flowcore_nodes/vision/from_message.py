import base64
from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, Tensor, field
from flowcore_nodes.vision.edge_message import EdgeMessage, read

_HELD_BYTES = 8_000_000  # of the 16 MB that a state may have


class FromMessage(Node):
    """Make detections of the messages that edge devices send: each once and in order, whatever comes twice or late.

    `source` of the detections is DEVICE/CAMERA. What comes again, as it may around a crash, is dropped and counted.
    Where one is missing, those behind it wait up to `wait_s` for it: a broker sends again what was not confirmed, but
    behind what came meanwhile. Which were had, and which wait, is kept over restarts. A frame that can't be decoded is
    reported, and the detections pass without it.
    """

    type = "vision/from-message"
    title = "Message to detections"
    category = "vision"
    icon = "inbox"
    needs = ("cv2",)
    install = "pip install 'flowcore[vision]'"
    stateful = True

    class Config(NodeConfig):
        frame: bool = field(True, description="Decode the frame where a message has one")
        wait_s: float = field(
            10.0, ge=0, le=3600, description="How long a missing message is waited for, in seconds; then it is counted"
        )
        hold: int = field(300, ge=1, le=5000, description="Most messages of a camera that wait for a missing one")

    in_ = In(dict, "a message of version 1, as vision/to-message makes it")
    out = Out(description="the detections")

    def on_start(self) -> None:
        self._again = self._missing = 0

    def on_go(self) -> None:
        self.every(0.5, self._wait_no_longer)

    def on_message(self, message: Message) -> Iterator[Any]:
        got = self._checked(message.payload)
        source = got.source
        camera, sequence = f"{source.device}/{source.camera}", source.sequence
        session, last, held = self.state.get(camera) or (source.session, sequence - 1, {})
        held = dict(held)
        if session != source.session:  # the edge began anew
            yield from self._released(camera, session, last, held, all_of_them=True)
            session, last, held = source.session, sequence - 1, {}
        if sequence <= last or str(sequence) in held:
            self._again += 1
            self._tell()
            return
        seen = self._detections(got)
        if sequence == last + 1:
            yield message.derive(seen, topic=camera)
            yield from self._released(camera, session, sequence, held)
            return
        held[str(sequence)] = [self.now_s(), len(got.frame.jpeg or "")]
        self.state[f"held/{camera}/{sequence}"] = message.payload
        self.state[camera] = [session, last, held]
        if len(held) > self.config.hold or sum(size for _, size in held.values()) > _HELD_BYTES:
            yield from self._released(camera, session, last, held, skip_gap=True)

    def _wait_no_longer(self) -> Iterator[Any]:
        for camera in [key for key in self.state if not key.startswith("held/")]:
            session, last, held = self.state[camera]
            if held and self.now_s() - min(since_s for since_s, _ in held.values()) >= self.config.wait_s:
                yield from self._released(camera, session, last, dict(held), skip_gap=True)

    def _released(
        self, camera: str, session: str, last: int, held: dict, skip_gap: bool = False, all_of_them: bool = False
    ) -> Iterator[Any]:
        """What waits and follows `last`; with `skip_gap` the first gap is given up, with `all_of_them` every one."""
        while held:
            sequence = min(map(int, held))
            if sequence > last + 1:
                if not skip_gap and not all_of_them:
                    break
                self._missing += sequence - last - 1
                self._tell()
                skip_gap = False
            del held[str(sequence)]
            last = sequence
            payload = self.state.pop(f"held/{camera}/{sequence}", None)
            if payload is not None:
                yield self._detections(self._checked(payload))
        self.state[camera] = [session, last, held]

    @staticmethod
    def _checked(payload: dict) -> EdgeMessage:
        version = payload.get("version")
        if version != 1:
            raise GiveUp(f"takes messages of version 1, this one has {version!r}")
        try:
            return EdgeMessage.model_validate(payload)
        except ValidationError as e:
            first = e.errors()[0]
            raise GiveUp(f"no message of an edge: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None

    def _detections(self, got: EdgeMessage) -> Any:
        frame = None
        if self.config.frame:
            try:
                frame = self._frame(got)
            except GiveUp as e:  # what was seen counts all the same
                self.report(e)
        return read(got, frame)

    def _frame(self, got: EdgeMessage) -> Any:
        if got.frame.reference is not None:
            if not isinstance(got.frame.reference, Tensor):
                raise GiveUp("frame.reference is no tensor: it comes so only over wires of flowcore")
            return got.frame.reference
        if got.frame.jpeg is None:
            return None
        import cv2
        import numpy as np

        try:
            coded = base64.b64decode(got.frame.jpeg, validate=True)
            image = cv2.imdecode(np.frombuffer(coded, np.uint8), cv2.IMREAD_COLOR) if coded else None
        except (ValueError, cv2.error):
            image = None
        if image is None:
            raise GiveUp("frame.jpeg is no JPEG in base64")
        made = self.alloc(image.shape)
        made.numpy()[...] = image
        return made

    def _tell(self) -> None:
        self.set_status(f"{self._again} came again, {self._missing} are missing", "warn" if self._missing else "ok")
