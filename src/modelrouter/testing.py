"""What users need to test their own code without a model: an echo backend, a function backend.

    from modelrouter.testing import EchoBackend, FunctionBackend, example_card

    router = Router(
        catalog=Catalog([example_card("acme/large")]),
        backends={"test": FunctionBackend(lambda request: "42")},
    )

They fulfil the same contract as the real backends and go through the whole flow of a call:
decision, retry, fallback, streaming, cost.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any

from modelrouter.backends.base import Request
from modelrouter.catalog.card import ModelCard, Price
from modelrouter.response import (
    Choice,
    Chunk,
    ChunkChoice,
    Completion,
    Delta,
    ReplyMessage,
    Usage,
    new_id,
)
from modelrouter.signals.base import Tokenizer

__all__ = ["EchoBackend", "FunctionBackend", "example_card"]


class FunctionBackend:
    """Answers with what a function of the request returns.

    The function may raise a :class:`~modelrouter.exceptions.BackendError`, which is then retried
    or fallen back from as a real one would be. A stream gives the text word by word. Tokens
    are counted as words. ``requests`` holds every request received.
    """

    def __init__(self, answer: Callable[[Request], str]) -> None:
        self._answer = answer
        self.requests: list[Request] = []

    def complete(self, request: Request) -> Completion:
        """The function's answer as a reply."""
        self.requests.append(request)
        text = self._answer(request)
        return Completion(
            model=request.card.name,
            choices=[Choice(message=ReplyMessage(content=text))],
            usage=_usage(request, text),
        )

    async def acomplete(self, request: Request) -> Completion:
        """As :meth:`complete`."""
        return self.complete(request)

    def stream(self, request: Request) -> Generator[Chunk, None, None]:
        """The function's answer, a word a chunk."""
        self.requests.append(request)
        text = self._answer(request)
        reply = new_id()
        for piece in text.replace(" ", " \0").split("\0"):
            yield Chunk(
                id=reply,
                model=request.card.name,
                choices=[ChunkChoice(delta=Delta(content=piece))],
            )
        yield Chunk(
            id=reply,
            model=request.card.name,
            choices=[ChunkChoice(delta=Delta(), finish_reason="stop")],
            usage=_usage(request, text),
        )

    async def astream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        """As :meth:`stream`."""
        for chunk in self.stream(request):
            yield chunk

    def tokenizer(self, card: ModelCard) -> Tokenizer | None:
        """None: the estimate serves."""
        return None

    def warm(self, card: ModelCard) -> None:
        """Nothing to start."""

    def close(self) -> None:
        """Nothing to free."""

    async def aclose(self) -> None:
        """Nothing to free."""


class EchoBackend(FunctionBackend):
    """Answers with the last user message's text."""

    def __init__(self) -> None:
        super().__init__(_last_user_text)


def example_card(name: str = "test/model", **fields: Any) -> ModelCard:
    """A hosted all-round card on the ``test`` backend; any field may be given."""
    return ModelCard(
        **{
            "name": name,
            "families": {"llm"},
            "location": "hosted",
            "backend": "test",
            "context_window": 8_192,
            "price": Price(input=1e-6, output=2e-6),
            "general_strength": 0.9,
            **fields,
        }
    )


def _last_user_text(request: Request) -> str:
    turns = [m for m in request.messages if m["role"] == "user"] or request.messages
    content = turns[-1]["content"]
    if isinstance(content, str):
        return content
    return "\n".join(part.get("text", "") for part in content)


def _usage(request: Request, text: str) -> Usage:
    prompt = sum(len(str(m.get("content") or "").split()) for m in request.messages)
    answer = len(text.split())
    return Usage(prompt_tokens=prompt, completion_tokens=answer, total_tokens=prompt + answer)
