"""Headers of real pictures, whole, cut off, spoilt and of other formats."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelrouter.images import read_header
from tests.support.pictures import picture

WAYS = [
    ("PNG", {}),
    ("JPEG", {}),
    ("JPEG", {"progressive": True}),
    ("GIF", {}),
    ("WEBP", {}),
    ("WEBP", {"lossless": True}),
    ("WEBP", {"exif": b"Exif\0\0"}),  # the extended header
]


@pytest.mark.parametrize(("kind", "options"), WAYS)
def test_format_and_size_are_read(kind, options) -> None:
    header = read_header(picture(kind, (37, 21), **options))
    assert header == (kind.lower(), 37, 21)


@pytest.mark.parametrize(("kind", "options"), WAYS)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_picture_that_is_cut_off_is_damaged(kind, options, share) -> None:
    whole = picture(kind, (64, 48), **options)
    with pytest.raises(ValueError, match=r"damaged|not a picture"):
        read_header(whole[: max(1, int(len(whole) * share))])


@pytest.mark.parametrize("kind", ["BMP", "TIFF", "ICO", "PDF"])
def test_another_format_is_named(kind) -> None:
    with pytest.raises(ValueError, match=f"in the format {kind}"):
        read_header(picture(kind, (16, 16)))


def test_a_spoilt_header_is_found() -> None:
    spoilt = bytearray(picture())
    spoilt[18] ^= 1
    with pytest.raises(ValueError, match="header is not right"):
        read_header(bytes(spoilt))


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_whatever_the_bytes_it_is_a_header_or_a_value_error(data) -> None:
    kind, options = data.draw(st.sampled_from(WAYS))
    raw = bytearray(picture(kind, (9, 9), **options))
    for _ in range(data.draw(st.integers(0, 6))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    raw = raw[: data.draw(st.integers(0, len(raw)))]
    header = None
    with contextlib.suppress(ValueError):
        header = read_header(bytes(raw))
    assert header is None or (header.width > 0 and header.height > 0)
