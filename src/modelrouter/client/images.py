"""The routers' faces for pictures: image_generation, classify_image, image_index; ``images``."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from typing_extensions import Unpack

from modelrouter.client.core import Core
from modelrouter.client.embeddings import Embeddable, EmbeddingCalls
from modelrouter.client.image_calls import Classification, aclassify, adraw, classify, draw
from modelrouter.client.image_index import ImageIndex
from modelrouter.client.options import AUTO, ImageOptions, MixedOptions
from modelrouter.response import EmbeddingResponse, ImagesResponse

__all__ = ["AsyncImageFaces", "AsyncImages", "ImageFaces", "Images"]


def _deprecated(old: str, new: str) -> None:
    warnings.warn(f"{old}() is deprecated: call {new}.", DeprecationWarning, stacklevel=3)


_EMBEDDING = "embedding(), with multimodal=True where there are texts alone"


class Images:
    """The ``images`` resource: what code written for the openai client calls."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def generate(
        self, *, prompt: str, model: str = AUTO, **options: Unpack[ImageOptions]
    ) -> ImagesResponse:
        """See :meth:`Router.image_generation`."""
        return draw(self._core, prompt, model, options)


class AsyncImages:
    """The awaited ``images`` resource."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def generate(
        self, *, prompt: str, model: str = AUTO, **options: Unpack[ImageOptions]
    ) -> ImagesResponse:
        """See :meth:`AsyncRouter.image_generation`."""
        return await adraw(self._core, prompt, model, options)


class ImageFaces:
    """The part of :class:`Router` that is about pictures."""

    _core: Core

    @property
    def images(self) -> Images:
        """``router.images.generate(...)``, as the openai client has it."""
        return Images(self._core)

    def image_generation(
        self, prompt: str, *, model: str = AUTO, **options: Unpack[ImageOptions]
    ) -> ImagesResponse:
        """Draw one or more pictures (``n``); ``reply.images[0].save("fox.png")``.

        Raises:
            InvalidTaskError, ConfigurationError: before anything is asked.
            NoEligibleModelError: no model here draws.
            BackendError: the only model asked could not.
            AllCandidatesFailedError: several were asked and none could.
        """
        return draw(self._core, prompt, model, options)

    async def aimage_generation(
        self, prompt: str, *, model: str = AUTO, **options: Unpack[ImageOptions]
    ) -> ImagesResponse:
        """The awaited twin of :meth:`image_generation`."""
        return await adraw(self._core, prompt, model, options)

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
            NoEligibleModelError, MissingDependencyError, BackendError: see :meth:`embedding`.
        """
        return classify(self._core, image, labels, prompt, model, options)

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
        return await aclassify(self._core, image, labels, prompt, model, options)

    def image_index(
        self, folder: str | Path, *, file: str | Path | None = None, model: str = AUTO
    ) -> ImageIndex:
        """Search over a folder's pictures: ``index.update()``, ``index.search("a red car", k=5)``.

        The index is kept in ``file``, by default ``.modelrouter-images.npz`` in the folder.

        Raises:
            ConfigurationError: ``folder`` is not a folder.
            StorageError: the index file is damaged.
        """

        def embed(items: Sequence[Any], name: str) -> EmbeddingResponse:
            return EmbeddingCalls(self._core).embed_mixed(items, name, {})

        return ImageIndex(embed, folder, file=file, model=model)

    def generate_image(
        self, prompt: str, *, model: str = AUTO, **options: Unpack[ImageOptions]
    ) -> ImagesResponse:
        """Deprecated: the old name of :meth:`image_generation`."""
        _deprecated("generate_image", "image_generation()")
        return draw(self._core, prompt, model, options)

    async def agenerate_image(
        self, prompt: str, *, model: str = AUTO, **options: Unpack[ImageOptions]
    ) -> ImagesResponse:
        """Deprecated: the old name of :meth:`aimage_generation`."""
        _deprecated("agenerate_image", "aimage_generation()")
        return await adraw(self._core, prompt, model, options)

    def embed(
        self, items: Embeddable, *, model: str = AUTO, **options: Unpack[MixedOptions]
    ) -> EmbeddingResponse:
        """Deprecated: as :meth:`embedding` with ``multimodal=True``."""
        _deprecated("embed", _EMBEDDING)
        return EmbeddingCalls(self._core).embed_mixed(items, model, options)

    async def aembed(
        self, items: Embeddable, *, model: str = AUTO, **options: Unpack[MixedOptions]
    ) -> EmbeddingResponse:
        """Deprecated: the awaited twin of :meth:`embed`."""
        _deprecated("aembed", f"a{_EMBEDDING}")
        return await EmbeddingCalls(self._core).aembed_mixed(items, model, options)


class AsyncImageFaces:
    """The part of :class:`AsyncRouter` that is about pictures."""

    _core: Core

    @property
    def images(self) -> AsyncImages:
        """``await router.images.generate(...)``, as the openai client has it."""
        return AsyncImages(self._core)

    async def image_generation(
        self, prompt: str, *, model: str = AUTO, **options: Unpack[ImageOptions]
    ) -> ImagesResponse:
        """See :meth:`Router.image_generation`."""
        return await adraw(self._core, prompt, model, options)

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
        return await aclassify(self._core, image, labels, prompt, model, options)

    aimage_generation, aclassify_image = image_generation, classify_image

    async def generate_image(
        self, prompt: str, *, model: str = AUTO, **options: Unpack[ImageOptions]
    ) -> ImagesResponse:
        """Deprecated: the old name of :meth:`image_generation`."""
        _deprecated("generate_image", "image_generation()")
        return await adraw(self._core, prompt, model, options)

    async def embed(
        self, items: Embeddable, *, model: str = AUTO, **options: Unpack[MixedOptions]
    ) -> EmbeddingResponse:
        """Deprecated: as :meth:`embedding` with ``multimodal=True``."""
        _deprecated("embed", _EMBEDDING)
        return await EmbeddingCalls(self._core).aembed_mixed(items, model, options)

    agenerate_image, aembed = generate_image, embed
