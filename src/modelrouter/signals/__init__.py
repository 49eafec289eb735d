"""Signals: what can be read from a task without asking any model."""

from __future__ import annotations

from modelrouter.payload import carried
from modelrouter.signals.base import (
    LONG_CONTEXT_TOKENS,
    Difficulty,
    DifficultyReader,
    Need,
    Signals,
    Tokenizer,
)
from modelrouter.signals.complexity import estimate_complexity, estimate_difficulty
from modelrouter.signals.context import count, estimate_tokens
from modelrouter.signals.kind import detect_kind
from modelrouter.signals.language import detect_language
from modelrouter.signals.pictures import vision_needed
from modelrouter.signals.privacy import find_pii
from modelrouter.task import Kind, Task

__all__ = [
    "Difficulty",
    "DifficultyReader",
    "Need",
    "Signals",
    "Tokenizer",
    "detect_kind",
    "detect_language",
    "estimate_complexity",
    "estimate_difficulty",
    "estimate_tokens",
    "find_pii",
    "read",
]


def read(
    task: Task,
    *,
    difficulty: DifficultyReader = estimate_difficulty,
    tokenizer: Tokenizer | None = None,
) -> Signals:
    """Read a task's signals: pure arithmetic on its text, no I/O.

    Kind, difficulty and language are the last user turn's; context is the whole conversation's;
    personal data is looked for in all that a request would carry. ``difficulty`` is a scorer's
    ``read``; ``tokenizer`` counts exactly where one is at hand.
    """
    kind, confidence = detect_kind(task)
    text = task.text
    language = detect_language(text)
    context = count(task, kind, tokenizer, language)
    complexity, skills = difficulty(text, kind)
    return Signals(
        kind=kind,
        kind_confidence=confidence,
        complexity=complexity,
        prompt_tokens=context.prompt,
        output_tokens=context.output,
        token_error=context.error,
        needs=_needs(task, kind, context.prompt + context.output),
        language=language,
        pii=find_pii(carried(task)),
        characters=sum(len(m.text) for m in task.messages) + len(task.messages) - 1,
        user_turns=task.user_turns,
        system_tokens=context.system,
        difficulty=skills,
    )


def _needs(task: Task, kind: Kind, context_tokens: int) -> frozenset[Need]:
    needs: set[Need] = set()
    if vision_needed(task, kind):
        needs.add("vision")
    if task.tools:
        needs.add("tools")
    if task.response_format is not None and task.response_format.get("type") == "json_schema":
        needs.add("json_schema")
    if context_tokens >= LONG_CONTEXT_TOKENS:
        needs.add("long_context")
    return frozenset(needs)
