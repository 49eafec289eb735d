"""Policy: rules first, then hard constraints, then the objective; pure."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from operator import gt, itemgetter
from typing import Annotated, Any, Final, Literal, NamedTuple, TypeAlias, cast

from pydantic import AfterValidator, Field

from modelrouter._common.plain import parsed, shown
from modelrouter.catalog.card import ModelCard
from modelrouter.config import Configured
from modelrouter.exceptions import ConfigurationError
from modelrouter.fitting.thresholds import Threshold
from modelrouter.policies.constraints import (
    Eligible,
    capability_obstacles,
    eligible_cards,
    load_of,
    location_obstacle,
)
from modelrouter.policies.decision import Candidate, Decision, Reason
from modelrouter.policies.objective import Objective
from modelrouter.policies.presets import PRESETS
from modelrouter.policies.rules import Rule
from modelrouter.scoring.base import Prediction, RoutingContext
from modelrouter.signals.base import Signals
from modelrouter.task import Kind, Task

__all__ = ["Policy", "PolicyLike"]

_CHOSEN: Final = Reason("chosen", "highest utility among those that may do it")
_FALLBACK: Final = Reason("fallback", "asked if those before it fail")


Share: TypeAlias = Annotated[float, Field(ge=0, le=1)]


class _Ruling(NamedTuple):
    """The rules that apply to a task: what they prefer, and what they rule out."""

    preferred: Rule | None
    limiting: tuple[Rule, ...]

    def allows(self, card: ModelCard) -> bool:
        return all(rule.allows(card) for rule in self.limiting)


_NO_RULES: Final = _Ruling(None, ())


class Policy(Configured):
    """What is allowed, and what is better.

    Attributes:
        name: shown in decisions.
        objective: weights of quality, cost and latency.
        min_quality: the least P(quality) a model must promise; below it, no answer is better.
        max_cost_usd: the most one call is expected to cost.
        max_latency_s: the longest one call is expected to take.
        location: ``local`` keeps every task on this machine, whatever fails.
        rules: all that match apply; of ``use`` rules the first match counts.
        cache_pii: whether answers to tasks with personal data may be cached.
        cache_private: whether answers to tasks that must stay on this machine may be cached.
        min_confidence: how sure a local model must have been of its answer, 0 to 1, for all kinds
            or by kind; a less sure one is answered again by the next candidate that promises more.
        hold_back: tokens of a local model's stream that are held back until it is known whether
            ``min_confidence`` holds; what was shown is never taken back.
        check_answers: whether what is no answer (empty, a loop, the prompt again, another language)
            is asked of the next candidate.
        accept: your own check of a whole reply: ``True``, or anything else (a text says why) and
            the next candidate is asked. If none will do, the call raises.
        on_interruption: what a stream does that breaks off after its first text: ``raise``, or
            ``continue`` with the next candidate from where it broke off.
        hedge: ask the second candidate too when the first has not begun to answer after so many
            seconds; ``True`` for the time that 95 % of its answers took. What comes first counts.

    Raises:
        ConfigurationError: an unknown field, or a value that it cannot take.
    """

    name: str = "custom"
    objective: Objective = Objective()
    min_quality: float | None = Field(default=None, ge=0, le=1)
    max_cost_usd: float | None = Field(default=None, ge=0)
    max_latency_s: float | None = Field(default=None, gt=0)
    location: Literal["any", "local"] = "any"
    rules: Annotated[Sequence[Rule], AfterValidator(tuple)] = ()
    cache_pii: bool = False
    cache_private: bool = False
    min_confidence: Share | dict[Kind, Share] | None = None
    hold_back: int = Field(default=16, ge=1)
    check_answers: bool = True
    accept: Callable[[Any], bool | str] | None = None
    on_interruption: Literal["raise", "continue"] = "raise"
    hedge: bool | Annotated[float, Field(gt=0)] = False

    @classmethod
    def preset(cls, name: str, **changes: Any) -> Policy:
        """A named policy, with some fields changed: ``Policy.preset("best", max_cost_usd=0.01)``.

        Raises:
            ConfigurationError: no preset of that name.
        """
        if name not in PRESETS:
            raise ConfigurationError(
                f"Unknown policy {name!r}.", hint=f"One of {', '.join(PRESETS)}."
            )
        return cls(**{"name": name, **PRESETS[name], **changes})

    @classmethod
    def balanced(cls, **changes: Any) -> Policy:
        """The cheapest and quickest of the models that do it well: the default."""
        return cls.preset("balanced", **changes)

    @classmethod
    def cheapest(cls, **changes: Any) -> Policy:
        """The least cost at an acceptable quality."""
        return cls.preset("cheapest", **changes)

    @classmethod
    def best(cls, **changes: Any) -> Policy:
        """The highest quality, whatever it costs."""
        return cls.preset("best", **changes)

    @classmethod
    def fastest(cls, **changes: Any) -> Policy:
        """The least latency at an acceptable quality."""
        return cls.preset("fastest", **changes)

    @classmethod
    def private(cls, **changes: Any) -> Policy:
        """Local models only: a hosted candidate is never eligible, whatever fails."""
        return cls.preset("private", **{**changes, "location": "local"})

    @classmethod
    def of(cls, policy: PolicyLike | None) -> Policy:
        """A policy, a threshold, a preset's name, or ``None`` for balanced."""
        if isinstance(policy, Policy):
            return policy
        if isinstance(policy, Threshold):
            return cls(name="threshold", objective=Objective(**policy.objective))
        if policy is None:
            return cls.balanced()
        if isinstance(policy, str):
            return cls.preset(policy)
        raise ConfigurationError(
            f"policy must be a Policy, a Threshold or a name, got {shown(policy)}."
        )

    def decide(self, context: RoutingContext) -> Decision:
        """Choose among the candidates; why the others stand behind is worked out when asked.

        Rules are matched here, once, so that a predicate is called once for each decision.
        """
        ruling = self._ruling(context)
        return Decision(
            policy=self.name,
            context=context,
            best=self._best(context, ruling),
            rank=partial(self._rank, context, ruling),
            confined_by=self._confinement(ruling.limiting),
        )

    def _confinement(self, limiting: Iterable[Rule]) -> Reason | None:
        """What keeps the task on this machine, if the policy or a matching rule does."""
        if self.location == "local":
            return Reason("location", "the policy {!r} allows local models only", (self.name,))
        for rule in limiting:
            if rule.keeps_local:
                return Reason("rule", "the rule: {}", (rule,))
        return None

    def _ruling(self, context: RoutingContext) -> _Ruling:
        if not self.rules:
            return _NO_RULES
        task, signals = context.task, context.signals
        matching = [rule for rule in self.rules if rule.condition.matches(task, signals)]
        preferred = next((rule for rule in matching if rule.action == "use"), None)
        return _Ruling(preferred, tuple(rule for rule in matching if rule.action != "use"))

    def _best(self, context: RoutingContext, ruling: _Ruling) -> Candidate | None:
        """The candidate that :meth:`_rank` puts first, if it is feasible; the rest is not judged.

        What rules a card out whatever the text is looked up; quality is predicted only where a
        perfect answer would make the card the best so far.
        """
        found = eligible_cards(context.predictions.candidate_set, context.signals, self.location)
        cards, load = found.cards, load_of(context.signals)
        if ruling.limiting:
            cards = [each for each in cards if ruling.allows(each.card)]
        if any(map(gt, load, found.all_take)):
            cards = [each for each in cards if not any(map(gt, load, each.most))]
        best = None
        if ruling.preferred is not None:
            wanted = ruling.preferred.target.matches
            best = self._highest([each for each in cards if wanted(each.card)], context)
        best = best or self._highest(cards, context)
        return best and _candidate(*best, (), 0, ruling.preferred)

    def _highest(
        self, cards: Sequence[Eligible], context: RoutingContext
    ) -> tuple[Prediction, float] | None:
        """The prediction of the highest utility among those within the policy's limits."""
        predictions = context.predictions
        expense, utility_of = predictions.expense, self.objective.utility
        best: Prediction | None = None
        highest = -math.inf
        for at, _, _ in cards:
            cost_usd, latency_s = expense(at)
            if utility_of(1.0, cost_usd, latency_s) < highest:
                continue
            prediction = predictions[at]
            utility = utility_of(prediction.p_quality, cost_usd, latency_s)
            if utility < highest or any(self._limit_obstacles(prediction)):
                continue
            if best is None or utility > highest or _tie_break(prediction) < _tie_break(best):
                best, highest = prediction, utility
        return None if best is None else (best, highest)

    def _rank(self, context: RoutingContext, ruling: _Ruling) -> tuple[Candidate, ...]:
        """Every candidate: those that may do the task, best first; then those ruled out."""
        signals, preferred = context.signals, ruling.preferred
        ranked: list[tuple[tuple[Any, ...], Prediction, tuple[Reason, ...], float]] = []
        for prediction in context.predictions:
            obstacles = tuple(self._obstacles(prediction, signals, ruling.limiting))
            utility = self.objective.utility(
                prediction.p_quality, prediction.cost_usd, prediction.latency_s
            )
            first = preferred is not None and preferred.target.matches(prediction.card)
            key = (_tier(obstacles), not first, -utility, *_tie_break(prediction))
            ranked.append((key, prediction, obstacles, utility))
        ranked.sort(key=itemgetter(0))
        return tuple(
            _candidate(prediction, utility, obstacles, place, preferred)
            for place, (_, prediction, obstacles, utility) in enumerate(ranked)
        )

    def permits(self, prediction: Prediction, task: Task, signals: Signals) -> tuple[Reason, ...]:
        """Every obstacle to giving the task to this one card; empty when it may have it.

        Asked again before every hop of a call, when more may be known than at first.
        """
        matching = [
            r for r in self.rules if r.action != "use" and r.condition.matches(task, signals)
        ]
        return tuple(self._obstacles(prediction, signals, matching))

    def least_confidence(self, kind: Kind) -> float | None:
        """How sure a local model must have been of its answer to a task of this kind."""
        least = self.min_confidence
        return least.get(kind) if isinstance(least, dict) else least

    def model_names(self) -> frozenset[str]:
        """Every model that a rule names, so that a misspelt one is found early."""
        return frozenset(name for rule in self.rules for name in rule.target.models)

    def to_json(self) -> str:
        """The policy as JSON text.

        Raises:
            ConfigurationError: a rule holds a function; the message says which.
        """
        return json.dumps(self._serialisable(), indent=2)

    def to_toml(self) -> str:
        """The policy as TOML text; see :meth:`to_json`."""
        import tomli_w

        return tomli_w.dumps(self._serialisable())

    @classmethod
    def from_json(cls, text: str) -> Policy:
        """Read what :meth:`to_json` wrote, or what a person did.

        Raises:
            ConfigurationError: not JSON, or not a policy; names the field.
        """
        try:
            fields = parsed(text)
        except ValueError as exc:
            raise ConfigurationError(f"The policy is not JSON: {exc}.") from exc
        return cls._from_plain(fields)

    @classmethod
    def from_toml(cls, text: str) -> Policy:
        """Read a policy from TOML; see :meth:`from_json`."""
        from modelrouter._common.toml import loads

        try:
            fields = loads(text)
        except RecursionError as exc:
            raise ConfigurationError("The policy is nested too deeply to be read.") from exc
        except ValueError as exc:  # no TOML, or a number of too many digits
            raise ConfigurationError(f"The policy is not TOML: {exc}.") from exc
        return cls._from_plain(fields)

    @classmethod
    def _from_plain(cls, fields: object) -> Policy:
        if not isinstance(fields, dict):
            raise ConfigurationError(f"A policy is a table of fields, got {type(fields).__name__}.")
        return cls(**cast("dict[str, Any]", fields))

    def _serialisable(self) -> dict[str, Any]:
        for place, rule in enumerate(self.rules):
            if rule.condition.holds_predicate:
                raise ConfigurationError(
                    f"rules[{place}] ({rule}) holds a function, which no file can.",
                    hint="Use conditions such as metadata={'team': 'legal'} instead.",
                )
        if self.accept is not None:
            raise ConfigurationError(
                "accept is a function, which no file can hold.",
                hint="Add it after reading: policy.model_copy(update={'accept': ...}).",
            )
        dumped = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        return {"name": self.name, **dumped}

    def _obstacles(
        self, prediction: Prediction, signals: Signals, limiting: Iterable[Rule]
    ) -> Iterable[Reason]:
        card = prediction.card
        if prediction.unavailable is not None:
            yield Reason(
                "unavailable", "{}", (prediction.unavailable.text,), prediction.unavailable.fix
            )
        if (private := location_obstacle(card, self.location)) is not None:
            yield private
        for rule in limiting:
            if not rule.allows(card):
                yield Reason("rule", "ruled out by the rule: {}", (rule,))
        yield from capability_obstacles(card, signals)
        yield from self._limit_obstacles(prediction)

    def _limit_obstacles(self, prediction: Prediction) -> Iterator[Reason]:
        if self.min_quality is not None and prediction.p_quality < self.min_quality:
            yield Reason(
                "min_quality",
                "quality {:.2f} is below the policy's {:.2f}",
                (prediction.p_quality, self.min_quality),
            )
        if self.max_cost_usd is not None and prediction.cost_usd > self.max_cost_usd:
            yield Reason(
                "max_cost",
                "${:.6f} is above the policy's ${:.6f}",
                (prediction.cost_usd, self.max_cost_usd),
            )
        if self.max_latency_s is not None and prediction.latency_s > self.max_latency_s:
            yield Reason(
                "max_latency",
                "{:.2f} s is above the policy's {:.2f} s",
                (prediction.latency_s, self.max_latency_s),
            )


PolicyLike: TypeAlias = Policy | Threshold | str
"""A policy, a threshold (what a good answer is worth), or a preset's name."""


def _tie_break(prediction: Prediction) -> tuple[float, str]:
    """Among equals the cheapest is first, then the alphabet decides: never chance."""
    return prediction.cost_usd, prediction.card.name


def _tier(obstacles: tuple[Reason, ...]) -> int:
    """0 may do it; 1 lacks only a key or a file; 2 may not."""
    if not obstacles:
        return 0
    return 1 if len(obstacles) == 1 and obstacles[0].code == "unavailable" else 2


def _candidate(
    prediction: Prediction,
    utility: float,
    obstacles: tuple[Reason, ...],
    place: int,
    preferred: Rule | None,
) -> Candidate:
    reasons = obstacles
    if not obstacles:
        reasons = (_CHOSEN if place == 0 else _FALLBACK,)
        if preferred is not None and preferred.target.matches(prediction.card):
            reasons = (Reason("rule", "preferred by the rule: {}", (preferred,)), *reasons)
    return Candidate(
        card=prediction.card,
        feasible=not obstacles,
        p_quality=prediction.p_quality,
        cost_usd=prediction.cost_usd,
        latency_s=prediction.latency_s,
        utility=utility,
        reasons=reasons,
    )
