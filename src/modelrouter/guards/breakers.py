"""The guard that leaves deployments alone which fail, and knows how every one of them does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Hashable, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final

from modelrouter.catalog.card import ModelCard
from modelrouter.exceptions import BackendTimeoutError
from modelrouter.guards.base import Admission, Admitted, Intent, Refusal, Settlement
from modelrouter.guards.breaker import Breaker, BreakerPolicy, State, meaning
from modelrouter.guards.deployment import deployment
from modelrouter.guards.latency import Latencies
from modelrouter.policies.decision import Reason

__all__ = ["Breakers", "Health"]

_PATIENT_S: Final = 1.0
"""Seconds from which on a timeout counts, while it is not known how long answers take."""


@dataclass(frozen=True, slots=True)
class Health:
    """How a deployment does, as this router has seen it.

    Attributes:
        model: the card's name.
        api_base: where it is reached, where the card says.
        state: ``closed`` (in use), ``open`` (left alone after failures), ``half_open`` (the next
            attempt is a probe), ``rate_limited`` (left alone for as long as the provider asked).
        failures: in a row, so far.
        since: when the state began, in seconds of Unix time; ``None`` if it was never asked.
        next_try_s: seconds after which it may be asked; 0.0 for now.
        last_error: class and status of the last failure.
        answered: answers so far.
        p50_s, p95_s: seconds that half, and 95 of 100, of the last answers took at most; ``None``
            while there are fewer than ten.
    """

    model: str
    api_base: str | None = None
    state: State = "closed"
    failures: int = 0
    since: float | None = None
    next_try_s: float = 0.0
    last_error: str = ""
    answered: int = 0
    p50_s: float | None = None
    p95_s: float | None = None

    def model_dump(self) -> dict[str, Any]:
        """As plain data."""
        return asdict(self)


class _Known:
    """What is known of one deployment."""

    __slots__ = ("breaker", "latencies")

    def __init__(self, policy: BreakerPolicy, now: float) -> None:
        self.breaker = Breaker(policy, since=now)
        self.latencies = Latencies()


class Breakers:
    """Circuit breakers of all deployments, in this process.

    Args:
        policy: when and for how long; ``None`` to keep the figures and never refuse.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        policy: BreakerPolicy | None = BreakerPolicy(),  # noqa: B008 (frozen)
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._policy = policy or BreakerPolicy()
        self._refuses = policy is not None
        self._clock = clock
        self._lock = threading.Lock()
        self._known: dict[Hashable, _Known] = {}

    def admit(self, intent: Intent, /) -> Admission:
        """Agree unless the deployment is to be left alone."""
        now = self._clock()
        with self._lock:
            known = self._of(intent.card, now)
            permit = known.breaker.admit(now)
            if permit is not None or not self._refuses:
                return Admitted((known, permit))
            return Refusal(_reason(known.breaker, now), retry_in_s=known.breaker.wait_s(now))

    def settle(self, intent: Intent, ticket: Any, settlement: Settlement, /) -> None:
        """Learn from what came of the attempt."""
        known, permit = ticket
        with self._lock:
            what = meaning(settlement)
            if what == "fails" and _was_impatient(settlement, known.latencies):
                what = "nothing"
            if what == "works" and settlement.error is None:
                known.latencies.add(settlement.duration_s, settlement.first_token_s)
            if permit is not None:
                known.breaker.settle(permit, what, self._clock(), settlement.error)

    def cooling(self, card: ModelCard) -> Reason | None:
        """Why the deployment is left alone just now; ``None`` if it is not."""
        if not self._refuses:
            return None
        now = self._clock()
        with self._lock:
            known = self._known.get(deployment(card))
            if known is None or known.breaker.wait_s(now) == 0.0:
                return None
            return _reason(known.breaker, now)

    @property
    def all_well(self) -> bool:
        """Whether no deployment is in doubt; quick, for every decision asks."""
        if not self._refuses:
            return True
        now = self._clock()
        with self._lock:
            return not any(k.breaker.tripped or now < k.breaker.until for k in self._known.values())

    def latency_s(
        self, card: ModelCard, share: float, *, first_token: bool = False
    ) -> float | None:
        """Seconds within which that share of the last answers came; ``None`` if they are few.

        Args:
            card: the model.
            share: 0 to 1; 0.95 for the 95th percentile.
            first_token: of the times to the first visible text, instead of whole answers.
        """
        with self._lock:
            known = self._known.get(deployment(card))
            return (
                None if known is None else known.latencies.quantile(share, first_token=first_token)
            )

    def health(self, cards: Iterable[ModelCard]) -> tuple[Health, ...]:
        """How these cards' deployments do."""
        now, unix = self._clock(), time.time()
        with self._lock:
            return tuple(self._health(card, now, unix) for card in cards)

    def _health(self, card: ModelCard, now: float, unix: float) -> Health:
        known = self._known.get(deployment(card))
        if known is None:
            return Health(card.name, card.api_base)
        breaker, latencies = known.breaker, known.latencies
        changed = breaker.since if now < breaker.until else max(breaker.since, breaker.until)
        return Health(
            model=card.name,
            api_base=card.api_base,
            state=breaker.state(now),
            failures=breaker.failures,
            since=unix - (now - changed),
            next_try_s=breaker.wait_s(now) if self._refuses else 0.0,
            last_error=breaker.error,
            answered=latencies.answered,
            p50_s=latencies.quantile(0.5),
            p95_s=latencies.quantile(0.95),
        )

    def _of(self, card: ModelCard, now: float) -> _Known:
        key = deployment(card)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = _Known(self._policy, now)
        return known


def _reason(breaker: Breaker, now: float) -> Reason:
    wait = breaker.wait_s(now)
    state = breaker.state(now)
    if state == "half_open":
        return Reason(
            "cooling_down", "is being probed after {} failures in a row", (breaker.failures,)
        )
    if state == "rate_limited":
        template = "asked to be left alone ({}); the next try is in {:.1f} s"
        return Reason("cooling_down", template, (breaker.error, wait))
    template = "failed {} times in a row, last with {}; the next try is in {:.1f} s"
    return Reason("cooling_down", template, (breaker.failures, breaker.error, wait))


def _was_impatient(settlement: Settlement, latencies: Latencies) -> bool:
    """Whether the caller had too little time left for any answer to come."""
    if not isinstance(settlement.error, BackendTimeoutError):
        return False
    usual = latencies.quantile(0.95)
    return settlement.duration_s < (_PATIENT_S if usual is None else usual)
