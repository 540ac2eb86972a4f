"""Items that belong together, directly or through others."""

from __future__ import annotations

from collections import defaultdict


class Clusters:
    """The items 0..count-1, each alone at first (disjoint sets, Tarjan 1975)."""

    def __init__(self, count: int) -> None:
        self._above = list(range(count))

    def join(self, one: int, other: int) -> None:
        """Put the clusters of two items together."""
        one, other = self._top(one), self._top(other)
        # The smaller number stays on top, so that the order of the joins leaves no trace.
        self._above[max(one, other)] = min(one, other)

    def members(self) -> list[list[int]]:
        """All clusters, each sorted, in the order of their first items."""
        found: dict[int, list[int]] = defaultdict(list)
        for item in range(len(self._above)):
            found[self._top(item)].append(item)
        return list(found.values())

    def _top(self, item: int) -> int:
        while self._above[item] != item:
            self._above[item] = self._above[self._above[item]]
            item = self._above[item]
        return item
