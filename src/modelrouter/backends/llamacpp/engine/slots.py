"""Slots: which sequences are free, and what of earlier prompts they still hold.

What is in a sequence's memory need not be read again when a prompt begins with it.

The computation is fastest where the sequences at work have neighbouring numbers. So a new prompt is
always given the lowest free slot, and what is worth keeping is moved out of its way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

__all__ = ["WORTH_COPYING", "Placement", "Slot", "Slots", "common"]

WORTH_COPYING: Final = 32
"""Tokens. A copy is of a slot's whole memory; fewer are read again sooner."""


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


@dataclass(slots=True)
class Slot:
    """One sequence.

    Attributes:
        number: of the sequence.
        known: the tokens that are in its memory from the start, in whole grains.
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
    """All sequences of one context.

    Args:
        count: how many.
        grain: what is known is kept and found in multiples of so many tokens.
    """

    def __init__(self, count: int, grain: int = 1) -> None:
        self.grain = grain
        self._slots = [Slot(number) for number in range(count)]
        self._clock = 0

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def free(self) -> int:
        """How many have no answer under way."""
        return sum(not slot.busy for slot in self._slots)

    def whole(self, tokens: int) -> int:
        """The part of so many tokens that is whole grains."""
        return tokens // self.grain * self.grain

    def known(self, number: int) -> list[int]:
        """The tokens that a slot holds from the start."""
        return self._slots[number].known

    def place(self, prompt: list[int]) -> Placement:
        """Take a free slot for a prompt; there must be one.

        At least one token of the prompt is left to be read, for its scores.
        """
        target = next(slot for slot in self._slots if not slot.busy)
        usable = self.whole(len(prompt) - 1)

        def shared(slot: Slot) -> int:
            return self.whole(min(usable, common(slot.known, prompt)))

        best, reused = target, shared(target)
        for slot in self._slots:
            if len(slot.known) >= reused + WORTH_COPYING and (
                (more := shared(slot)) >= reused + WORTH_COPYING
            ):
                best, reused = slot, more
        copies = []
        if len(target.known) > reused or best is not target:
            copies += self._moved_away(target, best)
        if best is not target:
            copies.append((best.number, target.number))
        target.known = prompt[:reused]
        target.busy = True
        self._touch(target, best)
        return Placement(target.number, reused, tuple(copies))

    def learn(self, number: int, tokens: list[int], read: int) -> None:
        """So many of these tokens are in the slot's memory now."""
        self._slots[number].known = tokens[: self.whole(read)]

    def release(self, number: int) -> None:
        """The answer has ended; what is known stays."""
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
        if len(slot.known) < WORTH_COPYING or any(_within(slot.known, s.known) for s in others):
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
