"""Prices and windows of hosted models, from litellm's own packaged file, read without litellm.

``import litellm`` costs seconds and may go to the network for a newer file; the packaged copy is
plain JSON and is read on first use.
"""

from __future__ import annotations

import functools
import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from modelrouter.exceptions import ConfigurationError, MissingDependencyError

__all__ = ["PriceEntry", "look_up"]

_FILE: Final = "model_prices_and_context_window_backup.json"


@dataclass(frozen=True, slots=True)
class PriceEntry:
    """What the file says of one model; prices are USD a token, ``None`` where it says nothing."""

    context_window: int | None
    max_output_tokens: int | None
    input: float | None
    output: float | None
    cached_input: float | None
    vision: bool
    tools: bool
    json_schema: bool
    mode: str
    retirement: str | None


def look_up(name: str) -> PriceEntry | None:
    """The entry of ``provider/model``, by its full name or, as litellm does, without the provider.

    Raises:
        MissingDependencyError: litellm is not installed.
        ConfigurationError: its price file is missing or damaged.
    """
    table = _table()
    raw = table.get(name)
    if raw is None and "/" in name:
        provider, _, model = name.partition("/")
        raw = table.get(model)
        if raw is not None and raw.get("litellm_provider") != provider:
            raw = None
    return None if raw is None else _entry(raw)


def _entry(raw: Mapping[str, Any]) -> PriceEntry:
    window = raw.get("max_input_tokens") or raw.get("max_tokens")
    return PriceEntry(
        context_window=_whole(window),
        max_output_tokens=_whole(raw.get("max_output_tokens")),
        input=_price(raw.get("input_cost_per_token")),
        output=_price(raw.get("output_cost_per_token")),
        cached_input=_price(raw.get("cache_read_input_token_cost")),
        vision=bool(raw.get("supports_vision")),
        tools=bool(raw.get("supports_function_calling")),
        json_schema=bool(raw.get("supports_response_schema")),
        mode=str(raw.get("mode", "chat")),
        retirement=raw.get("deprecation_date"),
    )


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
        table: Mapping[str, Mapping[str, Any]] = json.loads(path.read_bytes())
    except (OSError, ValueError) as exc:
        raise ConfigurationError(
            f"litellm's price file cannot be read: {exc}.", hint="Reinstall litellm."
        ) from exc
    return table
