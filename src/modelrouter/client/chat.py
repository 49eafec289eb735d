"""The resources of a router, under the names that code written for the openai client uses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, Literal, overload

from typing_extensions import Unpack

from modelrouter.client.options import CallOptions, EmbeddingOptions
from modelrouter.dispatch.streaming import AsyncCompletionStream, CompletionStream
from modelrouter.response import Completion, EmbeddingResponse

if TYPE_CHECKING:
    from modelrouter.router import AsyncRouter, Router

__all__ = ["AUTO", "AsyncChat", "AsyncEmbeddings", "Chat", "Embeddings"]

AUTO: Final = "auto"
"""The model name that means "choose for me"."""


class Chat:
    """The ``chat`` resource of :class:`Router`."""

    def __init__(self, router: Router) -> None:
        self.completions = Completions(router)


class AsyncChat:
    """The ``chat`` resource of :class:`AsyncRouter`."""

    def __init__(self, router: AsyncRouter) -> None:
        self.completions = AsyncCompletions(router)


class Completions:
    """The ``chat.completions`` resource: what code written for the openai client calls."""

    def __init__(self, router: Router) -> None:
        self._router = router

    @overload
    def create(
        self,
        *,
        messages: Sequence[Any],
        model: str = AUTO,
        stream: Literal[False] | None = False,
        **options: Unpack[CallOptions],
    ) -> Completion: ...
    @overload
    def create(
        self,
        *,
        messages: Sequence[Any],
        model: str = AUTO,
        stream: Literal[True],
        **options: Unpack[CallOptions],
    ) -> CompletionStream: ...
    def create(
        self,
        *,
        messages: Sequence[Any],
        model: str = AUTO,
        stream: bool | None = False,
        **options: Unpack[CallOptions],
    ) -> Completion | CompletionStream:
        """See :meth:`Router.completion`; ``model="auto"`` lets the router choose."""
        call = self._router._call(None, messages, model, options)
        return self._router._stream(call) if stream else self._router._complete(call)


class AsyncCompletions:
    """The awaited ``chat.completions`` resource."""

    def __init__(self, router: AsyncRouter) -> None:
        self._router = router

    @overload
    async def create(
        self,
        *,
        messages: Sequence[Any],
        model: str = AUTO,
        stream: Literal[False] | None = False,
        **options: Unpack[CallOptions],
    ) -> Completion: ...
    @overload
    async def create(
        self,
        *,
        messages: Sequence[Any],
        model: str = AUTO,
        stream: Literal[True],
        **options: Unpack[CallOptions],
    ) -> AsyncCompletionStream: ...
    async def create(
        self,
        *,
        messages: Sequence[Any],
        model: str = AUTO,
        stream: bool | None = False,
        **options: Unpack[CallOptions],
    ) -> Completion | AsyncCompletionStream:
        """See :meth:`AsyncRouter.completion`."""
        call = self._router._call(None, messages, model, options)
        if stream:
            return await self._router._astream(call)
        return await self._router._acomplete(call)


class Embeddings:
    """The ``embeddings`` resource of :class:`Router`."""

    def __init__(self, router: Router) -> None:
        self._router = router

    def create(
        self,
        *,
        input: str | Sequence[str],
        model: str = AUTO,
        **options: Unpack[EmbeddingOptions],
    ) -> EmbeddingResponse:
        """See :meth:`Router.embedding`."""
        return self._router._embed(input, model, options)


class AsyncEmbeddings:
    """The ``embeddings`` resource of :class:`AsyncRouter`."""

    def __init__(self, router: AsyncRouter) -> None:
        self._router = router

    async def create(
        self,
        *,
        input: str | Sequence[str],
        model: str = AUTO,
        **options: Unpack[EmbeddingOptions],
    ) -> EmbeddingResponse:
        """See :meth:`AsyncRouter.embedding`."""
        return await self._router._aembed(input, model, options)
