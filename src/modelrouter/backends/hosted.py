"""Hosted models through litellm; the only module that imports it, and not before it is needed.

litellm retries nothing here: retry and fallback are dispatch's. It is told to use its packaged
price file, so that its import asks no network.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import os
import sys
import threading
import time
from collections.abc import AsyncGenerator, Awaitable, Generator
from typing import Any, Final, cast

from modelrouter.backends._hosted_errors import interrupted, malformed, timed_out, translate
from modelrouter.backends.base import Request
from modelrouter.catalog.card import ModelCard
from modelrouter.exceptions import (
    BackendError,
    MissingDependencyError,
    StreamInterruptedError,
)
from modelrouter.response import (
    Choice,
    Chunk,
    ChunkChoice,
    Completion,
    Delta,
    FinishReason,
    ReplyMessage,
    ToolCall,
    ToolCallDelta,
    Usage,
)
from modelrouter.signals.base import Tokenizer

if sys.version_info >= (3, 11):
    from asyncio import timeout as _timeout
else:
    from async_timeout import timeout as _timeout

__all__ = ["LiteLLMBackend"]

_FINISH_REASONS: Final = ("stop", "length", "tool_calls", "content_filter", "function_call")
_import_lock = threading.Lock()
_litellm: Any = None


class LiteLLMBackend:
    """Asks hosted models over HTTP; fulfils :class:`~modelrouter.backends.base.Backend`.

    A blocking, non-streaming call is bounded by ``timeout_s`` for each read of the answer, not in
    sum: a server that drips its body could stretch it. Streams and awaited calls are bounded in
    sum.
    """

    def complete(self, request: Request) -> Completion:
        """See :meth:`Backend.complete <modelrouter.backends.base.Backend.complete>`."""
        error: BackendError
        try:
            response = litellm().completion(**_parameters(request))
            return _completion(response, request.card)
        except Exception as exc:  # every foreign error is translated here and nowhere else
            error = translate(exc, request.card)
        # Raised outside the handler: the original, which may hold a key, is not its context.
        raise error

    async def acomplete(self, request: Request) -> Completion:
        """See :meth:`Backend.acomplete <modelrouter.backends.base.Backend.acomplete>`."""
        error: BackendError
        try:
            # The bound is ours, and litellm's own would cost a tenth of a millisecond.
            parameters = {**_parameters(request), "timeout": None}
            call = (await _loaded()).acompletion(**parameters)
            response = await _within(request.timeout_s, call)
            return _completion(response, request.card)
        except asyncio.TimeoutError:
            error = timed_out(request.card, request.timeout_s)
        except Exception as exc:  # as in complete
            error = translate(exc, request.card)
        raise error

    def stream(self, request: Request) -> Generator[Chunk, None, None]:
        """See :meth:`Backend.stream <modelrouter.backends.base.Backend.stream>`."""
        error: BackendError
        reader = _StreamReader(request)
        source: Any = None
        try:
            source = litellm().completion(**_parameters(request, stream=True))
            for raw in source:
                if (chunk := reader.read(raw)) is not None:
                    yield chunk
                reader.check_time()
            yield reader.last(source)
            return
        except Exception as exc:  # as in complete
            error = reader.failed(exc)
        finally:
            if source is not None and not reader.ended:
                _close(source)
        raise error

    async def astream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        """See :meth:`Backend.astream <modelrouter.backends.base.Backend.astream>`."""
        error: BackendError
        reader = _StreamReader(request)
        source: Any = None
        try:
            call = (await _loaded()).acompletion(**_parameters(request, stream=True))
            source = await _within(reader.time_left(), call)
            while True:
                try:
                    raw = await _within(reader.time_left(), anext(source))
                except StopAsyncIteration:
                    break
                if (chunk := reader.read(raw)) is not None:
                    yield chunk
            yield reader.last(source)
            return
        except asyncio.TimeoutError:
            error = reader.failed(timed_out(request.card, request.timeout_s))
        except Exception as exc:  # as in complete
            error = reader.failed(exc)
        finally:
            if source is not None and not reader.ended:
                await _aclose(source)
        raise error

    def tokenizer(self, card: ModelCard) -> Tokenizer | None:
        """None: providers' tokenizers are not at hand without downloads."""
        return None

    def warm(self, card: ModelCard) -> None:
        """Import litellm, which takes seconds, in a background thread."""
        if _litellm is None:
            threading.Thread(target=_import_quietly, name="import-litellm", daemon=True).start()

    def close(self) -> None:
        """Nothing to free: connections belong to litellm's shared clients."""

    async def aclose(self) -> None:
        """As :meth:`close`."""


def litellm() -> Any:
    """The litellm module, imported once and told to be quiet and to stay off the network.

    Raises:
        MissingDependencyError: litellm is not installed.
    """
    global _litellm
    if _litellm is not None:
        return _litellm
    with _import_lock:
        if _litellm is None:
            os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
            try:
                import litellm as module
            except ImportError as exc:
                raise MissingDependencyError(
                    "Hosted models need litellm.", hint="pip install litellm"
                ) from exc
            module.telemetry = False
            module.suppress_debug_info = True
            for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
                logging.getLogger(name).setLevel(logging.CRITICAL)
            _litellm = module
    return _litellm


async def _loaded() -> Any:
    """As :func:`litellm`, without blocking the event loop during the import."""
    return _litellm if _litellm is not None else await asyncio.to_thread(litellm)


async def _within(seconds: float | None, call: Awaitable[Any]) -> Any:
    """Await the call for so long.

    Not by asyncio.wait_for, which before Python 3.12 loses a cancellation that comes in the moment
    the call is done, and makes a task of every call.
    """
    async with _timeout(seconds):
        return await call


def _import_quietly() -> None:
    # The first call reports what is wrong; a background thread has nobody to tell.
    with contextlib.suppress(Exception):
        litellm()


def _parameters(request: Request, *, stream: bool = False) -> dict[str, Any]:
    card = request.card
    parameters: dict[str, Any] = {
        "model": card.name,
        "messages": request.messages,
        "timeout": request.timeout_s,
        "num_retries": 0,
        "max_retries": 0,
        **request.settings.as_parameters(),
    }
    if request.tools:
        parameters["tools"] = [dict(tool) for tool in request.tools]
    if request.tool_choice is not None:
        parameters["tool_choice"] = request.tool_choice
    if request.response_format is not None:
        parameters["response_format"] = dict(request.response_format)
    if card.api_base is not None:
        parameters["api_base"] = card.api_base
    if (key := _key(card)) is not None:
        parameters["api_key"] = key
    if stream:
        parameters["stream"] = True
        parameters["stream_options"] = {"include_usage": True}
    return parameters


def _key(card: ModelCard) -> str | None:
    if card.api_key is not None:
        return card.api_key.get_secret_value()
    if card.api_base is not None and not os.environ.get(card.api_key_env or ""):
        return "none"  # a server of the user's own that needs no key; the clients insist on one
    return None


def _completion(response: Any, card: ModelCard) -> Completion:
    choices = getattr(response, "choices", None)
    if not choices:
        raise malformed(card, "it holds no choices")
    return Completion(
        id=str(response.id),
        created=int(response.created or time.time()),
        model=card.name,
        choices=[_choice(choice, card) for choice in choices],
        usage=_usage(getattr(response, "usage", None)),
        system_fingerprint=getattr(response, "system_fingerprint", None),
        provider_model=getattr(response, "model", None),
    )


def _choice(choice: Any, card: ModelCard) -> Choice:
    message = choice.message
    calls = [ToolCall.model_validate(_plain(c)) for c in message.tool_calls or ()]
    refusal = (getattr(message, "provider_specific_fields", None) or {}).get("refusal")
    empty = message.content is None and not calls and refusal is None
    if empty and choice.finish_reason == "stop":
        raise malformed(card, "a choice has neither content nor tool calls")
    return Choice(
        index=choice.index,
        message=ReplyMessage(content=message.content, tool_calls=calls or None, refusal=refusal),
        finish_reason=_finish_reason(choice.finish_reason) or "stop",
        logprobs=_plain(getattr(choice, "logprobs", None)),
    )


def _usage(usage: Any) -> Usage:
    if usage is None:
        return Usage()
    fields = usage.model_dump(exclude_none=True)
    # litellm's own bookkeeping is no part of the protocol.
    return Usage.model_validate({k: v for k, v in fields.items() if k != "cost"})


def _finish_reason(reason: Any) -> FinishReason | None:
    if reason is None:
        return None
    return cast("FinishReason", reason) if reason in _FINISH_REASONS else "stop"


def _plain(value: Any) -> Any:
    return value.model_dump() if hasattr(value, "model_dump") else value


class _StreamReader:
    """Reads one stream: what was shown, what it ends with, whether its time is up."""

    def __init__(self, request: Request) -> None:
        self.request = request
        self.card = request.card
        self.started = time.monotonic()
        self.text: list[str] = []
        self.called_tools = False
        self.finish_reason: FinishReason | None = None
        self.usage: Any = None
        self.id = ""
        self.ended = False

    def read(self, raw: Any) -> Chunk | None:
        """The chunk to show for a raw one, ``None`` for bookkeeping."""
        self.id = self.id or str(raw.id)
        if getattr(raw, "usage", None) is not None:
            self.usage = raw.usage
        choices = []
        for choice in raw.choices:
            self.finish_reason = _finish_reason(choice.finish_reason) or self.finish_reason
            delta = _delta(choice.delta)
            self.text.append(delta.content or "")
            self.called_tools |= bool(delta.tool_calls)
            if delta.content or delta.tool_calls:
                logprobs = _plain(getattr(choice, "logprobs", None))
                choices.append(ChunkChoice(index=choice.index, delta=delta, logprobs=logprobs))
        if not choices:
            return None
        return Chunk(id=self.id, created=int(raw.created), model=self.card.name, choices=choices)

    def last(self, source: Any) -> Chunk:
        """The stream's last chunk: finish reason and usage."""
        self.ended = True
        # litellm makes up a finish_reason where the provider sent none.
        if getattr(source, "received_finish_reason", self.finish_reason) is None:
            raise self._cut("it ended without a finish_reason")
        return Chunk(
            id=self.id,
            model=self.card.name,
            choices=[ChunkChoice(delta=Delta(), finish_reason=self.finish_reason or "stop")],
            usage=_usage(self.usage),  # litellm counts where the provider does not,
        )

    def failed(self, error: BaseException) -> BackendError:
        """The typed error; once text was shown, an interruption that carries it."""
        translated = translate(error, self.card)
        nothing_shown = not (self.text_so_far or self.called_tools)
        if nothing_shown or isinstance(translated, StreamInterruptedError):
            return translated
        cut = interrupted(self.card, self.text_so_far, str(translated))
        cut.__cause__ = translated
        return cut

    @property
    def text_so_far(self) -> str:
        return "".join(self.text)

    def time_left(self) -> float | None:
        if self.request.timeout_s is None:
            return None
        return max(0.0, self.request.timeout_s - (time.monotonic() - self.started))

    def check_time(self) -> None:
        if self.time_left() == 0.0:
            raise timed_out(self.card, self.request.timeout_s)

    def _cut(self, why: str) -> BackendError:
        if self.text_so_far or self.called_tools:
            return interrupted(self.card, self.text_so_far, why)
        return malformed(self.card, why)


def _delta(delta: Any) -> Delta:
    calls = [ToolCallDelta.model_validate(_plain(c)) for c in delta.tool_calls or ()]
    return Delta(role="assistant", content=delta.content, tool_calls=calls or None)


def _close(source: Any) -> None:
    """Close the HTTP response behind litellm's wrapper, so that the provider stops."""
    close = getattr(getattr(source, "completion_stream", None), "close", None)
    if close is not None:
        with contextlib.suppress(Exception):  # it may be closed or exhausted already
            close()


async def _aclose(source: Any) -> None:
    """As :func:`_close`, awaited."""
    inner = getattr(source, "completion_stream", None)
    with contextlib.suppress(Exception):  # as above
        close = getattr(inner, "aclose", None) or getattr(inner, "close", None)
        result = close() if close is not None else None
        if inspect.isawaitable(result):
            await result
