"""Small hand-written report logs: records as they stand in Kafka, and a counter that is fed with them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import numpy as np

from streams.counting import SourceCounter
from streams.decode import Rejected
from streams.events import TICK_KEY
from streams.reportlog import LogRecord

_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def report(
    service: str = "x",
    region: str = "US",
    *,
    kind: str | None = None,
    reporter: str | None = None,
    time_ms: int | None = None,
) -> bytes:
    """Return the bytes of one report."""
    fields = {"service": service, "region": region, "kind": kind, "reporter": reporter}
    if time_ms is not None:
        fields["time"] = (_UNIX_EPOCH + timedelta(milliseconds=time_ms)).isoformat(timespec="milliseconds")
    return msgspec.json.encode({name: value for name, value in fields.items() if value is not None})


def record(timestamp_ms: int, value: bytes | None, *, key: bytes | None = None, partition: int = 0) -> LogRecord:
    """Return a record of the reports topic."""
    return LogRecord(timestamp_ms, partition, key, value)


def tick(timestamp_ms: int, *, partition: int = 0) -> LogRecord:
    """Return a record that carries nothing but an append time."""
    return LogRecord(timestamp_ms, partition, TICK_KEY, None)


def feed(counter: SourceCounter, records: Sequence[LogRecord], first_offset: int | None = None) -> list[Rejected]:
    """Count `records` as one chunk that begins at `first_offset`, by default where the counter is."""
    first = counter.position if first_offset is None else first_offset
    return counter.add_records(
        first + len(records),
        np.arange(first, first + len(records)),
        np.array([each.timestamp_ms for each in records], np.int64),
        [each.key for each in records],
        [each.value for each in records],
    )
