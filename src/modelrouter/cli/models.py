"""The command models: what is known, what can be used here."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from modelrouter.catalog import Family, ModelCard
from modelrouter.cli.base import GgufOption, JsonOption, out, print_json
from modelrouter.router import Router

__all__ = ["models"]


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
                print_json(_card_row(router, card))
            return
        out.print(_models_table(router, cards))


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
