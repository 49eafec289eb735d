"""Embeddings of many texts, beside ``llama_cpp.Llama.embed``.

    python benchmarks/local_embeddings.py [--threads 1] [--texts 64] [--repeats 5]

One process; the contenders take turns repeat by repeat, and the best time of each counts. The
models have random weights, since how fast they read does not depend on what their weights say: an
encoder (BERT, 7 million weights in its blocks, about MiniLM's) and a decoder of as many, in single
precision. Each text has so many tokens; all contenders read the same texts with the same number
of threads and give the mean of the tokens' vectors, brought to length 1. Their vectors are
compared before anything is measured.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import platform
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path

import llama_cpp
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.support.gguf_factory import make_tiny_embedding_gguf, make_tiny_gguf

from modelrouter.backends.llamacpp.engine.embedding import Embedder
from modelrouter.backends.llamacpp.engine.native import Model, log

WIDTH, LAYERS, WINDOW = 384, 6, 512
LENGTHS = (8, 24, 64, 200)
Vectors = np.ndarray
Contender = Callable[[Sequence[str]], Vectors]


def texts_of(tokens: int, count: int) -> list[str]:
    """Random texts of so many letters, one token each."""
    draw = random.Random(tokens)
    return ["".join(draw.choice("abcdefghij") for _ in range(tokens)) for _ in range(count)]


def contenders(path: Path, threads: int) -> dict[str, Contender]:
    """The peer's two ways first, then ours."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
        peer = llama_cpp.Llama(
            str(path), embedding=True, n_ctx=WINDOW, n_threads=threads, n_threads_batch=threads,
            pooling_type=llama_cpp.LLAMA_POOLING_TYPE_MEAN, verbose=False,
        )  # fmt: skip
    ours = Embedder(Model(path), path.stem, threads, pooling="mean")
    return {
        "Llama.embed, one by one": lambda texts: np.array(
            [peer.embed(text, normalize=True) for text in texts]
        ),
        "Llama.embed, all at once": lambda texts: np.array(peer.embed(list(texts), normalize=True)),
        "ours, one by one": lambda texts: np.concatenate(
            [ours.embed([text]).vectors for text in texts]
        ),
        "ours, all at once": lambda texts: ours.embed(texts).vectors,
    }


def measure(path: Path, options: argparse.Namespace) -> None:
    """Print texts a second of every contender for each length."""
    who = contenders(path, options.threads)
    print(f"\n{path.stem}\n{'tokens a text':>26}" + "".join(f"{n:>9}" for n in LENGTHS))
    best = {name: dict.fromkeys(LENGTHS, float("inf")) for name in who}
    for length in LENGTHS:
        texts = texts_of(length, options.texts)
        vectors = [contender(texts[:8]) for contender in who.values()]
        least = min(float((vectors[0] * other).sum(axis=1).min()) for other in vectors[1:])
        assert least > 0.999, f"the contenders' vectors differ: cosine {least}"
        for _ in range(options.repeats):
            for name, contender in who.items():
                start = time.perf_counter()
                contender(texts)
                best[name][length] = min(best[name][length], time.perf_counter() - start)
    for name, seconds in best.items():
        row = "".join(f"{options.texts / s:9,.0f}" for s in seconds.values())
        print(f"{name:>26}{row}")
    for name in list(who)[:2]:
        ratios = [best[name][n] / best["ours, all at once"][n] for n in LENGTHS]
        print(f"{'ours all at once / ' + name[13:]:>26}" + "".join(f"{r:8.2f}x" for r in ratios))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--texts", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    print(
        f"texts a second; llama-cpp-python {version('llama-cpp-python')}, "
        f"Python {platform.python_version()}, {options.threads} threads"
    )
    with tempfile.TemporaryDirectory() as folder, log.kept():
        shape = {"width": WIDTH, "layers": LAYERS, "context_length": WINDOW}
        measure(make_tiny_embedding_gguf(Path(folder, "encoder.gguf"), **shape), options)
        measure(make_tiny_gguf(Path(folder, "decoder.gguf"), **shape), options)


if __name__ == "__main__":
    main()
