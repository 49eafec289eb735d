"""Real files for real llama.cpp, made once, and one backend for the tests that share it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from modelrouter.backends.base import Request
from modelrouter.backends.llamacpp import LlamaCppBackend, LlamaCppSettings
from modelrouter.catalog.card import ModelCard
from modelrouter.config import GenerationSettings
from tests.support.gguf_factory import make_chain_gguf, make_tiny_gguf


def chain_of(text: bytes) -> dict[int, int | None]:
    """Each byte of the text leads to the next; the last one to the end. No byte may come twice."""
    return dict(zip(text, [*text[1:], None], strict=True))


@dataclass(frozen=True)
class Models:
    """``tiny`` answers at random, ``chain`` with the rest of the alphabet, ``endless`` never ends.

    After a question mark ``characters`` writes é漢, a byte a token, and ``broken`` writes o, a byte
    that is no character, k, and the first byte of a character that it does not finish.
    """

    folder: Path
    tiny: ModelCard
    chain: ModelCard
    endless: ModelCard
    characters: ModelCard
    broken: ModelCard


@pytest.fixture(scope="session")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    folder = tmp_path_factory.mktemp("models")
    return Models(
        folder,
        ModelCard.local(make_tiny_gguf(folder / "tiny.gguf")),
        ModelCard.local(
            make_chain_gguf(folder / "chain.gguf", chain_of(b"abcdefghijklmnopqrstuvwxyz"))
        ),
        ModelCard.local(
            make_tiny_gguf(folder / "endless.gguf", context_length=16_384, ends=False, seed=1),
            context_window=16_384,
        ),
        ModelCard.local(make_chain_gguf(folder / "characters.gguf", chain_of("?é漢".encode()))),
        ModelCard.local(make_chain_gguf(folder / "broken.gguf", chain_of(b"?o\xffk\xe6"))),
    )


@pytest.fixture(scope="session")
def trials(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where passed trials are remembered in this run."""
    return tmp_path_factory.mktemp("trials")


@pytest.fixture(scope="session")
def shared_backend(trials: Path) -> Iterator[LlamaCppBackend]:
    backend = LlamaCppBackend(LlamaCppSettings(cache_dir=trials))
    yield backend
    backend.close()


@pytest.fixture(scope="session")
def trusting() -> Iterator[LlamaCppBackend]:
    """For files that a test just made, where half a second each for a trial would add up."""
    backend = LlamaCppBackend(LlamaCppSettings(trial=False))
    yield backend
    backend.close()


@pytest.fixture
def backend(trials: Path) -> Iterator[LlamaCppBackend]:
    """A backend of the test's own, to be closed, crowded or kept busy."""
    backend = LlamaCppBackend(LlamaCppSettings(cache_dir=trials))
    yield backend
    backend.close()


def ask(card: ModelCard, text: str, *, timeout_s: float | None = 60.0, **options: Any) -> Request:
    """A request with one user message; ``response_format`` and ``tools`` are the request's, all
    other options its settings'."""
    own = {k: options.pop(k) for k in ("response_format", "tools") if k in options}
    names = GenerationSettings.__dataclass_fields__
    extra = {k: options.pop(k) for k in [*options] if k not in names}
    settings = GenerationSettings(**options, extra=extra)
    messages = [{"role": "user", "content": text}]
    return Request(card, messages, settings, timeout_s=timeout_s, **own)
