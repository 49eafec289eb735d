"""Calls about pictures: drawing, vectors of texts and pictures in one space, labels for one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from modelrouter.backends.base import (
    ImageBackend,
    ImageRequest,
    MixedBackend,
    MixedRequest,
    Picture,
    Request,
)
from modelrouter.catalog.card import ModelCard
from modelrouter.catalog.cost import settled_cost_usd
from modelrouter.client.options import (
    ImageOptions,
    MixedOptions,
    check_names,
    checked_tags,
    drawing_options,
)
from modelrouter.config import GenerationSettings
from modelrouter.dispatch.drivers import adrive, drive
from modelrouter.dispatch.flow import Call, Result
from modelrouter.exceptions import BadRequestError, InvalidTaskError
from modelrouter.images import picture_bytes
from modelrouter.policies.decision import Decision
from modelrouter.response import EmbeddingResponse, ImagesResponse, Usage
from modelrouter.task import Task

if TYPE_CHECKING:
    from modelrouter.client.core import _Parts

__all__ = [
    "Classification",
    "aclassify",
    "adraw",
    "aembed_mixed",
    "classify",
    "draw",
    "embed_mixed",
]

_MARK: Final = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgAB"
    "SK+kcQAAAABJRU5ErkJggg=="
)
"""A picture of one pixel: in what is decided on it stands for each picture of the call."""

CLIP_SCALE: Final = 100.0
"""What cosines are multiplied by before the softmax where the model does not say: CLIP's training
stops the scale there, and all of OpenAI's released weights have come to it."""


@dataclass(frozen=True, slots=True)
class Classification:
    """How well each label fits a picture.

    Attributes:
        probabilities: by label, best first; they sum to 1 over the labels given.
        reply: the vectors that it was worked out from, with decision and cost.
    """

    probabilities: dict[str, float]
    reply: EmbeddingResponse

    @property
    def label(self) -> str:
        """The label that fits best."""
        return next(iter(self.probabilities))

    @property
    def decision(self) -> Decision | None:
        """Which model looked, and why."""
        return self.reply.decision


# -- drawing -----------------------------------------------------------------------------------


def draw(parts: _Parts, prompt: Any, model: str, options: ImageOptions) -> ImagesResponse:
    """Draw; see :meth:`Router.generate_image`."""
    call, request = _drawing(parts, prompt, model, options)
    with parts._tracer(call) as tracer:
        result = drive(call, lambda asked: _drawer(parts, asked.card).draw(request(asked)))
        return _drawn(result, tracer.ended(result.attempts, "answered"))


async def adraw(parts: _Parts, prompt: Any, model: str, options: ImageOptions) -> ImagesResponse:
    """The awaited twin of :func:`draw`."""
    call, request = _drawing(parts, prompt, model, options)
    with parts._tracer(call) as tracer:
        result = await adrive(call, lambda asked: _drawer(parts, asked.card).adraw(request(asked)))
        return _drawn(result, tracer.ended(result.attempts, "answered"))


def _drawing(
    parts: _Parts, prompt: Any, model: str, options: ImageOptions
) -> tuple[Call, Callable[[Request], ImageRequest]]:
    check_names(options, ImageOptions)
    if not isinstance(prompt, str) or not prompt.strip():
        raise InvalidTaskError("prompt", "says nothing.", hint="Say what is to be seen.")
    told = drawing_options(options)
    task = Task.of(
        prompt, kind="image_generation", metadata=options.get("metadata"), parameters=told
    )
    settings = GenerationSettings(extra={"n": told["n"]} if "n" in told else {})
    call = _call(parts, task, model, options, settings=settings, spent=_drawn_for)

    def request(asked: Request) -> ImageRequest:
        return ImageRequest(asked.card, prompt, told, asked.timeout_s)

    return call, request


def _drawn(result: Result[ImagesResponse], trace: Any) -> ImagesResponse:
    update = {"cost_usd": trace.cost_usd, "decision": result.decision, "trace": trace}
    return result.value.model_copy(update=update)


def _drawn_for(card: ModelCard, value: Any) -> tuple[Usage | None, float | None]:
    """Tokens and USD of pictures: by the picture, by tokens, or both."""
    assert isinstance(value, ImagesResponse)
    return value.usage, settled_cost_usd(card, value.usage, images=len(value.data))


def _drawer(parts: _Parts, card: ModelCard) -> ImageBackend:
    backend = parts.backend(card.backend)
    if not isinstance(backend, ImageBackend):
        raise BadRequestError(
            f"The backend {card.backend!r} of {card.name} draws nothing.", model=card.name
        )
    return backend


# -- vectors -----------------------------------------------------------------------------------


def embed_mixed(parts: _Parts, items: Any, model: str, options: MixedOptions) -> EmbeddingResponse:
    """Vectors in one space; see :meth:`Router.embed`."""
    call, decision, request = _mixed(parts, items, model, options)
    with parts._tracer(call) as tracer:
        result = drive(call, lambda asked: _mixer(parts, asked.card).embed_mixed(request(asked)))
        return parts._embedding_reply(result, decision, tracer)


async def aembed_mixed(
    parts: _Parts, items: Any, model: str, options: MixedOptions
) -> EmbeddingResponse:
    """The awaited twin of :func:`embed_mixed`."""
    call, decision, request = _mixed(parts, items, model, options)
    with parts._tracer(call) as tracer:
        result = await adrive(
            call, lambda asked: _mixer(parts, asked.card).aembed_mixed(request(asked))
        )
        return parts._embedding_reply(result, decision, tracer)


def _mixed(
    parts: _Parts, items: Any, model: str, options: MixedOptions
) -> tuple[Call, Decision, Callable[[Request], MixedRequest]]:
    """One model's call: vectors of two cannot be compared, so no other is asked when it fails."""
    check_names(options, MixedOptions)
    checked = _checked_items(items)
    texts = [item for item in checked if isinstance(item, str)]
    marks = [{"type": "image_url", "image_url": {"url": _MARK}}]
    marks *= max(1, len(checked) - len(texts))
    task = Task.of([{"role": "user", "content": ["\n".join(texts), *marks]}], kind="embedding")
    chosen = parts._decide(task, model, parts._policy_of(options))
    call = _call(parts, task, chosen.chosen.card.name, options, spent=_embedded)

    def request(asked: Request) -> MixedRequest:
        return MixedRequest(asked.card, checked, options.get("truncate", False), asked.timeout_s)

    return call, chosen, request


def _embedded(card: ModelCard, value: Any) -> tuple[Usage | None, float | None]:
    assert isinstance(value, EmbeddingResponse)
    return value.usage, settled_cost_usd(card, value.usage)


def _checked_items(items: Any) -> tuple[str | Picture, ...]:
    if isinstance(items, (str, bytes, Path)) or not isinstance(items, Iterable):
        items = (items,)
    found = tuple(_checked_item(item, f"items[{i}]") for i, item in enumerate(items))
    if not found:
        raise InvalidTaskError("items", "holds nothing.", hint="Give texts and pictures.")
    return found


def _checked_item(item: Any, where: str) -> str | Picture:
    if isinstance(item, str) and not item.startswith("data:image/"):
        if not item.strip():
            raise InvalidTaskError(where, "is empty.", hint="Give a text or a picture.")
        return item
    return Picture(picture_bytes(item, where))


def _mixer(parts: _Parts, card: ModelCard) -> MixedBackend:
    backend = parts.backend(card.backend)
    if not isinstance(backend, MixedBackend):
        raise BadRequestError(
            f"The backend {card.backend!r} of {card.name} makes no vectors of pictures.",
            model=card.name,
        )
    return backend


# -- labels ------------------------------------------------------------------------------------


def classify(
    parts: _Parts, image: Any, labels: Any, prompt: str, model: str, options: MixedOptions
) -> Classification:
    """Labels for a picture; see :meth:`Router.classify_image`."""
    names, items = _asked_labels(image, labels, prompt)
    return _classified(names, embed_mixed(parts, items, model, options))


async def aclassify(
    parts: _Parts, image: Any, labels: Any, prompt: str, model: str, options: MixedOptions
) -> Classification:
    """The awaited twin of :func:`classify`."""
    names, items = _asked_labels(image, labels, prompt)
    return _classified(names, await aembed_mixed(parts, items, model, options))


def _asked_labels(image: Any, labels: Any, prompt: str) -> tuple[list[str], list[Any]]:
    names = [] if isinstance(labels, str) or not isinstance(labels, Iterable) else list(labels)
    if len(names) < 2 or not all(isinstance(name, str) and name.strip() for name in names):
        raise InvalidTaskError("labels", f"{labels!r} are no labels.", hint="Give two or more.")
    if len(set(names)) < len(names):
        raise InvalidTaskError("labels", "two are the same.", hint="Name each once.")
    if not isinstance(prompt, str) or "{}" not in prompt:
        raise InvalidTaskError(
            "prompt", f"{prompt!r} has no place for a label.", hint='As "a photo of a {}".'
        )
    if isinstance(image, str) and not image.startswith("data:"):
        image = Path(image)  # here the caller names a file
    return names, [picture_bytes(image, "image"), *(prompt.replace("{}", n) for n in names)]


def _classified(names: Sequence[str], reply: EmbeddingResponse) -> Classification:
    picture, *texts = reply.vectors
    scale = reply.logit_scale or CLIP_SCALE
    logits = [scale * sum(a * b for a, b in zip(picture, text, strict=True)) for text in texts]
    highest = max(logits)
    weights = [math.exp(logit - highest) for logit in logits]
    shares = {n: w / sum(weights) for n, w in zip(names, weights, strict=True)}
    return Classification(dict(sorted(shares.items(), key=lambda pair: -pair[1])), reply)


# -- both --------------------------------------------------------------------------------------


def _call(parts: _Parts, task: Task, model: str, options: Any, **fields: Any) -> Call:
    policy = parts._policy_of(options)
    decision = parts._decide(task, model, policy)
    timeout, tags = parts._timeout_of(options), checked_tags(options.get("tags"))
    return parts._bare_call(task, decision, policy, timeout=timeout, tags=tags, **fields)
