"""One deployment's circuit breaker: closed, open, half-open; told the time, it asks no clock.

What an error means follows from its class (:func:`meaning`):

- 429: the deployment is left alone for as long as the provider says, or for a time that doubles
  with each 429 in a row; then it is used as before.
- 5xx, timeouts, lost connections, malformed or cut answers, errors of a local model: after several
  in a row it is left alone for a time that doubles with each failed probe, then probed.
- A refused key (401): left alone at once and for long. (A new key is a new deployment.) A 403 may
  be about one request alone and counts as a failure.
- A bad request, or an answer that was given up for another reason, proves that it answers.

None of the libraries fits. pybreaker 1.4.1 (2025), purgatory 3.0.1, circuitbreaker 2.1.3 (2025) and
aiobreaker 1.2.0 (2021) keep one fixed cooldown for all errors, know nothing of Retry-After and let
any number of callers probe at once; their clocks are built in. And they wrap a function whose
exception decides, where here the end of a stream may tell minutes later.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias

from pydantic import Field

from modelrouter.config import Configured
from modelrouter.exceptions import (
    AuthenticationError,
    BackendError,
    BadRequestError,
    LowConfidenceError,
    QueueFullError,
    RateLimitError,
)
from modelrouter.guards.base import Settlement

__all__ = ["Breaker", "BreakerPolicy", "Meaning", "Pass", "State", "meaning"]

State: TypeAlias = Literal["closed", "open", "half_open", "rate_limited"]
Meaning: TypeAlias = Literal["works", "fails", "slow_down", "no_key", "nothing"]

_PROBED_AGAIN_S: Final = 0.5
"""How soon to look again whether another caller's probe came back."""
_LONGEST_S: Final = 86_400.0
"""The longest Retry-After that is believed."""


class BreakerPolicy(Configured):
    """When a deployment that fails is left alone, and for how long.

    Attributes:
        failures: in a row, after which it is.
        cooldown_s: the first time; doubled with each probe that fails.
        max_cooldown_s: the longest.
        rate_limit_s: after a 429 without Retry-After, the first time; doubled with each in a row.
        max_rate_limit_s: the longest of these.
        auth_cooldown_s: after a refused key, the first time; doubled too.
        max_auth_cooldown_s: the longest of these.
        probe_s: after which a probe that says nothing is taken for lost, and another is let go.
    """

    failures: int = Field(default=5, ge=1)
    cooldown_s: float = Field(default=5.0, gt=0)
    max_cooldown_s: float = Field(default=300.0, gt=0)
    rate_limit_s: float = Field(default=1.0, gt=0)
    max_rate_limit_s: float = Field(default=60.0, gt=0)
    auth_cooldown_s: float = Field(default=300.0, gt=0)
    max_auth_cooldown_s: float = Field(default=3_600.0, gt=0)
    probe_s: float = Field(default=120.0, gt=0)


def meaning(settlement: Settlement) -> Meaning:
    """What an attempt's end says of the deployment."""
    error = settlement.error
    if not settlement.asked or isinstance(error, QueueFullError):
        return "nothing"
    if error is None:
        return "nothing" if settlement.cancelled else "works"
    if isinstance(error, RateLimitError):
        return "slow_down"
    if isinstance(error, AuthenticationError):
        return "fails" if error.status == 403 else "no_key"
    if isinstance(error, (BadRequestError, LowConfidenceError)):
        return "works"
    return "nothing" if settlement.cancelled else "fails"


@dataclass(frozen=True, slots=True)
class Pass:
    """An attempt that a breaker let through, in the breaker's state of that moment."""

    era: int
    probe: bool


@dataclass(slots=True)
class Breaker:
    """The state of one deployment. Its owner keeps threads apart.

    Attributes:
        failures: in a row.
        until: seconds of the clock until which it is left alone.
        since: when its state last changed.
        error: class and status of the last failure.
        tripped: how often it was opened since it last worked.
    """

    policy: BreakerPolicy
    since: float
    failures: int = 0
    until: float = float("-inf")
    error: str = ""
    tripped: int = 0
    _throttled: int = 0
    _era: int = 0
    _probe_since: float | None = field(default=None)

    def state(self, now: float) -> State:
        """Its state at this time."""
        if now < self.until:
            return "open" if self.tripped else "rate_limited"
        return "half_open" if self.tripped else "closed"

    def wait_s(self, now: float) -> float:
        """Seconds after which an attempt may be let through; 0.0 if one would be now."""
        if now < self.until:
            return self.until - now
        if self.tripped and self._probe_since is not None:
            return min(_PROBED_AGAIN_S, max(0.0, self._probe_since + self.policy.probe_s - now))
        return 0.0

    def admit(self, now: float) -> Pass | None:
        """Let an attempt through, or not; in doubt about the deployment, one at a time."""
        if self.wait_s(now) > 0.0:
            return None
        if self.tripped:
            self._probe_since = now
            self._era += 1  # a probe that was taken for lost has no say any more
        return Pass(self._era, probe=self.tripped > 0)

    def settle(self, permit: Pass, what: Meaning, now: float, error: BackendError | None) -> None:
        """Hear what came of an attempt.

        What began before the last change of state says nothing of the state now: a hundred
        failures of calls that were under way together are not a hundred failed probes.
        """
        if what == "slow_down" and error is not None and error.retry_after is not None:
            self.until = max(self.until, now + min(max(0.0, error.retry_after), _LONGEST_S))
            self._note(now, error)
        if permit.era != self._era:
            return
        if permit.probe:
            self._probe_since = None
        if what == "works":
            self._close(now)
        elif what == "slow_down" and error is not None:
            self._throttle(now, error)
        elif what == "fails":
            self.failures += 1
            if permit.probe or self.failures >= self.policy.failures:
                self._trip(now, error, self.policy.cooldown_s, self.policy.max_cooldown_s)
        elif what == "no_key":
            self.failures += 1
            self._trip(now, error, self.policy.auth_cooldown_s, self.policy.max_auth_cooldown_s)

    def _close(self, now: float) -> None:
        if self.tripped:
            self._era += 1
            self.since = now
        self.failures = self.tripped = self._throttled = 0

    def _throttle(self, now: float, error: BackendError) -> None:
        """A 429 shows that the deployment answers: what it asks for is time."""
        if self.tripped:
            self._close(now)
        if error.retry_after is None:
            pause = self.policy.rate_limit_s * 2.0 ** min(self._throttled, 60)
            self.until = max(self.until, now + min(pause, self.policy.max_rate_limit_s))
        self._throttled += 1
        self._note(now, error)
        self._era += 1

    def _trip(self, now: float, error: BackendError | None, first: float, most: float) -> None:
        self.until = max(self.until, now + min(first * 2.0 ** min(self.tripped, 60), most))
        self.tripped += 1
        self._era += 1
        self._note(now, error)

    def _note(self, now: float, error: BackendError | None) -> None:
        self.since = now
        if error is not None:
            # Without its message, which may repeat what was asked.
            status = f" ({error.status})" if error.status is not None else ""
            self.error = f"{type(error).__name__}{status}"
