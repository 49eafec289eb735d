"""Pictures drawn by hosted models, through litellm's image generation."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from modelrouter.backends.base import ImageRequest
from modelrouter.backends.hosted.calling import aask, aasking_once, ask, asking_once, reach
from modelrouter.backends.hosted.errors import malformed
from modelrouter.response import GeneratedImage, ImagesResponse, Usage

__all__ = ["HostedImages"]


class HostedImages:
    """Fulfils :class:`~modelrouter.backends.base.ImageBackend`; a part of the hosted backend."""

    def draw(self, request: ImageRequest) -> ImagesResponse:
        """See :meth:`ImageBackend.draw <modelrouter.backends.base.ImageBackend.draw>`."""
        given = _parameters(request)

        def call(litellm: Any) -> ImagesResponse:
            with asking_once(request.card, given) as asked:
                return _read(litellm.image_generation(**asked), request)

        return ask(request.card, request.timeout_s, call)

    async def adraw(self, request: ImageRequest) -> ImagesResponse:
        """See :meth:`ImageBackend.adraw <modelrouter.backends.base.ImageBackend.adraw>`."""
        given = _parameters(request)

        async def call(litellm: Any) -> ImagesResponse:
            async with aasking_once(request.card, given) as asked:
                return _read(await litellm.aimage_generation(**asked), request)

        return await aask(request.card, request.timeout_s, call)


def _parameters(request: ImageRequest) -> dict[str, Any]:
    options = dict(request.options)
    if "gpt-image" in request.card.name and options.get("response_format") == "b64_json":
        del options["response_format"]  # it answers so always, and refuses to be told
    return {**options, **reach(request.card, request.timeout_s), "prompt": request.prompt}


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
        return ImagesResponse(
            created=int(told.get("created") or time.time()),
            data=images,
            model=card.name,
            usage=_usage(told.get("usage")),
            **{
                n: told[n]
                for n in ("size", "quality", "background", "output_format")
                if told.get(n)
            },
        )
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        raise malformed(card, f"it cannot be read ({type(exc).__name__})") from exc


def _usage(told: Any) -> Usage:
    """Tokens as a conversation counts them; none where the provider bills by the picture."""
    if not isinstance(told, Mapping):
        return Usage()
    prompt, output = int(told.get("input_tokens") or 0), int(told.get("output_tokens") or 0)
    return Usage(prompt_tokens=prompt, completion_tokens=output, total_tokens=prompt + output)
