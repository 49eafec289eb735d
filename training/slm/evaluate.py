"""Measure the quantized model through llama.cpp, greedily, as a user would call it.

    python evaluate.py MODEL.gguf --jfleg DIR [--parity greedy.json] [--out figures.json]

JFLEG (Napoles, Sakaguchi and Tetreault, 2017; CC BY-NC-SA 4.0) is only measured on, never trained
on. The everyday sentences in ``eval/`` were written before the first training run and are excluded
from the training text.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from gleu import gleu
from llama_cpp import Llama

HERE = Path(__file__).parent
_Q8_0 = 8  # enum ggml_type: how keys and values are kept
FIX = "Fix the grammar: {}"
COMPLETE = "Complete the sentence: {}"
STARTS = [
    "I went to the store to buy", "The children were playing in", "She opened the door and",
    "It was raining, so we", "My favorite food is", "He could not find his", "After dinner, we",
    "The train was late because", "I would like to", "When I was a child, I",
]  # fmt: skip


class Editor:
    """The model behind its chat template, with a count of answer tokens and seconds."""

    def __init__(self, path: Path, threads: int) -> None:
        self.llama = Llama(
            str(path),
            n_ctx=512,
            n_threads=threads,
            seed=0,
            verbose=False,
            flash_attn=True,
            type_k=_Q8_0,
            type_v=_Q8_0,  # as the package runs it
        )
        self.tokens, self.seconds = 0, 0.0

    def ask(self, prompt: str) -> str:
        """The greedy answer, exactly as it came."""
        started = time.perf_counter()
        reply: Any = self.llama.create_chat_completion(
            messages=[{"role": "user", "content": prompt}], temperature=0.0, max_tokens=200
        )
        self.seconds += time.perf_counter() - started
        self.tokens += reply["usage"]["completion_tokens"]
        return str(reply["choices"][0]["message"]["content"])

    def fix(self, text: str) -> str:
        """The text corrected."""
        return self.ask(FIX.format(text))


def errors(editor: Editor) -> dict[str, Any]:
    """Sentences with one everyday error: how many come out right."""
    rows = []
    for line in read(HERE / "eval" / "everyday_errors.tsv"):
        wrong, right, kind = line.split("\t")
        answer = editor.fix(wrong)
        rows.append(("right" if answer in right.split(" | ") else "WRONG", kind, wrong, answer))
    kinds = Counter(kind for _, kind, _, _ in rows)
    hit = Counter(kind for good, kind, _, _ in rows if good == "right")
    return {
        "corrected": sum(hit.values()),
        "of": len(rows),
        "untouched": sum(wrong == answer for _, _, wrong, answer in rows),
        "kinds": {kind: f"{hit[kind]}/{n}" for kind, n in kinds.items()},
        "rows": rows,
    }


def correct(editor: Editor) -> dict[str, Any]:
    """Correct everyday sentences: how many are changed all the same."""
    sentences = read(HERE / "eval" / "everyday_correct.txt")
    answers = [(s, editor.fix(s)) for s in sentences]
    changed = [pair for pair in answers if pair[0] != pair[1]]
    return {"changed": len(changed), "of": len(sentences), "rows": changed}


def jfleg(editor: Editor, folder: Path, limit: int) -> dict[str, Any]:
    """GLEU of the model's answers and of leaving the text alone."""
    sources = read(folder / f"{folder.name}.src")[:limit]
    references = [read(folder / f"{folder.name}.ref{i}")[:limit] for i in range(4)]
    asked = [detokenize(s) for s in sources]
    answers = [editor.fix(a) for a in asked]
    # An untouched sentence keeps its own tokens, so that spacing alone changes nothing.
    hypotheses = [
        source if answer == text else tokenize(answer)
        for answer, text, source in zip(answers, asked, sources, strict=True)
    ]
    alone, score = (gleu(h, sources, references) for h in (sources, hypotheses))
    return {
        "sentences": len(sources),
        "gleu": round(score, 2),
        "alone": round(alone, 2),
        "gain": round(score - alone, 2),
        "alone_retokenized": round(gleu([tokenize(a) for a in asked], sources, references), 2),
        "changed": sum(a != b for a, b in zip(answers, asked, strict=True)),
        "examples": list(zip(asked, answers, strict=True)),
    }


def detokenize(sentence: str) -> str:
    """A Penn Treebank style sentence as people write it."""
    sentence = re.sub(r" (n't|'s|'re|'ve|'ll|'d|'m)(?= |$)", r"\1", sentence)
    sentence = re.sub(r" ([.,;:!?%)\]])", r"\1", sentence)
    sentence = re.sub(r"([(\[$]) ", r"\1", sentence)
    return re.sub(r'" ([^"]*?) ?"', r'"\1"', sentence).strip()


def tokenize(sentence: str) -> str:
    """The other way round; close to Penn Treebank tokens."""
    sentence = re.sub(r"(?<!\d)([,:])|([,:])(?!\d)", r" \1\2 ", sentence)
    sentence = re.sub(r"([;!?%()\[\]\"$])", r" \1 ", sentence)
    sentence = re.sub(r"(?<!\.)\.(?=\s|$)", " . ", sentence)
    sentence = re.sub(r"(?i)(n't|'s|'re|'ve|'ll|'d|'m)\b", r" \1", sentence)
    sentence = re.sub(r"\b([Cc]an)not\b", r"\1 not", sentence)
    return " ".join(sentence.split())


def completion(editor: Editor, model: Path, folder: Path) -> dict[str, Any]:
    """Perplexity of the second halves of unseen correct sentences, and printed samples."""
    fluent = [detokenize(s) for s in read(folder / f"{folder.name}.ref0")]
    sets = {
        "everyday": read(HERE / "eval" / "everyday_correct.txt"),
        "jfleg_ref0": [s for s in fluent if 6 <= len(s.split()) <= 30][:200],
    }
    scorer = Llama(
        str(model), n_ctx=512, n_threads=editor.llama.n_threads, logits_all=True, verbose=False
    )
    figures: dict[str, Any] = {name: endings(scorer, lines) for name, lines in sets.items()}
    return figures | {"rows": [(s, "...", editor.ask(COMPLETE.format(s))) for s in STARTS]}


def endings(scorer: Llama, sentences: Iterable[str]) -> dict[str, float]:
    """Perplexity of the second halves, given the first."""
    loss, tokens, words = 0.0, 0, 0
    for sentence in sentences:
        parts = sentence.split()
        cut = len(parts) // 2
        one, count = ending_loss(scorer, " ".join(parts[:cut]), " ".join(parts[cut:]))
        loss, tokens, words = loss + one, tokens + count, words + len(parts) - cut
    return {
        "perplexity_per_token": round(math.exp(loss / tokens), 1),
        "perplexity_per_word": round(math.exp(loss / words), 1),
    }


def ending_loss(scorer: Llama, start: str, ending: str) -> tuple[float, int]:
    """Negative log-likelihood of a sentence's ending and of stopping there; tokens."""
    prompt = f"<|user|>{COMPLETE.format(start)}<|assistant|>"
    asked = scorer.tokenize(prompt.encode(), add_bos=False, special=True)
    answer = scorer.tokenize(ending.encode(), add_bos=False, special=False)
    answer.append(scorer.token_eos())
    scorer.reset()
    scorer.eval([*asked, *answer])
    logits = np.array(scorer.scores[len(asked) - 1 : len(asked) + len(answer) - 1])
    top = logits.max(axis=1, keepdims=True)
    log_total = np.log(np.exp(logits - top).sum(axis=1)) + top[:, 0]
    return float((log_total - logits[np.arange(len(answer)), answer]).sum()), len(answer)


def parity(editor: Editor, path: Path) -> str:
    """How many greedy answers equal PyTorch's."""
    expected: dict[str, str] = json.loads(path.read_text())
    same = sum(editor.ask(prompt) == answer for prompt, answer in expected.items())
    return f"{same}/{len(expected)}"


def read(path: Path) -> list[str]:
    return [line.strip() for line in path.read_text(encoding="utf-8").strip().splitlines()]


def show(figures: dict[str, Any]) -> None:
    """Print the figures, with the rows that tell most."""
    for name, value in figures.items():
        if not isinstance(value, dict):
            print(f"{name}: {value}")
            continue
        brief = {k: v for k, v in value.items() if k not in ("rows", "examples")}
        print(f"{name}: {brief}")
        for row in value.get("rows", []):
            print("   ", " | ".join(row))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--jfleg", type=Path, required=True, help="the folder with dev.src")
    parser.add_argument("--limit", type=int, default=10_000, help="JFLEG sentences to read")
    parser.add_argument("--parity", type=Path, help="greedy.py's answers")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()

    editor = Editor(args.model, args.threads)
    figures: dict[str, Any] = {"megabytes": round(args.model.stat().st_size / 1e6, 2)}
    figures["errors"] = errors(editor)
    figures["correct"] = correct(editor)
    figures["completion"] = completion(editor, args.model, args.jfleg)
    if args.parity:
        figures["parity_with_torch"] = parity(editor, args.parity)
    if args.limit:
        figures["jfleg"] = jfleg(editor, args.jfleg, args.limit)
    figures["answer_tokens_per_second"] = round(editor.tokens / editor.seconds)
    show(figures)
    if args.out:
        args.out.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
