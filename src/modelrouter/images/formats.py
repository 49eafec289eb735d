"""What kind of picture some bytes are, how large, and whether they are whole: from the header.

PNG, JPEG, GIF and WebP, the formats that every provider reads. No decoder is needed for that, so
none is imported; a picture whose header and ending are right may still hold damaged pixels.
"""

from __future__ import annotations

import zlib
from typing import Final, NamedTuple

__all__ = ["MEDIA_TYPES", "Header", "read_header"]

MEDIA_TYPES: Final = {
    "png": "image/png",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
}

_OTHERS: Final = (
    (0, b"BM", "BMP"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"%PDF", "PDF"),
    (0, b"\0\0\1\0", "ICO"),
    (0, b"8BPS", "Photoshop"),
    (0, b"<svg", "SVG"),
    (0, b"<?xml", "XML"),
    (4, b"ftypavif", "AVIF"),
    (4, b"ftyphei", "HEIC"),
    (4, b"ftypmif1", "HEIF"),
    (4, b"ftyp", "video"),
    (0, b"RIFF", "RIFF"),
    (0, b"ID3", "MP3"),
    (0, b"PK\3\4", "ZIP"),
)


class Header(NamedTuple):
    """A picture's format (a key of :data:`MEDIA_TYPES`) and size in pixels."""

    format: str
    width: int
    height: int


def read_header(data: bytes) -> Header:
    """Read a picture's header, and see that its end is there.

    Raises:
        ValueError: says in a few words what is wrong: another format, or damage.
    """
    if data.startswith(b"\x89PNG\r\n\x1a\n"):
        header = _png(data)
    elif data.startswith(b"\xff\xd8\xff"):
        header = _jpeg(data)
    elif data.startswith((b"GIF87a", b"GIF89a")):
        header = _gif(data)
    elif data.startswith(b"RIFF") and b"WEBP".startswith(data[8:12]):
        header = _webp(data)
    else:
        raise ValueError(_unknown(data))
    if not header.width or not header.height:
        raise ValueError(f"is a damaged {header.format.upper()}: it has no pixels")
    return header


def _unknown(data: bytes) -> str:
    if not data:
        return "is empty"
    for at, magic, name in _OTHERS:
        if data[at:].startswith(magic):
            return f"is in the format {name}, which models do not read"
    return "is not a picture that can be read"


def _cut(name: str) -> ValueError:
    return ValueError(f"is a damaged {name}: it is cut off")


def _png(data: bytes) -> Header:
    if len(data) < 33:
        raise _cut("PNG")
    if data[12:16] != b"IHDR" or zlib.crc32(data[12:29]) != _big(data[29:33]):
        raise ValueError("is a damaged PNG: its header is not right")
    at = 8
    while at + 12 <= len(data):
        if data[at + 4 : at + 8] == b"IEND":
            return Header("png", _big(data[16:20]), _big(data[20:24]))
        at += 12 + _big(data[at : at + 4])
    raise _cut("PNG")


_NO_FRAME: Final = (0xC4, 0xC8, 0xCC)
"""Among the markers 0xC0 to 0xCF, those that describe no frame: tables and a reserved one."""


def _jpeg(data: bytes) -> Header:
    size: tuple[int, int] | None = None
    at = 2
    while at + 4 <= len(data):
        if data[at] != 0xFF:
            raise ValueError("is a damaged JPEG: its segments are not right")
        marker = data[at + 1]
        if marker == 0xFF:  # padding
            at += 1
            continue
        length = _big(data[at + 2 : at + 4])
        if marker == 0xDA:  # the pixels begin
            if size is None:
                raise ValueError("is a damaged JPEG: it does not say its size")
            if data.find(b"\xff\xd9", at) < 0:
                raise _cut("JPEG")
            return Header("jpeg", *size)
        if 0xC0 <= marker <= 0xCF and marker not in _NO_FRAME:
            size = _big(data[at + 7 : at + 9]), _big(data[at + 5 : at + 7])
        at += 2 + max(length, 2)
    raise _cut("JPEG")


def _gif(data: bytes) -> Header:
    if len(data) < 14 or not data.rstrip(b"\0").endswith(b";"):
        raise _cut("GIF")
    return Header("gif", _little(data[6:8]), _little(data[8:10]))


def _webp(data: bytes) -> Header:
    if len(data) < 30 or len(data) < _little(data[4:8]) + 8:
        raise _cut("WEBP")
    kind = data[12:16]
    if kind == b"VP8X":
        return Header("webp", _little(data[24:27]) + 1, _little(data[27:30]) + 1)
    if kind == b"VP8L" and data[20] == 0x2F:
        bits = _little(data[21:25])
        return Header("webp", (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1)
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        return Header("webp", _little(data[26:28]) & 0x3FFF, _little(data[28:30]) & 0x3FFF)
    raise ValueError("is a damaged WEBP: its header is not right")


def _big(raw: bytes) -> int:
    return int.from_bytes(raw, "big")


def _little(raw: bytes) -> int:
    return int.from_bytes(raw, "little")
