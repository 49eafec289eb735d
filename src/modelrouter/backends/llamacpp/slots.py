"""Slots: which sequences are free, and what of earlier prompts they still hold.

A prompt's beginning that is in a sequence's memory need not be read again. It is kept and found in
whole grains of :data:`GRAIN` tokens: the parts in which a prompt is read are multiples of it, but
for the last, so that a prompt's answer is the same to the last bit, wherever its reading began.

The computation is fastest where the sequences at work have neighbouring numbers. So a new prompt is
always given the lowest free slot, and what is worth keeping is moved out of its way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

__all__ = ["GRAIN", "Placement", "Slot", "Slots", "common", "whole_grains"]

GRAIN: Final = 64
"""Tokens. Not fewer: llama.cpp computes attention for fewer tokens at once in another order, which
rounds otherwise."""


def common(one: Sequence[int], other: Sequence[int]) -> int:
    """Length of the beginning that both have."""
    most = min(len(one), len(other))
    if one[:most] == other[:most]:  # far quicker than one by one, and the usual case
        return most
    low, high = 0, most  # one[:low] are equal, one[:high] are not
    while high - low > 1:
        middle = (low + high) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle
    return low


def whole_grains(tokens: int) -> int:
    """The part of so many tokens that is whole grains."""
    return tokens // GRAIN * GRAIN


@dataclass(slots=True)
class Slot:
    """One sequence.

    Attributes:
        number: of the sequence.
        known: the beginning of the prompt that is in its memory, in whole grains.
        busy: whether an answer is under way in it.
        used: when it was last given out; higher is later.
    """

    number: int
    known: list[int] = field(default_factory=list)
    busy: bool = False
    used: int = 0


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a prompt goes.

    Attributes:
        slot: the sequence's number.
        reused: tokens of the prompt that are in its memory once the copies are made.
        copies: sequences to be copied first, (from, to), in this order.
    """

    slot: int
    reused: int
    copies: tuple[tuple[int, int], ...] = ()


class Slots:
    """All sequences of one context."""

    def __init__(self, count: int) -> None:
        self._slots = [Slot(number) for number in range(count)]
        self._clock = 0

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def free(self) -> int:
        """How many have no answer under way."""
        return sum(not slot.busy for slot in self._slots)

    def known(self, number: int) -> list[int]:
        """The beginning of a prompt that a slot holds."""
        return self._slots[number].known

    def place(self, prompt: list[int]) -> Placement:
        """Take a free slot for a prompt; there must be one.

        At least one token of the prompt is left to be read, for its scores.
        """
        target = next(slot for slot in self._slots if not slot.busy)
        usable = whole_grains(len(prompt) - 1)
        best, reused = target, 0
        for slot in (target, *self._slots) if usable else ():
            shared = whole_grains(min(usable, common(slot.known, prompt)))
            if shared > reused:
                best, reused = slot, shared
        copies = []
        if len(target.known) > reused or best is not target:
            copies += self._moved_away(target, best)
        if best is not target:
            copies.append((best.number, target.number))
        target.known = prompt[:reused]
        target.busy = True
        self._touch(target, best)
        return Placement(target.number, reused, tuple(copies))

    def learn(self, number: int, prompt: list[int], read: int) -> None:
        """So much of the prompt is in the slot's memory now."""
        self._slots[number].known = prompt[: whole_grains(read)]

    def release(self, number: int) -> None:
        """The answer has ended; what is known of the prompt stays."""
        self._slots[number].busy = False

    def gap(self) -> tuple[int, int] | None:
        """The last busy slot and a free one before it, if the busy ones are not side by side."""
        last = next((slot for slot in reversed(self._slots) if slot.busy), None)
        first = next((slot for slot in self._slots if not slot.busy), None)
        if last is None or first is None or first.number > last.number:
            return None
        return last.number, first.number

    def move(self, source: int, target: int) -> tuple[tuple[int, int], ...]:
        """Let a busy slot's answer go on in a free one; returns the copies to make."""
        old, new = self._slots[source], self._slots[target]
        copies = self._moved_away(new, old)
        new.known, new.busy, new.used = old.known, True, old.used
        old.busy = False
        # The same twice would only push other prompts out.
        old.known = []
        return (*copies, (source, target))

    def forget(self, number: int) -> None:
        """What is in the slot's memory is not known any more."""
        self._slots[number].known = []

    def clear(self) -> None:
        """Nothing is in memory any more, and nothing under way."""
        for slot in self._slots:
            slot.known, slot.busy = [], False

    def _moved_away(self, slot: Slot, needed: Slot) -> list[tuple[int, int]]:
        """Save what a slot knows in the free slot that was unused for longest, if that is older."""
        others = [s for s in self._slots if not s.busy and s is not slot and s is not needed]
        if not slot.known or any(_within(slot.known, s.known) for s in others):
            return []
        oldest = min(others, key=lambda s: (bool(s.known), s.used), default=None)
        if oldest is None or (oldest.known and oldest.used > slot.used):
            return []
        oldest.known, oldest.used = slot.known, slot.used
        return [(slot.number, oldest.number)]

    def _touch(self, *slots: Slot) -> None:
        self._clock += 1
        for slot in slots:
            slot.used = self._clock


def _within(short: list[int], long: list[int]) -> bool:
    return len(short) <= len(long) and long[: len(short)] == short
