"""Search over a folder of pictures, with a real tiny CLIP."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from modelrouter import Catalog, ConfigurationError, InvalidTaskError, ModelCard, Router
from modelrouter.exceptions import StorageError
from tests.support.pictures import picture
from tests.support.tiny_clip import make_tiny_clip

COLOURS = {"red": (250, 0, 0), "green": (0, 250, 0), "blue": (0, 0, 250)}


@pytest.fixture(scope="module")
def router(tmp_path_factory):
    folder = make_tiny_clip(tmp_path_factory.mktemp("clip") / "tiny-clip")
    with Router(catalog=Catalog([ModelCard.local(folder)])) as router:
        yield router


@pytest.fixture
def folder(tmp_path) -> Path:
    for name, colour in COLOURS.items():
        path = tmp_path / "it" / name / f"{name}.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(picture(colour=colour))
    (tmp_path / "it" / "notes.txt").write_text("no picture")
    return tmp_path / "it"


def test_pictures_are_found_by_a_picture_and_by_words(router, folder) -> None:
    index = router.image_index(folder)
    done = index.update()
    assert (done.added, done.removed, done.kept, done.skipped) == (3, 0, 0, {})
    for name, colour in COLOURS.items():
        best = index.search(picture("JPEG", (9, 9), colour, quality=100), k=1)[0]
        assert best.path == folder / name / f"{name}.png"
        assert best.score == pytest.approx(1, abs=1e-2)
    found = index.search("a red car", k=5)
    scores = [match.score for match in found]
    assert len(found) == 3
    assert scores == sorted(scores, reverse=True)
    text = np.asarray(router.embedding(["a red car"], multimodal=True).vectors[0])
    vectors = router.embedding([match.path for match in found]).vectors
    assert scores == pytest.approx((np.asarray(vectors) @ text).tolist(), abs=1e-4)


def test_only_what_changed_is_read_again_and_the_index_lasts(router, folder) -> None:
    router.image_index(folder).update()
    index = router.image_index(folder)
    assert (len(index), index.model) == (3, "tiny-clip")
    assert index.update().kept == 3
    changed = folder / "red" / "red.png"
    changed.write_bytes(picture(colour=(9, 9, 9), size=(20, 20)))
    os.utime(changed, ns=(1, 1))
    (folder / "blue" / "blue.png").unlink()
    (folder / "new.webp").write_bytes(picture("WEBP"))
    done = index.update()
    assert (done.added, done.removed, done.kept) == (2, 1, 1)
    assert len(router.image_index(folder)) == 3


def test_what_is_no_picture_is_skipped_and_said(router, folder) -> None:
    broken = folder / "broken.png"
    broken.write_bytes(picture()[:40])
    spoilt = bytearray(picture(size=(64, 64)))
    at = spoilt.index(b"IDAT")
    spoilt[at + 4 : at + 30] = bytes(26)  # whole by its header; the pixels are not
    (folder / "spoilt.png").write_bytes(spoilt)
    done = router.image_index(folder).update()
    assert done.added == 3
    assert set(done.skipped) == {broken, folder / "spoilt.png"}
    assert "damaged PNG" in done.skipped[broken]


@pytest.mark.parametrize("content", [b"", b"no index", b"PK\3\4 but no more"])
def test_a_damaged_index_is_said_to_be_so(router, folder, tmp_path, content) -> None:
    file = tmp_path / "mine.npz"
    file.write_bytes(content)
    with pytest.raises(StorageError, match="Delete it"):
        router.image_index(folder, file=file)


def test_an_index_that_holds_objects_is_not_opened(router, folder, tmp_path) -> None:
    file = tmp_path / "mine.npz"
    names = ("format", "model", "paths", "mtimes", "sizes", "vectors")
    np.savez(file, **{name: np.asarray([{"a": 1}], dtype=object) for name in names})
    with pytest.raises(StorageError, match="Object arrays"):
        router.image_index(folder, file=file)


def test_an_empty_folder_has_no_matches_and_no_folder_is_an_error(router, tmp_path) -> None:
    (tmp_path / "none").mkdir()
    index = router.image_index(tmp_path / "none")
    assert index.update().added == 0
    assert index.search("a dog") == []
    with pytest.raises(ConfigurationError, match="is not a folder"):
        router.image_index(tmp_path / "nowhere")


@pytest.mark.parametrize("k", [0, -1, True, 1.5, "3"])
def test_k_is_a_positive_number(router, folder, k) -> None:
    index = router.image_index(folder)
    index.update()
    with pytest.raises(InvalidTaskError, match="k"):
        index.search("a dog", k=k)
