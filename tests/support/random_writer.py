"""Writes under a grammar as a model without any sense would: any token that is allowed."""

from __future__ import annotations

import random

import numpy as np
import pytest

from modelrouter.backends.llamacpp.engine.native import Model
from modelrouter.backends.llamacpp.grammar.constraint import Constraint


def written(model: Model, grammar: str, seed: int, free: int = 120) -> str:
    """A text under a grammar: at random at first, then as short as may be."""
    native = Constraint(model, grammar)
    draw = random.Random(seed)
    # Control tokens have no text, and a byte alone may be no character.
    tokens = np.array(
        [t for t in range(model.n_vocab) if model.piece(t) or model.ends(t)], np.int32
    )
    text = b""
    for step in range(4_000):
        allowed = [int(t) for t in tokens[native.allowed(tokens)]]
        assert allowed, f"a dead end after {text!r}"
        ends = [t for t in allowed if model.ends(t)]
        if ends and (len(ends) == len(allowed) or step > free or draw.random() < 0.3):
            return text.decode()
        choices = {model.piece(t): t for t in allowed if t not in ends}
        choices = {p: t for p, t in choices.items() if p.isascii()} or choices
        if step > free or draw.random() < 0.3:
            likely = draw.choice([(b'"', b"}", b"]"), (b'"', b"}", b"]"), (b"b", b"c", b"y"), ()])
            choices = {p: t for p, t in choices.items() if p in likely} or choices
        token = choices[draw.choice(sorted(choices))]
        native.accept(token)
        text += model.piece(token)
    pytest.fail(f"no end after {text[-200:]!r}")
