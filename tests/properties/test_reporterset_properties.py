from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from streams.reporterset import ReporterSet

# some hashes are frequent, so that columns repeat what they and earlier ones hold
HASHES = st.one_of(st.integers(1, 20), st.integers(1, 2**64 - 1))
COLUMNS = st.lists(st.lists(HASHES, max_size=60), max_size=8)


def new_ones(seen: set[int], column: list[int]) -> list[bool]:
    """Say one by one which hashes are not in the set, and add them."""
    answers = []
    for each in column:
        answers.append(each not in seen)
        seen.add(each)
    return answers


@given(COLUMNS)
def test_a_hash_is_new_once_where_it_occurs_first(columns: list[list[int]]) -> None:
    reporters, seen = ReporterSet(), set[int]()
    for column in columns:
        assert reporters.add(np.array(column, np.uint64)).tolist() == new_ones(seen, column)
    assert len(reporters) == len(seen)


@given(st.integers(0, 2**32), st.integers(1, 3_000))
def test_it_stays_true_while_the_set_grows(seed: int, most: int) -> None:
    rng = np.random.default_rng(seed)
    reporters, seen = ReporterSet(), set[int]()
    for size in rng.integers(0, most, 5).tolist():
        column = rng.integers(1, 5_000, size, np.uint64) << np.uint64(50)  # alike in all their lower bits
        assert reporters.add(column).tolist() == new_ones(seen, column.tolist())
