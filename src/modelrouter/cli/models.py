"""The commands models and compare: what is known, what can be used here, how two models differ."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from modelrouter.catalog import Family, Location, ModelCard
from modelrouter.cli.base import GgufOption, JsonOption, out, print_json
from modelrouter.router import Router
from modelrouter.task import Kind

__all__ = ["compare", "models"]


def models(
    family: Annotated[Family | None, typer.Option(help="foundation, llm or slm.")] = None,
    kind: Annotated[
        Kind | None, typer.Option(help="Only those that may do such tasks, the best at it first.")
    ] = None,
    location: Annotated[Location | None, typer.Option(help="local or hosted.")] = None,
    available: Annotated[bool, typer.Option(help="Only those that can be used here.")] = False,
    gguf: GgufOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the known models: which can be used here, and what would enable the others."""
    with Router(gguf) as router:
        cards = [
            card
            for card in router.catalog.where(family=family, location=location, kind=kind)
            if not (available and card.name in router.unavailable)
        ]
        if kind is not None:
            cards = [card for card in cards if card.strength(kind) > 0]
            cards.sort(key=lambda card: -card.strength(kind))
        if as_json:
            for card in cards:
                print_json(_card_row(router, card, kind))
            return
        out.print(_models_table(router, cards, kind))


def compare(
    one: Annotated[str, typer.Argument(metavar="MODEL")],
    other: Annotated[str, typer.Argument(metavar="MODEL")],
    gguf: GgufOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put two models side by side: families, scope, data, uses, adaptability, efficiency, price."""
    with Router(gguf) as router:
        rows = router.catalog.compare(one, other)
    if as_json:
        print_json(rows)
        return
    table = Table(box=None, padding=(0, 1))
    names = rows.pop("model")
    for heading in ("", *names):
        table.add_column(escape(heading), overflow="fold")
    for what, cells in rows.items():
        table.add_row(what.replace("_", " "), *(escape(str(cell)) for cell in cells))
    out.print(table)


def _card_row(router: Router, card: ModelCard, kind: Kind | None = None) -> dict[str, Any]:
    missing = router.unavailable.get(card.name)
    return {
        **({"strength": card.strength(kind)} if kind is not None else {}),
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
        "parameters": card.parameters,
        "quantization": card.quantization,
        "licence": card.licence,
        "axes": card.axes.model_dump() if card.axes else None,
        "strengths_source": card.strengths_source,
        "retired": card.retired,
        "successor": card.successor,
    }


def _models_table(router: Router, cards: list[ModelCard], kind: Kind | None) -> Table:
    table = Table(box=None, padding=(0, 1))
    shown = [kind] if kind is not None else []
    for name in ("model", *shown, "families", "where", "context", "$/M in", "$/M out", "here"):
        table.add_column(name, overflow="fold")
    for card in cards:
        missing = router.unavailable.get(card.name)
        price = card.price
        table.add_row(
            escape(card.name),
            *(f"{card.strength(each):.2f}" for each in shown),
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
