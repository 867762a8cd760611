"""A network camera that sends MJPEG over HTTP: one JPEG after the other in a multipart answer that does not end."""

import http.client
import re
import ssl
from base64 import b64encode
from urllib.parse import unquote, urlsplit

import cv2
import numpy as np

from flowcore_nodes.vision.sources.address import Address
from flowcore_nodes.vision.sources.capture import Wanted
from flowcore_nodes.vision.sources.frames import SourceError

_LARGEST_JPEG = 64 << 20
_LARGEST_HEADER = 8 << 10
_BLOCK = 64 << 10


class Mjpeg:
    """A live camera. Every call may block: not for the event loop."""

    def __init__(self, address: Address, wanted: Wanted) -> None:
        self._address, self._wanted = address, wanted
        self._connection: http.client.HTTPConnection | None = None
        self._answer: http.client.HTTPResponse | None = None
        self._boundary, self._waiting = b"", bytearray()
        self._jpeg, self._shape = b"", (0, 0, 3)

    def open(self) -> None:
        """Connect.

        Raises:
            SourceError: no answer within the time given, or not of MJPEG.
        """
        parts, shown = urlsplit(self._address.target), self._address.shown
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname or "", parts.port, timeout=self._wanted.open_timeout_s)
        headers = {"Accept": "multipart/x-mixed-replace"}
        if parts.username:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            headers["Authorization"] = "Basic " + b64encode(login.encode()).decode()
        try:
            path = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
            self._connection.request("GET", path, headers=headers)
            self._answer = self._connection.getresponse()
        except (OSError, ssl.SSLError, http.client.HTTPException) as e:
            raise SourceError(f"{shown} can't be opened: {e or type(e).__name__}") from None
        if self._answer.status != 200:
            raise SourceError(f"{shown} answers {self._answer.status} {self._answer.reason}")
        content = self._answer.getheader("Content-Type", "")
        found = re.match(r'multipart/x-mixed-replace\s*;.*boundary="?([^";]+)', content, re.IGNORECASE)
        if found is None:
            raise SourceError(f"{shown} sends {content or 'something'}, not multipart/x-mixed-replace")
        self._boundary = b"--" + found[1].strip().encode().removeprefix(b"--")
        if self._connection.sock is not None:
            self._connection.sock.settimeout(self._wanted.read_timeout_s)

    def grab(self) -> bool:
        """Wait for the next frame; False: there is none any more.

        Raises:
            SourceError: what comes is no MJPEG.
        """
        header = self._until(b"\r\n\r\n", _LARGEST_HEADER, self._boundary)
        if header is None:
            return False
        length = re.search(rb"content-length:\s*(\d+)", header, re.IGNORECASE)
        if length is None:
            jpeg = self._until(b"\r\n" + self._boundary, _LARGEST_JPEG, keep=True)
        elif int(length[1]) <= _LARGEST_JPEG:
            jpeg = self._exactly(int(length[1]))
        else:
            raise SourceError(f"{self._address.shown} announces a frame of {int(length[1])} bytes")
        if jpeg is None:
            return False
        self._jpeg = jpeg
        return True

    def shape(self) -> tuple[int, int, int]:
        """Of the frame before: only decoding tells."""
        return self._shape

    def retrieve(self, into: np.ndarray | None) -> np.ndarray | None:
        """Decode the frame that was grabbed, never into `into`; None: it is broken."""
        try:
            image = cv2.imdecode(np.frombuffer(self._jpeg, np.uint8), cv2.IMREAD_COLOR) if self._jpeg else None
        except cv2.error:
            image = None
        if image is not None:
            self._shape = image.shape
        return image

    def close(self) -> None:
        """Disconnect."""
        if self._answer is not None:
            self._answer.close()
        if self._connection is not None:
            self._connection.close()

    def _until(self, end: bytes, most: int, begin: bytes = b"", keep: bool = False) -> bytes | None:
        """What comes up to `end`, and behind `begin`; None: it ended before."""
        searched = 0
        while True:
            start = self._waiting.find(begin) if begin else 0
            at = self._waiting.find(end, max(start, searched)) if start >= 0 else -1
            if at >= 0:
                found = bytes(self._waiting[start:at])
                del self._waiting[: at + (2 if keep else len(end))]  # kept: the boundary that begins the next
                return found
            if len(self._waiting) > most:
                raise SourceError(f"{self._address.shown} sends {most} bytes without an end: no MJPEG")
            searched = max(0, len(self._waiting) - len(end)) if start >= 0 else 0
            if not self._more():
                return None

    def _exactly(self, count: int) -> bytes | None:
        while len(self._waiting) < count:
            if not self._more():
                return None
        found = bytes(self._waiting[:count])
        del self._waiting[:count]
        return found

    def _more(self) -> bool:
        assert self._answer is not None
        try:
            block = self._answer.read1(_BLOCK)
        except TimeoutError:
            raise SourceError(f"{self._address.shown} has sent nothing for {self._wanted.read_timeout_s:g} s") from None
        except (OSError, http.client.HTTPException, ValueError) as e:
            raise SourceError(f"{self._address.shown} broke off: {e or type(e).__name__}") from None
        self._waiting += block
        return bool(block)
