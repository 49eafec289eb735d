"""Hosted models through litellm; only this folder imports it, on first use.

litellm retries nothing here: retry and fallback are dispatch's. (One exception is not its to
switch off: with providers that it asks without their own client, an awaited call whose connection
is reset before any answer is sent a second time.)

What is changed in litellm when it is imported, for the whole process: it reads its packaged price
file and list of Anthropic's headers instead of downloading them (``LITELLM_LOCAL_MODEL_COST_MAP``
and ``LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS`` are set unless they are already, and stay), downloads
no tokenizers, sends no telemetry, prints no advice, its loggers are silent unless ``LITELLM_LOG``
is set, and a model may repeat itself in a stream without an error (unless
``REPEATED_STREAMING_CHUNK_LIMIT`` is set). The classes of httpx's clients get a property in place
of their attribute ``follow_redirects``; it says what that said, but for calls made here. What is
sent through them from here is bounded in size (:mod:`modelrouter.backends.hosted.bounds`); other
requests of the process are as they were.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any, Final, TypeVar

from modelrouter._common.process import OfOneProcess
from modelrouter.backends.base import Request
from modelrouter.backends.hosted.bounds import REPLY, STREAM, bounded
from modelrouter.backends.hosted.calling import athrough_own_client, through_own_client
from modelrouter.backends.hosted.clients import asking
from modelrouter.backends.hosted.embeddings import HostedEmbeddings
from modelrouter.backends.hosted.errors import timed_out, translate
from modelrouter.backends.hosted.images import HostedImages
from modelrouter.backends.hosted.library import litellm, loaded, warm
from modelrouter.backends.hosted.loops import entered
from modelrouter.backends.hosted.reply import StreamReader, completion
from modelrouter.backends.hosted.request import parameters
from modelrouter.backends.hosted.waiting import TIMEOUTS, BoundedIterator, Deadline
from modelrouter.catalog.card import ModelCard
from modelrouter.exceptions import BackendError
from modelrouter.response import Chunk, Completion
from modelrouter.signals.base import Tokenizer

__all__ = ["LiteLLMBackend"]

T = TypeVar("T")

_END: Final = object()
_HOLDERS: Final = ("response", "http_response", "streaming_response")


class LiteLLMBackend(OfOneProcess, HostedImages, HostedEmbeddings):
    """Asks hosted models over HTTP; fulfils :class:`~modelrouter.backends.base.Backend`.

    ``Request.timeout_s`` bounds the whole attempt in every way of calling, whatever the server
    does; only the import of litellm, before the first call, is not counted. Blocking calls run on
    threads of a small pool for that; one that is given up is hung up on, so that its provider
    stops. The end of the process waits for no answer. Connections are litellm's: kept and shared
    by all backends of the process.

    Raises:
        MissingDependencyError: litellm is not installed; from the first call.
    """

    def complete(self, request: Request) -> Completion:
        """See :meth:`Backend.complete <modelrouter.backends.base.Backend.complete>`."""
        module = litellm()
        error: BackendError
        try:
            call = _once(lambda: _completion(module, request.card, parameters(request)))
            with bounded(REPLY), BoundedIterator(call, Deadline(request.timeout_s)) as answers:
                return completion(next(answers), request)
        except TIMEOUTS:
            error = timed_out(request.card, request.timeout_s)
        except Exception as exc:  # every foreign error is translated here and nowhere else
            error = translate(exc, request.card)
        # Raised outside the handler: the original, which may hold a key, is not its context.
        raise error

    async def acomplete(self, request: Request) -> Completion:
        """See :meth:`Backend.acomplete <modelrouter.backends.base.Backend.acomplete>`."""
        module = await loaded()
        error: BackendError
        try:
            # The bound is ours, and litellm's own would cost a tenth of a millisecond.
            given = {**parameters(request), "timeout": None}
            async with Deadline(request.timeout_s).bound():
                with bounded(REPLY):
                    response = await _acompletion(module, request.card, given)
            return completion(response, request)
        except TIMEOUTS:
            error = timed_out(request.card, request.timeout_s)
        except Exception as exc:  # as in complete
            error = translate(exc, request.card)
        raise error

    def stream(self, request: Request) -> Generator[Chunk, None, None]:
        """See :meth:`Backend.stream <modelrouter.backends.base.Backend.stream>`."""
        module = litellm()
        reader = StreamReader(request)
        error: BackendError | None = None
        try:
            events = _events(module, reader)
            with BoundedIterator(events, reader.deadline, request.stop) as pieces:
                for raw in pieces:
                    if (chunk := reader.read(raw)) is not None:
                        yield chunk
        except Exception as exc:  # as in complete
            error = reader.failed(exc)
        if error is not None:
            raise error
        yield reader.last()

    async def astream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        """See :meth:`Backend.astream <modelrouter.backends.base.Backend.astream>`."""
        module = await loaded()
        reader = StreamReader(request)
        error: BackendError | None = None
        try:
            async with reader.deadline.bound():
                given = parameters(request, stream=True)
                with bounded(STREAM):
                    source = await _acompletion(module, request.card, given)
                reader.source = source
            while True:
                async with reader.deadline.bound():
                    # Some are sent when the first piece is asked for.
                    with asking(request.card), bounded(STREAM):
                        raw = await anext(source, None)
                if raw is None:
                    break
                if (chunk := reader.read(raw)) is not None:
                    yield chunk
        except Exception as exc:  # as in complete
            error = reader.failed(exc)
        finally:
            await _aclose(reader.source)
        if error is not None:
            raise error
        yield reader.last()

    def tokenizer(self, card: ModelCard) -> Tokenizer | None:
        """None: providers' tokenizers are not at hand without downloads."""
        return None

    def warm(self, card: ModelCard) -> None:
        """Import litellm, which takes seconds, in a background thread."""
        self.prepare()

    def prepare(self) -> None:
        """Import litellm in the background, which takes seconds."""
        warm()

    def close(self) -> None:
        """Nothing to free: connections belong to litellm's shared clients."""

    async def aclose(self) -> None:
        """As :meth:`close`."""


def _completion(module: Any, card: ModelCard, given: dict[str, Any]) -> Any:
    with asking(card):
        return module.completion(**through_own_client(card, given))


async def _acompletion(module: Any, card: ModelCard, given: dict[str, Any]) -> Any:
    await entered(module)
    with asking(card):
        return await module.acompletion(**athrough_own_client(card, given))


def _once(call: Callable[[], T]) -> Generator[T, None, None]:
    yield call()


def _events(module: Any, reader: StreamReader) -> Generator[Any, None, None]:
    card = reader.request.card
    given = parameters(reader.request, stream=True)
    with bounded(STREAM):
        reader.source = source = _completion(module, card, given)
    pieces = iter(source)
    try:
        while True:
            with asking(card), bounded(STREAM):  # some are sent when the first piece is asked for
                raw = next(pieces, _END)
            if raw is _END:
                return
            yield raw
    finally:
        for opened in _opened(source):
            close = getattr(opened, "close", None)
            if close is not None:
                with contextlib.suppress(Exception):  # it may be closed or exhausted already
                    close()


async def _aclose(source: Any) -> None:
    """Close the HTTP response behind litellm's stream, so that the provider stops."""
    for opened in _opened(source):
        close = getattr(opened, "aclose", None) or getattr(opened, "close", None)
        if close is not None:
            with contextlib.suppress(Exception):  # it may be closed or exhausted already
                result = close()
                if inspect.isawaitable(result):
                    await result


def _opened(source: Any) -> Generator[Any, None, None]:
    """What may have to be closed: the provider's stream, its parser's, the HTTP response."""
    stream = getattr(source, "completion_stream", None)
    for holder in (stream, *(getattr(stream, n, None) for n in _HOLDERS)):
        if holder is not None:
            yield holder
