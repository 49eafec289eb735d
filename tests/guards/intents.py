"""Attempts for guards to judge."""

from __future__ import annotations

from typing import Any

from modelrouter.guards import Intent, Settlement
from modelrouter.response import Usage
from modelrouter.testing import example_card

HOSTED = example_card()
LOCAL = example_card("test/small", location="local")


def intent(worst: float | None = 0.01, *, tokens: int = 100, card=HOSTED, **fields: Any) -> Intent:
    return Intent(card, tokens // 2, tokens - tokens // 2, worst, **fields)


def answered(
    cost: float | None = 0.001, *, tokens: int = 10, estimated: bool = False, **fields: Any
) -> Settlement:
    usage = Usage(prompt_tokens=tokens, completion_tokens=0, total_tokens=tokens)
    if estimated:
        usage = usage.model_copy(update={"estimated": True})
    return Settlement(usage=usage, cost_usd=cost, **fields)


class Clock:
    """Seconds that go by when a test says so."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now
