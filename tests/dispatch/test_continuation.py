"""Where a continuation joins the text before it."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from modelrouter.dispatch.continuation import Splice, asked_to_continue


def joined(before: str, pieces: list[str]) -> str:
    splice = Splice(before)
    return before + "".join([*map(splice.add, pieces), splice.finish()])


def cut(text: str, places: list[int]) -> list[str]:
    borders = [0, *sorted(p % (len(text) + 1) for p in places), len(text)]
    return [text[a:b] for a, b in pairwise(borders)]


@given(
    before=st.text(min_size=1, max_size=60),
    after=st.text(max_size=300),
    places=st.lists(st.integers(0, 400)),
)
def test_how_a_continuation_is_cut_into_pieces_changes_nothing(before, after, places):
    assert joined(before, cut(after, places)) == joined(before, [after])


words = st.lists(st.sampled_from("the fox saw a grape and went home to sleep".split()), min_size=8)


@given(said=words, more=words, repeated=st.integers(0, 60))
def test_what_a_model_repeats_of_the_end_comes_once(said, more, repeated):
    before, rest = "start " + " ".join(said) + " ", "END " + " ".join(more)
    tail = before[len(before) - min(repeated, len(before)) :]
    if 0 < len(tail) < 6:
        tail = ""  # so short a repetition may be chance, and is left
    assert joined(before, [tail + rest]) == before + rest


@given(said=words, more=words)
def test_an_answer_that_begins_anew_is_shown_from_where_the_other_stopped(said, more):
    before, rest = " ".join(said), " END " + " ".join(more)
    assert joined(before, list(before + rest)) == before + rest


@given(before=st.text(min_size=1), after=st.text())
def test_nothing_is_invented(before, after):
    found = joined(before, [after])
    assert found.startswith(before)
    assert after.endswith(found[len(before) :])


def test_the_next_model_sees_the_conversation_and_the_partial_answer():
    messages = [{"role": "user", "content": "Tell me."}]
    asked = asked_to_continue(messages, "Once")
    assert [m["role"] for m in asked] == ["user", "assistant", "user"]
    assert asked[1]["content"] == "Once"
    assert messages == [{"role": "user", "content": "Tell me."}]
