"""The router's faces for pictures: generate_image, images.generate, embed, classify_image."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from typing_extensions import Unpack

from modelrouter.client.chat import AUTO
from modelrouter.client.image_calls import (
    Classification,
    aclassify,
    adraw,
    aembed_mixed,
    classify,
    draw,
    embed_mixed,
)
from modelrouter.client.image_index import ImageIndex
from modelrouter.client.options import ImageOptions, MixedOptions
from modelrouter.response import EmbeddingResponse, ImagesResponse

if TYPE_CHECKING:
    from modelrouter.client.core import _Parts

__all__ = ["AsyncImageFaces", "AsyncImages", "ImageFaces", "Images"]


class Images:
    """The ``images`` resource: what code written for the openai client calls."""

    def __init__(self, parts: _Parts) -> None:
        self._parts = parts

    def generate(
        self, *, prompt: str, model: str = AUTO, **options: Unpack[ImageOptions]
    ) -> ImagesResponse:
        """See :meth:`Router.generate_image`."""
        return draw(self._parts, prompt, model, options)


class AsyncImages:
    """The awaited ``images`` resource."""

    def __init__(self, parts: _Parts) -> None:
        self._parts = parts

    async def generate(
        self, *, prompt: str, model: str = AUTO, **options: Unpack[ImageOptions]
    ) -> ImagesResponse:
        """See :meth:`AsyncRouter.generate_image`."""
        return await adraw(self._parts, prompt, model, options)


class ImageFaces:
    """The part of :class:`Router` that is about pictures."""

    @property
    def images(self) -> Images:
        """``router.images.generate(...)``, as the openai client has it."""
        return Images(_parts(self))

    def generate_image(
        self, prompt: str, *, model: str = AUTO, **options: Unpack[ImageOptions]
    ) -> ImagesResponse:
        """Draw one or more pictures (``n``); ``reply.images[0].save("fox.png")``.

        Raises:
            InvalidTaskError, ConfigurationError: before anything is asked.
            NoEligibleModelError: no model here draws.
            BackendError: the only model asked could not.
            AllCandidatesFailedError: several were asked and none could.
        """
        return draw(_parts(self), prompt, model, options)

    async def agenerate_image(
        self, prompt: str, *, model: str = AUTO, **options: Unpack[ImageOptions]
    ) -> ImagesResponse:
        """The awaited twin of :meth:`generate_image`."""
        return await adraw(_parts(self), prompt, model, options)

    def embed(
        self, items: Iterable[Any], *, model: str = AUTO, **options: Unpack[MixedOptions]
    ) -> EmbeddingResponse:
        """Vectors of texts and pictures in one space, each of length one.

        A ``str`` is a text (or a ``data:image/`` URL); a picture is a ``pathlib.Path``, bytes or a
        PIL image. Only models that see are asked, so that all vectors can be compared; name the
        model wherever they are kept.

        Raises:
            InvalidTaskError: an item is empty, or no picture that can be read.
            NoEligibleModelError: no model here makes vectors of pictures.
            MissingDependencyError: a local CLIP was chosen, and the extra ``clip`` is missing.
            BackendError: the model could not; a text beyond its window, unless ``truncate=True``.
        """
        return embed_mixed(_parts(self), items, model, options)

    async def aembed(
        self, items: Iterable[Any], *, model: str = AUTO, **options: Unpack[MixedOptions]
    ) -> EmbeddingResponse:
        """The awaited twin of :meth:`embed`."""
        return await aembed_mixed(_parts(self), items, model, options)

    def classify_image(
        self,
        image: Any,
        labels: Iterable[str],
        *,
        prompt: str = "a photo of a {}",
        model: str = AUTO,
        **options: Unpack[MixedOptions],
    ) -> Classification:
        """Which of the labels fits a picture, zero-shot, as CLIP does it.

        The softmax of the scaled cosines between the picture and ``prompt`` with each label.
        ``image`` is a path (a ``str`` too), bytes, a PIL image or a data URL.

        Raises:
            InvalidTaskError: fewer than two labels, or no picture that can be read.
            NoEligibleModelError, MissingDependencyError, BackendError: see :meth:`embed`.
        """
        return classify(_parts(self), image, labels, prompt, model, options)

    async def aclassify_image(
        self,
        image: Any,
        labels: Iterable[str],
        *,
        prompt: str = "a photo of a {}",
        model: str = AUTO,
        **options: Unpack[MixedOptions],
    ) -> Classification:
        """The awaited twin of :meth:`classify_image`."""
        return await aclassify(_parts(self), image, labels, prompt, model, options)

    def image_index(
        self, folder: str | Path, *, file: str | Path | None = None, model: str = AUTO
    ) -> ImageIndex:
        """Search over a folder's pictures: ``index.update()``, ``index.search("a red car", k=5)``.

        The index is kept in ``file``, by default ``.modelrouter-images.npz`` in the folder.

        Raises:
            ConfigurationError: the folder is none.
            StorageError: the index file is damaged.
        """

        def embed(items: Sequence[Any], name: str) -> EmbeddingResponse:
            return self.embed(items, model=name)

        return ImageIndex(embed, folder, file=file, model=model)


class AsyncImageFaces:
    """The part of :class:`AsyncRouter` that is about pictures."""

    @property
    def images(self) -> AsyncImages:
        """``await router.images.generate(...)``, as the openai client has it."""
        return AsyncImages(_parts(self))

    async def generate_image(
        self, prompt: str, *, model: str = AUTO, **options: Unpack[ImageOptions]
    ) -> ImagesResponse:
        """See :meth:`Router.generate_image`."""
        return await adraw(_parts(self), prompt, model, options)

    async def embed(
        self, items: Iterable[Any], *, model: str = AUTO, **options: Unpack[MixedOptions]
    ) -> EmbeddingResponse:
        """See :meth:`Router.embed`."""
        return await aembed_mixed(_parts(self), items, model, options)

    async def classify_image(
        self,
        image: Any,
        labels: Iterable[str],
        *,
        prompt: str = "a photo of a {}",
        model: str = AUTO,
        **options: Unpack[MixedOptions],
    ) -> Classification:
        """See :meth:`Router.classify_image`."""
        return await aclassify(_parts(self), image, labels, prompt, model, options)

    agenerate_image, aembed, aclassify_image = generate_image, embed, classify_image


def _parts(router: object) -> _Parts:
    return cast("_Parts", router)
