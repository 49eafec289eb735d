"""The commands route and ask: decide, or decide and answer."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from modelrouter import demo as demonstration
from modelrouter.cli.base import (
    EXIT_BAD_INPUT,
    EXIT_NO_MODEL,
    GgufOption,
    JsonOption,
    ModelOption,
    PolicyOption,
    TextArgument,
    err,
    out,
    print_json,
    progress,
    read_policy,
    read_text,
)
from modelrouter.client.options import AUTO
from modelrouter.exceptions import ConfigurationError
from modelrouter.policies.decision import Decision
from modelrouter.router import Router

__all__ = ["ask", "route"]


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
    with Router(gguf, policy=read_policy(policy)) as router:
        if file is not None:
            _route_file(router, file, as_json)
            return
        decision = router.consider(read_text(text), model=model)
    if as_json:
        print_json(decision.model_dump())
    else:
        _print_decision(decision)
    if not decision.feasible:
        raise typer.Exit(EXIT_NO_MODEL)


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
    with Router(gguf, policy=read_policy(policy)) as router:
        if as_json or not stream:
            reply = router.completion(read_text(text), model=model, **given)
        else:
            with router.completion(read_text(text), model=model, stream=True, **given) as chunks:
                for chunk in chunks:
                    sys.stdout.write(chunk.text)
                    sys.stdout.flush()
                sys.stdout.write("\n")
            final = chunks.completion
            assert final is not None, "a stream that ended without an error has its reply"
            reply = final
    if as_json:
        print_json({"text": reply.text, **reply.model_dump(mode="json")})
        return
    if not stream:
        sys.stdout.write(reply.text + "\n")
    cost = "price unknown" if reply.cost_usd is None else f"${reply.cost_usd:.6f}"
    took = reply.trace.duration_s
    tokens = reply.usage.total_tokens
    err.print(f"[dim]{escape(reply.model)} · {tokens} tokens · {cost} · {took:.2f} s[/]")


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
    for row in progress(rows, "Routing"):
        if row.task is None:
            worst = max(worst, EXIT_BAD_INPUT)
            err.print(f"[red]line {row.line}[/]: {escape(str(row.error))}", highlight=False)
            if as_json:
                print_json({"id": row.name, "line": row.line, "error": str(row.error)})
            continue
        decision = router.consider(row.task)
        if not decision.feasible:
            worst = max(worst, EXIT_NO_MODEL)
        if as_json:
            print_json({"id": row.name, "line": row.line, **decision.model_dump()})
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
