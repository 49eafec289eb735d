"""Replies in OpenAI's shape, with this package's fields beside them."""

from __future__ import annotations

import math
import os
import random
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, field_serializer

from modelrouter.images import read_header
from modelrouter.images.fetch import picture_of
from modelrouter.trace import Trace

if TYPE_CHECKING:
    from modelrouter.policies.decision import Decision

    OptionalDecision: TypeAlias = Decision | None
    TraceField: TypeAlias = Trace
else:  # plain dataclasses of ours: pydantic need not build a schema for them
    OptionalDecision = TraceField = Any

__all__ = [
    "Choice",
    "Chunk",
    "ChunkChoice",
    "Completion",
    "Confidence",
    "Delta",
    "Embedding",
    "EmbeddingResponse",
    "FinishReason",
    "FunctionCall",
    "FunctionCallDelta",
    "GeneratedImage",
    "ImagesResponse",
    "ReplyMessage",
    "ToolCall",
    "ToolCallDelta",
    "Usage",
]

FinishReason: TypeAlias = Literal["stop", "length", "tool_calls", "content_filter", "function_call"]


class _Response(BaseModel):
    model_config = ConfigDict(extra="allow", protected_namespaces=())


class FunctionCall(_Response):
    """The function a model wants called; ``arguments`` is JSON text."""

    name: str
    arguments: str


class ToolCall(_Response):
    """One tool call of a reply."""

    id: str
    type: Literal["function"] = "function"
    function: FunctionCall


class ReplyMessage(_Response):
    """The assistant's turn."""

    role: Literal["assistant"] = "assistant"
    content: str | None = None
    tool_calls: list[ToolCall] | None = None
    refusal: str | None = None


class Confidence(_Response):
    """How sure a model was of its answer, from its own probabilities. Local models only.

    Attributes:
        mean_logprob, min_logprob: of the answer's tokens, natural logarithms.
        mean_entropy: of the distributions they were chosen from, in nats.
        tokens: how many tokens that is, the one that ends the answer included.
    """

    mean_logprob: float
    min_logprob: float
    mean_entropy: float
    tokens: int

    @property
    def probability(self) -> float:
        """The geometric mean of the tokens' probabilities, 0 to 1."""
        return math.exp(self.mean_logprob)


class Choice(_Response):
    """One answer."""

    index: int = 0
    message: ReplyMessage
    finish_reason: FinishReason = "stop"
    logprobs: Any = None
    confidence: Confidence | None = None


class Usage(_Response):
    """Tokens used. Providers' details (cached, reasoning tokens) are kept beside them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0

    @property
    def estimated(self) -> bool:
        """Whether the provider did not count them, so that they are this package's estimate.

        Also where what it said can be no count: :attr:`doubt` has it then.
        """
        return bool((self.model_extra or {}).get("estimated"))

    @property
    def doubt(self) -> str:
        """What the provider said that can be no count of tokens; empty unless it did."""
        return str((self.model_extra or {}).get("doubt") or "")

    @property
    def cached_tokens(self) -> int:
        """Prompt tokens that the provider read from its cache."""
        return self._detail("prompt_tokens_details", "cached_tokens")

    @property
    def cache_write_tokens(self) -> int:
        """Prompt tokens that the provider wrote to its cache and charges for that."""
        return self._detail("prompt_tokens_details", "cache_creation_tokens")

    @property
    def reasoning_tokens(self) -> int:
        """Output tokens that the model thought with; part of ``completion_tokens``."""
        return self._detail("completion_tokens_details", "reasoning_tokens")

    def _detail(self, group: str, name: str) -> int:
        details = (self.model_extra or {}).get(group)
        value = details.get(name) if isinstance(details, dict) else getattr(details, name, None)
        return int(value or 0)


_ids = random.Random()
"""Of its own: it need not be secret, and a program's random.seed() must not repeat ids."""
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_ids.seed)


def random_hex() -> str:
    """A hundred and twenty-eight random bits; no system call, unlike :func:`uuid.uuid4`."""
    return f"{_ids.getrandbits(128):032x}"


def new_id() -> str:
    """A fresh reply id in OpenAI's form."""
    return f"chatcmpl-{random_hex()}"


def now() -> int:
    """Unix time in whole seconds, as ``created`` wants it."""
    return int(time.time())


class _Routed(_Response):
    decision: OptionalDecision = Field(default=None, repr=False)

    @field_serializer("decision")
    def _dump_decision(self, decision: OptionalDecision) -> dict[str, Any] | None:
        return None if decision is None else decision.model_dump()


class Completion(_Routed):
    """A whole reply.

    ``text``, ``decision``, ``cost_usd`` and ``trace`` are this package's; all else is OpenAI's.
    ``model`` is the name of the card that answered, ``provider_model`` what its provider calls
    it. ``cost_usd`` is ``None`` where the price of the model is unknown. ``cached`` says that the
    reply came from the cache and no model was asked; ``usage`` is then the first answer's.
    """

    id: str = Field(default_factory=new_id)
    object: Literal["chat.completion"] = "chat.completion"
    created: int = Field(default_factory=now)
    model: str
    choices: list[Choice] = Field(min_length=1)
    usage: Usage = Field(default_factory=Usage)
    system_fingerprint: str | None = None
    provider_model: str | None = None
    cost_usd: float | None = 0.0
    cached: bool = False
    trace: TraceField = Trace()

    @field_serializer("trace")
    def _dump_trace(self, trace: TraceField) -> dict[str, Any]:
        return trace.model_dump()

    @property
    def text(self) -> str:
        """The first choice's text; empty when it is a tool call."""
        return self.choices[0].message.content or ""

    @property
    def confidence(self) -> Confidence | None:
        """How sure the model was of the first choice; ``None`` where that is not known."""
        return self.choices[0].confidence


def least_confidence(choices: Sequence[Choice]) -> float | None:
    """The probability of the least sure choice, by its model; ``None`` if it said nothing."""
    return min((c.confidence.probability for c in choices if c.confidence), default=None)


class FunctionCallDelta(_Response):
    """A piece of a function call."""

    name: str | None = None
    arguments: str | None = None


class ToolCallDelta(_Response):
    """A piece of a tool call; pieces with the same index belong together."""

    index: int
    id: str | None = None
    type: Literal["function"] | None = None
    function: FunctionCallDelta | None = None


class Delta(_Response):
    """What a chunk adds to the message."""

    role: Literal["assistant"] | None = None
    content: str | None = None
    tool_calls: list[ToolCallDelta] | None = None


class ChunkChoice(_Response):
    """One choice of a chunk."""

    index: int = 0
    delta: Delta
    finish_reason: FinishReason | None = None
    logprobs: Any = None
    confidence: Confidence | None = None


class Chunk(_Routed):
    """One event of a stream.

    The last event has ``finish_reason``, ``usage``, ``cost_usd`` and ``decision``.
    ``continued_by`` is the model that took over where another's answer broke off, else ``None``.
    """

    id: str
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    created: int = Field(default_factory=now)
    model: str
    choices: list[ChunkChoice]
    usage: Usage | None = None
    system_fingerprint: str | None = None
    cost_usd: float | None = None
    continued_by: str | None = None

    @property
    def text(self) -> str:
        """The text this event adds."""
        return (self.choices[0].delta.content or "") if self.choices else ""


class Embedding(_Response):
    """One text's vector; ``index`` is the text's place in the input."""

    object: Literal["embedding"] = "embedding"
    index: int
    embedding: list[float]


class EmbeddingResponse(_Routed):
    """Vectors for texts, in the texts' order.

    ``decision``, ``cost_usd`` and ``trace`` are this package's, as in :class:`Completion`; all
    else is OpenAI's. ``logit_scale`` is what a CLIP multiplies its cosines by.
    """

    object: Literal["list"] = "list"
    data: list[Embedding]
    model: str
    usage: Usage = Field(default_factory=Usage)
    provider_model: str | None = None
    cost_usd: float | None = 0.0
    logit_scale: float | None = None
    trace: TraceField = Trace()

    @field_serializer("trace")
    def _dump_trace(self, trace: TraceField) -> dict[str, Any]:
        return trace.model_dump()

    @property
    def vectors(self) -> list[list[float]]:
        """The vectors alone, in the texts' order."""
        return [item.embedding for item in sorted(self.data, key=lambda item: item.index)]


class GeneratedImage(_Response):
    """One picture that was drawn: its bytes as base64, or where they can be fetched for a while."""

    url: str | None = None
    b64_json: str | None = Field(default=None, repr=False)
    revised_prompt: str | None = None

    def content(self, *, timeout_s: float = 60.0) -> bytes:
        """The picture's file; fetched from its ``url`` where the reply does not hold it.

        Raises:
            MalformedResponseError: what the reply holds is not a picture.
            APIConnectionError: it cannot be fetched.
        """
        return picture_of(self.b64_json, self.url, timeout_s)

    def save(self, path: str | Path, *, timeout_s: float = 60.0) -> Path:
        """Write the picture to a file; without an ending the path gets that of its format.

        Raises:
            MalformedResponseError, APIConnectionError: see :meth:`content`.
            OSError: the file cannot be written.
        """
        data, target = self.content(timeout_s=timeout_s), Path(path)
        if not target.suffix:
            target = target.with_suffix(f".{read_header(data).format}")
        target.write_bytes(data)
        return target


class ImagesResponse(_Routed):
    """Pictures that were drawn.

    ``decision``, ``cost_usd`` and ``trace`` are this package's, as in :class:`Completion`; all
    else is OpenAI's. ``usage`` is empty for models that are billed by the picture.
    """

    created: int = Field(default_factory=now)
    data: list[GeneratedImage] = Field(min_length=1)
    model: str
    usage: Usage = Field(default_factory=Usage)
    cost_usd: float | None = 0.0
    trace: TraceField = Trace()

    @field_serializer("trace")
    def _dump_trace(self, trace: TraceField) -> dict[str, Any]:
        return trace.model_dump()

    @property
    def images(self) -> list[GeneratedImage]:
        """The pictures: another name of ``data``."""
        return self.data
