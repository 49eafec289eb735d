"""Writes docs/models.md: each known model, what the tests run of it, what needs the outside.

    python scripts/models_page.py            # write it
    python scripts/models_page.py --check    # exit code 1 if it is not up to date

What is run is read from the tests themselves: the architectures that they make a model of, the
prompts that they compare, the providers whose protocols they speak.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from tests.backends.hosted.test_protocols import MODELS as PROTOCOLS  # noqa: E402
from tests.backends.llamacpp.test_architectures import ARCHITECTURES, PROMPTS  # noqa: E402

from modelrouter.catalog import ModelCard, discover  # noqa: E402 (the path comes first)
from modelrouter.catalog.builtin import builtin_fields  # noqa: E402

PAGE = ROOT / "docs" / "models.md"
HEAD = """# The models

Written by `scripts/models_page.py` from the catalog and the tests. "Run here" is what the tests do
with it on any machine: a tiny model of the same architecture and tokenizer, with random weights,
through the engine; the prompt, letter by letter as its makers document it; the provider's own
protocol on loopback, through litellm's real client. What the real weights or an account would show
was not seen.

`modelrouter models` says which of them can be used on your machine, `modelrouter compare` puts two
side by side, `modelrouter pull NAME` fetches a local one.

| model | families | size | run here | needs from outside |
| --- | --- | --- | --- | --- |
"""


def main() -> None:
    """Write the page, or compare it."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--check", action="store_true")
    page = HEAD + "".join(map(row, discover({}).catalog))
    if not arguments.parse_args().check:
        PAGE.write_text(page, encoding="utf-8")
    elif not PAGE.exists() or PAGE.read_text(encoding="utf-8") != page:
        sys.exit("docs/models.md is out of date: python scripts/models_page.py")


def row(card: ModelCard) -> str:
    """The model's line of the table."""
    families = ", ".join(sorted(card.families))
    size = f"{card.parameters / 1e9:.3g} B" if card.parameters else "not published"
    return f"| `{card.name}` | {families} | {size} | {run_here(card)} | {needs(card)} |\n"


def run_here(card: ModelCard) -> str:
    """What the tests do for real."""
    if card.path is not None:
        return "the model itself: it ships with the package"
    if card.backend == "clip":
        return "a tiny CLIP of the same architecture, with random weights"
    if card.location == "local":
        done = []
        if card.name in ARCHITECTURES:
            done.append(f"architecture `{ARCHITECTURES[card.name]}`")
        if card.name in PROMPTS:
            done.append("its prompt, letter by letter")
        return "; ".join(done) or "nothing of its own"
    if "image" in card.modalities_out:
        return "the openai protocol for pictures"
    provider = card.name.partition("/")[0]
    spoken = {name.partition("/")[0]: protocol.name for name, protocol in PROTOCOLS.items()}
    return f"the {spoken.get(provider, 'openai')} protocol"


def needs(card: ModelCard) -> str:
    """What is not on this machine."""
    if card.path is not None:
        return "nothing"
    if card.location == "local":
        return f"its weights ({card.licence})"
    account = f"an account: `{card.api_key_env}`" if card.api_key_env else "an account"
    retires = builtin_fields()[card.name].get("retires")
    # By the date alone, so that the page is the same whenever it is written.
    return f"{account}, until {retires}; then `{card.successor}`" if retires else account


if __name__ == "__main__":
    main()
