"""A chunk in parts is the same chunk: nothing between two parts is lost or counted twice."""

from __future__ import annotations

import numpy as np
import pytest
from faust.types import TP

from streams.chunks import Chunk

#: Offsets have holes, and positions 3 and 20 are those before and after the chunk.
CHUNK = Chunk(
    tp=TP("reports", 0),
    assignment=1,
    start=3,
    end=20,
    offsets=np.array([4, 5, 9, 10, 11, 17]),
    timestamps_ms=np.array([1, 2, 3, 4, 5, 6]),
    keys=[b"a", None, b"c", b"d", None, b"f"],
    values=[b"1", b"2", None, b"4", b"5", b"6"],
    headers={2: [("h", b"c")], 5: [("h", b"f")]},
)


@pytest.mark.parametrize("records", [1, 2, 3, 4, 5, 6, 100])
def test_parts_follow_each_other_and_hold_every_record(records: int) -> None:
    parts = list(CHUNK.parts(records))

    assert [parts[0].start, *(part.end for part in parts)] == [*(part.start for part in parts), CHUNK.end]
    assert all(len(part.values) <= records for part in parts)
    assert np.concatenate([part.offsets for part in parts]).tolist() == CHUNK.offsets.tolist()
    assert np.concatenate([part.timestamps_ms for part in parts]).tolist() == CHUNK.timestamps_ms.tolist()
    assert [key for part in parts for key in part.keys] == CHUNK.keys
    assert [value for part in parts for value in part.values] == CHUNK.values
    assert [(part.keys[row], own) for part in parts for row, own in part.headers.items()] == [
        (b"c", [("h", b"c")]),
        (b"f", [("h", b"f")]),
    ]
    assert all(part.start <= offset < part.end for part in parts for offset in part.offsets.tolist())


def test_a_chunk_without_records_is_one_part() -> None:
    empty = Chunk(TP("reports", 0), 1, 3, 20, np.empty(0, np.int64), np.empty(0, np.int64), [], [])

    assert [(part.start, part.end, part.values) for part in empty.parts(4)] == [(3, 20, [])]
