"""Routers that keep a ledger, over backends that answer at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from modelrouter import Catalog, Ledger, ModelCard, Router
from modelrouter.backends.base import Request
from modelrouter.testing import FunctionBackend, example_card

LARGE = example_card("acme/large", general_strength=0.95, price={"input": 1e-5, "output": 3e-5})
SMALL = example_card("acme/small", general_strength=0.7)
LOCAL = example_card("acme/local", location="local", price=None, general_strength=0.5)


def router_with(
    ledger: Ledger | Path | str | None,
    answer: Callable[[Request], str] = lambda request: "an answer of five words",
    *cards: ModelCard,
    **more: Any,
) -> Router:
    """A router over example cards."""
    return Router(
        catalog=Catalog(cards or (LARGE, SMALL, LOCAL)),
        backends={"test": FunctionBackend(answer)},
        ledger=ledger,
        **more,
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "tasks.ledger"


@pytest.fixture
def ledger(path: Path) -> Iterator[Ledger]:
    with Ledger(path) as made:
        yield made
