"""Vectors of texts and pictures by hosted models, through litellm's embeddings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from modelrouter.backends.base import EmbeddingRequest, MixedRequest, Picture
from modelrouter.backends.hosted.bounds import embeddings
from modelrouter.backends.hosted.calling import aask, aasking_once, ask, asking_once, reach
from modelrouter.backends.hosted.errors import malformed
from modelrouter.counting import most_of_vectors, usage_of
from modelrouter.images import data_url
from modelrouter.response import Embedding, EmbeddingResponse, Usage
from modelrouter.signals.context import IMAGE_TOKENS, estimate_error, estimate_tokens

__all__ = ["HostedEmbeddings"]

_FLOATS: Final = ("openai/", "azure/", "mistral/", "text-embedding")
"""Whom to ask for plain numbers: their client would ask for base64 otherwise."""


class HostedEmbeddings:
    """Fulfils :class:`~modelrouter.backends.base.EmbeddingBackend`, and the one for pictures.

    Providers take texts or pictures in one call, so a mixed request is one of each.
    """

    def embed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        """See :meth:`EmbeddingBackend.embed`."""
        given = _parameters(request)

        def call(litellm: Any) -> EmbeddingResponse:
            with asking_once(request.card, given) as asked:
                return _read(litellm.embedding(**asked), request, len(request.texts))

        return ask(request.card, request.timeout_s, embeddings(len(request.texts)), call)

    async def aembed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        """See :meth:`EmbeddingBackend.aembed`."""
        given = _parameters(request)

        async def call(litellm: Any) -> EmbeddingResponse:
            async with aasking_once(request.card, given) as asked:
                return _read(await litellm.aembedding(**asked), request, len(request.texts))

        return await aask(request.card, request.timeout_s, embeddings(len(request.texts)), call)

    def embed_mixed(self, request: MixedRequest) -> EmbeddingResponse:
        """See :meth:`MixedBackend.embed_mixed`."""
        calls = _mixed_calls(request)

        def call(litellm: Any) -> EmbeddingResponse:
            replies = []
            for each in calls:
                with asking_once(request.card, each) as asked:
                    replies.append(_read(litellm.embedding(**asked), request, len(each["input"])))
            return _merged(request, replies)

        return ask(request.card, request.timeout_s, embeddings(len(request.items)), call)

    async def aembed_mixed(self, request: MixedRequest) -> EmbeddingResponse:
        """See :meth:`MixedBackend.aembed_mixed`."""
        calls = _mixed_calls(request)

        async def call(litellm: Any) -> EmbeddingResponse:
            replies = []
            for each in calls:
                async with aasking_once(request.card, each) as asked:
                    reply = await litellm.aembedding(**asked)
                    replies.append(_read(reply, request, len(each["input"])))
            return _merged(request, replies)

        return await aask(request.card, request.timeout_s, embeddings(len(request.items)), call)


def _parameters(request: EmbeddingRequest) -> dict[str, Any]:
    card = request.card
    texts = list(request.texts)
    if request.truncate:
        texts = [_beginning(text, card.context_window) for text in texts]
    made = {**reach(card, request.timeout_s), "input": texts}
    if request.dimensions is not None:
        made["dimensions"] = request.dimensions
    if card.server_model or card.name.startswith(_FLOATS):
        made["encoding_format"] = "float"
    return made


def _mixed_calls(request: MixedRequest) -> list[dict[str, Any]]:
    made = reach(request.card, request.timeout_s)
    texts = [item for item in request.items if isinstance(item, str)]
    pictures = [data_url(item.data) for item in request.items if isinstance(item, Picture)]
    return [{**made, "input": given} for given in (texts, pictures) if given]


def _merged(request: MixedRequest, replies: Sequence[EmbeddingResponse]) -> EmbeddingResponse:
    """The vectors in the order of the items, of one length as cosines need it."""
    vectors = [vector for reply in replies for vector in reply.vectors]
    items = request.items
    order = [i for i, item in enumerate(items) if isinstance(item, str)]
    order += [i for i, item in enumerate(items) if not isinstance(item, str)]
    data = [
        Embedding(index=i, embedding=_normalised(v)) for i, v in zip(order, vectors, strict=True)
    ]
    used = sum(reply.usage.prompt_tokens for reply in replies)
    usage = Usage(prompt_tokens=used, total_tokens=used)
    if doubted := [reply.usage for reply in replies if reply.usage.estimated]:
        usage = usage.model_copy(update={"estimated": True, "doubt": doubted[0].doubt})
    return replies[0].model_copy(
        update={
            "data": sorted(data, key=lambda item: item.index),
            "usage": usage,
        }
    )


def _normalised(vector: list[float]) -> list[float]:
    length = sum(x * x for x in vector) ** 0.5
    return [x / length for x in vector] if length else vector


def _beginning(text: str, tokens: int) -> str:
    """As much of the text as surely fits, its count being an estimate."""
    while (counted := estimate_tokens(text) * (1 + estimate_error(text))) > tokens:
        text = text[: max(1, int(len(text) * min(0.9, tokens / counted)))]
        if len(text) == 1:
            break
    return text


def _read(
    response: Any, request: EmbeddingRequest | MixedRequest, wanted: int
) -> EmbeddingResponse:
    """The reply.

    Raises:
        MalformedResponseError: there is not one vector of numbers for each input.
    """
    card = request.card
    try:
        told = response.model_dump() if hasattr(response, "model_dump") else dict(response)
        data = [
            Embedding(index=int(item.get("index", i)), embedding=item["embedding"])
            for i, item in enumerate(told["data"])
        ]
        if sorted(item.index for item in data) != list(range(wanted)):
            raise malformed(card, f"it holds {len(data)} vectors for {wanted} inputs")
        if len({len(item.embedding) for item in data}) != 1 or not data[0].embedding:
            raise malformed(card, "its vectors are empty or of different lengths")
        return EmbeddingResponse(
            data=sorted(data, key=lambda item: item.index),
            model=card.name,
            usage=_usage(told.get("usage"), request, wanted),
            provider_model=told.get("model"),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        raise malformed(card, f"it cannot be read ({type(exc).__name__})") from exc


def _usage(told: Any, request: EmbeddingRequest | MixedRequest, wanted: int) -> Usage:
    def prompt() -> int:
        items = request.texts if isinstance(request, EmbeddingRequest) else request.items
        texts = [item for item in items if isinstance(item, str)]
        return sum(map(estimate_tokens, texts)) + IMAGE_TOKENS * (len(items) - len(texts))

    return usage_of(told, most_of_vectors(request.card, wanted), prompt, "")
