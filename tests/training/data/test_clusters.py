from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from training.data.clusters import Clusters

PAIRS = st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), max_size=20)


def reached(pairs: list[tuple[int, int]], start: int) -> set[int]:
    """By walking along the pairs."""
    seen, left = {start}, [start]
    while left:
        item = left.pop()
        for pair in pairs:
            if item in pair and not set(pair) <= seen:
                left += set(pair) - seen
                seen |= set(pair)
    return seen


@given(pairs=PAIRS)
def test_clusters_are_what_can_be_reached_whatever_the_order(
    pairs: list[tuple[int, int]],
) -> None:
    def members(joined: list[tuple[int, int]]) -> list[list[int]]:
        clusters = Clusters(12)
        for pair in joined:
            clusters.join(*pair)
        return clusters.members()

    expected = sorted({tuple(sorted(reached(pairs, item))) for item in range(12)})
    assert [tuple(cluster) for cluster in members(pairs)] == expected
    turned = [(other, one) for one, other in reversed(pairs)]
    assert members(turned) == members(pairs)
