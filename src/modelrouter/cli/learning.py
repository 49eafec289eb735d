"""The commands fit and eval: learn from labelled answers, and measure on others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from modelrouter.catalog import Price
from modelrouter.catalog.discovery import discover
from modelrouter.cli.base import JsonOption, err, open_ledger, out, print_json, progress
from modelrouter.evaluation import evaluate
from modelrouter.exceptions import ConfigurationError
from modelrouter.fitting.examples import Example, read_jsonl
from modelrouter.scoring.learned import LearnedScorer

__all__ = ["evaluation", "fit"]

DataArgument = Annotated[
    Path,
    typer.Argument(
        help="A JSONL file of labelled answers: task, model, score; or task and scores by model."
    ),
]
RenameOption = Annotated[
    list[str] | None,
    typer.Option("--rename", help="A model of the file under another name, as weak=acme/small."),
]


def fit(
    data: Annotated[
        Path | None,
        typer.Argument(
            help="A JSONL file of labelled answers: task, model, score; or task, scores by model."
        ),
    ] = None,
    ledger: Annotated[
        Path | None,
        typer.Option("--ledger", help="A ledger: its tasks with feedback, besides or instead."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Where to write the scorer's weights.")
    ] = None,
    rename: RenameOption = None,
    as_json: JsonOption = False,
) -> None:
    """Learn how well each model does which tasks, and say how well that was learned."""
    source = data or ledger
    if source is None:
        raise ConfigurationError(
            "There is nothing to learn from.", hint="Name a JSONL file, or --ledger PATH."
        )
    target = output or source.with_suffix(".scorer")
    _writable(target)
    catalog = discover({}).catalog
    examples = [] if data is None else read_jsonl(data, rename=_renamed(rename), catalog=catalog)
    examples += [] if ledger is None else _labelled(ledger, _renamed(rename))
    scorer = LearnedScorer.fit(examples, progress=lambda steps: progress(steps, "Learning"))
    scorer.save(target)
    if as_json:
        print_json({"output": str(target), **scorer.about})
        return
    out.print(_fit_table(scorer))
    if nameless := [name for name in scorer.about["held_out"] if name not in catalog]:
        err.print(
            f"No known card is called {escape(' or '.join(nameless))}: what was learned serves "
            "a card of that name (ModelCard), or --rename it to a model that "
            "`modelrouter models` lists.",
            highlight=False,
        )
    err.print(f"Written: {escape(str(target))}. Measure it on rows held back:", highlight=False)
    err.print(f"  modelrouter eval OTHER.jsonl --scorer {escape(str(target))}", highlight=False)


def evaluation(
    data: DataArgument,
    scorer: Annotated[
        Path | None,
        typer.Option("--scorer", "-s", help="Weights that fit wrote; else the shipped."),
    ] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw the curves into this PNG.")] = None,
    price: Annotated[
        list[str] | None,
        typer.Option(help="A model's price in USD for a million tokens in/out, as small=0.2/0.6."),
    ] = None,
    pair: Annotated[
        str | None, typer.Option(help="The weak and the strong model, as small,large.")
    ] = None,
    rename: RenameOption = None,
    resamples: Annotated[int, typer.Option(help="Bootstrap resamples.", min=0)] = 1000,
    as_json: JsonOption = False,
) -> None:
    """Measure the routing on labelled answers, beside one model, chance and prompt length."""
    prices = dict(_price(given) for given in price or ())
    if plot is not None:
        _writable(plot)
    catalog = discover({}).catalog
    examples = read_jsonl(data, rename=_renamed(rename), catalog=catalog)
    report = evaluate(
        examples,
        LearnedScorer() if scorer is None else LearnedScorer.load(scorer),
        catalog=catalog,
        prices=prices,
        pair=_pair(pair),
        resamples=resamples,
        progress=lambda tasks: progress(tasks, "Predicting"),
    )
    if as_json:
        print_json(report.model_dump())
    else:
        out.print(escape(str(report)), highlight=False, soft_wrap=True)
    if plot is not None:
        err.print(f"Drawn: {escape(str(report.plot(plot)))}", highlight=False)


def _labelled(path: Path, rename: dict[str, str]) -> list[Example]:
    with open_ledger(path) as ledger:
        found = ledger.examples()
    if found.without_text:
        err.print(
            f"{found.without_text:,} tasks with feedback are left out: their text was not kept. "
            'Ledger(path, text="keep") keeps it.',
            highlight=False,
        )
    return [replace(e, model=rename.get(e.model, e.model)) for e in found]


def _fit_table(scorer: LearnedScorer) -> Table:
    about = scorer.about
    table = Table(
        title=f"{about['rows']:,} rows, {about['tasks']:,} tasks; figures on held-out tasks",
        title_justify="left",
        box=None,
        padding=(0, 1),
    )
    held_out: dict[str, dict[str, Any]] = about["held_out"]
    figures = list(dict.fromkeys(name for row in held_out.values() for name in row))
    for name in ("model", *(figure.replace("_", " ") for figure in figures)):
        table.add_column(name)
    for model, row in held_out.items():
        table.add_row(escape(model), *(_number(row.get(figure)) for figure in figures))
    return table


def _number(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _renamed(given: list[str] | None) -> dict[str, str]:
    return dict(_split(text, "--rename", "weak=acme/small") for text in given or ())


def _split(text: str, option: str, example: str) -> tuple[str, str]:
    # Names may hold "=" in no catalog, values may.
    name, sign, value = text.partition("=")
    if not (name and sign and value):
        raise ConfigurationError(f"{option} cannot be {text!r}.", hint=f"As {example}.")
    return name, value


def _price(text: str) -> tuple[str, Price]:
    name, value = _split(text, "--price", "small=0.2/0.6")
    first, _, second = value.partition("/")
    try:
        return name, Price(input=float(first) / 1e6, output=float(second or first) / 1e6)
    except ValueError as exc:
        raise ConfigurationError(
            f"--price cannot be {text!r}.",
            hint="USD for a million tokens, in and out: small=0.2/0.6.",
        ) from exc


def _pair(text: str | None) -> tuple[str, str] | None:
    if text is None:
        return None
    weak, comma, strong = text.partition(",")
    if not (weak and comma and strong):
        raise ConfigurationError(f"--pair cannot be {text!r}.", hint="As small,large.")
    return weak.strip(), strong.strip()


def _writable(path: Path) -> None:
    """See before a long computation that its result can be kept."""
    if not path.parent.is_dir():
        raise ConfigurationError(
            f"{path}: there is no folder {path.parent}.", hint="Make it first."
        )
    if path.is_dir():
        raise ConfigurationError(f"{path} is a folder.", hint="Name a file in it.")
