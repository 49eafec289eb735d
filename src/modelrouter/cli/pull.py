"""The command pull: what there is of a model, what it takes, its licence, then the download."""

from __future__ import annotations

import sys
from pathlib import PurePosixPath
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table

from modelrouter import hub
from modelrouter._common.memory import gigabytes
from modelrouter.catalog import ModelCard
from modelrouter.cli.base import JsonOption, err, out, print_json
from modelrouter.exceptions import ConfigurationError

__all__ = ["pull"]


def pull(
    model: Annotated[
        str,
        typer.Argument(help="Of the catalog, or owner/repository[:file or quantization]."),
    ],
    quantization: Annotated[
        str | None, typer.Option("--quantization", "-q", help="For example Q4_K_M; or a file.")
    ] = None,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Accept the licence and the choice unasked.")
    ] = False,
    only_list: Annotated[
        bool, typer.Option("--list", help="Show what there is, and stop.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Fetch a model's GGUF file from the Hugging Face hub into the models folder."""
    plan = hub.plan(model)
    offer = (
        None if only_list and not any(o.fits for o in plan.offers) else plan.choose(quantization)
    )
    if as_json and only_list:
        for each in plan.offers:
            print_json(_row(plan, each))
        return
    if not as_json:
        out.print(_offers(plan, offer))
        _print_terms(plan)
    if only_list or offer is None:
        return
    if not yes:
        offer = _agreed(plan, offer)
    card = _fetch(plan, offer)
    if as_json:
        print_json({"name": card.name, "path": str(card.path), **_row(plan, offer)})
    else:
        _print_done(plan, card)


def _offers(plan: hub.Plan, chosen: hub.Offer | None) -> Table:
    table = Table(
        box=None,
        padding=(0, 1),
        title=escape(plan.listing.repository),
        title_justify="left",
        caption=f"memory: weights, and a text of {plan.window:,} tokens; "
        f"{gigabytes(plan.free_memory_bytes)} are free",
        caption_justify="left",
    )
    for name in ("", "quantization", "on disk", "memory", "fits", "file"):
        table.add_column(name, overflow="fold")
    for offer in plan.offers:
        table.add_row(
            "[green]>[/]" if offer == chosen else "",
            escape(offer.quantization),
            gigabytes(offer.size_bytes),
            gigabytes(offer.memory_bytes),
            "[green]yes[/]" if offer.fits else "[red]no[/]",
            escape(offer.file),
        )
    return table


def _print_terms(plan: hub.Plan) -> None:
    terms = f" ({plan.source.terms})" if plan.source.terms else ""
    licence = plan.licence or "none named; ask its makers"
    out.print(f"Licence: [bold]{escape(licence)}[/]{escape(terms)}", highlight=False)
    said = plan.listing.licence
    if said and said != plan.licence:
        out.print(f"The repository says: {escape(said)}", highlight=False)
    if plan.source.note:
        out.print(escape(plan.source.note), highlight=False)
    if plan.listing.gated:
        out.print("Gated: its terms have to be accepted on the hub.", highlight=False)


def _agreed(plan: hub.Plan, offer: hub.Offer) -> hub.Offer:
    """The offer that the user takes, licence included."""
    if not sys.stdin.isatty():
        raise ConfigurationError(
            "Nobody can be asked whether the licence is accepted.", hint="Give --yes if it is."
        )
    same = [each for each in plan.offers if each.quantization == offer.quantization]
    default = offer.quantization if len(same) == 1 else offer.file
    said = typer.prompt("Which one", default=default, err=True)
    offer = plan.choose(said)
    if not typer.confirm(
        f"Fetch {gigabytes(offer.size_bytes)} to {plan.target(offer)} under that licence?", err=True
    ):
        raise typer.Abort
    return offer


def _fetch(plan: hub.Plan, offer: hub.Offer) -> ModelCard:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, disable=not err.is_terminal) as bar:
        task = bar.add_task(escape(PurePosixPath(offer.file).name), total=offer.size_bytes)
        return hub.pull(
            plan,
            offer.file,
            progress=lambda have, size: bar.update(task, completed=have, total=size),
        )


def _print_done(plan: hub.Plan, card: ModelCard) -> None:
    out.print(f"{escape(card.name)} is ready: {escape(str(card.path))}", highlight=False)
    meant = plan.source.card
    if meant is not None and card.name != meant:
        out.print(
            f"{escape(meant)} stays the file that was there before; ask for this one as "
            f"{escape(card.name)}, or take the other out of the folder.",
            highlight=False,
        )


def _row(plan: hub.Plan, offer: hub.Offer) -> dict[str, Any]:
    return {
        "repository": plan.listing.repository,
        "file": offer.file,
        "quantization": offer.quantization,
        "size_bytes": offer.size_bytes,
        "memory_bytes": offer.memory_bytes,
        "fits": offer.fits,
        "licence": plan.licence,
    }
