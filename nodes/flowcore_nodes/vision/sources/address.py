"""What a source's address means. Reads text alone: no library, no file.

clip.mp4, file:///data/clip.mp4, pictures/     a video file, a folder of images
usb:0, /dev/video0                             a USB camera (V4L2)
rtsp://, rtsps://                              a network camera
http://, https://                              a network camera that sends MJPEG
gst:v4l2src ! ... ! appsink                    a GStreamer pipeline, such as a CSI camera's
sim://conveyor?seed=7&fps=30                   the simulated belt
"""

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import parse_qsl, quote, unquote, urlsplit, urlunsplit

Kind = Literal["sim", "file", "usb", "rtsp", "mjpeg", "gstreamer"]
LIVE: frozenset[Kind] = frozenset({"usb", "rtsp", "mjpeg", "gstreamer"})
_SCHEMES: dict[str, Kind] = {"rtsp": "rtsp", "rtsps": "rtsp", "http": "mjpeg", "https": "mjpeg", "sim": "sim"}


@dataclass(frozen=True)
class Address:
    """A source: of which kind, and where. `shown` has no password in it."""

    kind: Kind
    target: str
    shown: str
    settings: tuple[tuple[str, str], ...] = ()

    @property
    def is_live(self) -> bool:
        """Frames come when they come; a file can wait."""
        return self.kind in LIVE


def address_of(text: str, user: str = "", password: str = "") -> Address:
    """Tell what a text means.

    Args:
        user, password: of a network camera.
    Raises:
        ValueError: it means nothing.
    """
    text = text.strip()
    if not text or "\0" in text:
        raise ValueError("which source? a file, a folder, usb:0, rtsp://.., http://.., gst:.., sim://conveyor")
    scheme = found[1] if (found := re.match(r"([a-z][a-z0-9+.-]+):", text)) else ""
    if scheme == "usb":
        number = text.removeprefix("usb:")
        if not number.isdecimal():
            raise ValueError(f"usb: takes the number of a device, such as usb:0, got {text!r}")
        return Address("usb", f"/dev/video{int(number)}", text)
    if text.startswith("/dev/"):
        return Address("usb", text, text)
    if scheme == "gst":
        return Address("gstreamer", text.removeprefix("gst:").strip(), text)
    if scheme == "file":
        path = unquote(urlsplit(text).path)
        return Address("file", path, path)
    if scheme not in _SCHEMES:
        if "://" in text:
            raise ValueError(f"{scheme or text!r} is no source; there are file, usb, rtsp, http, gst and sim")
        return Address("file", text, text)
    return _from_url(_SCHEMES[scheme], text, user, password)


def _from_url(kind: Kind, text: str, user: str, password: str) -> Address:
    parts = urlsplit(text)
    if not parts.hostname:
        raise ValueError(f"{text!r} names no host")
    if kind == "sim":
        if parts.netloc != "conveyor":
            raise ValueError(f"sim://{parts.netloc} is not there; there is sim://conveyor")
        return Address("sim", parts.netloc, text, tuple(parse_qsl(parts.query, keep_blank_values=True)))
    bare = parts.netloc.rpartition("@")[2]
    shown = urlunsplit((parts.scheme, bare, parts.path, "", ""))
    host = f"{quote(user, safe='')}:{quote(password, safe='')}@{bare}" if user else parts.netloc
    return Address(kind, urlunsplit((parts.scheme, host, parts.path, parts.query, "")), shown)
