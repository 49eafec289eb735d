"""The command demo: a file of tasks routed, answered, added up."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from modelrouter import demo as demonstration
from modelrouter.cli.base import (
    EXIT_MODEL_FAILED,
    JsonOption,
    PolicyOption,
    out,
    print_json,
    progress,
    read_policy,
    short,
)
from modelrouter.router import Router

__all__ = ["demo"]


def demo(
    file: Annotated[
        Path | None, typer.Argument(help="A JSONL file of tasks; those that ship by default.")
    ] = None,
    policy: PolicyOption = "balanced",
    as_json: JsonOption = False,
) -> None:
    """Route a file of tasks; answer locally what a local model may do; add it all up."""
    tasks = list(demonstration.read_tasks(file or demonstration.packaged_tasks()))
    with Router(policy=read_policy(policy)) as router:
        rows = [demonstration.run(router, task) for task in progress(tasks, "Answering")]
    summary = demonstration.summarise(rows)
    if as_json:
        for row in rows:
            print_json(row.model_dump())
        print_json({"summary": summary.model_dump()})
    else:
        out.print(_demo_table(rows))
        _print_summary(summary, rows)
    if summary.failed:
        raise typer.Exit(EXIT_MODEL_FAILED)


def _demo_table(rows: list[demonstration.Row]) -> Table:
    table = Table(box=None, padding=(0, 1))
    for name in ("task", "kind", "model", "answer"):
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(
            escape(short(row.text or row.name)),
            row.kind or "",
            escape(row.model or "none"),
            _outcome(row),
        )
    return table


def _outcome(row: demonstration.Row) -> str:
    if row.error:
        return f"[red]{escape(short(row.error, 120))}[/]"
    if row.enable:
        return f"[dim]{escape(row.enable)}[/]"
    return f"[green]{escape(short(row.answer or ''))}[/]"


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
