"""Routing quality of the learned scorer, beside its peers on the same prompts in the same run.

    python benchmarks/routing_quality.py --data DATA [--resamples 500]

DATA holds routing/ and text/ (see training/scorer/README.md). Printed, in this order:

1. Leave one benchmark out: trained on everything else, tried on RouteLLM's MMLU and GSM8K prompts
   (Mixtral 8x7B against GPT-4). "family" leaves the same benchmark of the other source out too;
   "file" leaves only the file out.
2. Inside the distribution: five-fold cross-validation over all rows.
   Peers of both: prompt length, LiteLLM's complexity score, TF-IDF ridge regression (five-fold
   cross-validation inside the set, so a peer of 2 only), random, the oracle.
3. Nine models at several prices, five-fold cross-validation: the share of the gap between the best
   single model and the oracle that is closed, against nearest neighbours on TF-IDF; what the best
   single model's quality costs.
4. Calibration of each model's probability on held-out prompts.
5. Latency of a reading and of a whole decision, beside LiteLLM's complexity router.

RouteLLM's mf router needs OpenAI embeddings and its bert router weights that are downloaded; where
they are not on this machine their published figures are printed, marked as such.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from litellm import Router as LiteLLMRouter
from litellm.router_strategy.complexity_router.complexity_router import ComplexityRouter
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import Ridge

from modelrouter import Router
from modelrouter.evaluation.estimate import bootstrap
from modelrouter.evaluation.pair import fine_curve, oracle_curve, stepped_curve
from modelrouter.evaluation.reliability import expected_calibration_error
from modelrouter.scoring import LearnedScorer

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "training" / "scorer"))

from recipe import calibrated, cross_outputs, targets_of, train

from data import Prompts, Vocabulary, read

WEAK, STRONG = "mixtral-8x7b", "gpt-4-1106"
FAMILIES = {"mmlu": ("mmlu",), "gsm8k": ("gsm8k", "agentverse-mgsm")}
PUBLISHED = (
    "RouteLLM's published APGR, not run here (mf needs OpenAI embeddings, bert its weights): "
    "MMLU mf .597, similarity .603, bert .572, causal .600; "
    "GSM8K mf .565, similarity .568, bert .531, causal .622"
)
COST = {
    "codegemma-7b": 0.20, "gemma-2-9b-it": 0.20, "llama-3.1-8b-instruct": 0.20,
    "llama-3.1-nemotron-51b-instruct": 0.90, "llama-3.3-nemotron-super-49b-v1": 0.90,
    "llama3-chatqa-1.5-70b": 0.90, "llama3-chatqa-1.5-8b": 0.20,
    "mistral-7b-instruct-v0.3": 0.20, "qwen2.5-7b-instruct": 0.20,
}  # fmt: skip
"""USD for a million tokens, by size class, as hosts of open models ask; an answer counts as one
thousand tokens."""
PRICES = (0.0, 0.05, 0.1, 0.2, 0.3)
"""What a dear model's answer costs more than a cheap one's, in mean score."""


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", type=Path, required=True)
    arguments.add_argument("--resamples", type=int, default=500)
    given = arguments.parse_args()
    vocabulary = Vocabulary.of(given.data / "text")
    prompts = read(given.data / "routing", vocabulary)
    names, targets = targets_of(prompts)
    peer = litellm_router()
    peers = {name: static_peers(prompts, name, peer) for name in FAMILIES}

    print("1. Leave one benchmark out: APGR in ten steps [95 % interval]; fine area; minus length")
    for name, family in FAMILIES.items():
        print(f"{name} ({int(of_set(prompts, name).sum())} prompts)")
        gains = dict(peers[name])
        for label, left_out in (("family", family), ("file", ())):
            inside = ~of_set(prompts, name) & ~np.isin(prompts.sets, left_out)
            trained = train(prompts, vocabulary, np.flatnonzero(inside), targets)
            found = trained.outputs(prompts, np.flatnonzero(of_set(prompts, name)))
            gains[f"modelrouter, {label} left out"] = found[:, 1] - found[:, 0]
            gains[f"  its complexity alone, {label}"] = -found[:, 0]
        show(prompts, name, gains, given.resamples)

    found, fold = cross_outputs(prompts, vocabulary, targets)
    print("\n2. Inside the distribution: five-fold cross-validation")
    for name in FAMILIES:
        rows = of_set(prompts, name)
        gains = dict(peers[name])
        gains["TF-IDF ridge, words, 5-fold"] = ridge(prompts, name)
        gains["modelrouter"] = found[rows, 1] - found[rows, 0]
        gains["  its complexity alone"] = -found[rows, 0]
        show(prompts, name, gains, given.resamples)
    print(PUBLISHED)

    nine_models(prompts, names, targets, found, fold, given.resamples)
    print(
        "\n4. Expected calibration error on held-out prompts (ten bins), Brier score and the mean's"
    )
    for column, name in enumerate(names):
        seen = ~np.isnan(targets[:, column])
        chance = calibrated(found[:, column], targets[:, column], fold)[seen]
        scores = targets[seen, column]
        error = expected_calibration_error(chance, scores)
        brier = ((chance - scores) ** 2).mean()
        print(f"  {name:<34} {error:.3f}   {brier:.4f} {scores.var():.4f}")
    latency(peer)


def of_set(prompts: Prompts, name: str) -> np.ndarray:
    return prompts.sets == f"routellm-{name}"


def litellm_router() -> ComplexityRouter:
    model = {"model_name": "small", "litellm_params": {"model": "openai/gpt-4o-mini"}}
    return ComplexityRouter("auto", LiteLLMRouter(model_list=[model]), default_model="small")


def static_peers(prompts: Prompts, name: str, peer: ComplexityRouter) -> dict[str, np.ndarray]:
    """What needs no training: a number for each prompt, higher for the strong model."""
    texts = [
        text for text, inside in zip(prompts.texts, of_set(prompts, name), strict=True) if inside
    ]
    return {
        "random": np.random.default_rng(0).random(len(texts)),
        "prompt length": np.array([float(len(text)) for text in texts]),
        "LiteLLM complexity score": np.array([float(peer.classify(text)[1]) for text in texts]),
    }


def ridge(prompts: Prompts, name: str) -> np.ndarray:
    """The difference of scores, by ridge regression on TF-IDF, five-fold inside the set."""
    rows = np.flatnonzero(of_set(prompts, name))
    gap = (prompts.column(STRONG) - prompts.column(WEAK))[rows]
    texts = [prompts.texts[row] for row in rows]
    fold = np.random.default_rng(0).permutation(len(rows)) % 5
    found = np.zeros(len(rows))
    for part in range(5):
        vectors = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), min_df=2)
        inside = vectors.fit_transform([t for t, f in zip(texts, fold, strict=True) if f != part])
        out = vectors.transform([t for t, f in zip(texts, fold, strict=True) if f == part])
        model = Ridge(30.0, solver="sparse_cg").fit(inside, gap[fold != part])
        found[fold == part] = model.predict(out)
    return found


def show(prompts: Prompts, name: str, gains: dict[str, np.ndarray], resamples: int) -> None:
    rows = of_set(prompts, name)
    weak, strong = prompts.column(WEAK)[rows], prompts.column(STRONG)[rows]

    def figures(sample: np.ndarray) -> dict[str, float]:
        found = {}
        for label, gain in gains.items():
            at = gain[sample], weak[sample], strong[sample]
            found[label] = stepped_curve(*at).apgr()
            found[f"{label} fine"] = fine_curve(*at).apgr()
        for label in gains:
            found[f"{label} more"] = found[label] - found["prompt length"]
        return found

    estimates = bootstrap(figures, len(weak), resamples=resamples)
    for label in gains:
        e, more = estimates[label], estimates[f"{label} more"]
        print(
            f"  {label:<36} {e.value:.3f} [{e.low:.3f}, {e.high:.3f}]"
            f"   {estimates[f'{label} fine'].value:.3f}"
            f"   {more.value:+.3f} [{more.low:+.3f}, {more.high:+.3f}]"
        )
    print(f"  {'oracle':<36} {oracle_curve(weak, strong).apgr():.3f}")


def nine_models(
    prompts: Prompts,
    names: tuple[str, ...],
    targets: np.ndarray,
    found: np.ndarray,
    fold: np.ndarray,
    resamples: int,
) -> None:
    pool = [at for at, name in enumerate(names) if name in COST]
    rows = np.flatnonzero(~np.isnan(targets[:, pool[0]]))
    scores, fold = targets[np.ix_(rows, pool)], fold[rows]
    predicted = {"modelrouter": found[np.ix_(rows, pool)]}
    texts = [prompts.texts[row] for row in rows]
    neighbours = {k: np.zeros_like(scores) for k in (20, 40, 80)}
    for part in range(5):
        vectors = TfidfVectorizer(sublinear_tf=True, ngram_range=(1, 2), min_df=2)
        inside = vectors.fit_transform([t for t, f in zip(texts, fold, strict=True) if f != part])
        out = vectors.transform([t for t, f in zip(texts, fold, strict=True) if f == part])
        near = np.argsort(-(out @ inside.T).toarray(), axis=1, kind="stable")
        for k, table in neighbours.items():
            table[fold == part] = scores[fold != part][near[:, :k]].mean(axis=1)
    predicted |= {f"TF-IDF {k} neighbours": table for k, table in neighbours.items()}
    dear = np.array([COST[names[at]] for at in pool])
    dear = (dear - dear.min()) / (dear.max() - dear.min())

    def closed(sample: np.ndarray) -> dict[str, float]:
        result = {}
        here = scores[sample]
        for price in PRICES:
            worth = here - price * dear
            single, oracle = worth.mean(0).max(), worth.max(1).mean()
            for label, table in predicted.items():
                choice = (table[sample] - price * dear).argmax(1)
                routed = worth[np.arange(len(sample)), choice].mean()
                result[f"{label} {price}"] = (routed - single) / (oracle - single)
        for label in predicted:
            result[f"{label} mean"] = float(np.mean([result[f"{label} {p}"] for p in PRICES]))
        best = max(
            (label for label in predicted if "TF" in label), key=lambda n: result[f"{n} mean"]
        )
        result["more"] = result["modelrouter mean"] / result[f"{best} mean"] - 1
        return result

    estimates = bootstrap(closed, len(rows), resamples=min(resamples, 300))
    print("\n3. Nine models, 5,608 prompts: gap from best single model to oracle closed, at prices")
    print(f"  {'':<24} " + " ".join(f"{price:>7}" for price in PRICES) + "    mean")
    for label in predicted:
        mean = estimates[f"{label} mean"]
        print(
            f"  {label:<24} "
            + " ".join(f"{estimates[f'{label} {price}'].value:>7.3f}" for price in PRICES)
            + f"   {mean.value:.3f} [{mean.low:.3f}, {mean.high:.3f}]"
        )
    more = estimates["more"]
    interval = f"{more.value:+.0%} [{more.low:+.0%}, {more.high:+.0%}]"
    print(f"  more than the best neighbour router: {interval}")
    save(scores, predicted, np.array([COST[names[at]] for at in pool]) * 1e-3)


def save(scores: np.ndarray, predicted: dict[str, np.ndarray], cost: np.ndarray) -> None:
    """What the quality of the best single model costs when routed."""
    single = scores.mean(0)
    best = int(single.argmax())
    print(f"  best single model: quality {single[best]:.3f} at ${cost[best]:.5f} an answer")
    rows = np.arange(len(scores))
    for label, table in predicted.items():
        reached = []
        for price in np.linspace(0, 3000, 301):
            choice = (table - price * cost).argmax(1)
            if scores[rows, choice].mean() >= single[best]:
                reached.append(cost[choice].mean())
        cheapest = f"{min(reached) / cost[best] - 1:+.0%} of its cost" if reached else "not reached"
        print(f"  {label:<24} the same quality: {cheapest}")


SHORT = (
    "Please write a short product description for our new bamboo toothbrush. It should mention "
    "that the handle is compostable, that the bristles are soft, and that we plant a tree for "
    "every order. Keep the tone friendly and avoid any claims that are exaggerated."
)


def latency(peer: ComplexityRouter) -> None:
    scorer, router = LearnedScorer(), Router()
    started = time.perf_counter()
    scorer.read("warm", "chat")
    loaded = time.perf_counter() - started
    router.consider(SHORT)
    calls: dict[str, Callable[[str], object]] = {
        "LiteLLM complexity router": peer.classify,
        "LearnedScorer.read": lambda text: scorer.read(text, "question_answering"),
        "Router.consider, all cards": router.consider,
    }
    print(f"\n5. Latency, median of 9 (weights load in {loaded * 1e3:.1f} ms)")
    for label, text in (("257 characters", SHORT), ("500 KB", (SHORT + " ") * 1_940)):
        for name, call in calls.items():
            times = []
            for _ in range(9):
                count = 200 if len(text) < 1_000 else 2
                began = time.thread_time()
                for _ in range(count):
                    call(text)
                times.append((time.thread_time() - began) / count)
            print(f"  {label:<16} {name:<28} {median(times) * 1e6:>12,.1f} µs")
    if importlib.util.find_spec("routellm") is None:
        print("  RouteLLM is not installed here: its mf and bert routers were not timed")


if __name__ == "__main__":
    main()
