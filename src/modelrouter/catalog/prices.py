"""Prices and windows of hosted models, from litellm's own packaged file, read without litellm.

``import litellm`` costs seconds and may go to the network for a newer file; the packaged copy is
plain JSON and is read on first use (3 MB: some 20 ms).
"""

from __future__ import annotations

import functools
import importlib.util
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic_core import from_json

from modelrouter.exceptions import ConfigurationError, MissingDependencyError

__all__ = ["PriceEntry", "look_up"]

_FILE: Final = "model_prices_and_context_window_backup.json"


@dataclass(frozen=True, slots=True)
class PriceEntry:
    """What the file says of one model; prices are USD a token, ``None`` where it says nothing.

    Attributes:
        provider: as litellm calls it (``openai``).
        mode: what it is for: ``chat``, ``completion``, ``responses``, ``embedding``, ...
        long_prompt: more prompt tokens than this many have these prices, by the names of ours.
        retires: ISO date on which the provider switches it off.
    """

    provider: str
    context_window: int | None
    max_output_tokens: int | None
    input: float | None
    output: float | None
    cached_input: float | None
    cache_write: float | None
    image: float | None
    long_prompt: tuple[int, Mapping[str, float]] | None
    vision: bool
    tools: bool
    json_schema: bool
    mode: str
    retires: str | None


def look_up(name: str) -> PriceEntry | None:
    """The entry of ``provider/model``, by its full name or, as litellm does, without the provider.

    Without the provider, the entry must be that provider's own (litellm's
    ``_check_provider_match``): another's price for a model of the same name does not answer it.

    Raises:
        MissingDependencyError: litellm is not installed.
        ConfigurationError: its price file is missing or damaged.
    """
    table = _table()
    raw = table.get(name)
    if raw is None and "/" in name:
        provider, _, model = name.partition("/")
        raw = table.get(model)
        if raw is not None and not _same_provider(provider, raw.get("litellm_provider")):
            raw = None
    return None if raw is None else _entry(raw)


def _same_provider(named: str, listed: object) -> bool:
    # Two providers are split in the file: vertex_ai-language-models, bedrock_converse, ...
    if named in ("vertex_ai", "bedrock"):
        return isinstance(listed, str) and listed.startswith(named)
    return listed == named


def _entry(raw: Mapping[str, Any]) -> PriceEntry:
    window = raw.get("max_input_tokens") or raw.get("max_tokens")
    return PriceEntry(
        provider=str(raw.get("litellm_provider") or ""),
        context_window=_whole(window),
        max_output_tokens=_whole(raw.get("max_output_tokens")),
        input=_price(raw.get("input_cost_per_token")),
        output=_price(_output(raw)),
        cached_input=_price(raw.get("cache_read_input_token_cost")),
        cache_write=_price(raw.get("cache_creation_input_token_cost")),
        image=_price(raw.get("output_cost_per_image")) if _by_the_picture(raw) else None,
        long_prompt=_long_prompt(raw),
        vision=bool(raw.get("supports_vision")),
        tools=bool(raw.get("supports_function_calling")),
        json_schema=bool(raw.get("supports_response_schema")),
        mode=str(raw.get("mode") or "chat"),
        retires=raw.get("deprecation_date") or None,
    )


def _by_the_picture(raw: Mapping[str, Any]) -> bool:
    """Whether pictures have a price each, where it is not the same as that of their tokens."""
    return raw.get("mode") == "image_generation" and "output_cost_per_image_token" not in raw


def _output(raw: Mapping[str, Any]) -> object:
    if raw.get("mode") != "image_generation":
        # What makes vectors puts out no tokens, and some entries leave that unsaid.
        return raw.get("output_cost_per_token", 0.0 if raw.get("mode") == "embedding" else None)
    return raw.get("output_cost_per_image_token", raw.get("output_cost_per_token"))


_PRICES: Final = {
    "input": "input_cost_per_token",
    "output": "output_cost_per_token",
    "cached_input": "cache_read_input_token_cost",
    "cache_write": "cache_creation_input_token_cost",
}
_LONG: Final = re.compile(r"input_cost_per_token_above_(\d+)k_tokens")


def _long_prompt(raw: Mapping[str, Any]) -> tuple[int, Mapping[str, float]] | None:
    """The first step in price with the prompt's length; what has no step keeps its price."""
    steps = sorted(int(found[1]) for key in raw if (found := _LONG.fullmatch(key)) is not None)
    if not steps:
        return None
    prices = {
        ours: price
        for ours, theirs in _PRICES.items()
        if (price := _price(raw.get(f"{theirs}_above_{steps[0]}k_tokens", raw.get(theirs))))
        is not None
    }
    return steps[0] * 1_000, prices


def _whole(value: object) -> int | None:
    return int(value) if isinstance(value, (int, float)) and value > 0 else None


def _price(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and value >= 0 else None


@functools.cache
def _table() -> Mapping[str, Mapping[str, Any]]:
    # find_spec on the top-level name locates the package without running it.
    spec = importlib.util.find_spec("litellm")
    if spec is None or not spec.submodule_search_locations:
        raise MissingDependencyError("litellm is not installed.", hint="pip install litellm")
    path = Path(next(iter(spec.submodule_search_locations))) / _FILE
    try:
        table = from_json(path.read_bytes(), cache_strings="keys")
        if not isinstance(table, dict):
            raise ValueError("it is not a JSON object")
    except (OSError, ValueError) as exc:
        raise ConfigurationError(
            f"litellm's price file {path} cannot be read: {exc}.",
            hint="Reinstall it: pip install --force-reinstall litellm",
        ) from exc
    return {name: raw for name, raw in table.items() if isinstance(raw, dict)}
