"""Where prompts go, and that what a slot is said to know is in its memory."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from modelrouter.backends.llamacpp.engine.slots import Slots, common

GRAIN = 64


@given(st.lists(st.integers(0, 3), max_size=40), st.lists(st.integers(0, 3), max_size=40))
def test_common_is_the_length_of_the_longest_common_beginning(one, other):
    expected = 0
    while expected < min(len(one), len(other)) and one[expected] == other[expected]:
        expected += 1
    assert common(one, other) == expected


def prompt_of(*grains: int, rest: int = 5) -> list[int]:
    """A prompt of whole grains, each one number over and over, and a rest."""
    return [token for grain in grains for token in [grain] * GRAIN] + [-1] * rest


def test_a_prompt_gets_the_lowest_free_slot():
    slots = Slots(3, GRAIN)
    assert [slots.place(prompt_of(1)).slot for _ in range(2)] == [0, 1]
    slots.release(0)
    assert slots.place(prompt_of(2)).slot == 0
    assert slots.free == 1


def test_what_was_read_before_is_found_again():
    slots = Slots(2, GRAIN)
    first = slots.place(prompt_of(1, 2))
    slots.learn(first.slot, prompt_of(1, 2), 2 * GRAIN + 5)
    slots.release(first.slot)
    again = slots.place(prompt_of(1, 2, 3))
    assert (again.slot, again.reused, again.copies) == (0, 2 * GRAIN, ())


def test_without_a_grain_every_token_that_is_the_same_is_found_again():
    slots = Slots(1)
    slots.place([1, 2, 3, 4, 5])
    slots.learn(0, [1, 2, 3, 4, 5, 8, 9], 6)
    slots.release(0)
    assert slots.place([1, 2, 3, 4, 5, 8, 7]).reused == 6


def test_one_token_is_always_left_to_be_read():
    slots = Slots(1, GRAIN)
    prompt = prompt_of(1, 2, rest=0)
    slots.place(prompt)
    slots.learn(0, prompt, len(prompt))
    slots.release(0)
    assert slots.place(prompt).reused == GRAIN


def test_a_beginning_that_another_answer_uses_is_copied():
    slots = Slots(2, GRAIN)
    prompt = prompt_of(1, 2)
    slots.place(prompt)
    slots.learn(0, prompt, len(prompt))
    other = slots.place(prompt_of(1, 3))
    assert (other.slot, other.reused, other.copies) == (1, GRAIN, ((0, 1),))


def test_what_is_in_the_way_is_moved_to_the_slot_unused_for_longest():
    slots = Slots(3, GRAIN)
    for grain in (1, 2):
        slots.place(prompt_of(grain))
        slots.learn(0, prompt_of(grain), GRAIN)
        slots.release(0)
    # The second prompt took the lowest slot, and the first one's memory went to the next.
    assert slots.known(0) == prompt_of(2, rest=0)
    assert slots.known(1) == prompt_of(1, rest=0)
    slots.place(prompt_of(3))
    assert slots.known(2) == prompt_of(2, rest=0)
    slots.release(0)
    slots.place(prompt_of(4))
    slots.learn(0, prompt_of(4), GRAIN)
    slots.release(0)
    found = slots.place(prompt_of(1, 5))
    assert (found.slot, found.reused) == (0, GRAIN)
    assert (1, 0) in found.copies


def test_a_gap_between_answers_is_the_last_busy_slot_and_the_first_free_one():
    slots = Slots(4, GRAIN)
    for _ in range(3):
        slots.place(prompt_of(1))
    assert slots.gap() is None
    slots.release(1)
    assert slots.gap() == (2, 1)
    assert slots.move(2, 1)[-1] == (2, 1)
    assert slots.gap() is None
    assert slots.free == 2


@settings(max_examples=200)
@given(
    st.integers(1, 5),
    st.sampled_from([1, GRAIN]),
    st.lists(
        st.tuples(
            st.lists(st.integers(1, 2), min_size=0, max_size=3),
            st.integers(1, 9),
            st.integers(0, 4),
        ),
        max_size=30,
    ),
)
def test_what_is_reused_is_in_memory_whatever_happens(count, grain, events):
    """Played against a memory that does exactly what it is told."""
    slots = Slots(count, grain)
    memory: list[list[int]] = [[] for _ in range(count)]
    busy: list[int] = []
    for grains, rest, choice in events:
        prompt = prompt_of(*grains, rest=rest)
        if slots.free == 0 or (busy and choice == 0):
            slots.release(busy.pop(choice % len(busy)))
        placement = slots.place(prompt)
        for source, target in placement.copies:
            memory[target] = list(memory[source])
        memory[placement.slot] = memory[placement.slot][: placement.reused]
        assert memory[placement.slot] == prompt[: placement.reused]
        assert placement.reused == slots.whole(placement.reused) < len(prompt)
        memory[placement.slot] = list(prompt)
        slots.learn(placement.slot, prompt, len(prompt))
        memory[placement.slot] += [9] * choice  # what was answered
        busy.append(placement.slot)
        if choice == 4 and (gap := slots.gap()) is not None:
            for source, target in slots.move(*gap):
                memory[target] = list(memory[source])
            busy[busy.index(gap[0])] = gap[1]
        for number in range(count):
            known = slots.known(number)
            assert memory[number][: len(known)] == known
