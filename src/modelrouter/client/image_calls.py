"""Calls about pictures: drawing them, and labels for one."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from modelrouter.backends.base import (
    ImageRequest,
    Request,
)
from modelrouter.catalog.card import ModelCard
from modelrouter.catalog.cost import settled_cost_usd
from modelrouter.client.core import Core
from modelrouter.client.embeddings import EmbeddingCalls
from modelrouter.client.options import (
    ImageOptions,
    MixedOptions,
    check_names,
    drawing_options,
)
from modelrouter.config import GenerationSettings
from modelrouter.dispatch.drivers import adrive, drive
from modelrouter.dispatch.steps import Call, Result
from modelrouter.exceptions import InvalidTaskError
from modelrouter.images import picture_bytes
from modelrouter.policies.decision import Decision
from modelrouter.response import EmbeddingResponse, ImagesResponse, Usage
from modelrouter.task import Task
from modelrouter.trace import Trace

__all__ = [
    "Classification",
    "aclassify",
    "adraw",
    "classify",
    "draw",
]

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


def draw(core: Core, prompt: Any, model: str, options: ImageOptions) -> ImagesResponse:
    """Draw; see :meth:`Router.image_generation`."""
    call, request = _drawing(core, prompt, model, options)
    with core.tracer(call) as tracer:
        result = drive(call, lambda asked: core.ask.draw(request(asked)))
        return _drawn(result, tracer.ended(result.attempts, "answered"))


async def adraw(core: Core, prompt: Any, model: str, options: ImageOptions) -> ImagesResponse:
    """The awaited twin of :func:`draw`."""
    call, request = _drawing(core, prompt, model, options)
    with core.tracer(call) as tracer:
        result = await adrive(call, lambda asked: core.ask.adraw(request(asked)))
        return _drawn(result, tracer.ended(result.attempts, "answered"))


def _drawing(
    core: Core, prompt: Any, model: str, options: ImageOptions
) -> tuple[Call[ImagesResponse], Callable[[Request], ImageRequest]]:
    check_names(options, ImageOptions)
    if not isinstance(prompt, str) or not prompt.strip():
        raise InvalidTaskError("prompt", "says nothing.", hint="Say what is to be seen.")
    told = drawing_options(options)
    task = Task.of(
        prompt, kind="image_generation", metadata=options.get("metadata"), parameters=told
    )
    settings = GenerationSettings(extra={"n": told["n"]} if "n" in told else {})
    policy = core.routing.policy_of(options.get("policy"))
    decision = core.routing.decide(task, model, policy)
    call = core.simple_call(task, decision, policy, options, spent=_spent, settings=settings)

    def request(asked: Request) -> ImageRequest:
        return ImageRequest(asked.card, prompt, told, asked.timeout_s)

    return call, request


def _drawn(result: Result[ImagesResponse], trace: Trace) -> ImagesResponse:
    update = {"cost_usd": trace.cost_usd, "decision": result.decision, "trace": trace}
    return result.value.model_copy(update=update)


def _spent(card: ModelCard, value: ImagesResponse) -> tuple[Usage, float | None]:
    """Tokens and USD of pictures: by the picture, by tokens, or both."""
    return value.usage, settled_cost_usd(card, value.usage, images=len(value.data))


# -- labels ------------------------------------------------------------------------------------


def classify(
    core: Core, image: Any, labels: Any, prompt: str, model: str, options: MixedOptions
) -> Classification:
    """Labels for a picture; see :meth:`Router.classify_image`."""
    names, items = _asked_labels(image, labels, prompt)
    return _classified(names, EmbeddingCalls(core).embed_mixed(items, model, options))


async def aclassify(
    core: Core, image: Any, labels: Any, prompt: str, model: str, options: MixedOptions
) -> Classification:
    """The awaited twin of :func:`classify`."""
    names, items = _asked_labels(image, labels, prompt)
    return _classified(names, await EmbeddingCalls(core).aembed_mixed(items, model, options))


def _asked_labels(image: Any, labels: Any, prompt: str) -> tuple[list[str], list[Any]]:
    names = [] if isinstance(labels, str) or not isinstance(labels, Iterable) else list(labels)
    if len(names) < 2 or not all(isinstance(name, str) and name.strip() for name in names):
        raise InvalidTaskError(
            "labels", f"must be a list of labels, got {labels!r}.", hint="Give two or more."
        )
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
