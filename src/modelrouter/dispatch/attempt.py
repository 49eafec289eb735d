"""One attempt: may the model be asked, do the guards agree, the request, will the answer do."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any, TypeAlias, TypeVar

from modelrouter.backends.base import Request
from modelrouter.catalog.card import ModelCard
from modelrouter.config import UNSET
from modelrouter.dispatch.attempt_log import AttemptLog
from modelrouter.dispatch.steps import Admit, Answered, Broken, Call, Result, Settle, Step
from modelrouter.guards.base import Refusal, Settlement
from modelrouter.guards.chain import Permit
from modelrouter.guards.worst_case import intent_of
from modelrouter.policies.decision import Candidate
from modelrouter.task import Task
from modelrouter.turns import said

__all__ = ["Asked", "admitted", "heard", "may_be_asked", "request_for"]

T = TypeVar("T")

Asked: TypeAlias = "tuple[Candidate, Permit | None]"


def may_be_asked(call: Call[Any], candidate: Candidate, log: AttemptLog[Any]) -> bool:
    """Whether the candidate promises enough and the policy, asked again, still allows it."""
    if candidate.p_quality <= log.promised:
        log.skipped(candidate, f"promises no more than {log.unsure_name}, which was not sure")
    elif obstacles := call.recheck(candidate):
        log.skipped(candidate, "; ".join(map(str, obstacles)))
    else:
        return True
    return False


def admitted(
    call: Call[Any], candidate: Candidate, log: AttemptLog[Any]
) -> Generator[Step, Any, Asked | None]:
    """The candidate with the guards' agreement; ``None`` if they refuse."""
    if call.guards is None:
        return candidate, None
    intent = intent_of(candidate.card, call.task, call.settings, call.tags, call.one_call)
    admission = yield Admit(intent)
    if isinstance(admission, Refusal):
        log.refused(candidate, admission)
        return None
    return candidate, admission


def heard(
    call: Call[T], asked: Asked, outcome: Any, log: AttemptLog[T]
) -> Generator[Step, Any, Result[T] | None]:
    """The call's result, if this is an answer that will do."""
    candidate, permit = asked
    if isinstance(outcome, Broken):
        raise log.broken(candidate, outcome)
    if isinstance(outcome, Answered):
        result = yield from _judged(call, candidate, outcome, permit, log)
        return result
    log.failed(candidate, outcome)
    if permit is not None:
        yield Settle(permit, Settlement(error=outcome.error, duration_s=outcome.duration_s))
    return None


def _judged(
    call: Call[T],
    candidate: Candidate,
    outcome: Answered[T],
    permit: Permit | None,
    log: AttemptLog[T],
) -> Generator[Step, Any, Result[T] | None]:
    """The answer as the call's result, unless it will not do."""
    usage, cost_usd = call.spent(candidate.card, outcome.value)
    why = call.judge(candidate, outcome.value)
    if permit is not None and (usage is not None or why is not None):  # else it goes on: a stream
        yield Settle(
            permit, Settlement(usage=usage, cost_usd=cost_usd, duration_s=outcome.duration_s)
        )
        permit = None
    log.answered(candidate, outcome.duration_s, usage, cost_usd, why)
    result = Result(outcome.value, candidate.card, tuple(log.attempts), call.decision, permit)
    if why is None:
        return result
    log.kept.append((why, result))
    if why.check == "confidence":
        log.doubted(candidate)
    return None


def request_for(call: Call[Any], card: ModelCard, left: float, floor: float | None) -> Request:
    """What the model is asked, in the time that is ``left``, given up below the ``floor``."""
    allowed = min(left, call.timeout.attempt or float("inf"))
    settings = call.settings
    if floor is not None:
        settings = replace(
            settings,
            confidence_floor=floor,
            confidence_window=UNSET if call.window is None else call.window,
        )
    return Request(
        card=card,
        messages=said(_task_for(card, call.task).to_openai()),
        settings=settings,
        tools=call.task.tools,
        tool_choice=call.task.tool_choice,
        response_format=call.task.response_format,
        timeout_s=None if allowed == float("inf") else allowed,
    )


def _task_for(card: ModelCard, task: Task) -> Task:
    """The task as this model may read it: earlier pictures that it cannot see are left out."""
    return task if "image" in card.modalities_in else task.without_images()
