"""The command line: route, ask, models, demo.

Exit codes: 0 done; 1 a model was asked and failed; 2 the input makes no sense; 3 no model may do
the task. Tables go to standard output, progress to standard error; ``--json`` gives one JSON
object a line.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import track
from rich.table import Table

import modelrouter
from modelrouter import demo as demonstration
from modelrouter.catalog import Family, ModelCard
from modelrouter.decision import Decision
from modelrouter.exceptions import (
    ConfigurationError,
    InvalidTaskError,
    ModelRouterError,
    NoEligibleModelError,
)
from modelrouter.policies import Policy
from modelrouter.router import AUTO, Router

__all__ = ["app", "main"]

EXIT_MODEL_FAILED: Final = 1
EXIT_BAD_INPUT: Final = 2
EXIT_NO_MODEL: Final = 3

app = typer.Typer(
    help="Which model should do this task?", no_args_is_help=True, pretty_exceptions_enable=False
)
out = Console()
err = Console(stderr=True)

TextArgument = Annotated[
    str | None, typer.Argument(help="The task, or - to read it from standard input.")
]
PolicyOption = Annotated[
    str,
    typer.Option(
        "--policy", "-p", help="balanced, cheapest, best, fastest, private, or a TOML/JSON file."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
ModelOption = Annotated[str, typer.Option("--model", "-m", help="A model's name, or auto.")]
GgufOption = Annotated[
    list[Path] | None, typer.Option("--gguf", help="A GGUF file to use too; may be repeated.")
]


def main() -> None:
    """Run the command line; this package's errors become a line and an exit code."""
    try:
        app()
    except NoEligibleModelError as error:
        _fail(error, EXIT_NO_MODEL)
    except (ConfigurationError, InvalidTaskError) as error:
        _fail(error, EXIT_BAD_INPUT)
    except ModelRouterError as error:
        _fail(error, EXIT_MODEL_FAILED)


def _fail(error: ModelRouterError, code: int) -> None:
    err.print(f"[red]{type(error).__name__}[/]: {escape(str(error))}", highlight=False)
    sys.exit(code)


@app.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", help="Print the version and stop.")] = False,
) -> None:
    """Which model should do this task?"""
    if show:
        out.print(modelrouter.__version__)
        raise typer.Exit


@app.command()
def route(
    text: TextArgument = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", help="A JSONL file of tasks to route.")
    ] = None,
    policy: PolicyOption = "balanced",
    model: ModelOption = AUTO,
    gguf: GgufOption = None,
    as_json: JsonOption = False,
) -> None:
    """Decide which model should do a task, and say why. No model is called."""
    if (text is None) == (file is None):
        raise ConfigurationError("Give either a task or --file.")
    with Router(gguf, policy=_policy(policy)) as router:
        if file is not None:
            _route_file(router, file, as_json)
            return
        decision = router.consider(_text(text), model=model)
    if as_json:
        _print_json(decision.model_dump())
    else:
        _print_decision(decision)
    if not decision.feasible:
        raise typer.Exit(EXIT_NO_MODEL)


@app.command()
def ask(
    text: TextArgument,
    policy: PolicyOption = "balanced",
    model: ModelOption = AUTO,
    gguf: GgufOption = None,
    max_tokens: Annotated[int | None, typer.Option(help="The most tokens to answer.")] = None,
    stream: Annotated[bool, typer.Option(help="Print the answer as it comes.")] = True,
    as_json: JsonOption = False,
) -> None:
    """Choose a model for a task and print its answer."""
    given: dict[str, Any] = {} if max_tokens is None else {"max_tokens": max_tokens}
    with Router(gguf, policy=_policy(policy)) as router:
        if as_json or not stream:
            reply = router.completion(_text(text), model=model, **given)
        else:
            with router.completion(_text(text), model=model, stream=True, **given) as chunks:
                for chunk in chunks:
                    sys.stdout.write(chunk.text)
                    sys.stdout.flush()
                sys.stdout.write("\n")
            final = chunks.completion
            assert final is not None, "a stream that ended without an error has its reply"
            reply = final
    if as_json:
        _print_json({"text": reply.text, **reply.model_dump(mode="json")})
        return
    if not stream:
        sys.stdout.write(reply.text + "\n")
    cost = "price unknown" if reply.cost_usd is None else f"${reply.cost_usd:.6f}"
    took = reply.trace.duration_s
    tokens = reply.usage.total_tokens
    err.print(f"[dim]{escape(reply.model)} · {tokens} tokens · {cost} · {took:.2f} s[/]")


@app.command()
def models(
    family: Annotated[Family | None, typer.Option(help="foundation, llm or slm.")] = None,
    available: Annotated[bool, typer.Option(help="Only those that can be used here.")] = False,
    gguf: GgufOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the known models: which can be used here, and what would enable the others."""
    with Router(gguf) as router:
        cards = [
            card
            for card in router.catalog
            if (family is None or family in card.families)
            and not (available and card.name in router.unavailable)
        ]
        if as_json:
            for card in cards:
                _print_json(_card_row(router, card))
            return
        out.print(_models_table(router, cards))


@app.command()
def demo(
    file: Annotated[
        Path | None, typer.Argument(help="A JSONL file of tasks; those that ship by default.")
    ] = None,
    policy: PolicyOption = "balanced",
    as_json: JsonOption = False,
) -> None:
    """Route a file of tasks; answer locally what a local model may do; add it all up."""
    tasks = list(demonstration.read_tasks(file or demonstration.packaged_tasks()))
    with Router(policy=_policy(policy)) as router:
        rows = [demonstration.run(router, task) for task in _progress(tasks, "Answering")]
    summary = demonstration.summarise(rows)
    if as_json:
        for row in rows:
            _print_json(row.model_dump())
        _print_json({"summary": summary.model_dump()})
    else:
        out.print(_demo_table(rows))
        _print_summary(summary, rows)
    if summary.failed:
        raise typer.Exit(EXIT_MODEL_FAILED)


def _policy(value: str) -> Policy:
    path = Path(value)
    if path.suffix not in (".toml", ".json"):
        return Policy.of(value)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as exc:
        raise ConfigurationError(f"Cannot read the policy {path}: {exc}.") from exc
    return Policy.from_toml(text) if path.suffix == ".toml" else Policy.from_json(text)


def _text(text: str | None) -> str:
    return sys.stdin.read() if text == "-" else text or ""


def _progress(items: Iterable[Any], what: str) -> Iterable[Any]:
    return track(list(items), description=what, console=err, disable=not err.is_terminal)


def _print_json(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")


def _print_decision(decision: Decision) -> None:
    head, policy, *_ = decision.explain().splitlines()
    out.print(escape(head), highlight=False)
    table = Table(title=escape(policy), title_justify="left", box=None, padding=(0, 1))
    for name in ("", "model", "where", "quality", "cost", "latency", "why"):
        table.add_column(name, overflow="fold")
    for place, c in enumerate(decision.candidates, 1):
        table.add_row(
            str(place) if c.feasible else "-",
            escape(c.model),
            c.card.location,
            f"{c.p_quality:.2f}",
            f"${c.cost_usd:.6f}",
            f"{c.latency_s:.2f} s",
            escape(c.reason),
            style=None if c.feasible else "dim",
        )
    out.print(table)


def _route_file(router: Router, file: Path, as_json: bool) -> None:
    rows = list(demonstration.read_tasks(file))
    table = Table(box=None, padding=(0, 1))
    for name in ("task", "kind", "complexity", "model", "cost", "why"):
        table.add_column(name, overflow="fold")
    worst = 0
    for row in _progress(rows, "Routing"):
        if row.task is None:
            worst = max(worst, EXIT_BAD_INPUT)
            err.print(f"[red]line {row.line}[/]: {escape(str(row.error))}", highlight=False)
            if as_json:
                _print_json({"id": row.name, "line": row.line, "error": str(row.error)})
            continue
        decision = router.consider(row.task)
        if not decision.feasible:
            worst = max(worst, EXIT_NO_MODEL)
        if as_json:
            _print_json({"id": row.name, "line": row.line, **decision.model_dump()})
        else:
            table.add_row(*_route_cells(row.name, decision))
    if not as_json:
        out.print(table)
    if worst:
        raise typer.Exit(worst)


def _route_cells(name: str, decision: Decision) -> tuple[str, ...]:
    signals = decision.signals
    if decision.feasible:
        chosen = decision.chosen
        model, cost, why = chosen.model, f"${chosen.cost_usd:.6f}", chosen.reason
    else:
        enable = decision.best_if_enabled
        model, cost = "none here", ""
        why = f"{enable.model}: {enable.reason}" if enable else "no known model may do this"
    return (
        escape(name),
        signals.kind,
        f"{signals.complexity:.2f}",
        escape(model),
        cost,
        escape(why),
    )


def _card_row(router: Router, card: ModelCard) -> dict[str, Any]:
    missing = router.unavailable.get(card.name)
    return {
        "name": card.name,
        "families": sorted(card.families),
        "location": card.location,
        "available": missing is None,
        "why_not": missing.text if missing else "",
        "enable": missing.fix if missing else "",
        "context_window": card.context_window,
        "price": card.price.model_dump() if card.price else None,
        "modalities_in": sorted(card.modalities_in),
        "modalities_out": sorted(card.modalities_out),
        "licence": card.licence,
        "retired": card.retired,
        "successor": card.successor,
    }


def _models_table(router: Router, cards: list[ModelCard]) -> Table:
    table = Table(box=None, padding=(0, 1))
    for name in ("model", "families", "where", "context", "$/M in", "$/M out", "here"):
        table.add_column(name, overflow="fold")
    for card in cards:
        missing = router.unavailable.get(card.name)
        price = card.price
        table.add_row(
            escape(card.name),
            ", ".join(sorted(card.families)),
            card.location,
            f"{card.context_window:,}",
            "?" if price is None else f"{price.input * 1e6:.2f}",
            "?" if price is None else f"{price.output * 1e6:.2f}",
            "[green]yes[/]"
            if missing is None
            else escape(f"{missing.text} ({missing.fix})" if missing.fix else missing.text),
        )
    return table


def _demo_table(rows: list[demonstration.Row]) -> Table:
    table = Table(box=None, padding=(0, 1))
    for name in ("task", "kind", "model", "answer"):
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(
            escape(_short(row.text or row.name)),
            row.kind or "",
            escape(row.model or "none"),
            _outcome(row),
        )
    return table


def _outcome(row: demonstration.Row) -> str:
    if row.error:
        return f"[red]{escape(_short(row.error, 120))}[/]"
    if row.enable:
        return f"[dim]{escape(row.enable)}[/]"
    return f"[green]{escape(_short(row.answer or ''))}[/]"


def _print_summary(summary: demonstration.Summary, rows: list[demonstration.Row]) -> None:
    out.print(
        f"\n{summary.tasks} tasks: {summary.answered_locally} answered on this machine, "
        f"{summary.answered_hosted} by hosted models, {summary.not_enabled} wait for a key, "
        f"{summary.failed} failed.",
        highlight=False,
    )
    out.print(f"Kept local: {summary.share_local:.0%} of the tasks.", highlight=False)
    if summary.baseline_model and summary.baseline_cost_usd:
        saved = 1 - summary.routed_cost_usd / summary.baseline_cost_usd
        out.print(
            f"Expected cost as routed: ${summary.routed_cost_usd:.4f}; everything sent to "
            f"{escape(summary.baseline_model)}: ${summary.baseline_cost_usd:.4f} "
            f"({saved:.0%} saved). Paid in this run: ${summary.cost_usd:.4f}.",
            highlight=False,
        )
    for where, seconds in (("local", summary.median_local_s), ("hosted", summary.median_hosted_s)):
        if seconds is not None:
            out.print(f"Median {where} answer: {seconds:.2f} s.", highlight=False)
    enable = sorted({row.enable for row in rows if row.enable})
    if enable:
        out.print("To answer the rest too, one line each:", highlight=False)
        for line in enable:
            out.print(f"  {escape(line)}", highlight=False)


def _short(text: str, width: int = 72) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= width else flat[: width - 1] + "…"


if __name__ == "__main__":
    main()
