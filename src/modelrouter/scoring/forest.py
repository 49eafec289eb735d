"""A forest read in microseconds of plain Python.

As in QuickScorer (Lucchese and others, 2015): each feature's value names, through one binary
search, a bit mask of the leaves it rules out in all trees at once; what is left after all masks
is each tree's exit leaf. Eight leaves to a tree make one byte a tree, and the leaves' values for
all models are fields of one integer, so that a single sum adds up the whole forest.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final

__all__ = ["FIELD", "CompiledForest"]

FIELD: Final = 32
"""Bits of one model's field."""

_LEAVES: Final = 8
_INNER: Final = _LEAVES - 1
# The leaves on the left of each inner node, in heap order, as bits: they are ruled out when the
# value exceeds the threshold.
_LEFT: Final = (0x0F, 0x03, 0x30, 0x01, 0x04, 0x10, 0x40)
_LOWEST: Final = tuple((mask & -mask).bit_length() - 1 if mask else 0 for mask in range(256))


class CompiledForest:
    """Trees of depth three, compiled; ``total(values)`` is the packed sum of their exit leaves."""

    __slots__ = ("_all", "_leaves", "_size", "_tests", "trees")

    def __init__(
        self,
        feature: Sequence[int],
        threshold: Sequence[float],
        leaf: Sequence[int],
        models: int,
    ) -> None:
        """Compile arrays: seven features and thresholds a tree, eight leaves of ``models`` fields.

        ``leaf`` holds non-negative integers, tree by tree, leaf by leaf, model by model.
        """
        self.trees = len(feature) // _INNER
        self._size = self.trees
        self._all = (1 << _LEAVES * self.trees) - 1
        self._tests = self._compiled_tests(feature, threshold)
        self._leaves = []
        for tree in range(self.trees):
            packed = []
            for number in range(_LEAVES):
                at = (tree * _LEAVES + number) * models
                packed.append(sum(leaf[at + m] << FIELD * m for m in range(models)))
            self._leaves.append([packed[lowest] for lowest in _LOWEST])

    def _compiled_tests(
        self, feature: Sequence[int], threshold: Sequence[float]
    ) -> list[tuple[int, float, list[float], list[int]]]:
        nodes: dict[int, list[tuple[float, int]]] = {}
        for node, (column, cut) in enumerate(zip(feature, threshold, strict=True)):
            if cut != float("inf"):
                tree, inner = divmod(node, _INNER)
                nodes.setdefault(column, []).append((cut, _LEFT[inner] << _LEAVES * tree))
        tests = []
        for column, found in sorted(nodes.items()):
            cuts: list[float] = []
            masks = [self._all]
            for cut, left in sorted(found):
                if cuts and cuts[-1] == cut:
                    masks[-1] &= ~left
                else:
                    cuts.append(cut)
                    masks.append(masks[-1] & ~left)
            tests.append((column, cuts[0], cuts, masks))
        return tests

    def total(self, values: Sequence[float]) -> int:
        """The sum of all trees' exit leaves, models in fields of :data:`FIELD` bits."""
        alive = self._all
        for column, lowest, cuts, masks in self._tests:
            value = values[column]
            if value > lowest:  # else it rules nothing out
                alive &= masks[bisect_left(cuts, value)]
        exits = alive.to_bytes(self._size, "little")
        return sum(map(list.__getitem__, self._leaves, exits))
