import math
import time

from hypothesis import given
from hypothesis import strategies as st

from modelrouter.scoring.features import NAMES, format_of, group_table, read_text, words

TABLE = group_table()


def values(text: str) -> dict[str, float]:
    return dict(zip(NAMES, read_text(text, TABLE).values, strict=True))


@given(st.text())
def test_any_text_is_read_into_finite_numbers(text: str) -> None:
    found = read_text(text, TABLE).values
    assert len(found) == len(NAMES)
    assert all(math.isfinite(value) for value in found)


@given(st.text(alphabet="ab \nA.BCD?12", max_size=5_000))
def test_options_and_numbers_anywhere_do_no_harm(text: str) -> None:
    assert format_of(read_text(text, TABLE).values) in {"options", "story", "open"}


def test_grouped_words_are_counted() -> None:
    found = values("Which of them is not larger than the other, and why is none smaller?")
    assert found["negation"] == math.log1p(2)
    assert found["comparison"] == math.log1p(3)
    assert found["questions"] == 0.0 or found["ends_in_question"] == 1.0


def test_words_that_are_in_several_groups_count_in_each() -> None:
    found = values("if if if")
    assert found["condition"] == found["logic"] == found["subordination"] == math.log1p(3)


def test_digits_are_one_word_whatever_they_are() -> None:
    assert words("It costs $37.50 in 2024") == ["it", "costs", "00", "00", "in", "0000"]


def test_formats_are_told_apart() -> None:
    options = "Which is a mammal?\nA. shark\nB. whale\nC. trout\nD. eel"
    story = "Tom has 3 apples and buys 5 more at the market on his way home. How many has he now?"
    assert format_of(read_text(options, TABLE).values) == "options"
    assert format_of(read_text(story, TABLE).values) == "story"
    assert format_of(read_text("Who wrote Hamlet?", TABLE).values) == "open"


def test_a_huge_text_costs_no_more_than_its_windows() -> None:
    text = "word and word, " * 200_000
    small = min(timed("word and word, " * 140) for _ in range(5))
    assert min(timed(text) for _ in range(5)) < 20 * small
    assert values(text)["length"] == math.log(len(text) + 1.0)


def timed(text: str) -> float:
    start = time.thread_time()
    for _ in range(20):
        read_text(text, TABLE)
    return time.thread_time() - start
