"""One hosted call that is not a conversation: bounded in time, its errors translated."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, TypeVar

from modelrouter.backends.base import Request
from modelrouter.backends.hosted.bounds import Limits, bounded
from modelrouter.backends.hosted.clients import asking, awaited_client, client, once
from modelrouter.backends.hosted.errors import timed_out, translate
from modelrouter.backends.hosted.library import litellm, loaded
from modelrouter.backends.hosted.loops import entered
from modelrouter.backends.hosted.request import parameters
from modelrouter.backends.hosted.waiting import TIMEOUTS, BoundedIterator, Deadline
from modelrouter.catalog.card import ModelCard
from modelrouter.exceptions import BackendError

__all__ = [
    "aask",
    "aasking_once",
    "ask",
    "asking_once",
    "athrough_own_client",
    "reach",
    "through_own_client",
]

T = TypeVar("T")


def reach(card: ModelCard, timeout_s: float | None) -> dict[str, Any]:
    """What litellm is told of whom to ask: model, address, key, timeout, no retries.

    Raises:
        AuthenticationError, BadRequestError: as for a conversation.
    """
    made = parameters(Request(card=card, messages=[], timeout_s=timeout_s))
    del made["messages"]
    return made


def ask(card: ModelCard, timeout_s: float | None, limits: Limits, call: Callable[[Any], T]) -> T:
    """What ``call`` makes of litellm, on a thread that can be given up.

    Raises:
        BackendError: whatever goes wrong, as one of these.
    """
    module = litellm()
    error: BackendError
    try:
        with (
            bounded(limits),
            BoundedIterator(_once(lambda: call(module)), Deadline(timeout_s)) as answers,
        ):
            return next(answers)
    except TIMEOUTS:
        error = timed_out(card, timeout_s)
    except Exception as exc:  # every foreign error is translated here and nowhere else
        error = translate(exc, card)
    # Raised outside the handler: the original, which may hold a key, is not its context.
    raise error


async def aask(
    card: ModelCard, timeout_s: float | None, limits: Limits, call: Callable[[Any], Awaitable[T]]
) -> T:
    """The awaited twin of :func:`ask`."""
    module = await loaded()
    error: BackendError
    try:
        async with Deadline(timeout_s).bound():
            await entered(module)
            with bounded(limits):
                return await call(module)
    except TIMEOUTS:
        error = timed_out(card, timeout_s)
    except Exception as exc:  # as in ask
        error = translate(exc, card)
    raise error


def _once(call: Callable[[], T]) -> Generator[T, None, None]:
    yield call()


@contextmanager
def asking_once(card: ModelCard, given: Mapping[str, Any]) -> Generator[dict[str, Any], None, None]:
    """The parameters with a client of openai's that asks once, for who is asked through one.

    For pictures and vectors litellm takes ``max_retries=0`` for its default, two: three pictures
    might be paid for.
    """
    if card.location == "local" or not _by_openai(card):
        with asking(card):
            yield through_own_client(card, given)
        return
    with asking(card), _client("OpenAI", given) as client:
        yield {**given, "client": client}


@asynccontextmanager
async def aasking_once(
    card: ModelCard, given: Mapping[str, Any]
) -> AsyncGenerator[dict[str, Any], None]:
    """The awaited twin of :func:`asking_once`."""
    if card.location == "local" or not _by_openai(card):
        with asking(card):
            yield athrough_own_client(card, given)
        return
    with asking(card):
        async with _client("AsyncOpenAI", given) as client:
            yield {**given, "client": client}


def through_own_client(card: ModelCard, given: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters, with a client that stays on this machine where the model is here."""
    made = dict(given)
    return {**made, "client": client(card, made)} if card.location == "local" else made


def athrough_own_client(card: ModelCard, given: Mapping[str, Any]) -> dict[str, Any]:
    """The awaited twin of :func:`through_own_client`, for the running event loop."""
    made = dict(given)
    return {**made, "client": awaited_client(card, made)} if card.location == "local" else made


def _by_openai(card: ModelCard) -> bool:
    return card.name.startswith(("openai/", "text-embedding", "gpt-"))


def _client(kind: str, given: Mapping[str, Any]) -> Any:
    return once(kind)(
        api_key=given.get("api_key"), base_url=given.get("api_base"), timeout=given["timeout"]
    )
