"""Rules: conditions on a task, combined with ``&``, ``|`` and ``~``, and what follows from them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BeforeValidator, Field

from modelrouter.catalog.card import Family, Location, ModelCard
from modelrouter.config import Configured
from modelrouter.exceptions import ConfigurationError
from modelrouter.signals.base import Need, Signals
from modelrouter.task import Kind, Task

__all__ = ["Condition", "Predicate", "Rule", "Selector"]

Predicate: TypeAlias = Callable[[Task], bool]
"""A user's own test of a task; cannot be written to a file."""


def _as_tuple(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Names: TypeAlias = Annotated[tuple[str, ...], BeforeValidator(_as_tuple)]
Kinds: TypeAlias = Annotated[tuple[Kind, ...], BeforeValidator(_as_tuple)]
Needs: TypeAlias = Annotated[tuple[Need, ...], BeforeValidator(_as_tuple)]


class Selector(Configured):
    """Which cards an action is about; every field that is given must match."""

    models: Names = ()
    tier: Family | None = None
    location: Location | None = None

    def matches(self, card: ModelCard) -> bool:
        """Whether the card is meant."""
        return (
            (not self.models or card.name in self.models)
            and (self.tier is None or self.tier in card.families)
            and (self.location is None or card.location == self.location)
        )

    def __str__(self) -> str:
        parts = [" or ".join(self.models)] if self.models else []
        parts += [f"{self.tier} models"] if self.tier else []
        parts += [f"{self.location} models"] if self.location else []
        return ", ".join(parts)


class Condition(Configured):
    """When a rule applies; every field that is given must hold.

    Attributes:
        kind, language: one value or several, any of which will do.
        contains_pii: whether personal data was seen.
        min_complexity, max_complexity: bounds on complexity, inclusive.
        min_context_tokens, max_context_tokens: bounds on context tokens, inclusive.
        needs: all of these must be needed.
        metadata: all of these entries must be in the task's metadata.
        all_of, any_of, none_of: nested conditions, as ``&``, ``|`` and ``~`` make them.
        predicate: a function of the task; a condition that holds one cannot be serialised.
    """

    kind: Kinds = ()
    language: Names = ()
    contains_pii: bool | None = None
    min_complexity: float | None = Field(default=None, ge=0, le=1)
    max_complexity: float | None = Field(default=None, ge=0, le=1)
    min_context_tokens: int | None = Field(default=None, ge=0)
    max_context_tokens: int | None = Field(default=None, ge=0)
    needs: Needs = ()
    metadata: dict[str, str | int | float | bool] = Field(default_factory=dict)
    all_of: tuple[Condition, ...] = ()
    any_of: tuple[Condition, ...] = ()
    none_of: tuple[Condition, ...] = ()
    predicate: Predicate | None = Field(default=None, exclude=True)

    def __and__(self, other: Condition) -> Condition:
        return Condition(all_of=(self, other))

    def __or__(self, other: Condition) -> Condition:
        return Condition(any_of=(self, other))

    def __invert__(self) -> Condition:
        return Condition(none_of=(self,))

    def use(
        self, *models: str, tier: Family | None = None, location: Location | None = None
    ) -> Rule:
        """Prefer these models: they are asked first where they may; others stay as fallback."""
        return _rule(self, "use", models, tier, location)

    def only(
        self, *models: str, tier: Family | None = None, location: Location | None = None
    ) -> Rule:
        """Allow these models and no other, in every fallback too."""
        return _rule(self, "only", models, tier, location)

    def avoid(
        self, *models: str, tier: Family | None = None, location: Location | None = None
    ) -> Rule:
        """Forbid these models, in every fallback too."""
        return _rule(self, "avoid", models, tier, location)

    def matches(self, task: Task, signals: Signals) -> bool:
        """Whether the condition holds for the task."""
        return (
            (not self.kind or signals.kind in self.kind)
            and (not self.language or signals.language in self.language)
            and (self.contains_pii is None or signals.contains_pii == self.contains_pii)
            and (self.min_complexity is None or signals.complexity >= self.min_complexity)
            and (self.max_complexity is None or signals.complexity <= self.max_complexity)
            and (
                self.min_context_tokens is None or signals.context_tokens >= self.min_context_tokens
            )
            and (
                self.max_context_tokens is None or signals.context_tokens <= self.max_context_tokens
            )
            and all(need in signals.needs for need in self.needs)
            and _contains(task.metadata, self.metadata)
            and all(c.matches(task, signals) for c in self.all_of)
            and (not self.any_of or any(c.matches(task, signals) for c in self.any_of))
            and not any(c.matches(task, signals) for c in self.none_of)
            and (self.predicate is None or bool(self.predicate(task)))
        )

    @property
    def holds_predicate(self) -> bool:
        """Whether a function is anywhere inside, so that it cannot be serialised."""
        nested = (*self.all_of, *self.any_of, *self.none_of)
        return self.predicate is not None or any(c.holds_predicate for c in nested)

    def __str__(self) -> str:
        shown = self.model_dump(exclude_defaults=True, exclude={"all_of", "any_of", "none_of"})
        parts = [f"{name}={_plain(value)}" for name, value in shown.items()]
        parts += [f"({c})" for c in self.all_of]
        parts += [f"({' or '.join(map(str, self.any_of))})"] if self.any_of else []
        parts += [f"not ({c})" for c in self.none_of]
        parts += [getattr(self.predicate, "__name__", "a function")] if self.predicate else []
        return " and ".join(parts) or "always"


class Rule(Configured):
    """One line of a policy: when a condition holds, use, allow only, or avoid some models.

    ``Rule.when(kind="grammar").use(tier="slm")``;
    ``(Rule.when(contains_pii=True) | Rule.when(language="de")).only(location="local")``;
    ``Rule.when(lambda task: task.metadata.get("team") == "legal").use("openai/gpt-4o")``.
    """

    condition: Condition = Field(alias="when")
    action: Literal["use", "only", "avoid"]
    target: Selector

    @classmethod
    def when(cls, predicate: Predicate | None = None, /, **conditions: Any) -> Condition:
        """A condition, to be followed by ``use``, ``only`` or ``avoid``.

        Raises:
            ConfigurationError: an unknown condition, or a value it cannot take.
        """
        if predicate is not None and not callable(predicate):
            raise ConfigurationError(
                f"Rule.when({predicate!r}): expected a function of the task.",
                hint='Conditions are keywords: Rule.when(kind="grammar").',
            )
        return Condition(predicate=predicate, **conditions)

    def allows(self, card: ModelCard) -> bool:
        """Whether the rule, where its condition holds, leaves the card in."""
        return self.action == "use" or self.target.matches(card) == (self.action == "only")

    @property
    def keeps_local(self) -> bool:
        """Whether the rule, where its condition holds, leaves no hosted model in."""
        target = self.target
        if self.action == "only":
            return target.location == "local"
        every = not target.models and target.tier is None
        return self.action == "avoid" and target.location == "hosted" and every

    def __str__(self) -> str:
        return f"when {self.condition}: {self.action} {self.target}"


def _rule(
    condition: Condition,
    action: Literal["use", "only", "avoid"],
    models: tuple[str, ...],
    tier: Family | None,
    location: Location | None,
) -> Rule:
    if not (models or tier or location):
        raise ConfigurationError(
            f"{action}() names no model.", hint='Give a name, tier="slm" or location="local".'
        )
    target = Selector(models=models, tier=tier, location=location)
    return Rule(when=condition, action=action, target=target)


def _contains(metadata: Mapping[str, Any], wanted: Mapping[str, Any]) -> bool:
    return all(name in metadata and metadata[name] == value for name, value in wanted.items())


def _plain(value: object) -> str:
    return "/".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)
