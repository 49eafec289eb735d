"""The proof that a task stays on this machine: which guards hold for it, one by one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from modelrouter.catalog.card import ModelCard

__all__ = ["Check", "Hop", "Proof", "RouterSetup", "checks"]


@dataclass(frozen=True, slots=True)
class Hop:
    """One model that a call came to: where it runs, and whether it was asked or passed over."""

    model: str
    location: str
    asked: bool


@dataclass(frozen=True, slots=True)
class RouterSetup:
    """What else a router does with tasks, as far as it matters where they go.

    Attributes:
        ledger, cache: what they keep and where, in words; empty where there is none.
        hooks: how many functions of the user's own receive what was decided and answered.
        own_backends: backends that were given by the user.
    """

    ledger: str = ""
    cache: str = ""
    hooks: int = 0
    own_backends: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Check:
    """One guard.

    Attributes:
        name: location, candidates, hops, cache, ledger, logs, hooks, backends.
        holds: whether it does; ``None`` where it is for code that is not this package's to say.
        text: why, in words.
    """

    name: str
    holds: bool | None
    text: str


@dataclass(frozen=True, slots=True)
class Proof:
    """What keeps a task on this machine, or that nothing does.

    Attributes:
        checks: every guard, in the order in which a task meets them.
    """

    checks: tuple[Check, ...]

    @property
    def holds(self) -> bool:
        """Whether every guard does that is this package's to keep."""
        return all(check.holds is not False for check in self.checks)

    @property
    def open_questions(self) -> tuple[Check, ...]:
        """What depends on code of the user's own: hooks, backends, servers on this machine."""
        return tuple(check for check in self.checks if check.holds is None)

    def __str__(self) -> str:
        marks = {True: "holds", False: "DOES NOT HOLD", None: "yours to say"}
        head = (
            "The task stays on this machine:" if self.holds else "The task may leave this machine:"
        )
        lines = [f"  {check.name:<11}{marks[check.holds]:<15}{check.text}" for check in self.checks]
        return "\n".join([head, *lines])

    def model_dump(self) -> dict[str, Any]:
        """The proof as plain data."""
        return {
            "holds": self.holds,
            "checks": [{"name": c.name, "holds": c.holds, "text": c.text} for c in self.checks],
        }


def checks(
    confined_by: str,
    feasible: Iterable[ModelCard],
    hops: Iterable[Hop],
    setup: RouterSetup | None,
) -> Proof:
    """The proof for one decision.

    Args:
        confined_by: the constraint that allows local models only; empty where there is none.
        feasible: the models that may be asked.
        hops: the models that the call came to; none for a decision by itself.
        setup: what the router does besides; ``None`` for a decision without a router.
    """
    cards = tuple(feasible)
    found = [
        Check(
            "location",
            bool(confined_by),
            confined_by or "neither the policy nor a rule confines the task to local models",
        ),
        _candidates(cards),
        _hops(tuple(hops)),
        *_backends(cards, setup),
    ]
    if setup is not None:
        found += _files(setup)
        if setup.hooks:
            text = f"{setup.hooks} of your own receive the decision and the answer"
            found.append(Check("hooks", None, text))
    found.append(Check("logs", True, "no line that this package logs holds text of a task"))
    return Proof(tuple(found))


def _candidates(cards: tuple[ModelCard, ...]) -> Check:
    hosted = [card.name for card in cards if card.location != "local"]
    if hosted:
        return Check("candidates", False, f"hosted models may be asked: {', '.join(hosted)}")
    names = ", ".join(card.name for card in cards) or "none"
    return Check("candidates", True, f"only models on this machine may be asked: {names}")


def _hops(hops: tuple[Hop, ...]) -> Check:
    away = [hop.model for hop in hops if hop.asked and hop.location != "local"]
    if away:
        return Check("hops", False, f"asked away from this machine: {', '.join(away)}")
    if not hops:
        return Check(
            "hops", True, "every attempt (retry, fallback, escalation) is checked again before it"
        )
    looked = ", ".join(f"{hop.model} ({'asked' if hop.asked else 'not asked'})" for hop in hops)
    return Check("hops", True, f"checked again before every attempt: {looked}")


def _backends(cards: tuple[ModelCard, ...], setup: RouterSetup | None) -> Iterator[Check]:
    own = frozenset[str]() if setup is None else setup.own_backends
    for card in cards:
        if card.location != "local":
            continue
        if card.api_base:
            text = (
                f"{card.name} is a server on this machine, {card.api_base}; it may do what it likes"
            )
        elif card.backend in own or (setup is None and card.path is None):
            text = f"{card.name} runs in your own backend {card.backend!r}"
        else:
            continue
        yield Check("backends", None, text)


def _files(setup: RouterSetup) -> Iterator[Check]:
    yield Check("cache", True, setup.cache or "there is none")
    yield Check("ledger", True, setup.ledger or "there is none")
