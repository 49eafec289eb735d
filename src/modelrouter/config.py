"""Value objects a caller sets: generation settings, timeouts, retries."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, ClassVar, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from modelrouter._common.plain import shown
from modelrouter.exceptions import ConfigurationError

__all__ = [
    "UNSET",
    "Configured",
    "GenerationSettings",
    "RateLimit",
    "RetryPolicy",
    "Timeout",
    "Unset",
]


class Unset(enum.Enum):
    """The type of :data:`UNSET`: "not given", where ``None`` has a meaning of its own."""

    UNSET = "unset"

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset.UNSET

_RANGES: Final[dict[str, tuple[float, float]]] = {
    "temperature": (0.0, 2.0),
    "top_p": (0.0, 1.0),
    "presence_penalty": (-2.0, 2.0),
    "frequency_penalty": (-2.0, 2.0),
    "confidence_floor": (0.0, 1.0),
}


_NOT_SENT: Final = ("extra", "confidence_floor", "confidence_window")


@dataclass(frozen=True, slots=True)
class GenerationSettings:
    """Sampling parameters under OpenAI's names; ``UNSET`` leaves the default.

    ``extra`` is handed to the provider as it is (``user``, ``logit_bias`` ...).
    ``confidence_floor`` is for local models alone and never sent: an answer is given up, as
    :class:`~modelrouter.exceptions.LowConfidenceError`, when the geometric mean of its tokens'
    probabilities falls below it; with ``confidence_window``, only within its first so many tokens.

    Raises:
        ConfigurationError: a value is outside OpenAI's range; the message names it.
    """

    temperature: float | Unset | None = UNSET
    top_p: float | Unset | None = UNSET
    max_tokens: int | Unset | None = UNSET
    stop: str | list[str] | Unset | None = UNSET
    seed: int | Unset | None = UNSET
    presence_penalty: float | Unset | None = UNSET
    frequency_penalty: float | Unset | None = UNSET
    confidence_floor: float | Unset | None = UNSET
    confidence_window: int | Unset | None = UNSET
    extra: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if value is UNSET or value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise ConfigurationError(f"{name} must be a number, got {shown(value)}.")
            if not low <= value <= high:
                raise ConfigurationError(
                    f"{name}={shown(value)} is out of range.", hint=f"Use {low} to {high}."
                )
        if isinstance(self.max_tokens, bool) or (
            isinstance(self.max_tokens, int) and self.max_tokens < 1
        ):
            raise ConfigurationError(
                f"max_tokens={self.max_tokens!r} is out of range.", hint="Use 1 or more."
            )

    def as_parameters(self) -> dict[str, Any]:
        """The parameters that were given, by OpenAI's names, for a provider."""
        given = {
            f.name: value
            for f in fields(self)
            if f.name not in _NOT_SENT and (value := getattr(self, f.name)) is not UNSET
        }
        return {**given, **self.extra}


class Configured(BaseModel):
    """What a user configures: frozen, and strict about names and values.

    Raises:
        ConfigurationError: names the field, what is wrong, and the value (but for cards, whose
            fields may be secret); pydantic's own error is its cause.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)
    _shows_values: ClassVar[bool] = True

    if not TYPE_CHECKING:  # type checkers take the signature from the fields

        def __init__(self, **fields: Any) -> None:
            try:
                super().__init__(**fields)
            except ValidationError as exc:
                what = type(self).__name__
                if isinstance(fields.get("name"), str):
                    what += f" {fields['name']!r}"
                problem = _first_problem(exc, show_value=self._shows_values)
                raise ConfigurationError(f"{what}: {problem}") from exc


def _first_problem(exc: ValidationError, *, show_value: bool) -> str:
    first = exc.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    named = f"{place}: " if place else ""
    given = (
        f" (got {shown(first['input'])})"
        if show_value and place and first["type"] != "missing"
        else ""
    )
    return f"{named}{first['msg']}{given}."


class Timeout(Configured):
    """Seconds allowed. ``total`` covers the whole call: retries and fallbacks included."""

    total: float | None = Field(default=600.0, gt=0)
    attempt: float | None = Field(default=120.0, gt=0)

    @classmethod
    def of(cls, value: Timeout | float | None) -> Timeout:
        """``30`` means 30 seconds in all; ``None`` means no limit."""
        if isinstance(value, Timeout):
            return value
        if value is None:
            return cls(total=None, attempt=None)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or value <= 0:
            raise ConfigurationError(
                f"timeout={shown(value)} is not a positive number of seconds.",
                hint="Use timeout=30, timeout=None or Timeout(total=30, attempt=10).",
            )
        return cls(total=float(value), attempt=float(value))


class RetryPolicy(Configured):
    """How often and how patiently one model is asked again before the next one is.

    The wait before attempt *n* is ``initial_s * 2**(n-1)``, at most ``max_s``, plus up to
    ``jitter_s`` at random; a provider's Retry-After is honoured when it is longer, up to
    ``max_retry_after_s`` (beyond that the next candidate is asked at once).
    """

    max_attempts: int = Field(default=3, ge=1)
    initial_s: float = Field(default=0.5, ge=0)
    max_s: float = Field(default=8.0, ge=0)
    jitter_s: float = Field(default=0.5, ge=0)
    max_retry_after_s: float = Field(default=60.0, ge=0)

    @model_validator(mode="after")
    def _ordered(self) -> RetryPolicy:
        if self.max_s < self.initial_s:
            raise ValueError(f"max_s={self.max_s} is below initial_s={self.initial_s}")
        return self


class RateLimit(Configured):
    """What a provider lets one deployment be asked for in any 60 seconds.

    Attributes:
        rpm: requests; ``None`` for any number.
        tpm: tokens, of prompts and answers together; ``None`` for any number.
    """

    rpm: int | None = Field(default=None, ge=1)
    tpm: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _limits_something(self) -> RateLimit:
        if self.rpm is None and self.tpm is None:
            raise ValueError("a rate limit needs rpm=... or tpm=...")
        return self
