"""Replay: the decisions of a ledger made again under another policy, from what was stored.

Quality, cost and time of every candidate were predicted when the call came and stand in its
decision; the replay decides on the same predictions, so that nothing differs but the policy. No
model is asked and no text is needed, unless a rule reads it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final

from modelrouter._common.sqlite import usd
from modelrouter.catalog.card import ModelCard
from modelrouter.catalog.discovery import Unavailable
from modelrouter.ledger.rows import Row
from modelrouter.policies import Policy, PolicyLike
from modelrouter.policies.decision import Candidate
from modelrouter.policies.rules import Condition
from modelrouter.scoring.base import Prediction, RoutingContext
from modelrouter.signals.base import Signals
from modelrouter.task import Task

__all__ = ["Replay", "Replayed", "replay"]

_OF_THE_POLICY: Final = frozenset(
    (
        "chosen",
        "fallback",
        "rule",
        "location",
        "min_quality",
        "max_cost",
        "max_latency",
        "budget",
        "cooling_down",
        "rate_limit",
    )
)
"""Reasons that another policy, or another moment, may not have; any other is the model's own."""
_UNSAID: Final = Task.of("-")
_WIDE: Final = 1 << 60


@dataclass(frozen=True, slots=True)
class Replayed:
    """One call decided again.

    Attributes:
        row: the call.
        before: who did it, and what had been predicted of it.
        after: who would have done it; ``None`` where the policy allows nobody.
    """

    row: Row
    before: Candidate
    after: Candidate | None

    @property
    def moved(self) -> bool:
        """Whether another model would have done it."""
        return self.after is not None and self.after.model != self.before.model


@dataclass(frozen=True)
class Replay:
    """What another policy would have changed.

    Attributes:
        policy: its name.
        calls: those decided again.
        not_replayed: how many were not, by the reason in words.
    """

    policy: str
    calls: tuple[Replayed, ...]
    not_replayed: Mapping[str, int] = field(default_factory=dict)

    @property
    def answered(self) -> tuple[Replayed, ...]:
        """The calls that some model may do under the policy: those compared."""
        return tuple(call for call in self.calls if call.after is not None)

    @property
    def refused(self) -> int:
        """How many calls no model may do under the policy."""
        return len(self.calls) - len(self.answered)

    @property
    def moves(self) -> Counter[tuple[str, str]]:
        """How many calls go from which model to which."""
        pairs = ((call.before, call.after) for call in self.answered if call.moved)
        return Counter((before.model, after.model) for before, after in pairs if after)

    @property
    def paid_usd(self) -> float:
        """What the calls compared really cost, as far as known."""
        return usd(sum(call.row.cost_pico for call in self.answered))

    def sums(self) -> dict[str, tuple[float, float]]:
        """Expected cost in USD (sum), predicted quality and seconds (means), before and after."""
        pairs = [(call.before, call.after) for call in self.answered if call.after is not None]
        count = len(pairs) or 1
        return {
            "cost_usd": (sum(b.cost_usd for b, _ in pairs), sum(a.cost_usd for _, a in pairs)),
            "p_quality": (
                sum(b.p_quality for b, _ in pairs) / count,
                sum(a.p_quality for _, a in pairs) / count,
            ),
            "latency_s": (
                sum(b.latency_s for b, _ in pairs) / count,
                sum(a.latency_s for _, a in pairs) / count,
            ),
        }

    def model_dump(self) -> dict[str, Any]:
        """The replay as plain data."""
        return {
            "policy": self.policy,
            "replayed": len(self.calls),
            "compared": len(self.answered),
            "refused": self.refused,
            "moved": self.moves.total(),
            "moves": [
                {"from": before, "to": after, "calls": count}
                for (before, after), count in self.moves.most_common()
            ],
            **{
                name: {"before": before, "after": after}
                for name, (before, after) in self.sums().items()
            },
            "paid_usd": self.paid_usd,
            "not_replayed": dict(self.not_replayed),
        }

    def __str__(self) -> str:
        total = len(self.calls) + sum(self.not_replayed.values())
        lines = [f"{len(self.calls):,} of {total:,} calls decided again under {self.policy!r}."]
        if self.answered:
            lines += self._compared()
        if self.refused:
            lines.append(f"No model may do {self.refused:,} of them under this policy.")
        lines += [
            f"Not replayed: {count:,} calls, because {why}."
            for why, count in self.not_replayed.items()
        ]
        return "\n".join(lines)

    def _compared(self) -> list[str]:
        sums = self.sums()
        (cost, cost_after), (quality, quality_after) = sums["cost_usd"], sums["p_quality"]
        seconds, seconds_after = sums["latency_s"]
        share = f" ({cost_after / cost - 1:+.0%})" if cost else ""
        lines = [
            f"{self.moves.total():,} of {len(self.answered):,} would go to another model.",
            f"Expected cost: ${cost:.6f} before, ${cost_after:.6f} after{share}; "
            f"really paid: ${self.paid_usd:.6f}.",
            f"Predicted quality: {quality:.3f} before, {quality_after:.3f} after "
            f"({quality_after - quality:+.3f}).",
            f"Expected time: {seconds:.2f} s before, {seconds_after:.2f} s after, on average.",
        ]
        lines += [
            f"  {count:,} from {before} to {after}"
            for (before, after), count in self.moves.most_common(10)
        ]
        return lines


def replay(rows: Iterable[Row], policy: PolicyLike) -> Replay:
    """Decide the calls again under a policy.

    Args:
        rows: of a ledger, with their details.
        policy: a policy, a threshold, or a preset's name.

    Raises:
        ConfigurationError: no such policy.
    """
    wanted = Policy.of(policy)
    reads_task = any(_reads_task(rule.condition) for rule in wanted.rules)
    calls: list[Replayed] = []
    left_out: Counter[str] = Counter()
    for row in rows:
        try:
            problem = _obstacle(row, reads_task)
            context = None if problem else _context(row)
        except (LookupError, TypeError, ValueError, AttributeError):  # also our own of bad values
            problem, context = "what is stored of them is damaged", None
        if context is None:
            left_out[problem] += 1
            continue
        decision = wanted.decide(context)
        before = next(c for c in decision.candidates if c.model == row.model)
        after = decision.candidates[0] if decision.candidates[0].feasible else None
        calls.append(Replayed(row, before, after))
    return Replay(wanted.name, tuple(calls), dict(left_out))


def _obstacle(row: Row, reads_task: bool) -> str:
    """Why a call cannot be replayed, in words; empty when it can."""
    if row.outcome == "begun":
        return "they have not ended"
    if row.cached:
        return "they were answered from the cache"
    if row.decision is None:
        return "their decision is not stored"
    if all(candidate["model"] != row.model for candidate in row.decision["candidates"]):
        return "no model was chosen for them"
    if reads_task and row.text is None:
        return "a rule reads the task's text or metadata, which the ledger did not keep"
    return ""


def _reads_task(condition: Condition) -> bool:
    nested = (*condition.all_of, *condition.any_of, *condition.none_of)
    return bool(condition.predicate or condition.metadata or any(map(_reads_task, nested)))


def _context(row: Row) -> RoutingContext:
    assert row.decision is not None
    signals = Signals.of_dump(row.decision["signals"])
    predictions = [_prediction(candidate) for candidate in row.decision["candidates"]]
    return RoutingContext(row.task or _UNSAID, signals, predictions)


def _prediction(candidate: Mapping[str, Any]) -> Prediction:
    own = [r for r in candidate["reasons"] if r["code"] not in _OF_THE_POLICY]
    families = tuple(candidate.get("families", ("llm",)))
    return Prediction(
        _card(candidate["model"], candidate["location"], families),
        candidate["p_quality"],
        candidate["cost_usd"],
        candidate["latency_s"],
        Unavailable(own[0]["text"], own[0]["fix"]) if own else None,
    )


@lru_cache(maxsize=1_024)
def _card(name: str, location: Any, families: tuple[Any, ...]) -> ModelCard:
    """A card that rules nothing out: what the model could not do stands in the reasons."""
    return ModelCard(
        name=name,
        families=frozenset(families),
        location=location,
        backend="replayed",
        modalities_in=frozenset(("text", "image", "audio", "embedding")),
        modalities_out=frozenset(("text", "image", "audio", "embedding")),
        context_window=_WIDE,
        capabilities=frozenset(("tools", "json_schema")),
    )
