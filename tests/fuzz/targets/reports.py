"""Reports: a chunk of broken records with good ones among them, from their bytes to cells and dead letters."""

from __future__ import annotations

from typing import cast

import msgspec
import numpy as np
from faust.types import TP
from prometheus_client import CollectorRegistry

from streams.chunks import Chunk
from streams.counting import SourceCounter, begin_of_log
from streams.decode import Columns, decode, decode_slowly
from streams.events import SENSOR
from streams.metrics import CountMetrics
from streams.publisher import Publisher
from streams.settings import Settings
from streams.stages.count import CountStage
from tests.fuzz.target import parts

SETTINGS = Settings()
SOURCE = TP("tocsin.reports", 0)
APPEND_MS = 1_748_091_067_000
FIRST_OFFSET = 1000
#: No reporter, so that nothing else in a chunk makes them duplicates.
GOOD = [
    b'{"service":"good","region":"US"}',
    b'{"service":"good","region":"GB","kind":"app","time":"2025-05-24T12:51:00Z"}',
    b' { "time": null, "region": "DE", "unknown": [1.5, {"a": "\\ud83d\\ude00"}], "service": "\\u0067ood" }\r\n',
]
NAMES = [("good", "US", "other"), ("good", "GB", "app"), ("good", "DE", "other")]


class Target:
    """Any bytes: the columns are those of reading one by one, every record ends in one place, no good one is lost."""

    together = 32
    tokens = (
        *(b'"service"', b'"region"', b'"kind"', b'"reporter"', b'"time"', b'"US"', b'"x"', b'"other"', b'"good"'),
        *(b'{"service":"x","region":"US"}', b'"reporter":"', b'"time":"', b'"serv\\u0069ce"', b'"r"', b"r" * 257),
    )
    seeds = (
        *GOOD,
        b'{"service":"x","region":"US","kind":"app","reporter":"c0ffee","time":"2025-05-24T12:51:07Z"}',
        b'{"service":"x","region":"US","kind":null,"reporter":"c0\\u0066","time":"2024-02-29T23:59:59.5+01:00"}',
        b'{"service": "y", "region": "-", "kind": "k", "reporter": "\xf0\x9f\x98\x80", "time": "2025-05-24t12:50:59z"}',
        b'{"service":"x","region":"US","reporter":"a"}',
        b"",
        b"null",
        b'{"service":"x","region":"US","u":' + b"[" * 254 + b"]" * 254 + b"}",
        b'{"service":"x","region":"US"}'.ljust(64 * 1024),
    )

    def __init__(self) -> None:
        # nothing is published here: a stage makes the dead letters, others send them
        nowhere = cast("Publisher", None)
        self._stage = CountStage(SETTINGS, nowhere, CountMetrics(CollectorRegistry(), SETTINGS))

    def judge(self, data: bytes) -> None:
        """Count the records of `data` among good ones, and look where each has gone."""
        broken = parts(data)
        half = len(broken) // 2
        values: list[bytes | None] = [GOOD[0], *broken[:half], GOOD[1], *broken[half:], GOOD[2]]
        columns = decode(values)
        _assert_same(columns, decode_slowly(values))
        rejected_rows = [each.row for each in columns.rejected]
        assert sorted([*columns.rows.tolist(), *rejected_rows]) == list(range(len(values))), "a record is lost"

        chunk = _chunk(values)
        counter = SourceCounter(SETTINGS, SOURCE.partition, begin_of_log(SETTINGS))
        rejected = counter.add_records(chunk.end, chunk.offsets, chunk.timestamps_ms, chunk.keys, chunk.values)
        tally = counter.tally
        assert tally.accepted + tally.late + tally.duplicate + len(rejected) == len(values), "a record is lost"
        flush = counter.flush()
        assert flush is not None
        cells = {(cell.service, cell.region, cell.kind, cell.bin_ms): cell.count for cell in flush.cells}
        counts = {name: count for name, count in cells.items() if name[0] != SENSOR}
        assert sum(counts.values()) == tally.accepted, "an accepted report is in no cell"
        for name in NAMES:
            assert any(counted[:3] == name for counted in counts), f"the good report of {name} is lost"
        assert sum(count for name, count in cells.items() if name[0] == SENSOR) == len(values)

        dead = list(self._stage._dead_letters(chunk, rejected))
        assert [letter.value for letter in dead] == [values[each.row] for each in rejected], "bytes are lost"
        places = [int((letter.key or b"").rpartition(b"/")[2]) - FIRST_OFFSET for letter in dead]
        assert places == [each.row for each in rejected]


def _chunk(values: list[bytes | None]) -> Chunk:
    offsets = np.arange(FIRST_OFFSET, FIRST_OFFSET + len(values))
    return Chunk(
        tp=SOURCE,
        assignment=1,
        start=FIRST_OFFSET,
        end=FIRST_OFFSET + len(values),
        offsets=offsets,
        timestamps_ms=np.full(len(values), APPEND_MS),
        keys=[None] * len(values),
        values=values,
    )


def _assert_same(fast: Columns, slow: Columns) -> None:
    for field in ("rows", "name", "time_ms", "reporter"):
        got, wanted = getattr(fast, field), getattr(slow, field)
        assert got.dtype == wanted.dtype
        assert np.array_equal(got, wanted), f"{field}: {got} is not {wanted}"
    assert fast.names == slow.names
    assert msgspec.to_builtins(fast.rejected) == msgspec.to_builtins(slow.rejected)
