"""The commands ledger, ledger export and replay: what was done; what another policy would do."""

from __future__ import annotations

import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from modelrouter.cli.base import (
    JsonOption,
    PolicyOption,
    err,
    open_ledger,
    out,
    print_json,
    read_policy,
)
from modelrouter.exceptions import ConfigurationError
from modelrouter.ledger import Group, Row
from modelrouter.ledger.export import to_jsonl

__all__ = ["ledger", "replay"]

LedgerOption = Annotated[
    Path,
    typer.Option("--ledger", "-l", envvar="MODELROUTER_LEDGER", help="The ledger's file."),
]
LastOption = Annotated[int | None, typer.Option("--last", min=1, help="Only the newest so many.")]
SinceOption = Annotated[
    datetime | None, typer.Option("--since", help="Only calls from then on, as 2026-11-23.")
]
_DEFAULT = Path("modelrouter.ledger")

ledger = typer.Typer(help="What was asked, answered and spent.", invoke_without_command=True)


@ledger.callback()
def summary(
    context: typer.Context,
    path: LedgerOption = _DEFAULT,
    by: Annotated[
        str, typer.Option(help="model, kind, day, outcome, policy, location, or tag:NAME.")
    ] = "model",
    rows: Annotated[bool, typer.Option("--rows", help="The calls themselves.")] = False,
    last: LastOption = None,
    since: SinceOption = None,
    as_json: JsonOption = False,
) -> None:
    """What was asked, answered and spent, in sum; with --rows call by call."""
    if context.invoked_subcommand is not None:
        context.obj = path
        return
    start = None if since is None else since.timestamp()
    with open_ledger(path) as opened:
        if rows:
            _show_rows(list(opened.rows(last=last or 20, since=start, details=False)), as_json)
            return
        groups = opened.summary(by, last=last, since=start)
    if as_json:
        for group in groups:
            print_json(group.model_dump())
        return
    out.print(_summary_table(groups, by))


@ledger.command()
def export(
    context: typer.Context,
    jsonl: Annotated[
        Path | None, typer.Option("--jsonl", help="Write JSON lines into this file; - prints them.")
    ] = None,
    parquet: Annotated[
        Path | None, typer.Option("--parquet", help="Write this Parquet file.")
    ] = None,
    path: Annotated[Path | None, typer.Option("--ledger", "-l", help="The ledger's file.")] = None,
    last: LastOption = None,
    since: SinceOption = None,
) -> None:
    """Write the calls with all that is kept of them as JSON lines or Parquet."""
    if (jsonl is None) == (parquet is None):
        raise ConfigurationError("Give one of --jsonl FILE and --parquet FILE.")
    start = None if since is None else since.timestamp()
    target = parquet if parquet is not None else jsonl
    assert target is not None
    if parquet is not None and parquet.suffix != ".parquet":
        raise ConfigurationError(f"--parquet {parquet}: the name must end in .parquet.")
    with open_ledger(path or context.obj) as opened:
        if str(target) == "-":
            to_jsonl(opened.rows(last=last, since=start), sys.stdout)
            return
        count = opened.export(target, last=last, since=start)
    err.print(f"{count:,} calls written: {escape(str(target))}", highlight=False)


def replay(
    policy: PolicyOption = "cheapest",
    path: LedgerOption = _DEFAULT,
    last: LastOption = None,
    since: SinceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Decide the ledger's calls again under another policy: what would change. Asks no model."""
    start = None if since is None else since.timestamp()
    with open_ledger(path) as opened:
        found = opened.replay(read_policy(policy), last=last, since=start)
    if as_json:
        print_json(found.model_dump())
    else:
        out.print(escape(str(found)), highlight=False, soft_wrap=True)


def _summary_table(groups: list[Group], by: str) -> Table:
    table = Table(box=None, padding=(0, 1))
    columns = ("tasks", "answered", "failed", "other", "cached", "tokens", "USD", "p50", "p95")
    table.add_column(by)
    for name in (*columns, "score"):
        table.add_column(name, justify="right")
    for group in groups:
        ended = group.outcomes["answered"], group.outcomes["failed"]
        table.add_row(
            escape(group.name) or "-",
            f"{group.tasks:,}",
            *(f"{count:,}" for count in ended),
            f"{group.tasks - sum(ended):,}",
            f"{group.cached:,}",
            f"{group.prompt_tokens + group.completion_tokens:,}",
            _cost(group),
            _seconds(group.latency_s(0.5)),
            _seconds(group.latency_s(0.95)),
            "" if group.score is None else f"{group.score:.2f} ({len(group.scores):,})",
        )
    return table


def _show_rows(rows: list[Row], as_json: bool) -> None:
    if as_json:
        for row in rows:
            print_json(row.model_dump())
        return
    table = Table(box=None, padding=(0, 1))
    for name in ("when", "id", "outcome", "kind", "model", "USD", "seconds", "error"):
        table.add_column(name)
    for row in rows:
        table.add_row(
            time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row.began_at)),
            row.id,
            "cached" if row.cached else row.outcome,
            row.kind,
            escape(row.model),
            _cost(row),
            _seconds(row.latency_s),
            escape(row.error.partition(":")[0]),
        )
    out.print(table)


def _cost(of: Group | Row) -> str:
    """A cost of which a part is not known is a lower bound, one of estimated tokens near the truth.

    Where both hold, the first is said: what is missing may be more.
    """
    sign = "≥ " if of.unpriced else "≈ " if of.estimated else ""
    return f"{sign}{of.cost_usd:.6f}"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.2f} s"
