"""What kind of task a prompt is."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelrouter.signals import detect_kind
from modelrouter.signals.kind_table import CUES, FACTS
from modelrouter.task import KINDS, Kind, Task
from tests.signals.conftest import Labelled

ARTICLE = (
    "Python functions are defined with the def keyword. A function may take arguments and return "
    "a value. Decorators wrap a function and change what it does without touching its body. "
)


def kind_of(task: Any, **fields: Any) -> Kind:
    return detect_kind(Task.of(task, **fields))[0]


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


def assistant(text: str) -> dict[str, Any]:
    return {"role": "assistant", "content": text}


def system(text: str) -> dict[str, Any]:
    return {"role": "system", "content": text}


def with_image(text: str) -> list[dict[str, Any]]:
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.jpg"}}
    return [{"role": "user", "content": [{"type": "text", "text": text}, image]}]


def accuracy(rows: list[Labelled], by_kind: bool = False) -> dict[str, float]:
    right: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for row in rows:
        name = row.kind if by_kind else "all"
        total[name] += 1
        right[name] += detect_kind(row.task)[0] == row.kind
    return {name: right[name] / total[name] for name in total}


class TestLabelledTasks:
    def test_the_set_covers_every_kind_in_both_halves(self, labelled: list[Labelled]) -> None:
        counts = Counter((row.split, row.kind) for row in labelled)
        assert all(counts["dev", kind] >= 10 and counts["held", kind] >= 10 for kind in KINDS)
        assert len(labelled) >= 300
        texts = [tuple(m.text for m in row.task.messages) for row in labelled if row.task.text]
        assert len(set(texts)) == len(texts)

    def test_the_half_tuned_on(self, labelled: list[Labelled]) -> None:
        rows = [row for row in labelled if row.split == "dev"]
        assert accuracy(rows)["all"] >= 0.97

    def test_the_half_held_back(self, labelled: list[Labelled]) -> None:
        rows = [row for row in labelled if row.split == "held"]
        assert accuracy(rows)["all"] >= 0.93
        assert {k: v for k, v in accuracy(rows, by_kind=True).items() if v < 0.75} == {}


class TestConfusingTasks:
    @pytest.mark.parametrize(
        ("text", "kind"),
        [
            ("class time... import for my lunch function?", "chat"),
            (f"Summarize this article: {ARTICLE * 3}", "summarization"),
            (f"{ARTICLE * 8}\n\nSummarize the text above.", "summarization"),
            ("Fix the grammar: I want import this function", "grammar"),
            ("Translate the following to French: Fix the grammar of this sentence.", "translation"),
            ("don't translate, just summarize: Der Hafen wird größer.", "summarization"),
            ("Don't summarize, translate it to English: Der Hafen wird größer.", "translation"),
            ("Write a program that summarizes a text file.", "code"),
            ("Write a song about Python functions.", "creative_writing"),
            ("What is Python?", "question_answering"),
            ("How do I reverse a list in Python?", "code"),
            ("draw a conclusion from these facts: sales fell everywhere.", "reasoning"),
            ("Draw a cat on a bicycle.", "image_generation"),
            ("picture this: me, on a beach, no phone", "chat"),
            ("prove that the square root of 2 is irrational", "math"),
            ("What is a translation in molecular biology?", "question_answering"),
            ("my translator friend is coming over tonight, so excited", "chat"),
            ("I passed my math exam today!!", "chat"),
            ("Translate this Python code to Go:\n\ndef f(x):\n    return x + 1", "code"),
            ("Complete the sentence: The code did not work because", "completion"),
            ("Complete this function:\n\ndef is_even(n: int) -> bool:\n    ", "code"),
            ("I opened the letter, and to my great surprise it said...", "completion"),
            ("Embed this text: Translate me if you can.", "embedding"),
            ("Could you please fix my code? print('a' + 1)", "code"),
            ("trasnlate to spanish: my brother is a doctor", "translation"),
            ("Corrige la gramática: Yo tener dos hermano.", "grammar"),
            ("Fasse diesen Text zusammen: Der Rat tagte gestern.", "summarization"),
            ("Dessine un dragon vert.", "image_generation"),
            ("hi", "chat"),
        ],
    )
    def test_reads_the_instruction_and_not_the_material(self, text: str, kind: Kind) -> None:
        assert kind_of(text) == kind

    def test_a_system_prompt_does_not_make_hi_anything_else(self) -> None:
        architect = system("You prove algorithms correct and write complex Python code.")
        assert kind_of([architect, user("hi")]) == "chat"

    def test_a_system_prompt_settles_a_bare_text(self) -> None:
        translator = system("Translate everything the user says into French.")
        text = "The weather is lovely in the mountains"
        assert kind_of([user(text)]) != "translation"
        assert kind_of([translator, user(text)]) == "translation"

    def test_a_follow_up_takes_the_earlier_turns_kind(self) -> None:
        earlier = [user(f"Summarize this: {ARTICLE}"), assistant("Functions take arguments.")]
        assert kind_of([*earlier, user("now shorter")]) == "summarization"
        assert kind_of([*earlier, user("thanks, that's great!")]) == "chat"
        assert kind_of([*earlier, user("Draw a snake reading a book.")]) == "image_generation"


class TestPictures:
    @pytest.mark.parametrize("text", ["", "What is this?", "how many people?", "Describe it."])
    def test_a_picture_is_the_matter(self, text: str) -> None:
        assert kind_of(with_image(text)) == "image_understanding"

    def test_unless_the_text_asks_for_something_else(self) -> None:
        assert kind_of(with_image("Fix the grammar: She go to school.")) == "grammar"
        assert kind_of(with_image("Draw a lion in this style.")) == "image_generation"


class TestConfidence:
    def test_the_callers_kind_wins(self) -> None:
        assert detect_kind(Task.of("Draw a cat.", kind="code")) == ("code", 1.0)

    def test_a_clear_instruction_is_surer_than_a_stray_word(self) -> None:
        clear = detect_kind(Task.of("Translate to French: good morning"))[1]
        stray = detect_kind(Task.of("blue bananas maybe"))[1]
        assert clear > 0.8 > 0.65 > stray

    @given(st.text(min_size=1).filter(str.strip))
    def test_any_text_has_a_kind_and_always_the_same(self, text: str) -> None:
        kind, confidence = detect_kind(Task.of(text))
        assert kind in KINDS
        assert 0.0 < confidence < 1.0
        assert detect_kind(Task.of(text)) == (kind, confidence)

    @given(st.text(alphabet="\"'`“”«»$\\(){};:=_-.?! \nabfx1", min_size=1, max_size=3_000))
    def test_marks_alone_do_not_upset_it(self, text: str) -> None:
        if text.strip():
            assert detect_kind(Task.of(text))[0] in KINDS


def test_every_kind_has_its_facts_and_its_wording():
    assert set(FACTS) == set(KINDS)
    assert {row.kind for row in CUES} == set(KINDS)
    assert all(row.cues and "" not in row.cues for row in CUES)
