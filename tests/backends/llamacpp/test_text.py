"""Bytes to text: no half characters, nothing lost, no part of a stop text shown."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from modelrouter.backends.llamacpp.engine.text import TextAssembler


def cut(data: bytes, places: list[int]) -> list[bytes]:
    borders = sorted({0, len(data), *(p % (len(data) + 1) for p in places)})
    return [data[a:b] for a, b in pairwise(borders)]


def assembled(pieces: list[bytes], stops: list[str]) -> tuple[list[str], bool]:
    text = TextAssembler(stops)
    out = [text.add(piece) for piece in pieces]
    out.append(text.finish())
    return out, text.stopped


@given(st.binary(max_size=60), st.lists(st.integers(0, 100)))
def test_any_bytes_in_any_pieces_are_the_text_they_are_as_a_whole(data, places):
    out, stopped = assembled(cut(data, places), [])
    assert "".join(out) == data.decode("utf-8", "replace")
    assert not stopped


@given(
    st.text("ab", max_size=40),
    st.lists(st.text("ab", min_size=1, max_size=4), max_size=3),
    st.lists(st.integers(0, 100)),
)
def test_the_answer_ends_before_the_first_stop_text(whole, stops, places):
    out, stopped = assembled(cut(whole.encode(), places), stops)
    got = "".join(out)
    assert whole.startswith(got)
    assert stopped == any(stop in whole for stop in stops)
    assert got == whole or stopped
    assert not any(stop in got for stop in stops)


@given(st.text("aé漢🎉", max_size=20), st.text("aé漢🎉", min_size=1, max_size=3))
def test_stop_texts_of_several_bytes_are_found_byte_by_byte(whole, stop):
    out, stopped = assembled([bytes([b]) for b in whole.encode()], [stop])
    assert "".join(out) == whole.partition(stop)[0]
    assert stopped == (stop in whole)


def test_what_may_begin_a_stop_text_is_held_until_it_is_certain():
    text = TextAssembler(["###"])
    assert [text.add(piece) for piece in (b"a#", b"#", b"b", b"##")] == ["a", "", "##b", ""]
    assert text.finish() == "##"


def test_nothing_comes_after_a_stop_text():
    text = TextAssembler(["."])
    assert text.add(b"One. Two") == "One"
    assert text.add(b" three") == ""
    assert text.finish() == ""


def test_an_empty_stop_text_is_none():
    text = TextAssembler([""])
    assert text.add(b"abc") == "abc"
    assert not text.stopped
