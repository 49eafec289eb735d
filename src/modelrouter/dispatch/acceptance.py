"""Whether an answer will do: is it one, how sure its model was, its form and calls, your check."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from modelrouter.catalog.card import ModelCard
from modelrouter.dispatch.answer_checks import Asked, empty, no_answer, payload_of
from modelrouter.policies.base import Policy
from modelrouter.response import Choice, Completion, least_confidence
from modelrouter.schemas import problem
from modelrouter.scoring.confidence import Curves
from modelrouter.signals.base import Signals
from modelrouter.task import Kind, Task

__all__ = ["Rejection", "certainty", "rejection", "unanswered"]

_SURE_KIND: Final = 0.6
"""Confidence in a task's kind from which its answer is held against what that kind expects."""


@dataclass(frozen=True, slots=True)
class Rejection:
    """Why an answer will not do.

    Attributes:
        why: in words, for the trace.
        check: ``answer``, ``confidence``, ``form``, ``calls`` or ``accept``.
        certainty: how likely the answer is right all the same, 0 to 1; the best of several
            answers is returned where nobody's will do. Below 0 for what is no answer: a loop is
            what a model is surest of.
    """

    why: str
    check: str
    certainty: float = 0.0

    @property
    def final(self) -> bool:
        """Whether the answer must not be returned even if there is no better one."""
        return self.check == "accept"


def rejection(
    reply: Completion,
    card: ModelCard,
    task: Task,
    signals: Signals,
    policy: Policy,
    curves: Curves,
) -> Rejection | None:
    """The first reason why this answer will not do; ``None`` if it will."""
    kind = signals.kind
    sure = certainty(reply, kind, curves)
    if why := unanswered(reply, task, signals, policy):
        if policy.accept is not None:  # what it refuses is never returned
            for check, said in _verdict(policy.accept, reply):
                return Rejection(said, check)
        said_nothing = all(empty(choice.message.content or "") for choice in reply.choices)
        return Rejection(why, "answer", -1.0 if said_nothing else -0.5)
    for check, why in _complaints(reply, task, kind, policy, sure):
        return Rejection(why, check, 0.0 if sure is None else sure)
    return None


def unanswered(reply: Completion, task: Task, signals: Signals, policy: Policy) -> str:
    """Why none of the reply's texts is an answer to the task; "" where one may be.

    What calls tools or is to be JSON is judged by its form.
    """
    if not policy.check_answers or (task.response_format or {}).get("type", "text") != "text":
        return ""
    if not reply.choices or any(choice.message.tool_calls for choice in reply.choices):
        return ""
    asked = _asked(task, signals)
    why = ""
    for choice in reply.choices:
        stopped = choice.finish_reason == "stop" and "stop" not in task.parameters
        why = no_answer(choice.message.content or "", asked, stopped=stopped)
        if not why:
            return ""
    return why


def _asked(task: Task, signals: Signals) -> Asked:
    """What the answer is held against; the kind only where it is sure and the user spoke last."""
    last = task.last_user
    kind: Kind | None = signals.kind
    if task.messages[-1] is not last or (
        task.kind is None and signals.kind_confidence < _SURE_KIND
    ):
        kind = None
    context = "\n".join(m.text for m in task.messages if m is not last)
    return Asked(
        last.text,
        kind,
        payload_of(last.text),
        context,
        signals.language,
        certain=task.kind is not None,
    )


def certainty(reply: Completion, kind: Kind, curves: Curves) -> float | None:
    """How likely the answer is right by its model's own probabilities; ``None`` if it gave none.

    Of several answers the least sure one counts.
    """
    least = least_confidence(reply.choices)
    return None if least is None else curves.p_correct(kind, least)


def _complaints(
    reply: Completion, task: Task, kind: Kind, policy: Policy, sure: float | None
) -> Iterator[tuple[str, str]]:
    least = policy.least_confidence(kind)
    if least is not None and sure is not None and sure < least:
        yield "confidence", f"confidence {sure:.2f} is below the policy's {least:.2f} for {kind}"
    for choice in reply.choices:
        if task.response_format is not None and not choice.message.tool_calls:
            why = _form_problem(choice, task.response_format)
            if why:
                yield "form", why
        if task.tools and choice.message.tool_calls:
            why = _call_problem(choice, _parameters(task))
            if why:
                yield "calls", why
    if policy.accept is not None:
        yield from _verdict(policy.accept, reply)


def _verdict(accept: Callable[[Any], bool | str], reply: Completion) -> Iterator[tuple[str, str]]:
    try:
        verdict = accept(reply)
    except Exception as exc:  # a broken check must not lose an answer that was paid for
        verdict = f"the policy's accept raised {type(exc).__name__}: {exc}"
    if verdict is not True:
        said = verdict if isinstance(verdict, str) else ""
        yield "accept", said or "the policy's accept said no"


def _form_problem(choice: Choice, wanted: Mapping[str, Any]) -> str:
    kind = wanted.get("type")
    if kind not in ("json_object", "json_schema"):
        return ""
    try:
        found = json.loads(choice.message.content or "")
    except (ValueError, RecursionError) as exc:
        cut = " (cut off at max_tokens)" if choice.finish_reason == "length" else ""
        return f"the answer is not JSON{cut}: {exc}"
    holder = (wanted.get("json_schema") or {}) if kind == "json_schema" else wanted
    schema = holder.get("schema")
    if schema is None and kind == "json_object":
        return "" if isinstance(found, dict) else "the answer is JSON, but no object"
    why = problem(found, schema) if schema is not None else ""
    return why and f"the answer {why}"


def _call_problem(choice: Choice, parameters: Mapping[str, Any]) -> str:
    for call in choice.message.tool_calls or ():
        if call.function.name not in parameters:
            return f"the answer calls {call.function.name!r}, which was not offered"
        try:
            arguments = json.loads(call.function.arguments or "{}")
        except (ValueError, RecursionError) as exc:
            return f"the arguments of {call.function.name!r} are not JSON: {exc}"
        if not isinstance(arguments, dict):
            return f"the arguments of {call.function.name!r} are not a JSON object"
        why = problem(arguments, parameters[call.function.name])
        if why:
            return f"the call of {call.function.name!r} {why}"
    return ""


def _parameters(task: Task) -> dict[str, Any]:
    """The schema of each function's parameters, by its name."""
    functions = (tool.get("function") or {} for tool in task.tools)
    return {str(f.get("name")): f.get("parameters") or {} for f in functions}
