"""A forest read in microseconds of plain Python.

As in QuickScorer (Lucchese and others, 2015): each feature's value names, through one binary
search, a bit mask of the leaves it rules out in all trees at once; what is left after all masks
is each tree's exit leaf. Eight leaves to a tree make one byte a tree, and the leaves' values for
all models are fields of one integer, so that a single sum adds up the whole forest. Trees go in
pairs: the sum of two exit leaves is looked up, not added.
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
_LOWEST: Final = bytes((mask & -mask).bit_length() - 1 if mask else 0 for mask in range(256))
_PAIR: Final = b"\x3f\x00"
"""Where two trees' leaves, three bits each, come to lie in their two bytes."""


class CompiledForest:
    """Trees of depth three, compiled; ``total(values)`` is the packed sum of their exit leaves."""

    __slots__ = ("_all", "_pairs", "_sums", "_tests", "trees")

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
        self._all = (1 << _LEAVES * self.trees) - 1
        self._tests = self._compiled_tests(feature, threshold)
        leaves = [
            [
                sum(leaf[at + m] << FIELD * m for m in range(models))
                for at in range(first, first + _LEAVES * models, models)
            ]
            for first in range(0, len(leaf), _LEAVES * models)
        ]
        if len(leaves) % 2:
            leaves.append([0] * _LEAVES)
        pairs = zip(leaves[::2], leaves[1::2], strict=True)
        self._sums = [[one + two for two in second for one in first] for first, second in pairs]
        self._pairs = int.from_bytes(_PAIR * len(self._sums), "little")

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
        exits = alive.to_bytes(self.trees, "little").translate(_LOWEST)
        number = int.from_bytes(exits, "little")
        # The second tree's leaf is shifted next to the first's: eight bits down and three up.
        both = (number | number >> 5) & self._pairs
        return sum(
            map(list.__getitem__, self._sums, both.to_bytes(2 * len(self._sums), "little")[::2])
        )
