"""The guard that keeps to the providers' rate limits: requests and tokens a minute."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any

from modelrouter.catalog.card import ModelCard
from modelrouter.config import RateLimit
from modelrouter.exceptions import ConfigurationError
from modelrouter.guards.base import Admission, Admitted, Intent, Refusal, Settlement
from modelrouter.guards.deployment import deployment
from modelrouter.guards.window import LOOK_AGAIN_S, Entry, Window
from modelrouter.policies.decision import Reason

__all__ = ["Rates"]


class Rates:
    """Keeps every deployment within its limit, in this process; who came first goes first.

    Args:
        limits: one for each hosted deployment, or by model name; a card's own ``rate_limit``
            where there is none.
        clock: seconds that only grow.

    Raises:
        ConfigurationError: a limit is none.
    """

    def __init__(
        self,
        limits: RateLimit | Mapping[str, RateLimit] | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._every = limits if isinstance(limits, RateLimit) else None
        self._by_name = {} if limits is None or self._every else _checked(limits)
        self._clock = clock
        self._lock = threading.Lock()
        self._windows: dict[Hashable, Window] = {}

    def limit(self, card: ModelCard) -> RateLimit | None:
        """The limit that the card's deployment is kept to; ``None`` for no limit."""
        if card.name in self._by_name:
            return self._by_name[card.name]
        if card.rate_limit is not None or card.location == "local":
            return card.rate_limit
        return self._every

    def admit(self, intent: Intent, /) -> Admission:
        """Count the attempt, at its worst, or say when its turn is."""
        limit = self.limit(intent.card)
        if limit is None:
            return Admitted()
        tokens = intent.prompt_tokens + intent.output_tokens
        key = deployment(intent.card)
        with self._lock:
            window = self._windows.get(key)
            if window is None or window.limit != limit:
                window = self._windows[key] = Window(limit)
            result = window.admit(intent.call, tokens, self._clock())
        if isinstance(result, Entry):
            return Admitted((window, result))
        return Refusal(_reason(limit, result), retry_in_s=result, look_again_s=LOOK_AGAIN_S)

    def settle(self, intent: Intent, ticket: Any, settlement: Settlement, /) -> None:
        """Count what the attempt did use."""
        if ticket is None:
            return
        window, entry = ticket
        with self._lock:
            if not settlement.asked:
                window.withdraw(entry)
            elif settlement.tokens is not None and settlement.tokens >= 0:
                window.settle(entry, settlement.tokens)


def _checked(limits: Any) -> dict[str, RateLimit]:
    if not isinstance(limits, Mapping):
        raise ConfigurationError(
            f"limits must be a RateLimit or a mapping of them, got {limits!r}.",
            hint='limits=RateLimit(rpm=500), or {"openai/gpt-4o": RateLimit(rpm=500)}.',
        )
    for name, limit in limits.items():
        if not isinstance(limit, RateLimit):
            raise ConfigurationError(
                f"limits[{name!r}] must be a RateLimit, got {limit!r}.",
                hint="RateLimit(rpm=500), say.",
            )
    return dict(limits)


def _reason(limit: RateLimit, wait: float) -> Reason:
    parts = [] if limit.rpm is None else [f"{limit.rpm:,} requests"]
    parts += [] if limit.tpm is None else [f"{limit.tpm:,} tokens"]
    template = "its limit of {} a minute is reached; room for this call in {:.1f} s"
    return Reason("rate_limit", template, (" and ".join(parts), wait))
