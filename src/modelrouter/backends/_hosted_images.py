"""Pictures drawn by hosted models, through litellm's image generation."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Mapping
from typing import Any

from modelrouter.backends._hosted_calling import aask, ask, reach
from modelrouter.backends._hosted_errors import malformed
from modelrouter.backends.base import ImageRequest
from modelrouter.response import GeneratedImage, ImagesResponse, Usage

__all__ = ["HostedImages"]


class HostedImages:
    """Fulfils :class:`~modelrouter.backends.base.ImageBackend`; a part of the hosted backend."""

    def draw(self, request: ImageRequest) -> ImagesResponse:
        """See :meth:`ImageBackend.draw <modelrouter.backends.base.ImageBackend.draw>`."""
        given = _parameters(request)

        def call(litellm: Any) -> ImagesResponse:
            with contextlib.ExitStack() as stack:
                if _by_openai(request):
                    given["client"] = stack.enter_context(_client("OpenAI", given))
                return _read(litellm.image_generation(**given), request)

        return ask(request.card, request.timeout_s, call)

    async def adraw(self, request: ImageRequest) -> ImagesResponse:
        """See :meth:`ImageBackend.adraw <modelrouter.backends.base.ImageBackend.adraw>`."""
        given = _parameters(request)

        async def call(litellm: Any) -> ImagesResponse:
            async with contextlib.AsyncExitStack() as stack:
                if _by_openai(request):
                    given["client"] = await stack.enter_async_context(_client("AsyncOpenAI", given))
                return _read(await litellm.aimage_generation(**given), request)

        return await aask(request.card, request.timeout_s, call)


def _by_openai(request: ImageRequest) -> bool:
    return bool(request.card.server_model) or request.card.name.startswith("openai/")


def _client(kind: str, given: Mapping[str, Any]) -> Any:
    """A client of openai's that asks once.

    litellm hands no ``max_retries`` on for pictures: it would set the client's to 2, and three
    pictures might be paid for.
    """
    import openai

    base = getattr(openai, kind)
    once = property(lambda client: 0, lambda client, value: None)
    client = type(kind, (base,), {"max_retries": once})
    return client(
        api_key=given.get("api_key"), base_url=given.get("api_base"), timeout=given["timeout"]
    )


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
