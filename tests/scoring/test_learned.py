from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelrouter import InvalidExamplesError, ModelCard, Router, Task
from modelrouter.catalog import Catalog
from modelrouter.fitting import Example
from modelrouter.scoring import LearnedScorer, Scorer
from modelrouter.scoring.engine import LARGE, SMALL, Vocabulary
from modelrouter.scoring.features import LOAD, NAMES, format_of, read_text, words
from modelrouter.signals import read
from modelrouter.task import Kind
from modelrouter.testing import example_card

SCORER = LearnedScorer()
LOADS = [NAMES.index(name) for name in LOAD]
KINDS: tuple[Kind, ...] = (
    "completion", "grammar", "summarization", "translation", "classification", "extraction",
    "question_answering", "chat", "code", "math", "reasoning", "creative_writing",
)  # fmt: skip
PROOF = "Prove that the square root of 2 is irrational."


def complexity(text: str) -> float:
    return read(Task.of(text), difficulty=SCORER.read).complexity


def p_quality(scorer: LearnedScorer, card: ModelCard, text: str) -> float:
    task = Task.of(text)
    return scorer.p_quality(card, task, read(task, difficulty=scorer.read))


def test_it_is_a_scorer_and_the_routers_own() -> None:
    assert isinstance(SCORER, Scorer)
    assert isinstance(Router(catalog=Catalog([example_card()])).scorer, LearnedScorer)


@given(text=st.text(max_size=300), kind=st.sampled_from(KINDS))
def test_any_text_has_a_complexity(text: str, kind: Kind) -> None:
    assert 0.0 <= SCORER.read(text, kind).complexity <= 1.0


def test_a_proof_is_harder_than_a_greeting_a_fact_or_a_typo() -> None:
    easy = ("hi", "Who wrote Hamlet?", "Fix the grammar: She go to school every days.")
    assert complexity(PROOF) > 0.5
    assert max(map(complexity, easy)) < 0.25


def test_a_question_that_negates_and_compares_is_harder_than_a_plain_one() -> None:
    options = "\nA. iron\nB. gold\nC. lead\nD. zinc"
    plain = "Which metal is used for wires?" + options
    load = (
        "Of the metals that are neither toxic nor rarer than silver, which is not used, unless no"
        " other is at hand, for wires that must be lighter than those of copper?" + options
    )
    assert complexity(load) > complexity(plain)


def test_harder_tasks_cost_small_models_more_than_large_ones() -> None:
    small = example_card("small", families=["slm"], strengths={"math": 0.7})
    large = example_card("large", families=["llm", "foundation"], strengths={"math": 0.7})
    easy, hard = "What is 3 + 4?", PROOF
    loss = {
        card.name: p_quality(SCORER, card, easy) - p_quality(SCORER, card, hard)
        for card in (small, large)
    }
    assert loss["small"] > 0.0
    assert p_quality(SCORER, large, hard) > 0.0


def test_the_bundled_editor_is_for_editing_alone() -> None:
    router = Router()
    editor = router.catalog.get("modelrouter/tiny-editor")
    assert p_quality(SCORER, editor, "Fix the grammar: She go to school every days.") > 0.7
    assert p_quality(SCORER, editor, PROOF) == 0.0


def test_signals_of_another_reader_are_understood() -> None:
    task = Task.of("What is 17 * 23?")
    assert 0.0 < SCORER.p_quality(example_card(), task, read(task)) < 1.0


def test_models_of_the_training_data_have_abilities() -> None:
    assert {"mixtral-8x7b", "gpt-4-1106", "llama-3.1-8b-instruct", SMALL, LARGE} <= set(
        SCORER.models
    )
    weak, strong = example_card("mixtral-8x7b"), example_card("gpt-4-1106")
    question = "What is the capital of France?\nA. Rome\nB. Paris\nC. Bonn\nD. Oslo\nAnswer:"
    assert p_quality(SCORER, strong, question) > p_quality(SCORER, weak, question) > 0.5


def examples(count: int = 600, seed: int = 0) -> list[Example]:
    """Two models: ``poet`` does what is asked in few words, ``clerk`` what holds numbers."""
    random = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        long, digits = random.random() < 0.5, random.random() < 0.5
        text = f"Note {random.integers(1e6) if digits else 'of the day'}: " + "please say more " * (
            12 if long else 1
        )
        text += f"about topic {'abcdefgh'[number % 8]} and {random.random() if digits else 'rest'}"
        rows.append(Example.of(text, "poet", float(random.random() < (0.2 if long else 0.9))))
        rows.append(Example.of(text, "clerk", float(random.random() < (0.9 if digits else 0.3))))
    return rows


@pytest.fixture(scope="module")
def fitted() -> LearnedScorer:
    return LearnedScorer.fit(examples())


def test_what_a_fit_learned_holds_on_other_tasks(fitted: LearnedScorer) -> None:
    rows = examples(200, seed=1)
    for name in ("poet", "clerk"):
        own = [row for row in rows if row.model == name]
        card = example_card(name)
        found = np.array([fitted.p_quality(card, r.task, signals(fitted, r)) for r in own])
        scores = np.array([row.score for row in own])
        assert ((found - scores) ** 2).mean() < 0.75 * scores.var()
        assert abs(found.mean() - scores.mean()) < 0.1


def signals(scorer: LearnedScorer, row: Example):
    return read(row.task, difficulty=scorer.read)


def test_a_fit_says_how_well_it_learned(fitted: LearnedScorer) -> None:
    about = fitted.about
    assert about["rows"] == 1_200
    for figures in about["held_out"].values():
        assert figures["calibration_error"] < 0.1
        assert figures["brier"] < figures["brier_of_the_mean"]


def test_a_subject_that_the_shipped_weights_do_not_single_out_is_learned() -> None:
    random = np.random.default_rng(0)
    rows = []
    for number in range(900):
        subject = ("garden", "engine")[number % 2]
        text = f"Tell me about the {subject} of house {random.integers(1e6)}, if it has one."
        rows.append(Example.of(text, "gardener", float(subject == "garden")))
    scorer = LearnedScorer.fit(rows)
    assert scorer.about["own_features"]
    card = example_card("gardener")
    assert p_quality(scorer, card, "Tell me about the garden of house 54321, if it has one.") > 0.8
    assert p_quality(scorer, card, "Tell me about the engine of house 54321, if it has one.") < 0.2


def test_the_fitted_scorer_still_knows_what_it_knew(fitted: LearnedScorer) -> None:
    card = example_card("llama-3.1-8b-instruct")
    for text in ("What is the capital of France?", PROOF):
        before = p_quality(SCORER, card, text)
        assert p_quality(fitted, card, text) == pytest.approx(before, abs=0.02)
        assert fitted.read(text, "math").complexity == pytest.approx(
            SCORER.read(text, "math").complexity, abs=0.02
        )


def test_what_is_saved_predicts_the_same_when_loaded(fitted: LearnedScorer, tmp_path: Path) -> None:
    fitted.save(tmp_path / "mine.scorer")
    again = LearnedScorer.load(tmp_path / "mine.scorer")
    assert again.about == fitted.about
    for row in examples(20, seed=2):
        card = example_card(row.model)
        one = fitted.p_quality(card, row.task, signals(fitted, row))
        assert again.p_quality(card, row.task, signals(again, row)) == one


def test_the_same_rows_give_the_same_scorer(fitted: LearnedScorer) -> None:
    assert LearnedScorer.fit(examples()).weights == fitted.weights


def test_progress_sees_every_step() -> None:
    seen = []

    def watch(steps):
        for step in steps:
            seen.append(step)
            yield step

    LearnedScorer.fit(examples(60), progress=watch)
    assert len(seen) == 6


def test_thirty_answers_tell_a_strong_model_from_a_weak_one() -> None:
    scorer = LearnedScorer()
    random = np.random.default_rng(0)
    texts = [f"What is {a} times {b}, minus {a + b}?" for a, b in random.integers(2, 99, (30, 2))]
    for name, right in (("good", 0.9), ("poor", 0.15)):
        rows = [Example.of(t, name, float(n < 30 * right)) for n, t in enumerate(texts)]
        ability = scorer.add_model(name, rows)
        assert ability.answers == 30
    good, poor = (
        p_quality(scorer, example_card(n), "What is 5 times 6?") for n in ("good", "poor")
    )
    assert good > 0.75
    assert poor < 0.35
    assert "good" in scorer.models


def test_a_model_takes_effect_though_it_was_asked_before() -> None:
    scorer, card = LearnedScorer(), example_card("late")
    before = p_quality(scorer, card, PROOF)
    rows = [Example.of(f"Question {n}?", card.name, float(n == 0)) for n in range(20)]
    scorer.add_model(card, rows)
    assert p_quality(scorer, card, PROOF) != before


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([], "0 labelled answers"),
        ([Example.of("x", "other", 1.0)] * 40, "0 labelled answers"),
        ([Example.of(f"x{n}", "new", float(n % 2)) for n in range(9)], "9 labelled answers"),
        ([Example.of(f"x{n}", "new", 1.0) for n in range(30)], "score 1"),
    ],
)
def test_too_little_to_learn_a_model_from_is_an_error(rows: list[Example], says: str) -> None:
    with pytest.raises(InvalidExamplesError, match=says):
        LearnedScorer().add_model("new", rows)


def test_too_little_to_fit_is_an_error() -> None:
    with pytest.raises(InvalidExamplesError, match="30"):
        LearnedScorer.fit(examples(10))


def test_reading_gives_what_the_arrays_say() -> None:
    """The packed integers of the hot path against plain floating-point arithmetic."""
    weights, models = SCORER.weights, len(SCORER.weights.references)
    table = Vocabulary(weights)
    for text in ("Who was the first to climb it?", PROOF, "def f(x):\n    return x"):
        values, _, _ = read_text(text, table)
        assert format_of(values) == "open"
        share = weights.shares["open"]
        load = np.mean(
            [
                np.clip((values[i] - c) / s, -4, 4)
                for i, c, s in zip(LOADS, weights.load_center, weights.load_scale, strict=True)
            ]
        )
        trees = trees_of(values)
        expected = np.array(share.level) + load * np.array(share.slope) + trees + by_words(text)
        assert len(expected) == models
        assert SCORER.read_outputs(text) == pytest.approx(expected.tolist(), abs=1e-9)


def trees_of(values: list[float]) -> np.ndarray:
    weights = SCORER.weights
    first = 0
    for name, share in weights.shares.items():
        if name == "open":
            break
        first += share.trees
    total = np.zeros(len(weights.references))
    leaves = np.array(weights.tree_leaf, float).reshape(-1, 8, len(total)) - (1 << 15)
    for tree in range(first, first + weights.shares["open"].trees):
        at = 0
        for level in range(3):
            inner = 7 * tree + 2**level - 1 + at
            right = values[weights.tree_feature[inner]] > weights.tree_threshold[inner]
            at = at * 2 + right
        total += leaves[tree, at] * weights.leaf_scale
    return total


def by_words(text: str) -> np.ndarray:
    weights = SCORER.weights
    rows = np.array(weights.word_fields, float).reshape(len(weights.vocabulary), -1) - (1 << 12)
    index = {word: at for at, word in enumerate(weights.vocabulary)}
    found = words(text)
    known = [index[word] for word in found if word in index]
    return rows[known].sum(0) * weights.word_scale / np.sqrt(len(found))
