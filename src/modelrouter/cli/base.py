"""What all commands share: the two consoles, options, exit codes, reading and printing."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import track

from modelrouter.exceptions import ConfigurationError, StorageError
from modelrouter.ledger import Ledger
from modelrouter.policies import Policy

__all__ = [
    "EXIT_BAD_INPUT",
    "EXIT_MODEL_FAILED",
    "EXIT_NO_MODEL",
    "GgufOption",
    "JsonOption",
    "ModelOption",
    "PolicyOption",
    "TextArgument",
    "err",
    "open_ledger",
    "out",
    "print_json",
    "progress",
    "read_policy",
    "read_text",
    "short",
]

EXIT_MODEL_FAILED: Final = 1
EXIT_BAD_INPUT: Final = 2
EXIT_NO_MODEL: Final = 3

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


def read_policy(value: str) -> Policy:
    """A preset's name, or a policy file."""
    path = Path(value)
    if path.suffix not in (".toml", ".json"):
        return Policy.of(value)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as exc:
        raise ConfigurationError(f"Cannot read the policy {path}: {exc}.") from exc
    return Policy.from_toml(text) if path.suffix == ".toml" else Policy.from_json(text)


def open_ledger(path: Path) -> Ledger:
    """A ledger that is there; a misspelt path must not become an empty one."""
    if not path.is_file():
        raise StorageError(
            f"There is no ledger {path}.",
            path=path,
            hint='Router(ledger="PATH") writes one; name it with --ledger PATH.',
        )
    return Ledger(path)


def read_text(text: str | None) -> str:
    """A task as given, or from standard input."""
    return sys.stdin.read() if text == "-" else text or ""


def progress(items: Iterable[Any], what: str) -> Iterable[Any]:
    """Go through items with a bar on standard error, where that is a terminal."""
    return track(list(items), description=what, console=err, disable=not err.is_terminal)


def print_json(value: dict[str, Any]) -> None:
    """One JSON object on a line of standard output."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")


def short(text: str, width: int = 72) -> str:
    """A text on one line, cut to a width."""
    flat = " ".join(text.split())
    return flat if len(flat) <= width else flat[: width - 1] + "…"
