"""JPEGs in a stream of bytes: where each begins and ends, how large it is, and what is none. Reads headers only.

Goes by the markers of ITU-T T.81 (annex B), so that the thumbnail inside a picture's EXIF does not end it. What stands
between two pictures, such as the boundaries of a multipart body, is passed over.
"""

from dataclasses import dataclass

_BEGIN = b"\xff\xd8\xff"  # start of image, and the marker that follows it
_START, _END, _SCAN = 0xD8, 0xD9, 0xDA
_ALONE = {0x01, *range(0xD0, 0xD8)}  # markers without a length
_FRAME_HEADERS = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}


@dataclass(frozen=True)
class Jpeg:
    """A picture: its bytes, and its size in pixels."""

    coded: bytes
    width: int
    height: int


@dataclass(frozen=True)
class Found:
    """What is in some bytes.

    Attributes:
        whole: the pictures.
        broken: of each that is none, why.
        rest: where the last one begins that may go on in later bytes; the number of bytes when there is none.
    """

    whole: list[Jpeg]
    broken: list[str]
    rest: int


class _Broken(Exception):
    pass


def look(data: bytes) -> Found:
    """Find the pictures in some bytes."""
    whole: list[Jpeg] = []
    broken: list[str] = []
    at = 0
    while True:
        begin = data.find(_BEGIN, at)
        if begin < 0:
            tail = next((k for k in (2, 1) if data.endswith(_BEGIN[:k])), 0)
            return Found(whole, broken, max(at, len(data) - tail))
        try:
            read = _read(data, begin)
        except _Broken as e:
            broken.append(str(e))
            at = begin + 2
            continue
        if read is None:
            return Found(whole, broken, begin)
        end, width, height = read
        whole.append(Jpeg(data[begin:end], width, height))
        at = end


def _read(data: bytes, begin: int) -> tuple[int, int, int] | None:
    """Where a picture ends, its width and height; None when it may go on behind the data."""
    at, size = begin + 2, (0, 0)
    while True:
        if at + 2 > len(data):
            return None
        if data[at] != 0xFF:
            raise _Broken(f"a JPEG has no marker where one must be, after {at - begin} bytes")
        marker = data[at + 1]
        if marker == 0xFF:  # filled up
            at += 1
        elif marker == _END:
            if not all(size):
                raise _Broken(f"a JPEG of {at + 2 - begin} bytes does not say its size")
            return at + 2, *size
        elif marker == _START:
            raise _Broken(f"a JPEG is cut off after {at - begin} bytes: the next one begins")
        elif marker == 0:
            raise _Broken(f"a JPEG has data where a marker must be, after {at - begin} bytes")
        elif marker in _ALONE:
            at += 2
        else:
            if at + 9 > len(data):
                return None
            length = int.from_bytes(data[at + 2 : at + 4], "big")
            if length < 2:
                raise _Broken(f"a JPEG has a segment of {length} bytes, after {at - begin} bytes")
            if marker in _FRAME_HEADERS:
                height, width = (int.from_bytes(data[at + k : at + k + 2], "big") for k in (5, 7))
                size = width, height
            at += 2 + length
            if marker == _SCAN:
                behind = _behind_scan(data, at)
                if behind is None:
                    return None
                at = behind


def _behind_scan(data: bytes, at: int) -> int | None:
    """The marker that ends the data of a scan: not a stuffed 0, and no restart."""
    while True:
        at = data.find(b"\xff", at)
        if at < 0 or at + 1 >= len(data):
            return None
        if data[at + 1] == 0 or 0xD0 <= data[at + 1] <= 0xD7:
            at += 2
        elif data[at + 1] == 0xFF:
            at += 1
        else:
            return at
