"""What CLIP reads: pictures cut and normalised as it was trained on, texts as its tokens."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

__all__ = ["Preprocessing", "pixels"]

_MEAN: Final = (0.48145466, 0.4578275, 0.40821073)
_STD: Final = (0.26862954, 0.26130258, 0.27577711)


class Preprocessing:
    """The folder's ``preprocessor_config.json``, with CLIP's own values where it says nothing."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        size = config.get("size", 224)
        crop = config.get("crop_size", size)
        self.shortest = _side(size)
        self.crop = _side(crop)
        self.mean = tuple(config.get("image_mean") or _MEAN)
        self.std = tuple(config.get("image_std") or _STD)
        self.factor = float(config.get("rescale_factor") or 1 / 255)


def _side(size: Any) -> int:
    if isinstance(size, Mapping):
        size = size.get("shortest_edge") or size.get("height") or 224
    return int(size)


def pixels(pictures: Sequence[bytes], how: Preprocessing) -> Any:
    """The pictures as one float32 array of the shape (pictures, 3, crop, crop).

    Steps and order are CLIP's: RGB, the shorter side resized bicubically, the centre cut out,
    scaled to 0..1, normalised.

    Raises:
        OSError, ValueError: Pillow cannot decode one.
    """
    import numpy as np

    mean = np.asarray(how.mean, np.float32)
    std = np.asarray(how.std, np.float32)
    made = [(_cut(data, how) * np.float32(how.factor) - mean) / std for data in pictures]
    return np.stack(made).transpose(0, 3, 1, 2).astype(np.float32)


def _cut(data: bytes, how: Preprocessing) -> Any:
    import numpy as np
    from PIL import Image

    with Image.open(io.BytesIO(data)) as opened:
        image = opened.convert("RGB")
    width, height = image.size
    short, long = min(width, height), max(width, height)
    longer = int(how.shortest * long / short)
    size = (how.shortest, longer) if width <= height else (longer, how.shortest)
    image = image.resize(size, Image.Resampling.BICUBIC)
    left, top = (image.width - how.crop) // 2, (image.height - how.crop) // 2
    # Outside the picture, where the cut is larger than it, Pillow fills in black.
    cut = image.crop((left, top, left + how.crop, top + how.crop))
    return np.asarray(cut, np.float32)
