"""Router and AsyncRouter: what a user calls; everything behind it is in ``client/``."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Literal, overload

from typing_extensions import Unpack

from modelrouter.client.base import RouterBase
from modelrouter.client.chat import AsyncChat, Chat, ChatCalls
from modelrouter.client.embeddings import (
    AsyncEmbeddings,
    Embeddable,
    EmbeddingCalls,
    Embeddings,
)
from modelrouter.client.images import AsyncImageFaces, ImageFaces
from modelrouter.client.options import AUTO, CallOptions, EmbeddingOptions
from modelrouter.dispatch.streaming import AsyncCompletionStream, CompletionStream
from modelrouter.response import Completion, EmbeddingResponse
from modelrouter.task import TaskLike

__all__ = ["AsyncRouter", "Router"]


class Router(ImageFaces, RouterBase):
    """Picks a model for each task and asks it.

    ``Router()`` uses what can be used here: the bundled SLM, GGUF files in the models directory,
    and hosted models whose key is in the environment.

    Args:
        models: further models: cards, names of known models, or paths of GGUF files.
        policy: a :class:`Policy` or the name of a preset; balanced by default.
        catalog: exactly these models instead of those found.
        scorer: predicts quality; a :class:`LearnedScorer` with the bundled weights by default.
        backends: by name, in place of the built-in ones (``llamacpp``, ``litellm``).
        retry: how patiently one model is asked again.
        timeout: seconds for a whole call, or a :class:`Timeout`.
        hooks: called with the :class:`Trace` of every call when it ends.
        ledger: a :class:`Ledger`, or the path of its file: keeps every call.
        cache: a :class:`Cache`, the path of its file, or ``True`` for one beside the ledger: whole
            answers are given again to the same task.
        budgets: what calls may cost (:class:`Budget`); none unless given.
        budget_store: where the budgets' accounts are: a file's path, or a store of your own; a file
            of this user unless given.
        limits: requests and tokens a minute, for each hosted model or by name (:class:`RateLimit`).
        breakers: whether, or when (:class:`BreakerPolicy`), models that fail are left alone.
        guards: further ones of your own, asked before every attempt.
        follow_successor: whether a retired model, asked for by name, gives way to its successor; it
            is a :class:`RetiredModelError` otherwise.
        confidence: what a local model's probabilities are worth, learned from scored answers.

    Raises:
        ConfigurationError: an argument is not valid.
        UnknownModelError: a model or a rule names what no card has.
        ModelFileError: a GGUF given in ``models`` is missing or damaged.
    """

    @property
    def chat(self) -> Chat:
        """``router.chat.completions.create(...)``, as the openai client has it."""
        return Chat(ChatCalls(self._core))

    @property
    def embeddings(self) -> Embeddings:
        """``router.embeddings.create(...)``, as the openai client has it."""
        return Embeddings(EmbeddingCalls(self._core))

    @overload
    def completion(
        self,
        task: TaskLike | None = None,
        *,
        messages: Sequence[Any] | None = None,
        model: str = AUTO,
        stream: Literal[False] | None = False,
        **options: Unpack[CallOptions],
    ) -> Completion: ...
    @overload
    def completion(
        self,
        task: TaskLike | None = None,
        *,
        messages: Sequence[Any] | None = None,
        model: str = AUTO,
        stream: Literal[True],
        **options: Unpack[CallOptions],
    ) -> CompletionStream: ...
    def completion(
        self,
        task: TaskLike | None = None,
        *,
        messages: Sequence[Any] | None = None,
        model: str = AUTO,
        stream: bool | None = False,
        **options: Unpack[CallOptions],
    ) -> Completion | CompletionStream:
        """Choose a model for the task and return its reply, or with ``stream=True`` its chunks.

        Works inside a running event loop too (it blocks it; see :meth:`acompletion`).

        Raises:
            InvalidTaskError, ConfigurationError: before anything is asked.
            NoEligibleModelError: no model may do the task.
            BackendError: the only model asked could not answer.
            AllCandidatesFailedError: several were asked and none answered.
        """
        calls = ChatCalls(self._core)
        call = calls.call(task, messages, model, options)
        return calls.stream(call) if stream else calls.complete(call)

    @overload
    async def acompletion(
        self,
        task: TaskLike | None = None,
        *,
        messages: Sequence[Any] | None = None,
        model: str = AUTO,
        stream: Literal[False] | None = False,
        **options: Unpack[CallOptions],
    ) -> Completion: ...
    @overload
    async def acompletion(
        self,
        task: TaskLike | None = None,
        *,
        messages: Sequence[Any] | None = None,
        model: str = AUTO,
        stream: Literal[True],
        **options: Unpack[CallOptions],
    ) -> AsyncCompletionStream: ...
    async def acompletion(
        self,
        task: TaskLike | None = None,
        *,
        messages: Sequence[Any] | None = None,
        model: str = AUTO,
        stream: bool | None = False,
        **options: Unpack[CallOptions],
    ) -> Completion | AsyncCompletionStream:
        """The awaited twin of :meth:`completion`; cancelling it stops the model."""
        calls = ChatCalls(self._core)
        call = calls.call(task, messages, model, options)
        return await (calls.astream(call) if stream else calls.acomplete(call))

    def embedding(
        self,
        input: Embeddable,
        *,
        model: str = AUTO,
        **options: Unpack[EmbeddingOptions],
    ) -> EmbeddingResponse:
        """Vectors of one or more texts, or of texts and pictures in one space.

        A ``str`` is a text (or a ``data:image/`` URL); a picture is a ``pathlib.Path``, bytes or a
        PIL image. With pictures among the input, or ``multimodal=True``, only models that see are
        asked, and each vector has length one. With ``model="auto"`` the policy chooses; name the
        model wherever vectors are kept, since those of different models cannot be compared. For
        that reason no other model is asked when the chosen one fails.

        Raises:
            InvalidTaskError, ConfigurationError: before anything is asked.
            NoEligibleModelError: no embedding model is here, or none that sees.
            MissingDependencyError: a local CLIP was chosen, and the extra ``clip`` is missing.
            BackendError: the model could not; a text beyond its window is a BadRequestError with
                both numbers, unless ``truncate=True``.
        """
        return EmbeddingCalls(self._core).embed(input, model, options)

    async def aembedding(
        self,
        input: Embeddable,
        *,
        model: str = AUTO,
        **options: Unpack[EmbeddingOptions],
    ) -> EmbeddingResponse:
        """The awaited twin of :meth:`embedding`; cancelling it stops the model."""
        return await EmbeddingCalls(self._core).aembed(input, model, options)

    def close(self) -> None:
        """Free models and connections; safe to call twice."""
        self._core.close()

    def __enter__(self) -> Router:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class AsyncRouter(AsyncImageFaces, RouterBase):
    """The awaited twin of :class:`Router`, as ``AsyncOpenAI`` is of ``OpenAI``.

    Takes the same arguments; ``route`` is the same plain function.
    """

    @property
    def chat(self) -> AsyncChat:
        """``await router.chat.completions.create(...)``, as the openai client has it."""
        return AsyncChat(ChatCalls(self._core))

    @property
    def embeddings(self) -> AsyncEmbeddings:
        """``await router.embeddings.create(...)``, as the openai client has it."""
        return AsyncEmbeddings(EmbeddingCalls(self._core))

    @overload
    async def completion(
        self,
        task: TaskLike | None = None,
        *,
        messages: Sequence[Any] | None = None,
        model: str = AUTO,
        stream: Literal[False] | None = False,
        **options: Unpack[CallOptions],
    ) -> Completion: ...
    @overload
    async def completion(
        self,
        task: TaskLike | None = None,
        *,
        messages: Sequence[Any] | None = None,
        model: str = AUTO,
        stream: Literal[True],
        **options: Unpack[CallOptions],
    ) -> AsyncCompletionStream: ...
    async def completion(
        self,
        task: TaskLike | None = None,
        *,
        messages: Sequence[Any] | None = None,
        model: str = AUTO,
        stream: bool | None = False,
        **options: Unpack[CallOptions],
    ) -> Completion | AsyncCompletionStream:
        """See :meth:`Router.completion`; cancelling it stops the model."""
        calls = ChatCalls(self._core)
        call = calls.call(task, messages, model, options)
        return await (calls.astream(call) if stream else calls.acomplete(call))

    acompletion = completion

    async def embedding(
        self,
        input: Embeddable,
        *,
        model: str = AUTO,
        **options: Unpack[EmbeddingOptions],
    ) -> EmbeddingResponse:
        """See :meth:`Router.embedding`; cancelling it stops the model."""
        return await EmbeddingCalls(self._core).aembed(input, model, options)

    aembedding = embedding

    async def aclose(self) -> None:
        """Free models and connections; safe to call twice."""
        await self._core.aclose()

    close = aclose

    async def __aenter__(self) -> AsyncRouter:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()
