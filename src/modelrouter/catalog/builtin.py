"""The built-in cards: ``builtin.toml`` joined with litellm's price file and GGUF metadata."""

from __future__ import annotations

import datetime
import functools
import re
from collections.abc import Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Final

from modelrouter._common.toml import loads
from modelrouter.catalog.address import shown
from modelrouter.catalog.clip import clip_fields
from modelrouter.catalog.gguf import GGUFHeader, check
from modelrouter.catalog.prices import PriceEntry, look_up
from modelrouter.catalog.quantization import stored_as
from modelrouter.exceptions import ConfigurationError

__all__ = [
    "builtin_fields",
    "bundled_path",
    "card_fields",
    "family_axes",
    "hosted_fields",
    "key_variables",
    "known_name",
    "local_fields",
    "server_fields",
]

_OWN_FIELDS: Final = ("bundled", "file", "retires")
"""Fields of builtin.toml that are about finding a model, not about the model."""

_SMALL_PARAMETERS: Final = 9_000_000_000
_UNKNOWN_WINDOW: Final = 8_192
_LOCAL_WINDOW: Final = 8_192
"""The most tokens a local model is opened with unless asked: its cache is memory taken at once."""

_SERVER_WINDOW: Final = 4_096
"""A server's window where nobody says: what Ollama opens a model with; more it would cut off."""

_FREE: Final = {"input": 0.0, "output": 0.0}
_TEXT_MODES: Final = ("chat", "completion", "responses")
_OTHER_MODES: Final = {
    "embedding": {"modalities_out": ["embedding"], "scope": ["embedding"]},
    "image_generation": {"modalities_out": ["image"], "scope": ["image_generation"]},
}
_ENCODERS: Final = ("bert", "nomic-bert", "jina-bert-v2", "modern-bert", "t5encoder")


@functools.cache
def _tables() -> Mapping[str, Any]:
    return loads((resources.files("modelrouter") / "catalog" / "builtin.toml").read_text("utf-8"))


@functools.cache
def builtin_fields() -> Mapping[str, Mapping[str, Any]]:
    """The models of builtin.toml by name; each with its location, axes and terms filled in."""
    tables = _tables()
    models: dict[str, dict[str, Any]] = tables["models"]
    for name, fields in models.items():
        fields.setdefault("location", "hosted")
        fields["axes"] = _axes(tables["axes"], fields["families"], fields.get("axes", {}))
        published = fields.get("benchmarks", {})
        if published:
            fields["strengths"] = {**fields.get("strengths", {}), **_measured(published)}
        source = "published" if published else fields["location"]
        fields.setdefault("strengths_source", tables["strengths_source"][source])
        if fields["location"] == "hosted":
            fields.setdefault("licence", _provider(name).get("terms"))
    return models


def _measured(accuracies: Mapping[str, float]) -> dict[str, float]:
    """Strengths by kind from published accuracies."""
    return {
        "question_answering": accuracies["mmlu"],
        "code": accuracies["humaneval"],
        "math": round((accuracies["gsm8k"] + accuracies["math"]) / 2, 3),
    }


def _axes(
    by_family: Mapping[str, Mapping[str, str]], families: list[str], own: Mapping[str, str]
) -> dict[str, str]:
    """The comparison in words: the model's own, else its families' one after the other."""
    axes = by_family[families[0]]
    joined = {axis: "; ".join(by_family[family][axis] for family in families) for axis in axes}
    return {**joined, **own}


def family_axes() -> Mapping[str, Mapping[str, str]]:
    """The five axes in words, by family: what a card says that is of this family alone."""
    axes: Mapping[str, Mapping[str, str]] = _tables()["axes"]
    return axes


def key_variables(name: str) -> tuple[str, ...]:
    """The environment variables that may hold the key of a model's provider, best first.

    Empty for a provider that takes no key, or that builtin.toml does not list.
    """
    return tuple(_provider(name).get("keys", ()))


def _provider(name: str) -> Mapping[str, Any]:
    provider = name.partition("/")[0]
    if "/" not in name:
        entry = look_up(name)
        provider = entry.provider if entry is not None else ""
    found: Mapping[str, Any] = _tables()["providers"].get(provider, {})
    return found


def bundled_path(name: str) -> Path | None:
    """Where the GGUF that ships with the package lies, for the model that has one."""
    file = builtin_fields().get(name, {}).get("bundled")
    if file is None:
        return None
    return Path(str(resources.files("modelrouter") / "assets" / file))


def hosted_fields(name: str) -> dict[str, Any]:
    """A hosted model's card fields from builtin.toml and the price file.

    Raises:
        ConfigurationError: the name is empty, or the model is for something that is not a task here
            (speech, moderation, ...).
    """
    if not isinstance(name, str) or not name.strip():
        raise ConfigurationError(f"{name!r} is not a model name.", hint='Use "provider/model".')
    entry = look_up(name)
    return {
        "families": ["llm"],
        "location": "hosted",
        "backend": "litellm",
        "general_strength": 0.8,
        "context_window": _UNKNOWN_WINDOW,
        "api_key_env": next(iter(key_variables(name)), None),
        "licence": _provider(name).get("terms"),
        "retired": _retired(name, entry, datetime.date.today()),
        **(_priced(name, entry) if entry else {}),
        **card_fields(name),
        "name": name,
    }


def local_fields(path: Path, name: str | None = None) -> dict[str, Any]:
    """A local model's card fields from its GGUF's metadata, and from builtin.toml if it is known.

    A model is known by ``name``, or else by its file's name. An unknown one is called as its file
    is, without the ending: two quantizations of one model share what the metadata calls it.

    Raises:
        ModelFileError: see :func:`modelrouter.catalog.gguf.check`.
    """
    if path.is_dir():
        return {**(card_fields(name) if name else {}), **clip_fields(path, name)}
    header = check(path)
    known = name if name is not None and _is_local(name) else known_name(path)
    fields: dict[str, Any] = {
        "families": ["slm"] if header.parameters < _SMALL_PARAMETERS else ["llm"],
        "location": "local",
        "backend": "llamacpp",
        "price": _FREE,
        "general_strength": 0.4,
        "licence": _licence(header),
        "speed": estimated_speed(header.file_size),
        "capabilities": _capabilities(header),
        **(_OTHER_MODES["embedding"] if _embeds(header) else {}),
        **(card_fields(known) if known else {}),
        "name": known or path.stem,
        "path": path,
        "quantization": stored_as(header),
    }
    fields["context_window"] = _window(header, fields.get("context_window", _LOCAL_WINDOW))
    if header.parameters and "split.count" not in header.metadata:
        fields["parameters"] = header.parameters
    return fields


def server_fields(address: str, model: str | None, name: str | None = None) -> dict[str, Any]:
    """The card fields of a model on a server of this machine, before the server is asked.

    ``model`` is what the server calls it, ``name`` what the card is to be called; where
    builtin.toml has that name, it brings what is said there.
    """
    name = name or model or shown(address)
    known = card_fields(name) if _is_local(name) else {}
    return {
        "families": ["slm"],
        "general_strength": 0.5,
        "speed": {
            "first_token_s": 0.2,
            "prefill_tokens_per_s": 500.0,
            "decode_tokens_per_s": 30.0,
        },
        **{k: v for k, v in known.items() if k not in ("path", "chat_template")},
        "name": name,
        "location": "local",
        "backend": "litellm",
        "price": _FREE,
        "context_window": _SERVER_WINDOW,
        "api_base": address,
        "server_model": model,
    }


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


def _is_local(name: str) -> bool:
    return builtin_fields().get(name, {}).get("location") == "local"


def _priced(name: str, entry: PriceEntry) -> dict[str, Any]:
    if entry.mode not in _TEXT_MODES and entry.mode not in _OTHER_MODES:
        raise ConfigurationError(
            f"{name!r} is for {entry.mode.replace('_', ' ')}, which no task here asks for.",
            hint="Choose a chat model.",
        )
    fields: dict[str, Any] = {
        "modalities_in": ["text", "image"] if entry.vision else ["text"],
        "capabilities": [
            *(["tools"] if entry.tools else []),
            *(["json_schema"] if entry.json_schema else []),
        ],
        "max_output_tokens": entry.max_output_tokens,
        **_OTHER_MODES.get(entry.mode, {}),
    }
    if entry.context_window is not None:
        fields["context_window"] = entry.context_window
    if entry.image is not None:
        fields["price"] = {"input": entry.input or 0, "output": entry.output or 0}
        fields["price"]["image"] = entry.image
    elif entry.input is not None and entry.output is not None:
        fields["price"] = {
            "input": entry.input,
            "output": entry.output,
            "cached_input": entry.cached_input,
            "cache_write": entry.cache_write,
        }
        if entry.long_prompt is not None:
            most, prices = entry.long_prompt
            fields["price"] |= {"long_prompt_tokens": most, "long_prompt": prices}
    return fields


def _retired(name: str, entry: PriceEntry | None, today: datetime.date) -> str | None:
    """The date on which the provider switched the model off, if that day has come."""
    date = builtin_fields().get(name, {}).get("retires") or (entry.retires if entry else None)
    try:
        gone = date is not None and datetime.date.fromisoformat(date) <= today
    except (TypeError, ValueError):  # the price file is not ours: no date rather than no router
        return None
    return date if gone else None


def _window(header: GGUFHeader, most: int) -> int:
    trained = header.whole_number("context_length") or 2_048
    return min(trained, most)


def _embeds(header: GGUFHeader) -> bool:
    """Whether the file holds an encoder: it makes vectors, no text."""
    return header.architecture in _ENCODERS or bool(header.whole_number("pooling_type"))


def _capabilities(header: GGUFHeader) -> list[str]:
    """A grammar keeps any model to a JSON schema; tools need a template that tells of them."""
    template = header.metadata.get("tokenizer.chat_template")
    told = isinstance(template, str) and re.search(r"\{[%{][^}]*\btools\b", template)
    return ["json_schema", *(["tools"] if told else [])]


def _licence(header: GGUFHeader) -> str | None:
    """As the file says; a licence with a name of its own by that: the tag is then "other"."""
    said = header.metadata.get
    for licence in (said("general.license.name"), said("general.license")):
        if isinstance(licence, str) and licence.strip():
            return licence
    return None
