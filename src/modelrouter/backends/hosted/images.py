"""Pictures drawn by hosted models, through litellm's image generation."""

from __future__ import annotations

import time
from typing import Any

from modelrouter.backends.base import ImageRequest
from modelrouter.backends.hosted.bounds import Limits, pictures
from modelrouter.backends.hosted.calling import aask, aasking_once, ask, asking_once, reach
from modelrouter.backends.hosted.errors import malformed
from modelrouter.counting import most_of_pictures, usage_of_pictures
from modelrouter.response import GeneratedImage, ImagesResponse

__all__ = ["HostedImages"]


class HostedImages:
    """Fulfils :class:`~modelrouter.backends.base.ImageBackend`; a part of the hosted backend."""

    def draw(self, request: ImageRequest) -> ImagesResponse:
        """See :meth:`ImageBackend.draw <modelrouter.backends.base.ImageBackend.draw>`."""
        given = _parameters(request)

        def call(litellm: Any) -> ImagesResponse:
            with asking_once(request.card, given) as asked:
                return _read(litellm.image_generation(**asked), request)

        return ask(request.card, request.timeout_s, _limits(request), call)

    async def adraw(self, request: ImageRequest) -> ImagesResponse:
        """See :meth:`ImageBackend.adraw <modelrouter.backends.base.ImageBackend.adraw>`."""
        given = _parameters(request)

        async def call(litellm: Any) -> ImagesResponse:
            async with aasking_once(request.card, given) as asked:
                return _read(await litellm.aimage_generation(**asked), request)

        return await aask(request.card, request.timeout_s, _limits(request), call)


def _parameters(request: ImageRequest) -> dict[str, Any]:
    options = dict(request.options)
    if "gpt-image" in request.card.name and options.get("response_format") == "b64_json":
        del options["response_format"]  # it answers so always, and refuses to be told
    return {**options, **reach(request.card, request.timeout_s), "prompt": request.prompt}


def _limits(request: ImageRequest) -> Limits:
    return pictures(_count(request))


def _count(request: ImageRequest) -> int:
    count = request.options.get("n")
    return count if isinstance(count, int) else 1


def _read(response: Any, request: ImageRequest) -> ImagesResponse:
    """The reply.

    Raises:
        MalformedResponseError: there is no picture in it.
    """
    card = request.card
    try:
        told = response.model_dump() if hasattr(response, "model_dump") else dict(response)
        images = [GeneratedImage.model_validate(item) for item in told.get("data") or ()]
        if not images or not all(image.url or image.b64_json for image in images):
            raise malformed(card, "it holds no picture")
        if len(images) > _count(request):  # each is paid for
            raise malformed(card, f"it holds {len(images)} pictures for {_count(request)}")
        return ImagesResponse(
            created=int(told.get("created") or time.time()),
            data=images,
            model=card.name,
            usage=usage_of_pictures(told.get("usage"), most_of_pictures(card, _count(request))),
            **{
                n: told[n]
                for n in ("size", "quality", "background", "output_format")
                if told.get(n)
            },
        )
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        raise malformed(card, f"it cannot be read ({type(exc).__name__})") from exc
