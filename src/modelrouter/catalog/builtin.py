"""The built-in cards: ``builtin.toml`` joined with litellm's price file and GGUF metadata."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final

from modelrouter._toml import loads
from modelrouter.catalog.gguf import GGUFHeader, check
from modelrouter.catalog.prices import PriceEntry, look_up

__all__ = ["builtin_fields", "bundled_path", "hosted_fields", "local_fields"]

_KEY_VARIABLES: Final = {
    "openai": "OPENAI_API_KEY",
    "anthropic": "ANTHROPIC_API_KEY",
    "gemini": "GEMINI_API_KEY",
    "mistral": "MISTRAL_API_KEY",
    "groq": "GROQ_API_KEY",
    "together_ai": "TOGETHERAI_API_KEY",
    "deepinfra": "DEEPINFRA_API_KEY",
    "fireworks_ai": "FIREWORKS_AI_API_KEY",
    "openrouter": "OPENROUTER_API_KEY",
    "deepseek": "DEEPSEEK_API_KEY",
    "xai": "XAI_API_KEY",
    "cohere": "COHERE_API_KEY",
    "perplexity": "PERPLEXITYAI_API_KEY",
}
_OWN_FIELDS: Final = ("bundled", "file", "not_yet")
"""Fields of builtin.toml that are about finding a model, not about the model."""

_SMALL_PARAMETERS: Final = 9_000_000_000
_UNKNOWN_WINDOW: Final = 8_192
_FREE: Final = {"input": 0.0, "output": 0.0}


@functools.cache
def builtin_fields() -> Mapping[str, Mapping[str, Any]]:
    """The table of builtin.toml by model name, each family's axes filled in."""
    text = (resources.files("modelrouter") / "catalog" / "builtin.toml").read_text("utf-8")
    table = loads(text)
    axes = table["axes"]
    models: dict[str, dict[str, Any]] = table["models"]
    for fields in models.values():
        fields.setdefault("location", "hosted")
        fields.setdefault("axes", axes[fields["families"][0]])
    return models


def bundled_path(name: str) -> Path | None:
    """Where the GGUF that ships with the package lies, for the model that has one."""
    file = builtin_fields().get(name, {}).get("bundled")
    if file is None:
        return None
    return Path(str(resources.files("modelrouter") / "assets" / file))


def hosted_fields(name: str) -> dict[str, Any]:
    """A hosted model's card fields from builtin.toml and the price file."""
    entry = look_up(name)
    fields: dict[str, Any] = {
        "name": name,
        "families": ["llm"],
        "location": "hosted",
        "backend": "litellm",
        "general_strength": 0.8,
        "context_window": _UNKNOWN_WINDOW,
        "api_key_env": key_variable(name),
        **(_priced(entry) if entry else {}),
        **card_fields(name),
    }
    return fields


def local_fields(path: Path) -> dict[str, Any]:
    """A local model's card fields: from its GGUF's metadata, and builtin.toml if it is known."""
    header = check(path)
    known = known_name(path)
    name = known or str(header.metadata.get("general.name") or path.stem)
    trained = header.of_architecture("context_length")
    window = trained if isinstance(trained, int) and trained > 0 else 2_048
    fields: dict[str, Any] = {
        "families": ["slm"] if header.parameters < _SMALL_PARAMETERS else ["llm"],
        "location": "local",
        "backend": "llamacpp",
        "price": _FREE,
        "general_strength": 0.4,
        "context_window": window,
        "parameters": header.parameters,
        "licence": _licence(header),
        "speed": estimated_speed(header.file_size),
        **(card_fields(known) if known else {}),
        "name": name,
        "path": path,
    }
    return fields


def estimated_speed(file_size: int) -> dict[str, float]:
    """Tokens a second on a few processor cores: memory-bound, so inverse to the file's size."""
    decode = max(1.0, min(500.0, 2e10 / max(file_size, 1)))
    return {
        "first_token_s": 0.05,
        "prefill_tokens_per_s": decode * 5,
        "decode_tokens_per_s": decode,
    }


def card_fields(name: str) -> dict[str, Any]:
    """The fields of builtin.toml that belong on a card; empty for a model it does not know."""
    known = builtin_fields().get(name, {})
    fields = {k: v for k, v in known.items() if k not in _OWN_FIELDS}
    if fields.get("location") == "local":
        fields = {"backend": "llamacpp", "price": _FREE, **fields}
    return fields


def known_name(path: Path) -> str | None:
    """The known local model that a file name stands for."""
    for name, fields in builtin_fields().items():
        pattern = fields.get("file") or fields.get("bundled")
        if pattern and Path(path.name.lower()).match(pattern):
            return name
    return None


def key_variable(name: str) -> str | None:
    """The environment variable that holds the provider's key."""
    return _KEY_VARIABLES.get(name.partition("/")[0])


def _priced(entry: PriceEntry) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "modalities_in": ["text", "image"] if entry.vision else ["text"],
        "capabilities": [
            *(["tools"] if entry.tools else []),
            *(["json_schema"] if entry.json_schema else []),
        ],
        "max_output_tokens": entry.max_output_tokens,
    }
    if entry.context_window is not None:
        fields["context_window"] = entry.context_window
    if entry.input is not None and entry.output is not None:
        fields["price"] = {
            "input": entry.input,
            "output": entry.output,
            "cached_input": entry.cached_input,
        }
    return fields


def _licence(header: GGUFHeader) -> str | None:
    licence = header.metadata.get("general.license")
    return str(licence) if licence else None
