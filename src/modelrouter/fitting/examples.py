"""Examples: which model did which task how well, read from labelled rows and checked strictly."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from modelrouter.catalog.catalog import Catalog
from modelrouter.exceptions import InvalidExamplesError, InvalidTaskError, UnknownModelError
from modelrouter.task import Task

__all__ = [
    "Example",
    "ExampleSource",
    "check_learnable",
    "data_hash",
    "parse_rows",
    "read_jsonl",
    "task_key",
]

_SHAPES: Final = (
    '{"task": "...", "model": "...", "score": 1} for one model, or '
    '{"task": "...", "scores": {"model-a": 1, "model-b": 0}} for several'
)
_GROUPS: Final = ("group", "set", "subject", "kind")
_PAIR: Final = ("weak", "strong")


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled answer: a model was given a task and did it so well.

    Attributes:
        task: what was asked.
        model: the name of the model that answered.
        score: how well, 0 (wrong) to 1 (right).
        cost_usd: what the answer cost in USD, where known.
        latency_s: how long it took in seconds, where known.
        group: the set that the task is from, ``""`` where none was named.

    Raises:
        InvalidExamplesError: the score, cost or latency is out of range, or the name is empty.
    """

    task: Task
    model: str
    score: float
    cost_usd: float | None = None
    latency_s: float | None = None
    group: str = ""

    def __post_init__(self) -> None:
        _checked(self.score, "score", None, high=1.0)
        for name in ("cost_usd", "latency_s"):
            if (value := getattr(self, name)) is not None:
                _checked(value, name, None)
        _model_name(self.model, "model", None)

    @classmethod
    def of(cls, task: str | Sequence[Any] | Task, model: str, score: float, **more: Any) -> Example:
        """An example from a string, a list of OpenAI messages, or a Task.

        Raises:
            InvalidExamplesError: a value is out of range.
            InvalidTaskError: the task is malformed.
        """
        return cls(Task.of(task), model, score, **more)


class ExampleSource(Protocol):
    """What keeps labelled answers: a ledger with feedback."""

    def examples(self) -> Sequence[Example]:
        """The labelled answers there are."""
        ...


def read_jsonl(
    path: str | Path,
    *,
    models: Iterable[str] | None = None,
    rename: Mapping[str, str] | None = None,
    catalog: Catalog | None = None,
) -> list[Example]:
    """Read a JSONL file of labelled rows; blank lines are skipped. See :func:`parse_rows`.

    Raises:
        InvalidExamplesError: the file cannot be read or is empty, or a row is wrong: the message
            says which row and field, its value, and what would be right.
    """
    try:
        # A byte order mark, which some editors write, does not belong to the first row.
        text = Path(path).read_text(encoding="utf-8-sig")
    except OSError as exc:
        raise InvalidExamplesError(f"Cannot read {path}: {exc.strerror or exc}.") from exc
    except UnicodeDecodeError as exc:
        row = exc.object[: exc.start].count(b"\n") + 1
        raise InvalidExamplesError(
            f"{path} is not UTF-8 ({exc.reason}).", row=row, hint="Save the file as UTF-8."
        ) from exc
    examples = list(parse_rows(_json_lines(text), models=models, rename=rename, catalog=catalog))
    if not examples:
        raise InvalidExamplesError(f"{path} holds no rows.", hint=f"One a line: {_SHAPES}.")
    return examples


def parse_rows(
    rows: Iterable[tuple[int, object]],
    *,
    models: Iterable[str] | None = None,
    rename: Mapping[str, str] | None = None,
    catalog: Catalog | None = None,
) -> Iterator[Example]:
    """Examples from numbered rows (``enumerate(rows, 1)``), in any of three shapes.

    - one answer a row: ``{"task": text, "model": name, "score": 0 to 1}``, with ``cost_usd`` and
      ``latency_s`` where known;
    - one task a row: ``{"task": text, "scores": {name: score, ...}}``, with ``costs_usd`` and
      ``latencies_s`` by model where known;
    - a pair: ``{"task": text, "weak": score, "strong": score}``, the models' names being "weak" and
      "strong" unless ``rename`` says otherwise.

    ``messages`` (OpenAI's) or ``prompt`` may stand in place of ``task``; beside ``prompt``,
    ``task`` names the set, as ``group``, ``set``, ``subject`` and ``kind`` do. Other fields are
    ignored.

    ``models`` are the only names allowed; ``rename`` gives a model of the file another name. What
    is learned of a model serves the card of that name, so ``catalog`` gives a model that stands in
    the rows under a short name (``gpt-4o``) its card's full one (``openai/gpt-4o``).

    Raises:
        InvalidExamplesError: with the row's number, the field, its value and what would be right.
    """
    known = None if models is None else frozenset(models)
    full: dict[str, str] = {}
    tasks: dict[str, Task] = {}
    for number, row in rows:
        if not isinstance(row, Mapping):
            raise InvalidExamplesError(
                f"is a {type(row).__name__}, not an object.", row=number, hint=f"Use {_SHAPES}."
            )
        task = _task(row, number, tasks)
        group = _group(row)
        for answer in _answers(row, number):
            name = (rename or {}).get(answer.model, answer.model)
            if catalog is not None:
                name = full.get(name) or full.setdefault(name, _full_name(name, catalog))
            if known is not None and name not in known:
                raise InvalidExamplesError(
                    f"unknown model {name!r}.",
                    row=number,
                    field=answer.field,
                    hint=f"Known are {', '.join(sorted(known))}.",
                )
            yield Example(task, name, answer.score, answer.cost_usd, answer.latency_s, group)


def check_learnable(examples: Sequence[Example], *, rows_per_model: int = 30) -> None:
    """See that something can be learned: enough rows of each model, and more than one outcome.

    Raises:
        InvalidExamplesError: no rows, too few of a model, or every score the same.
    """
    if not examples:
        raise InvalidExamplesError("There are no examples.", hint=f"Use rows such as {_SHAPES}.")
    counts = Counter(example.model for example in examples)
    model, fewest = min(counts.items(), key=lambda item: (item[1], item[0]))
    if fewest < rows_per_model:
        raise InvalidExamplesError(
            f"model {model!r} has {fewest} rows, {rows_per_model} are needed to learn from.",
            field="model",
            hint="Label more of its answers, or leave its rows out.",
        )
    scores = {example.score for example in examples}
    if len(scores) == 1:
        raise InvalidExamplesError(
            f"every row has the score {scores.pop():g}: there is nothing to tell apart.",
            field="score",
            hint="Add tasks on which some model does better or worse.",
        )


def data_hash(examples: Iterable[Example]) -> str:
    """SHA-256 over what the examples say, whatever the order of the rows or their spelling."""
    rows = sorted(
        json.dumps(
            [task_key(e.task), e.model, float(e.score), e.cost_usd, e.latency_s, e.group],
            ensure_ascii=False,
        )
        for e in examples
    )
    digest = hashlib.sha256()
    for row in rows:
        digest.update(row.encode("utf-8", "surrogatepass") + b"\n")
    return digest.hexdigest()


def task_key(task: Task) -> str:
    """A text that is the same for equal tasks and different for others: to group rows by."""
    if len(task.messages) == 1 and not (task.tools or task.response_format or task.has_images):
        return task.messages[0].text
    return json.dumps(
        [task.to_openai(), list(task.tools), task.response_format],
        sort_keys=True,
        ensure_ascii=False,
        default=str,
    )


@dataclass(frozen=True, slots=True)
class _Answer:
    """One model's part of a row; ``field`` is where in the row its name stands."""

    model: str
    score: float
    cost_usd: float | None
    latency_s: float | None
    field: str


def _json_lines(text: str) -> Iterator[tuple[int, object]]:
    # Not splitlines: a JSON string may hold U+2028, which does not end a line here.
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            yield number, json.loads(line)
        except (json.JSONDecodeError, RecursionError) as exc:
            raise InvalidExamplesError(
                f"is not JSON: {exc}.", row=number, hint="One JSON object a line."
            ) from exc


def _task(row: Mapping[str, Any], number: int, seen: dict[str, Task]) -> Task:
    field = next((f for f in ("messages", "prompt", "task") if row.get(f) is not None), None)
    if field is None:
        raise InvalidExamplesError(
            f"has no task; its fields are {', '.join(map(str, row)) or 'none'}.",
            row=number,
            field="task",
            hint='Use "task" (text) or "messages" (a list of OpenAI messages).',
        )
    given = row[field]
    if isinstance(given, str) and given in seen:
        return seen[given]
    try:
        task = Task.of(given)
    except InvalidTaskError as exc:
        raise InvalidExamplesError(str(exc), row=number, field=field) from exc
    if isinstance(given, str):
        seen[given] = task
    return task


def _group(row: Mapping[str, Any]) -> str:
    names = ("task", *_GROUPS) if isinstance(row.get("prompt"), str) else _GROUPS
    return next((value for name in names if isinstance(value := row.get(name), str)), "")


def _answers(row: Mapping[str, Any], number: int) -> Iterator[_Answer]:
    if "scores" in row:
        return _wide(row, number)
    if "model" in row or "score" in row:
        return iter([_long(row, number)])
    if any(name in row for name in _PAIR):
        return _pair(row, number)
    raise InvalidExamplesError(
        f"has no score; its fields are {', '.join(map(str, row))}.",
        row=number,
        field="score",
        hint=f"Use {_SHAPES}.",
    )


def _long(row: Mapping[str, Any], number: int) -> _Answer:
    for name in ("model", "score"):
        if row.get(name) is None:
            raise InvalidExamplesError(
                "is missing.", row=number, field=name, hint=f"Use {_SHAPES}."
            )
    return _Answer(
        _model_name(row["model"], "model", number),
        _checked(row["score"], "score", number, high=1.0),
        _known(row.get("cost_usd"), "cost_usd", number),
        _known(row.get("latency_s"), "latency_s", number),
        "model",
    )


def _wide(row: Mapping[str, Any], number: int) -> Iterator[_Answer]:
    scores = _by_model(row, "scores", number)
    if not scores:
        raise InvalidExamplesError(
            "names no model.", row=number, field="scores", hint='Use {"model-a": 1, "model-b": 0}.'
        )
    costs = _by_model(row, "costs_usd", number)
    latencies = _by_model(row, "latencies_s", number)
    for field, values in (("costs_usd", costs), ("latencies_s", latencies)):
        if strangers := [name for name in values if name not in scores]:
            raise InvalidExamplesError(
                f"names {strangers[0]!r}, which has no score in this row.", row=number, field=field
            )
    for name, score in scores.items():
        yield _Answer(
            _model_name(name, "scores", number),
            _checked(score, f"scores[{name!r}]", number, high=1.0),
            _known(costs.get(name), f"costs_usd[{name!r}]", number),
            _known(latencies.get(name), f"latencies_s[{name!r}]", number),
            "scores",
        )


def _pair(row: Mapping[str, Any], number: int) -> Iterator[_Answer]:
    for name in _PAIR:
        if row.get(name) is None:
            raise InvalidExamplesError(
                "is missing.", row=number, field=name, hint='Give both "weak" and "strong".'
            )
        yield _Answer(name, _checked(row[name], name, number, high=1.0), None, None, name)


def _full_name(name: str, catalog: Catalog) -> str:
    try:
        return catalog.get(name).name
    except UnknownModelError:
        return name


def _by_model(row: Mapping[str, Any], field: str, number: int) -> Mapping[str, Any]:
    value = row.get(field)
    if value is None and field != "scores":
        return {}
    if not isinstance(value, Mapping):
        raise InvalidExamplesError(
            f"{value!r} is not an object of numbers by model.",
            row=number,
            field=field,
            hint='Use {"model-a": 1, "model-b": 0}.',
        )
    return value


def _model_name(value: object, field: str, row: int | None) -> str:
    if isinstance(value, str) and value.strip():
        return value
    raise InvalidExamplesError(
        f"{value!r} is not a model's name.", row=row, field=field, hint="Use a text."
    )


def _known(value: object, field: str, row: int) -> float | None:
    return None if value is None else _checked(value, field, row)


def _checked(value: object, field: str, row: int | None, high: float = math.inf) -> float:
    # JSON's true and false are taken as right and wrong where a score is wanted.
    if isinstance(value, bool) and high == 1.0:
        return float(value)
    wanted = "a number from 0 to 1" if high == 1.0 else "a number of 0 or more"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidExamplesError(
            f"{value!r} is not a number.", row=row, field=field, hint=f"Use {wanted}."
        )
    if not 0 <= value <= high or math.isinf(value):  # NaN fails the comparison
        raise InvalidExamplesError(
            f"{value!r} is out of range.", row=row, field=field, hint=f"Use {wanted}."
        )
    return float(value)
