"""Uses of learning and evaluation that a type checker must accept, and some that it must not."""

from __future__ import annotations

from pathlib import Path

from typing_extensions import assert_type

from modelrouter import ModelCard, Policy, Router
from modelrouter.catalog import Price
from modelrouter.evaluation import Estimate, Outcomes, Report, cards_for, collect, evaluate, measure
from modelrouter.fitting import Example, Threshold, read_jsonl, threshold
from modelrouter.scoring import LearnedScorer

examples = read_jsonl(Path("data.jsonl"), models=["a", "b"], rename={"weak": "a"})
assert_type(examples, list[Example])
examples.append(Example.of("What is 2 + 2?", "a", 1.0, cost_usd=0.001))
Example.of(b"bytes", "a", "1")  # type: ignore[arg-type]  # neither is what it must be

scorer = LearnedScorer.fit(examples)
assert_type(scorer, LearnedScorer)
prices = {"a": Price(input=1e-6, output=2e-6)}
report = evaluate(examples, scorer, prices=prices, pair=("a", "b"), resamples=100)
assert_type(report, Report)
assert_type(report.beats_random, bool | None)
assert_type(report.models[0].quality, Estimate)
assert_type(report.plot("report.png"), Path)
assert_type(collect(examples, scorer), Outcomes)
measure(collect(examples, scorer), scorer="ours")

cards = cards_for(["a", "b"], prices=prices)
assert_type(cards, list[ModelCard])
found = threshold(scorer, ["some", "prompts"], cards, max_cost=0.001)
assert_type(found, Threshold)
threshold(scorer, examples, cards, min_quality="high")  # type: ignore[arg-type]  # no number
assert_type(Policy.of(found), Policy)
Router(policy=found).route("hello", policy=found)
