"""Pictures as they come in: their formats read from the header, every way of giving one a URL."""

from __future__ import annotations

from modelrouter.images.formats import MEDIA_TYPES, Header, read_header
from modelrouter.images.source import (
    MAX_BYTES,
    MAX_PIXELS,
    data_url,
    is_picture,
    picture_bytes,
    picture_url,
)

__all__ = [
    "MAX_BYTES",
    "MAX_PIXELS",
    "MEDIA_TYPES",
    "Header",
    "data_url",
    "is_picture",
    "picture_bytes",
    "picture_url",
    "read_header",
]
