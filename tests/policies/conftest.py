"""Contexts to decide on, built without reading any text."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from modelrouter import ModelCard, Signals, Task
from modelrouter.catalog import Price, Unavailable
from modelrouter.scoring import Prediction, RoutingContext

SIGNALS = Signals(
    kind="chat",
    kind_confidence=0.9,
    complexity=0.3,
    prompt_tokens=100,
    output_tokens=50,
    token_error=0.0,
    needs=frozenset(),
    language="en",
    pii=(),
    characters=400,
    user_turns=1,
    system_tokens=0,
)


def card(name: str, **fields: Any) -> ModelCard:
    hosted = "/" in name
    return ModelCard(
        **{
            "name": name,
            "families": {"llm"} if hosted else {"slm"},
            "location": "hosted" if hosted else "local",
            "backend": "test",
            "context_window": 8_192,
            "price": Price(input=1e-6, output=2e-6) if hosted else Price(input=0, output=0),
            **fields,
        }
    )


def prediction(
    name: str,
    p_quality: float = 0.9,
    cost_usd: float = 0.001,
    latency_s: float = 1.0,
    unavailable: Unavailable | None = None,
    **fields: Any,
) -> Prediction:
    return Prediction(card(name, **fields), p_quality, cost_usd, latency_s, unavailable)


@pytest.fixture
def context() -> Callable[..., RoutingContext]:
    def make(*predictions: Prediction, task: Task | None = None, **signals: Any) -> RoutingContext:
        from dataclasses import replace

        return RoutingContext(
            task=task or Task.of("anything"),
            signals=replace(SIGNALS, **signals),
            predictions=predictions,
        )

    return make
