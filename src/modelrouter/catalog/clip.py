"""CLIP folders: whether one holds what is needed, and the card's fields from its own files.

The layout is that of CLIP's ONNX exports on the Hugging Face hub: ``config.json``,
``preprocessor_config.json``, ``tokenizer.json`` and, beside them or in ``onnx/``, either
``text_model.onnx`` and ``vision_model.onnx`` or one ``model.onnx`` that holds both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from modelrouter.exceptions import ModelFileError

__all__ = ["CONFIGS", "check_clip", "clip_fields", "clip_graphs", "read_json"]

CONFIGS: Final = ("config.json", "preprocessor_config.json", "tokenizer.json")
_LAYOUT: Final = (
    "A CLIP folder holds config.json, preprocessor_config.json, tokenizer.json and "
    "onnx/text_model.onnx with onnx/vision_model.onnx, or onnx/model.onnx."
)


def clip_graphs(folder: Path) -> dict[str, Path]:
    """The ONNX files of a CLIP folder: ``text`` and ``vision``, ``both``, or all three."""
    found: dict[str, Path] = {}
    for name, file in (("text", "text_model"), ("vision", "vision_model"), ("both", "model")):
        for place in (folder / "onnx" / f"{file}.onnx", folder / f"{file}.onnx"):
            if place.is_file():
                found.setdefault(name, place)
    return found


def check_clip(folder: Path) -> Mapping[str, Any]:
    """The folder's configuration, once everything is there.

    Raises:
        ModelFileError: says what is missing or damaged.
    """
    missing = [name for name in CONFIGS if not (folder / name).is_file()]
    if missing:
        raise ModelFileError(f"{folder} has no {' and no '.join(missing)}.", hint=_LAYOUT)
    graphs = clip_graphs(folder)
    if "both" not in graphs and not {"text", "vision"} <= set(graphs):
        raise ModelFileError(f"{folder} has no ONNX files of a CLIP.", hint=_LAYOUT)
    config = read_json(folder / "config.json")
    if config.get("model_type") != "clip":
        raise ModelFileError(
            f"{folder} holds a model of type {config.get('model_type')!r}, not 'clip'.",
            hint=_LAYOUT,
        )
    return config


def clip_fields(folder: Path, name: str | None) -> dict[str, Any]:
    """A CLIP's card fields from its folder.

    Raises:
        ModelFileError: see :func:`check_clip`.
    """
    config = check_clip(folder)
    text = config.get("text_config") or {}
    window = text.get("max_position_embeddings", 77)
    return {
        "families": ["foundation"],
        "location": "local",
        "backend": "clip",
        "modalities_in": ["text", "image"],
        "modalities_out": ["embedding"],
        "scope": ["embedding"],
        "price": {"input": 0.0, "output": 0.0},
        "general_strength": 0.0,
        "strengths": {"embedding": 0.7},
        "speed": {"first_token_s": 0.1},
        "context_window": window if isinstance(window, int) and window > 2 else 77,
        "name": name or folder.name,
        "path": folder,
    }


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file.

    Raises:
        ModelFileError: it is not one.
    """
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as exc:
        raise ModelFileError(f"{path} cannot be read: {exc}.", hint=_LAYOUT) from exc
    if not isinstance(value, dict):
        raise ModelFileError(f"{path} holds no JSON object.", hint=_LAYOUT)
    return value
