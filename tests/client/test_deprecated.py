"""Old names of verbs: they still work for one minor version, and say what to call."""

from __future__ import annotations

import pytest

from modelrouter import AsyncRouter, Catalog, ModelCard, Router
from tests.support.pictures import picture
from tests.support.tiny_clip import make_tiny_clip


@pytest.fixture(scope="module")
def catalog(tmp_path_factory: pytest.TempPathFactory) -> Catalog:
    folder = make_tiny_clip(tmp_path_factory.mktemp("clip") / "tiny-clip")
    return Catalog([ModelCard.local(folder)])


async def test_embed_is_embedding_in_the_space_of_pictures(catalog):
    items = ["a dog", picture()]
    async with AsyncRouter(catalog=catalog) as arouter:
        with Router(catalog=catalog) as router:
            wanted = router.embedding(items).vectors
            with pytest.warns(DeprecationWarning, match="embedding"):
                assert router.embed(items).vectors == wanted
            with pytest.warns(DeprecationWarning, match="aembedding"):
                assert (await router.aembed(items)).vectors == wanted
        for old in (arouter.embed, arouter.aembed):
            with pytest.warns(DeprecationWarning, match="embedding"):
                assert (await old(items)).vectors == wanted


async def test_generate_image_is_image_generation(catalog):
    prompt = "a fox"
    with Router(catalog=catalog) as router:
        with pytest.raises(Exception, match="image") as new:
            router.image_generation(prompt)
        with (
            pytest.warns(DeprecationWarning, match="image_generation"),
            pytest.raises(type(new.value)),
        ):
            router.generate_image(prompt)
        with (
            pytest.warns(DeprecationWarning, match="aimage_generation"),
            pytest.raises(type(new.value)),
        ):
            await router.agenerate_image(prompt)
    async with AsyncRouter(catalog=catalog) as arouter:
        for old in (arouter.generate_image, arouter.agenerate_image):
            with (
                pytest.warns(DeprecationWarning, match="image_generation"),
                pytest.raises(type(new.value)),
            ):
                await old(prompt)


def test_the_warning_names_the_callers_line(catalog):
    with (
        Router(catalog=catalog) as router,
        pytest.warns(DeprecationWarning, match="embedding") as said,
    ):
        router.embed(["a dog"])
    assert said[0].filename == __file__


def test_what_is_for_texts_alone_is_refused_beside_pictures(catalog):
    with Router(catalog=catalog) as router:
        with pytest.raises(Exception, match="dimensions is for texts alone"):
            router.embedding([picture()], dimensions=4)
        with pytest.raises(Exception, match="Unknown option 'dimension'"):
            router.embedding([picture()], dimension=4)
