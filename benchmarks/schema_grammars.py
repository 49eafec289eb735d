"""What grammars keep of JSON schemas, and how fast they say which tokens may come next.

    pip download --no-deps --no-binary :all: jsonschema   # its sdist holds the suite; unpack it
    python benchmarks/schema_grammars.py jsonschema-4.26.0/json/tests/draft2020-12

*Correctness.* Each case of the JSON Schema Test Suite (draft 2020-12, the required part) is a
schema, a value, and whether it is valid. Each contender makes a grammar of the schema and is asked
whether it would let the value be written: llama.cpp by its own converter (``json_schema_to_gbnf``
of llama-cpp-python), llguidance as it is, and this package, which also checks afterwards what its
grammar leaves out. ``--before SRC`` adds an earlier version of this package that wrote GBNF
itself: the ``src`` folder of a checkout. The verdicts go to ``schema_grammars.tsv`` beside this
file.

A value that is not valid and may be written without anybody noticing is a fault. One that is
valid and cannot be written is not by itself: a grammar writes properties in the schema's
order, and this package closes objects and takes ``{"properties": ...}`` to mean an object. (It
also holds answers to a ``format``, which the suite does not.)

*Speed.* With the bundled model's vocabulary, over three schemas: making the grammar; asking
about one token, as is done at each step; asking about all, as where that one does not fit. The
contenders take turns at each token of the same text.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import platform
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.resources import as_file, files
from pathlib import Path
from statistics import median
from typing import Any, Protocol

import llguidance
import numpy as np

from modelrouter.backends.llamacpp.engine.native import Model, log
from modelrouter.backends.llamacpp.grammar.constraint import Constraint, GrammarError
from modelrouter.backends.llamacpp.grammar.response_format import grammar_of
from modelrouter.exceptions import BadRequestError
from modelrouter.schemas import kept, problem

VERDICTS = Path(__file__).with_suffix(".tsv")
HEAD = """\
# Verdicts on the JSON Schema Test Suite, draft 2020-12, written by schema_grammars.py.
# case: file/schema/value, by their numbers in the file. valid: what the suite says.
# w: may be written; n: may not; c: may, and the check afterwards refuses it; -: schema refused.
"""
CITY = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 200}, "people": {"type": "integer"}},
    "required": ["name", "people"],
    "additionalProperties": False,
}
WORDS = "A sentence of some length about a day long ago"
SPEED: dict[str, tuple[Any, Any]] = {
    "a list of objects": (
        {"type": "array", "items": CITY},
        [{"name": WORDS, "people": n} for n in range(15)],
    ),
    "any keys, texts": (
        {"type": "object", "additionalProperties": {"type": "string"}},
        {f"key {n}": WORDS for n in range(15)},
    ),
    "alternatives": (
        {"type": "array", "items": {"anyOf": [{"type": "null"}, CITY, {"enum": ["a", "ab"]}]}},
        [None, {"name": WORDS, "people": 3}, "ab"] * 6,
    ),
}


class Refused(Exception):
    """No grammar could be made of a schema."""


class Follows(Protocol):
    """A grammar in use."""

    def allowed(self, tokens: Any) -> Any:
        """For each token, whether it may come next."""
        ...

    def accept(self, token: int) -> None:
        """Go on past a token."""
        ...


class Gbnf:
    """llama.cpp's grammar sampler."""

    def __init__(self, model: Model, text: str) -> None:
        self.c = model.c
        self.pointer = self.c.llama_sampler_init_grammar(model.vocab, text.encode(), b"root")
        if not self.pointer:
            raise Refused(log.take())

    def __del__(self) -> None:
        if self.pointer:
            self.c.llama_sampler_free(self.pointer)

    def allowed(self, tokens: Any) -> Any:
        """For each token, whether it may come next."""
        data = (self.c.llama_token_data * len(tokens))()
        view = np.ctypeslib.as_array(data)
        view["id"], view["logit"], view["p"] = tokens, 0.0, 0.0
        array = self.c.llama_token_data_array(
            data=data, size=len(tokens), selected=-1, sorted=False
        )
        self.c.llama_sampler_apply(self.pointer, ctypes.byref(array))
        return view["logit"] == 0.0

    def accept(self, token: int) -> None:
        """Go on past a token."""
        self.c.llama_sampler_accept(self.pointer, token)


def by_llama_cpp(schema: Any) -> str:
    from llama_cpp.llama_grammar import json_schema_to_gbnf

    try:
        return str(json_schema_to_gbnf(json.dumps(schema)))
    except Exception as exc:  # whatever it is, there is no grammar
        raise Refused(str(exc)) from exc


def by_llguidance(schema: Any) -> str:
    text: str = llguidance.LLMatcher.grammar_from_json_schema(json.dumps(schema))
    return text


def by_ours(schema: Any) -> tuple[str, ...]:
    form = {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}
    try:
        return grammar_of(form, "m")
    except BadRequestError as exc:
        raise Refused(str(exc)) from exc


EARLIER = """
import json, sys
try:
    from modelrouter.backends.llamacpp.grammar.response_format import grammar_of
except ImportError:
    from modelrouter.backends.llamacpp.grammar import grammar_of
from modelrouter.exceptions import ModelRouterError
for line in sys.stdin:
    form = {"type": "json_schema", "json_schema": {"name": "s", "schema": json.loads(line)}}
    try:
        print(json.dumps(grammar_of(form, "m")), flush=True)
    except ModelRouterError:
        print("null", flush=True)
"""


class Earlier:
    """An earlier version of this package, in a process of its own."""

    def __init__(self, source: Path) -> None:
        self.child = subprocess.Popen(
            [sys.executable, "-c", EARLIER], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            text=True, env={**os.environ, "PYTHONPATH": str(source)},
        )  # fmt: skip

    def __call__(self, schema: Any) -> str:
        """The grammar that it made.

        Raises:
            Refused: it made none.
        """
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        self.child.stdin.write(json.dumps(schema) + "\n")
        self.child.stdin.flush()
        text = json.loads(self.child.stdout.readline())
        if text is None:
            raise Refused("refused")
        return str(text)


@dataclass
class Contender:
    """One way of making grammars; ``made`` gives a function that begins to follow one."""

    name: str
    made: Callable[[Any], Callable[[], Follows]]
    checks: bool = False
    tally: Counter[str] = field(default_factory=Counter)


def contenders(model: Model, before: Path | None) -> list[Contender]:
    def gbnf(text_of: Callable[[Any], str]) -> Callable[[Any], Callable[[], Follows]]:
        def made(schema: Any) -> Callable[[], Follows]:
            text = text_of(schema)
            Gbnf(model, text)
            return lambda: Gbnf(model, text)

        return made

    def guided(texts_of: Callable[[Any], tuple[str, ...]]) -> Any:
        def made(schema: Any) -> Callable[[], Follows]:
            for text in texts_of(schema):
                try:
                    Constraint(model, text)
                except GrammarError as exc:
                    reason = exc
                    if "nsatisfiable" in str(exc):
                        break
                else:
                    return lambda: Constraint(model, text)
            raise Refused(str(reason))

        return made

    found = [Contender("llama.cpp", gbnf(by_llama_cpp))]
    if before is not None:
        found.append(Contender("before", gbnf(Earlier(before))))
    found.append(Contender("llguidance", guided(lambda schema: (by_llguidance(schema),))))
    found.append(Contender("ours", guided(by_ours), checks=True))
    return found


def written(model: Model, begin: Callable[[], Follows], value: Any) -> bool:
    """Whether a value may be written, to its end."""
    follows = begin()
    for token in model.tokenize(json.dumps(value, ensure_ascii=False), special=False):
        if not follows.allowed(np.array([token], np.int32))[0]:
            return False
        follows.accept(token)
    end = next(t for t in range(model.n_vocab) if model.ends(t))
    return bool(follows.allowed(np.array([end], np.int32))[0])


def verdict(contender: Contender, model: Model, begin: Any, schema: Any, value: Any) -> str:
    if begin is None:
        return "-"
    if not written(model, begin, value):
        return "n"
    noticed = contender.checks and bool(kept(schema).after) and bool(problem(value, schema))
    return "c" if noticed else "w"


def cases(suite: Path) -> Iterator[tuple[str, Any, list[Any]]]:
    for path in sorted(suite.glob("*.json")):
        for i, group in enumerate(json.loads(path.read_text("utf-8"))):
            yield f"{path.stem}/{i}", group["schema"], group["tests"]


def correctness(model: Model, suite: Path, found: list[Contender]) -> None:
    lines = []
    for name, schema, tests in cases(suite):
        begun: dict[str, Any] = {}
        for contender in found:
            try:
                begun[contender.name] = contender.made(schema)
                contender.tally["schemas taken"] += 1
            except Refused:
                begun[contender.name] = None
                contender.tally["schemas refused"] += 1
        for i, test in enumerate(tests):
            row = []
            for contender in found:
                said = verdict(contender, model, begun[contender.name], schema, test["data"])
                row.append(said)
                contender.tally[said + ("v" if test["valid"] else "i")] += 1
            lines.append("\t".join([f"{name}/{i}", "valid" if test["valid"] else "-", *row]))
    head = "\t".join(["case", "valid", *(c.name for c in found)])
    VERDICTS.write_text(HEAD + head + "\n" + "\n".join(lines) + "\n", "utf-8")
    rows = {
        "schemas taken": "schemas taken",
        "schemas refused": "schemas refused",
        "valid, may be written": "wv",
        "valid, may not": "nv",
        "valid, refused afterwards": "cv",
        "invalid, may not be written": "ni",
        "invalid, refused afterwards": "ci",
        "invalid, nobody notices": "wi",
    }
    print(f"\n{'JSON Schema Test Suite':<32}" + "".join(f"{c.name:>13}" for c in found))
    for label, key in rows.items():
        print(f"{label:<32}" + "".join(f"{c.tally[key]:>13,}" for c in found))


def speed(model: Model, found: list[Contender]) -> None:
    peers = [c for c in found if c.name in ("llama.cpp", "before", "ours")]
    every = np.arange(model.n_vocab, dtype=np.int32)
    print(f"\n{'median, bundled vocabulary':<32}{'peer':>13}{'':>13}{'ours':>13}{'ratio':>13}")
    for name, (schema, value) in SPEED.items():
        times: dict[str, dict[str, list[float]]] = {c.name: {} for c in peers}
        tokens = model.tokenize(json.dumps(value), special=False)
        for _ in range(30):
            for contender in peers:
                if contender.name != "before":  # it has a process of its own
                    _timed(times[contender.name], "grammar, ms", 1e3, contender.made, schema)
        follow = {c.name: c.made(schema)() for c in peers}
        for token in tokens:
            one = np.array([token], np.int32)
            for contender in peers:
                mine = follow[contender.name]
                ok = _timed(times[contender.name], "one token, us", 1e6, mine.allowed, one)
                assert ok[0], (contender.name, name, model.piece(token))
                _timed(times[contender.name], "all tokens, us", 1e6, mine.allowed, every)
                mine.accept(token)
        for what in ("grammar, ms", "one token, us", "all tokens, us"):
            ours = median(times["ours"][what])
            for contender in peers[:-1]:
                if what in times[contender.name]:
                    peer = median(times[contender.name][what])
                    print(f"{name + ': ' + what:<32}{contender.name:>13}{peer:>13,.2f}"
                          f"{ours:>13,.2f}{peer / ours:>12.1f}x")  # fmt: skip


def _timed(
    times: dict[str, list[float]], what: str, scale: float, call: Callable[..., Any], *given: Any
) -> Any:
    began = time.perf_counter()
    result = call(*given)
    times.setdefault(what, []).append(scale * (time.perf_counter() - began))
    return result


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suite", type=Path, help="the folder tests/draft2020-12")
    parser.add_argument("--before", type=Path, help="src of a checkout that wrote GBNF itself")
    options = parser.parse_args()
    with (
        as_file(files("modelrouter") / "assets" / "tiny-editor.gguf") as path,
        log.kept(),
    ):
        model = Model(path)
        found = contenders(model, options.before)
        print(
            f"llguidance {version('llguidance')}, llama-cpp-python {version('llama-cpp-python')}, "
            f"jsonschema {version('jsonschema')}, Python {platform.python_version()}, "
            f"{model.n_vocab:,} tokens"
        )
        correctness(model, options.suite, found)
        speed(model, found)


if __name__ == "__main__":
    main()
