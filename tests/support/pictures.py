"""Small real pictures, made by Pillow."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image

__all__ = ["picture", "pil"]


def pil(
    size: tuple[int, int] = (6, 4), colour: Any = (200, 30, 30), mode: str = "RGB"
) -> Image.Image:
    return Image.new(mode, size, colour)


def picture(
    kind: str = "PNG",
    size: tuple[int, int] = (6, 4),
    colour: Any = (200, 30, 30),
    **options: Any,
) -> bytes:
    """A picture of one colour, as the bytes of a file."""
    out = io.BytesIO()
    pil(size, colour).save(out, kind, **options)
    return out.getvalue()
