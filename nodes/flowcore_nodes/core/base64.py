import base64
import binascii
import re
from typing import Any, Literal

from flowcore.node import GiveUp, In, Message, Node, NodeConfig, Out, field
from flowcore.node.paths import MessagePath
from flowcore_nodes.core.path_fields import WritePath

_BLANKS = re.compile(r"\s+")


class Base64(Node):
    """Turn bytes into base64 text, or base64 text into bytes.

    Decoding takes both alphabets, with or without padding and line breaks, and refuses everything else.
    """

    type = "core/base64"
    title = "Base64"
    category = "parser"
    icon = "binary"

    class Config(NodeConfig):
        action: Literal["auto", "encode", "decode"] = field(
            "auto", description="auto: bytes are encoded, text is decoded; encode takes text as well, as UTF-8"
        )
        path: WritePath = field("payload", description="What is converted: payload, payload.image ...")
        urlsafe: bool = field(False, description="encode: with - and _ in place of + and /")
        padding: bool = field(True, description="encode: filled up with = to a multiple of four")
        output: Literal["bytes", "text"] = field("bytes", description="decode: to bytes, or to text (UTF-8)")
        max_bytes: int = field(16_777_216, gt=0, le=268_435_456, description="Longest input, in bytes")

    in_ = In()
    out = Out()

    def on_start(self) -> None:
        self._path = MessagePath(self.config.path)

    def on_reconfigure(self, old: Any) -> None:
        self.on_start()

    def on_message(self, message: Message) -> Message:
        value = self._path.get(message)
        if not isinstance(value, (str, bytes)):
            raise GiveUp(f"{self.config.path} must be bytes or a text, got {type(value).__name__}")
        if len(value) > self.config.max_bytes:
            raise GiveUp(f"{self.config.path} has {len(value)} bytes, more than max_bytes = {self.config.max_bytes}")
        is_encoding = self.config.action == "encode" or (self.config.action == "auto" and isinstance(value, bytes))
        made = message.derive()
        self._path.set(made, self._encoded(value) if is_encoding else self._decoded(value))
        return made

    def _encoded(self, value: str | bytes) -> str:
        content = value.encode() if isinstance(value, str) else value
        encoded = (base64.urlsafe_b64encode if self.config.urlsafe else base64.b64encode)(content).decode("ascii")
        return encoded if self.config.padding else encoded.rstrip("=")

    def _decoded(self, value: str | bytes) -> str | bytes:
        try:
            text = value.decode("ascii") if isinstance(value, bytes) else value
            text = _BLANKS.sub("", text).translate({ord("-"): "+", ord("_"): "/"}).rstrip("=")
            content = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
        except (binascii.Error, ValueError) as e:
            raise GiveUp(f"not base64: {e}") from None
        if self.config.output == "bytes":
            return content
        try:
            return content.decode()
        except UnicodeDecodeError as e:
            raise GiveUp(f"what it holds is not UTF-8: {e.reason} at byte {e.start}; use output = bytes") from None
