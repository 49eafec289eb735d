"""Decision: which model does the task, which others could, and why; nothing is called."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple, Protocol, TypeAlias

from modelrouter.catalog.card import Location, ModelCard
from modelrouter.exceptions import (
    ContextWindowExceededError,
    NoEligibleModelError,
    UnsupportedModalityError,
)
from modelrouter.policies.privacy_proof import Hop, Proof, RouterSetup, checks
from modelrouter.schemas import Unreadable, kept
from modelrouter.scoring.base import RoutingContext
from modelrouter.signals.base import Signals
from modelrouter.task import Task

__all__ = ["Candidate", "Decision", "Reason", "ReasonCode"]

ReasonCode: TypeAlias = Literal[
    "chosen",
    "fallback",
    "rule",
    "unavailable",
    "location",
    "modality",
    "scope",
    "language",
    "context_window",
    "prompt_length",
    "turns",
    "system_prompt",
    "tools",
    "json_schema",
    "min_quality",
    "max_cost",
    "max_latency",
    "budget",
    "cooling_down",
    "rate_limit",
    "conversation",
    "successor",
    "pictures",
]


class Reason(NamedTuple):
    """Why a candidate stands where it stands.

    The sentence is put together only when ``text`` is read: a decision makes dozens of reasons
    and most are never looked at.

    Attributes:
        code: the constraint or rule, for machines.
        template, values: the sentence, as ``str.format`` wants it.
        fix: the one line (a command, a variable, a setting) that would change it, if any.
    """

    code: ReasonCode
    template: str
    values: tuple[Any, ...] = ()
    fix: str = ""

    @property
    def text(self) -> str:
        """The reason in words."""
        return self.template.format(*self.values)

    def __str__(self) -> str:
        return f"{self.text} ({self.fix})" if self.fix else self.text


class Candidate(NamedTuple):
    """One model considered. (A named tuple: a decision makes one for every known model.)

    Attributes:
        card: the model.
        feasible: whether it may do the task.
        p_quality: predicted chance, 0 to 1, that it does the task well.
        cost_usd, latency_s: expected for this task.
        utility: the policy's objective; higher is better; comparable within one decision.
        reasons: why it was chosen, stands behind, or was ruled out (every obstacle).
    """

    card: ModelCard
    feasible: bool
    p_quality: float
    cost_usd: float
    latency_s: float
    utility: float
    reasons: tuple[Reason, ...]

    @property
    def model(self) -> str:
        """The card's name."""
        return self.card.name

    @property
    def reason(self) -> str:
        """All reasons in one line."""
        return "; ".join(map(str, self.reasons))

    def model_dump(self) -> dict[str, Any]:
        """The candidate as plain data."""
        return {
            "model": self.model,
            "location": self.card.location,
            "families": sorted(self.card.families),
            "feasible": self.feasible,
            "p_quality": self.p_quality,
            "cost_usd": self.cost_usd,
            "latency_s": self.latency_s,
            "utility": self.utility,
            "reasons": [{"code": r.code, "text": r.text, "fix": r.fix} for r in self.reasons],
        }


class Decider(Protocol):
    """What :meth:`Decision.what_if` needs of a policy."""

    def decide(self, context: RoutingContext) -> Decision:
        """Order the candidates for a task."""
        ...


class Decision:
    """The candidates in the order they would be asked, then those ruled out.

    The same task, cards and policy always give the same decision. Only the chosen candidate is
    worked out at once, the others when first looked at: most decisions are made to be followed,
    few to be explained.

    Attributes:
        policy: its name.
        context: what was decided on.
        confined_by: what keeps the task on this machine, where something does.
        setup: what the router does besides; ``None`` for a decision without a router.
    """

    __slots__ = (
        "_best",
        "_candidates",
        "_rank",
        "confined_by",
        "context",
        "policy",
        "setup",
    )

    policy: str
    context: RoutingContext
    confined_by: Reason | None
    setup: RouterSetup | None
    _best: Candidate | None
    _candidates: tuple[Candidate, ...] | None
    _rank: Callable[[], tuple[Candidate, ...]]

    def __init__(
        self,
        *,
        policy: str,
        context: RoutingContext,
        best: Candidate | None,
        rank: Callable[[], tuple[Candidate, ...]],
        confined_by: Reason | None = None,
        setup: RouterSetup | None = None,
    ) -> None:
        """``rank`` must always give the same candidates, ``best`` first where there is one."""
        put = object.__setattr__
        put(self, "policy", policy)
        put(self, "context", context)
        put(self, "_best", best)
        put(self, "_rank", rank)
        put(self, "confined_by", confined_by)
        put(self, "setup", setup)
        put(self, "_candidates", None)

    @classmethod
    def of(
        cls,
        candidates: tuple[Candidate, ...],
        *,
        policy: str,
        context: RoutingContext,
        confined_by: Reason | None = None,
        setup: RouterSetup | None = None,
    ) -> Decision:
        """A decision of which every candidate is known, best first."""
        best = candidates[0] if candidates and candidates[0].feasible else None
        return cls(
            policy=policy,
            context=context,
            best=best,
            rank=lambda: candidates,
            confined_by=confined_by,
            setup=setup,
        )

    def rearranged(self, candidates: tuple[Candidate, ...]) -> Decision:
        """The same decision with these candidates in place of its own, best first."""
        return Decision.of(
            candidates,
            policy=self.policy,
            context=self.context,
            confined_by=self.confined_by,
            setup=self.setup,
        )

    def with_setup(self, setup: RouterSetup) -> Decision:
        """The same decision, made by a router that is set up so."""
        return Decision(
            policy=self.policy,
            context=self.context,
            best=self._best,
            rank=self._rank if self._candidates is None else lambda: self.candidates,
            confined_by=self.confined_by,
            setup=setup,
        )

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """Those that may do the task, best first; then those ruled out."""
        if self._candidates is None:
            # Threads that meet here find the same, so that none has to wait for another.
            object.__setattr__(self, "_candidates", self._rank())
        assert self._candidates is not None
        return self._candidates

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError(f"a decision cannot be changed: {name!r}")

    def __delattr__(self, name: str) -> None:
        raise AttributeError(f"a decision cannot be changed: {name!r}")

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Decision):
            return NotImplemented
        return self.policy == other.policy and self.candidates == other.candidates

    def __hash__(self) -> int:
        return hash((self.policy, tuple(c.model for c in self.candidates)))

    def __repr__(self) -> str:
        return f"Decision(candidates={self.candidates!r}, policy={self.policy!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        # A policy may hold functions, which no pickle can: what travels is what it found.
        return _decided, (
            self.candidates,
            self.policy,
            self.context,
            self.confined_by,
            self.setup,
        )

    @property
    def feasible(self) -> tuple[Candidate, ...]:
        """The candidates that may do the task, best first."""
        return tuple(c for c in self.candidates if c.feasible)

    @property
    def signals(self) -> Signals:
        """What was read from the task."""
        return self.context.signals

    @property
    def best(self) -> Candidate | None:
        """The best candidate, ``None`` where none may do the task."""
        return self._best

    @property
    def chosen(self) -> Candidate:
        """The best candidate.

        Raises:
            NoEligibleModelError: none may do the task; the message says why for each.
        """
        if self._best is not None:
            return self._best
        raise self._no_eligible_model()

    @property
    def card(self) -> ModelCard:
        """The chosen model's card."""
        return self.chosen.card

    @property
    def model(self) -> str:
        """The chosen model's name."""
        return self.chosen.card.name

    @property
    def location(self) -> Location:
        """Where the chosen model runs."""
        return self.chosen.card.location

    @property
    def reason(self) -> str:
        """Why the chosen model was chosen."""
        return self.chosen.reason

    @property
    def checked_after(self) -> tuple[str, ...]:
        """What of the schema asked for no grammar keeps, as ``"uniqueItems at #/properties/a"``.

        A local model writes under a grammar, so that its answer follows the rest of the schema; by
        these keywords it is checked when it is there, as a hosted model's answer is by all. One
        that fails is not taken: the next candidate is asked.
        """
        found: list[str] = []
        for schema in _schemas(self.context.task):
            with contextlib.suppress(Unreadable):  # told where it is to be followed
                found += kept(schema).after
        return tuple(dict.fromkeys(found))

    @property
    def best_if_enabled(self) -> Candidate | None:
        """The best candidate that lacks nothing but a key or a file here."""
        return next(
            (
                c
                for c in self.candidates
                if not c.feasible
                and c.card.retired is None  # nothing here brings that back
                and all(r.code == "unavailable" for r in c.reasons)
            ),
            None,
        )

    def with_last(self, why: Callable[[ModelCard], Reason | None]) -> Decision:
        """The same decision, with the models of which there is something to say behind the others.

        They stay feasible, in their order, with what is said before their own reasons.
        """
        first: list[Candidate] = []
        last: list[Candidate] = []
        for candidate in self.feasible:
            reason = why(candidate.card)
            if reason is None:
                first.append(candidate)
            else:
                last.append(candidate._replace(reasons=(reason, *candidate.reasons)))
        if not last:
            return self
        ordered = [_ranked_at(place, c) for place, c in enumerate((*first, *last))]
        out = tuple(c for c in self.candidates if not c.feasible)
        return self.rearranged((*ordered, *out))

    def what_if(self, policy: Decider) -> Decision:
        """The same task, cards and predictions under another policy."""
        return policy.decide(self.context)

    def proof(self, hops: Iterable[Hop] = ()) -> Proof:
        """What keeps the task on this machine, guard by guard; ``print`` it for the reasons.

        Of a call that was made, ``reply.trace.proof()`` says what did: it knows the ``hops``.
        """
        return checks(
            str(self.confined_by or ""),
            (candidate.card for candidate in self.feasible),
            hops,
            self.setup,
        )

    def explain(self) -> str:
        """The decision for people: signals, then a line for each candidate with its reasons."""
        s = self.signals
        lines = [
            f"{s.kind} (confidence {s.kind_confidence:.2f}), complexity {s.complexity:.2f}, "
            f"{_tokens(s)} context tokens, language {s.language}"
            + (f", needs {', '.join(sorted(s.needs))}" if s.needs else "")
            + (f", personal data: {', '.join(s.pii)}" if s.pii else ""),
            f"policy {self.policy}",
        ]
        if self.checked_after:
            lines.append(f"checked after the answer: {', '.join(self.checked_after)}")
        for place, c in enumerate(self.candidates, 1):
            mark = f"{place}." if c.feasible else "-"
            lines.append(
                f"{mark:>3} {c.model:<32} quality {c.p_quality:.2f}  ${c.cost_usd:.6f}  "
                f"{c.latency_s:6.2f} s  {c.card.location}"
            )
            lines.extend(f"      {reason}" for reason in c.reasons)
        return "\n".join(lines)

    def model_dump(self) -> dict[str, Any]:
        """The decision as plain data: no task text, no keys."""
        chosen = self._best
        return {
            "model": chosen.model if chosen else None,
            "location": chosen.card.location if chosen else None,
            "policy": self.policy,
            "signals": self.signals.model_dump(),
            "checked_after": list(self.checked_after),
            "candidates": [c.model_dump() for c in self.candidates],
        }

    def _no_eligible_model(self) -> NoEligibleModelError:
        s = self.signals
        if not self.candidates:
            return NoEligibleModelError(
                "There is no model to choose from.",
                decision=self,
                hint="Set a provider's key (OPENAI_API_KEY ...) or pass models=[...] to Router.",
            )
        considered = [
            c
            for c in self.candidates
            if not (_ruled_out_by(c, "unavailable") or _ruled_out_by(c, "location"))
        ]
        private = any(_ruled_out_by(c, "location") for c in self.candidates)
        lines = "".join(f"\n  {c.model}: {c.reason}" for c in self.candidates)
        enable = self.best_if_enabled
        fix = enable.reasons[0].fix if enable else ""
        hint = f"\nTo enable {enable.model}: {fix}" if enable and fix else ""
        kind: type[NoEligibleModelError] = NoEligibleModelError
        what = f"No eligible model for this {s.kind} task under policy {self.policy!r}"
        pictures = "vision" in s.needs or s.kind == "image_generation"
        some = bool(considered) or (private and pictures)
        if some and all(_ruled_out_by(c, "modality") for c in considered):
            kind, what = _no_modality(s)
            if private and "vision" in s.needs:
                hint = _PRIVATE_VISION
        elif all(_too_long(c) for c in self.candidates):
            kind = ContextWindowExceededError
            what = f"The task needs {_tokens(s)} context tokens, more than any model here has"
        return kind(f"{what}:{lines}", decision=self, hint=hint)


_PRIVATE_VISION: Final = (
    "\nThe policy keeps pictures on this machine: name a local server that sees, "
    'ModelCard.server("http://127.0.0.1:11434/v1", model=..., modalities_in={"text", "image"}), '
    "or use a policy that allows hosted models."
)


def _no_modality(signals: Signals) -> tuple[type[NoEligibleModelError], str]:
    """The error where what rules all models out is what they read or make."""
    if "vision" in signals.needs:
        return UnsupportedModalityError, "No model that may be used here sees images"
    if signals.kind == "image_generation":
        return UnsupportedModalityError, "No model that may be used here makes images"
    return NoEligibleModelError, f"No model that may be used here does {signals.kind} tasks"


_CHOSEN_NOW: Final = Reason("chosen", "highest utility among those that may do it now")
_FALLBACK: Final = Reason("fallback", "asked if those before it fail")


def _ranked_at(place: int, candidate: Candidate) -> Candidate:
    """The candidate, with what its reasons say of its place put right."""
    wrong, right = ("fallback", _CHOSEN_NOW) if place == 0 else ("chosen", _FALLBACK)
    return candidate._replace(
        reasons=tuple(right if r.code == wrong else r for r in candidate.reasons)
    )


def _decided(
    candidates: tuple[Candidate, ...],
    policy: str,
    context: RoutingContext,
    confined_by: Reason | None = None,
    setup: RouterSetup | None = None,
) -> Decision:
    return Decision.of(
        candidates, policy=policy, context=context, confined_by=confined_by, setup=setup
    )


def _schemas(task: Task) -> Iterator[Any]:
    """The schemas that an answer, or a call that has to be made, must follow."""
    form = task.response_format or {}
    holder = form.get("json_schema") if form.get("type") == "json_schema" else form
    if isinstance(holder, Mapping) and "schema" in holder:
        yield holder["schema"]
    if task.tool_choice not in (None, "auto", "none"):
        functions = [tool.get("function") or {} for tool in task.tools]
        yield from (f["parameters"] for f in functions if f.get("parameters"))


def _ruled_out_by(candidate: Candidate, code: ReasonCode) -> bool:
    return any(r.code == code for r in candidate.reasons)


def _too_long(candidate: Candidate) -> bool:
    return _ruled_out_by(candidate, "context_window") or _ruled_out_by(candidate, "prompt_length")


def _tokens(signals: Signals) -> str:
    mark = "" if signals.token_error == 0 else "~"
    return f"{mark}{signals.context_tokens:,}"
