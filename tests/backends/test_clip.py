"""CLIP on this machine: vectors, labels, faithfulness to transformers, and what is wrong."""

from __future__ import annotations

import io
import math
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from modelrouter import (
    AsyncRouter,
    BadRequestError,
    Catalog,
    InvalidTaskError,
    LocalModelError,
    ModelCard,
    ModelFileError,
    NoEligibleModelError,
    Policy,
    Router,
)
from modelrouter.testing import EchoBackend, example_card
from tests.support.pictures import picture, pil
from tests.support.tiny_clip import CONFIG, SCALE, START, VOCABULARY, make_tiny_clip, weights

NAME = "openai/clip-vit-base-patch32"


def noise(size: tuple[int, int] = (50, 37), seed: int = 0) -> Image.Image:
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), np.uint8)
    return Image.fromarray(pixels)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_clip(tmp_path_factory.mktemp("clip") / "tiny-clip")


@pytest.fixture(scope="module")
def router(folder: Path):
    with Router(catalog=Catalog([ModelCard.local(folder)])) as router:
        yield router


def test_texts_and_pictures_become_vectors_of_length_one_in_one_space(router, tmp_path) -> None:
    path = tmp_path / "it.jpg"
    noise().save(path)
    items = ["a photo of a dog", path, picture(), "cat", pil(mode="P", colour=3)]
    reply = router.embedding(items)
    assert [item.index for item in reply.data] == [0, 1, 2, 3, 4]
    vectors = np.asarray(reply.vectors)
    assert vectors.shape == (5, CONFIG["projection_dim"])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    alone = [router.embedding(item).vectors[0] for item in items]
    np.testing.assert_allclose(vectors, alone, atol=1e-5)  # padding changes nothing
    assert (reply.model, reply.cost_usd) == ("tiny-clip", 0.0)
    assert reply.decision.location == "local"


def test_the_card_is_filled_from_the_folder_and_by_its_known_name(folder) -> None:
    card = ModelCard.local(folder, name=NAME)
    assert (card.backend, card.location, card.context_window) == ("clip", "local", 77)
    assert card.licence == "MIT"
    with Router(models=[card]) as router:
        assert NAME not in router.unavailable
        assert router.embedding(["a dog"], multimodal=True, model=NAME).model == NAME
    with Router(models=[str(folder)]) as router:
        assert router.embedding(["a dog"], multimodal=True, model="tiny-clip").vectors


async def test_awaited_too(folder, router) -> None:
    plain = router.embedding(["a dog", picture()]).vectors
    assert (await router.aembedding(["a dog", picture()])).vectors == plain
    async with AsyncRouter(catalog=Catalog([ModelCard.local(folder)])) as arouter:
        assert (await arouter.embedding(["a dog", picture()])).vectors == plain
        labels = await arouter.classify_image(noise(), ["dog", "cat"])
        assert labels.probabilities == router.classify_image(noise(), ["dog", "cat"]).probabilities


def test_texts_alone_are_embedded_by_the_call_that_openai_has(router) -> None:
    alone = router.embedding(["a dog", "cat"]).vectors
    beside_pictures = router.embedding(["a dog", "cat"], multimodal=True).vectors
    np.testing.assert_allclose(alone, beside_pictures, atol=1e-6)
    with pytest.raises(BadRequestError, match="shorten"):
        router.embedding("a dog", dimensions=4)


@pytest.mark.parametrize("layout", [{"both": False}, {"split": False}, {}])
def test_every_layout_of_the_exports_gives_the_same(layout, tmp_path, router) -> None:
    folder = make_tiny_clip(tmp_path / "it", **layout)
    if layout == {"both": False}:  # some put the files beside the configuration
        for file in (folder / "onnx").iterdir():
            shutil.move(file, folder)
    with Router(catalog=Catalog([ModelCard.local(folder)])) as other:
        reply = other.embedding(["a dog", noise()])
    np.testing.assert_allclose(
        reply.vectors, router.embedding(["a dog", noise()]).vectors, atol=1e-5
    )
    assert reply.logit_scale == (None if layout == {"both": False} else pytest.approx(SCALE, 1e-3))


def test_labels_are_the_softmax_of_the_scaled_cosines(router, tmp_path) -> None:
    path = tmp_path / "it.png"
    noise().save(path)
    labels = ["dog", "cat", "red car"]
    found = router.classify_image(str(path), labels, prompt="photo of {}")
    image, *texts = np.asarray(router.embedding([path, *(f"photo of {n}" for n in labels)]).vectors)
    logits = SCALE * np.asarray(texts) @ image
    expected = np.exp(logits) / np.exp(logits).sum()
    for label, share in zip(labels, expected, strict=True):
        assert found.probabilities[label] == pytest.approx(share, rel=1e-3)
    assert math.isclose(sum(found.probabilities.values()), 1)
    assert list(found.probabilities.values()) == sorted(found.probabilities.values(), reverse=True)
    assert found.label == labels[int(np.argmax(expected))]
    assert found.decision.model == "tiny-clip"


@pytest.mark.parametrize("labels", [[], ["dog"], "dog", ["dog", ""], ["dog", "dog"], [1, 2], None])
def test_labels_that_are_none_are_refused(router, labels) -> None:
    with pytest.raises(InvalidTaskError, match="labels"):
        router.classify_image(noise(), labels)


@pytest.mark.parametrize("items", [[], [""], ["a", 5], [b"no picture"], [Path("nowhere.png")]])
def test_items_that_are_none_are_refused_with_their_place(router, items) -> None:
    with pytest.raises(InvalidTaskError, match="input"):
        router.embedding(items)


def test_a_text_beyond_the_window_is_refused_with_both_numbers_or_cut_when_asked(router) -> None:
    with pytest.raises(BadRequestError, match=r"input\[1\] has 102 tokens, the model reads 77"):
        router.embedding(["a", "x " * 100], multimodal=True)
    assert router.embedding(["x " * 100], truncate=True, multimodal=True).usage.prompt_tokens == 77
    # Reading its beginning is reading what fits, the end of the text with it.
    cut, fits = router.embedding(["x " * 100, "x " * 75], truncate=True, multimodal=True).vectors
    assert cut == pytest.approx(fits)


def test_pixels_that_are_damaged_are_an_error_of_the_model(router) -> None:
    whole = bytearray(io.BytesIO().getvalue())
    out = io.BytesIO()
    noise((64, 64)).save(out, "PNG")
    whole = bytearray(out.getvalue())
    whole[60:400] = bytes(340)  # header and end are right, the pixels are not
    with pytest.raises((LocalModelError, InvalidTaskError)):
        router.embedding([bytes(whole)])


def test_it_writes_no_text(router) -> None:
    with pytest.raises(NoEligibleModelError):
        router.completion("Hello!")


def test_a_private_policy_has_it_and_a_text_model_is_not_asked(folder) -> None:
    cards = Catalog([example_card(), ModelCard.local(folder)])
    with Router(cards and None, catalog=cards, backends={"test": EchoBackend()}) as router:
        assert router.embedding([picture()], policy=Policy.private()).model == "tiny-clip"


@pytest.mark.parametrize(
    ("file", "text", "words"),
    [
        ("tokenizer.json", None, r"no tokenizer\.json"),
        ("config.json", "{", "cannot be read"),
        ("config.json", '{"model_type": "bert"}', "'bert', not 'clip'"),
        ("tokenizer.json", "{}", "damaged"),
        ("onnx/text_model.onnx", "no graph", "cannot be loaded"),
        ("onnx/text_model.onnx", None, "no ONNX files"),
    ],
)
def test_a_folder_that_is_not_whole_is_refused(tmp_path, file, text, words) -> None:
    folder = make_tiny_clip(tmp_path / "it", both=False)
    if text is None:
        (folder / file).unlink()
    else:
        (folder / file).write_text(text)
    with pytest.raises(ModelFileError, match=words):
        Router(catalog=Catalog([ModelCard.local(folder)])).embedding(["a dog"], multimodal=True)


def test_vectors_logits_pixels_and_tokens_are_those_of_transformers(folder, router) -> None:
    """Needs transformers and torch, which the tests do not install."""
    torch = pytest.importorskip("torch")
    transformers = pytest.importorskip("transformers")
    model = transformers.CLIPModel(transformers.CLIPConfig(**CONFIG)).eval()
    state = {name: torch.from_numpy(np.array(value)) for name, value in weights().items()}
    missing, unexpected = model.load_state_dict(state, strict=False)
    assert not unexpected
    assert all("position_ids" in name for name in missing)
    processor = _processor(transformers, folder)
    tokenizer = transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"), pad_token="<|endoftext|>"
    )
    images = [noise((50, 37)), noise((31, 90), 1), noise((24, 24), 2), noise((200, 25), 3)]
    texts = ["a photo of a dog", "Photo  of\nTWO dogs", "cat"]
    read = tokenizer(texts, return_tensors="pt", padding=True)
    assert int(read["input_ids"][0, 0]) == START
    assert "photo</w>" in VOCABULARY
    given = {
        "input_ids": read["input_ids"],
        "attention_mask": read["attention_mask"],
        "pixel_values": processor(images, return_tensors="pt")["pixel_values"],
    }
    with torch.no_grad():
        theirs = model(**given)
    ours = np.asarray(router.embedding([*texts, *images]).vectors)
    np.testing.assert_allclose(ours[:3], theirs.text_embeds.numpy(), atol=1e-5)
    np.testing.assert_allclose(ours[3:], theirs.image_embeds.numpy(), atol=1e-5)
    logits = theirs.logits_per_image.softmax(-1).numpy()
    for image, row in zip(images, logits, strict=True):
        found = router.classify_image(image, texts, prompt="{}").probabilities
        np.testing.assert_allclose([found[t] for t in texts], row, atol=1e-4)


def _processor(transformers, folder):
    """The one that Pillow resizes for; the other does it by torchvision, a little differently."""
    for name in ("CLIPImageProcessorPil", "CLIPImageProcessor"):
        kind = getattr(transformers, name, None)
        if kind is not None:
            return kind.from_pretrained(folder)
    raise AssertionError("transformers has no image processor of CLIP")
