"""A picture given as a path, bytes, a PIL image or a data URL: checked, and as a data URL."""

from __future__ import annotations

import base64
import binascii
import io
import re
from pathlib import Path
from typing import Any, Final

from modelrouter.exceptions import InvalidTaskError
from modelrouter.images.formats import MEDIA_TYPES, read_header

__all__ = ["MAX_BYTES", "MAX_PIXELS", "data_url", "is_picture", "picture_bytes", "picture_url"]

MAX_BYTES: Final = 20 * 1024 * 1024
"""The largest picture taken, in bytes: what the most generous of the usual providers takes."""

MAX_PIXELS: Final = 64_000_000
"""The largest picture taken, in pixels: 8,000 x 8,000."""

_DATA_URL: Final = re.compile(r"data:[^,]{0,200};base64,", re.IGNORECASE)
_CONVERT: Final = "Save it as PNG or JPEG: PIL.Image.open(...).convert('RGB').save('it.png')."
_KINDS: Final = "Give an http(s) URL, a data:image/...;base64, URL, a pathlib.Path, bytes or a PIL"
_SMALLER: Final = "Make it smaller first: PIL.Image.open(...).thumbnail((2048, 2048))."


def is_picture(value: object) -> bool:
    """Whether a value is a picture whatever stands around it: a path, bytes or a PIL image."""
    return isinstance(value, (Path, bytes, bytearray, memoryview)) or _is_pil(value)


def picture_url(value: object, where: str) -> str:
    """The URL by which a picture goes into a message: its own if it is on the web, else its data.

    A text is never taken for a path: messages often come from others, and what they name must not
    be read from this machine's disk and sent away.

    Raises:
        InvalidTaskError: with ``where`` as its field: no picture, another format, damaged, or
            larger than :data:`MAX_BYTES` or :data:`MAX_PIXELS`.
    """
    if isinstance(value, str) and value.startswith(("http://", "https://")):
        return value
    return data_url(picture_bytes(value, where))


def data_url(data: bytes) -> str:
    """Bytes of a picture that was checked, as a ``data:`` URL."""
    media = MEDIA_TYPES[read_header(data).format]
    return f"data:{media};base64,{base64.b64encode(data).decode()}"


def picture_bytes(value: object, where: str) -> bytes:
    """The bytes of a picture that is not on the web, checked.

    Raises:
        InvalidTaskError: see :func:`picture_url`.
    """
    if isinstance(value, str):
        data = _decoded(value, where)
    elif isinstance(value, Path):
        data = _read(value, where)
    elif isinstance(value, (bytes, bytearray, memoryview)):
        data = bytes(value)
    elif _is_pil(value):
        data = _encoded(value)
    else:
        raise InvalidTaskError(
            where, f"cannot read an image from {type(value).__name__}.", hint=f"{_KINDS} image."
        )
    _check(data, where)
    return data


def _check(data: bytes, where: str) -> None:
    _check_bytes(len(data), where)
    try:
        header = read_header(data)
    except ValueError as exc:
        raise InvalidTaskError(where, f"the picture {exc}.", hint=_CONVERT) from None
    if header.width * header.height > MAX_PIXELS:
        raise InvalidTaskError(
            where,
            f"the picture has {header.width:,} x {header.height:,} pixels, more than "
            f"{MAX_PIXELS:,}.",
            hint=_SMALLER,
        )


def _check_bytes(size: int, where: str) -> None:
    if size > MAX_BYTES:
        raise InvalidTaskError(
            where,
            f"the picture has {size:,} bytes, more than {MAX_BYTES:,}.",
            hint=_SMALLER,
        )


def _decoded(url: str, where: str) -> bytes:
    start = _DATA_URL.match(url)
    if start is None:
        raise InvalidTaskError(
            where, f"cannot read an image from {url[:40]!r}.", hint=f"{_KINDS} image."
        )
    _check_bytes((len(url) - start.end()) * 3 // 4 - 2, where)
    try:
        return base64.b64decode("".join(url[start.end() :].split()), validate=True)
    except (binascii.Error, ValueError) as exc:
        raise InvalidTaskError(
            where, f"its data is not base64: {exc}.", hint="Give the picture's bytes instead."
        ) from None


def _read(path: Path, where: str) -> bytes:
    try:
        _check_bytes(path.stat().st_size, where)
        return path.read_bytes()
    except OSError as exc:
        raise InvalidTaskError(
            where,
            f"the picture {str(path)!r} cannot be read: {exc.strerror or exc}.",
            hint="Give the path of an image file.",
        ) from exc


def _is_pil(value: object) -> bool:
    """Whether it is a Pillow image, found out without importing Pillow."""
    return any(
        kind.__module__ == "PIL.Image" and kind.__name__ == "Image" for kind in type(value).__mro__
    )


def _encoded(image: Any) -> bytes:
    """A Pillow image as PNG: nothing of it is lost."""
    if image.mode not in ("1", "L", "LA", "P", "RGB", "RGBA", "I", "I;16"):
        image = image.convert("RGB")
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()
