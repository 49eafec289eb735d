"""Pictures in messages: every way of giving one, and what is wrong with one."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from modelrouter import InvalidTaskError, Task
from modelrouter.images import source
from tests.support.pictures import picture, pil

PNG = picture()
URL = f"data:image/png;base64,{base64.b64encode(PNG).decode()}"


def asked(part: object) -> Task:
    return Task.of([{"role": "user", "content": ["What is this?", part]}])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "it.bin"
    path.write_bytes(PNG)
    return path


@pytest.mark.parametrize(
    "wrap",
    [
        lambda image: image,
        lambda image: {"type": "image", "image": image},
        lambda image: {"type": "image_url", "image_url": image},
        lambda image: {"type": "image_url", "image_url": {"url": image}},
        lambda image: {"type": "input_image", "image_url": image},
    ],
)
def test_a_path_and_bytes_reach_the_provider_as_a_data_url(wrap, file) -> None:
    for image in (file, PNG, bytearray(PNG), memoryview(PNG)):
        task = asked(wrap(image))
        assert task.last_user.images == (URL,)
        part = task.to_openai()[0]["content"][1]
        assert part == {"type": "image_url", "image_url": {"url": URL}}


def test_a_pil_image_reaches_it_too_with_its_pixels() -> None:
    for mode in ("RGB", "RGBA", "L", "P", "CMYK", "1"):
        (url,) = asked(pil(mode=mode, colour=0)).last_user.images
        data = base64.b64decode(url.partition(",")[2])
        assert source.read_header(data) == ("png", 6, 4)


def test_a_url_stays_a_url_and_its_detail_is_kept() -> None:
    given = {"url": "https://example.com/a.jpg", "detail": "low"}
    part = asked({"type": "image_url", "image_url": given}).to_openai()[0]["content"][1]
    assert part == {"type": "image_url", "image_url": given}


def test_the_data_says_the_format_not_the_url() -> None:
    wrong = URL.replace("image/png", "image/jpeg")
    assert asked({"type": "image_url", "image_url": wrong}).last_user.images == (URL,)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (PNG[:60], "damaged PNG"),
        (picture("BMP"), "format BMP.*Save it as PNG"),
        (b"", "is empty"),
        (b"hello", "not a picture"),
        (Path("nowhere/cat.png"), "cannot be read"),
        ("data:image/png;base64,%%%", "not base64"),
        ("data:image/png,abc", "cannot read an image"),
        ("/etc/hostname", "cannot read an image"),  # a text is not a path
        ("file:///etc/hostname", "cannot read an image"),
        (7, "from int"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(image, words) -> None:
    with pytest.raises(InvalidTaskError, match=words) as caught:
        asked({"type": "image", "image": image})
    assert caught.value.field == "messages[0].content[1].image"


def test_too_many_bytes_and_too_many_pixels_are_refused_with_both_numbers(tmp_path) -> None:
    path = tmp_path / "large.png"
    with path.open("wb") as out:
        out.truncate(source.MAX_BYTES + 1)
    with pytest.raises(InvalidTaskError, match=r"20,971,521 bytes, more than 20,971,520.*smaller"):
        asked(path)
    with pytest.raises(InvalidTaskError, match=r"bytes, more than"):
        asked({"type": "image", "image": "data:image/png;base64," + "A" * 28_000_000})
    with pytest.raises(InvalidTaskError, match=r"9,000 x 9,000 pixels, more than 64,000,000"):
        asked(picture(size=(9_000, 9_000), colour=(0, 0, 0)))


@pytest.mark.parametrize("kind", ["input_audio", "audio_url", "audio"])
def test_sound_is_refused_with_the_way_out(kind) -> None:
    with pytest.raises(InvalidTaskError, match="Transcribe") as caught:
        asked({"type": kind, kind: {"data": "", "format": "wav"}})
    assert caught.value.field == "messages[0].content[1].type"


def test_without_images_a_note_stands_in_their_place() -> None:
    task = asked(PNG)
    assert (
        task.without_images().text == "What is this?\n[A picture was shown here; it is left out.]"
    )
    assert not task.without_images().has_images
    assert task.has_images
