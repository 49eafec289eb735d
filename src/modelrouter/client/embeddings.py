"""Embeddings: vectors of texts, and of texts and pictures in one space, of one model a call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

from typing_extensions import Unpack

from modelrouter.backends.base import EmbeddingRequest, MixedRequest, Picture, Request
from modelrouter.catalog.card import ModelCard
from modelrouter.catalog.cost import settled_cost_usd
from modelrouter.client.core import Core
from modelrouter.client.options import (
    AUTO,
    EmbeddingOptions,
    MixedOptions,
    check_names,
    checked_texts,
    mixed_options,
)
from modelrouter.dispatch.drivers import adrive, drive
from modelrouter.dispatch.steps import Call, Result
from modelrouter.dispatch.tracing import CallTracer
from modelrouter.exceptions import InvalidTaskError
from modelrouter.images import picture_bytes
from modelrouter.policies.decision import Decision
from modelrouter.response import EmbeddingResponse, Usage
from modelrouter.task import Task

__all__ = ["AsyncEmbeddings", "Embeddable", "EmbeddingCalls", "Embeddings"]

Embeddable: TypeAlias = "str | bytes | Path | Iterable[Any]"
"""What vectors are made of: texts, and pictures as paths, bytes, data URLs or PIL images."""

_MARK: Final = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNgAAAAAgAB"
    "SK+kcQAAAABJRU5ErkJggg=="
)
"""A picture of one pixel: in what is decided on it stands for each picture of the call."""


class EmbeddingCalls:
    """Makes and carries out calls whose answer is vectors.

    No other model is asked when the chosen one fails: vectors of two cannot be compared.
    """

    def __init__(self, core: Core) -> None:
        self._core = core

    def embed(self, given: Embeddable, model: str, options: EmbeddingOptions) -> EmbeddingResponse:
        """Vectors of texts, or with a picture among them of both in one space; blocks."""
        items = _items(given)
        if _sees(items, options):
            return self.embed_mixed(items, model, mixed_options(options))
        call, decision, request = self._texts(items, model, options)
        with self._core.tracer(call) as tracer:
            result = drive(call, lambda asked: self._core.ask.embed(request(asked)))
            return _reply(result, decision, tracer)

    async def aembed(
        self, given: Embeddable, model: str, options: EmbeddingOptions
    ) -> EmbeddingResponse:
        """As :meth:`embed`, awaited."""
        items = _items(given)
        if _sees(items, options):
            return await self.aembed_mixed(items, model, mixed_options(options))
        call, decision, request = self._texts(items, model, options)
        with self._core.tracer(call) as tracer:
            result = await adrive(call, lambda asked: self._core.ask.aembed(request(asked)))
            return _reply(result, decision, tracer)

    def embed_mixed(
        self, given: Embeddable, model: str, options: MixedOptions
    ) -> EmbeddingResponse:
        """Vectors of texts and pictures in one space, of a model that sees; blocks."""
        call, decision, request = self._mixed(given, model, options)
        with self._core.tracer(call) as tracer:
            result = drive(call, lambda asked: self._core.ask.embed_mixed(request(asked)))
            return _reply(result, decision, tracer)

    async def aembed_mixed(
        self, given: Embeddable, model: str, options: MixedOptions
    ) -> EmbeddingResponse:
        """As :meth:`embed_mixed`, awaited."""
        call, decision, request = self._mixed(given, model, options)
        with self._core.tracer(call) as tracer:
            result = await adrive(call, lambda asked: self._core.ask.aembed_mixed(request(asked)))
            return _reply(result, decision, tracer)

    def _texts(
        self, items: Sequence[Any], model: str, options: EmbeddingOptions
    ) -> tuple[Call[EmbeddingResponse], Decision, Callable[[Request], EmbeddingRequest]]:
        """The call, and the decision that chose its only model."""
        checked = checked_texts(items, options)
        task = Task.of("\n".join(checked), kind="embedding")
        call, decision = self._call(task, model, options)

        def request(asked: Request) -> EmbeddingRequest:
            return EmbeddingRequest(
                card=asked.card,
                texts=checked,
                dimensions=options.get("dimensions"),
                truncate=options.get("truncate", False),
                timeout_s=asked.timeout_s,
            )

        return call, decision, request

    def _mixed(
        self, given: Embeddable, model: str, options: MixedOptions
    ) -> tuple[Call[EmbeddingResponse], Decision, Callable[[Request], MixedRequest]]:
        """Likewise for texts and pictures."""
        check_names(options, MixedOptions)
        checked = _checked_items(given)
        texts = [item for item in checked if isinstance(item, str)]
        marks = [{"type": "image_url", "image_url": {"url": _MARK}}]
        marks *= max(1, len(checked) - len(texts))
        content = ["\n".join(texts), *marks]
        task = Task.of([{"role": "user", "content": content}], kind="embedding")
        call, decision = self._call(task, model, options)

        def request(asked: Request) -> MixedRequest:
            truncate = options.get("truncate", False)
            return MixedRequest(asked.card, checked, truncate, asked.timeout_s)

        return call, decision, request

    def _call(
        self, task: Task, model: str, options: EmbeddingOptions | MixedOptions
    ) -> tuple[Call[EmbeddingResponse], Decision]:
        core = self._core
        policy = core.routing.policy_of(options.get("policy"))
        decision = core.routing.decide(task, model, policy)
        only = core.routing.decide(task, decision.chosen.card.name, policy)
        return core.simple_call(task, only, policy, options, spent=_spent), decision


def _spent(card: ModelCard, reply: EmbeddingResponse) -> tuple[Usage, float | None]:
    return reply.usage, settled_cost_usd(card, reply.usage)


def _reply(
    result: Result[EmbeddingResponse], decision: Decision, tracer: CallTracer
) -> EmbeddingResponse:
    trace = tracer.ended(result.attempts, "answered")
    update = {"cost_usd": trace.cost_usd, "decision": decision, "trace": trace}
    return result.value.model_copy(update=update)


def _items(given: Embeddable) -> tuple[Any, ...]:
    """What was given, one or many, one by one."""
    if isinstance(given, str) or _is_picture(given):
        return (given,)
    if isinstance(given, Mapping) or not isinstance(given, Iterable):
        raise InvalidTaskError(
            "input",
            f"expected a text, a picture or a list of them, got {type(given).__name__}.",
            hint='As "a text" or ["a text", Path("fox.png")].',
        )
    return tuple(given)


def _sees(items: Sequence[Any], options: EmbeddingOptions) -> bool:
    """Whether vectors must be comparable with those of pictures."""
    return options.get("multimodal", False) or any(map(_is_picture, items))


def _is_picture(item: Any) -> bool:
    if isinstance(item, str):
        return item.startswith("data:image/")
    return isinstance(item, (bytes, Path)) or hasattr(item, "getbands")  # a PIL image


def _checked_items(given: Embeddable) -> tuple[str | Picture, ...]:
    found = tuple(_checked_item(item, f"input[{i}]") for i, item in enumerate(_items(given)))
    if not found:
        raise InvalidTaskError("input", "holds nothing.", hint="Give texts and pictures.")
    return found


def _checked_item(item: Any, where: str) -> str | Picture:
    if isinstance(item, str) and not item.startswith("data:image/"):
        if not item.strip():
            raise InvalidTaskError(where, "is empty.", hint="Give a text or a picture.")
        return item
    return Picture(picture_bytes(item, where))


class Embeddings:
    """The ``embeddings`` resource of :class:`Router`."""

    def __init__(self, calls: EmbeddingCalls) -> None:
        self._calls = calls

    def create(
        self,
        *,
        input: Embeddable,
        model: str = AUTO,
        **options: Unpack[EmbeddingOptions],
    ) -> EmbeddingResponse:
        """See :meth:`Router.embedding`."""
        return self._calls.embed(input, model, options)


class AsyncEmbeddings:
    """The ``embeddings`` resource of :class:`AsyncRouter`."""

    def __init__(self, calls: EmbeddingCalls) -> None:
        self._calls = calls

    async def create(
        self,
        *,
        input: Embeddable,
        model: str = AUTO,
        **options: Unpack[EmbeddingOptions],
    ) -> EmbeddingResponse:
        """See :meth:`AsyncRouter.embedding`."""
        return await self._calls.aembed(input, model, options)
