"""Chunks: consecutive records of one partition as columns, read straight from Kafka's record batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain, islice
from operator import attrgetter
from typing import Any

import numpy as np
from aiokafka.consumer.fetcher import PartitionRecords
from aiokafka.errors import CorruptRecordException
from faust.types import TP
from numpy.typing import NDArray

#: Largest chunk: what one step of an agent may hold the event loop with (8,192 reports take 10 to 20 ms to count).
CHUNK_RECORDS = 8192
CHUNK_BYTES = 4 << 20
#: How many of Kafka's record objects exist at a time: more make the garbage collector look at them again and again.
_RECORDS_AT_ONCE = 128
#: The same while records are large, or it is not known how large they are: a chunk can exceed its size by as many.
_LARGE_RECORDS_AT_ONCE = 8

_offset = attrgetter("offset")
_timestamp = attrgetter("timestamp")
_key = attrgetter("key")
_value = attrgetter("value")
_headers = attrgetter("headers")


@dataclass(slots=True)
class Chunk:
    """Consecutive records of one partition, as columns.

    `start` is the position before the first record and `end` the one after the last: offsets may have holes
    (compaction, transactions), so `end - start` can exceed the number of records, and a chunk may hold none.
    `assignment` numbers the assignment it was read under; `headers` holds only the rows that have some.
    """

    tp: TP
    assignment: int
    start: int
    end: int
    offsets: NDArray[np.int64]
    timestamps_ms: NDArray[np.int64]
    # reports name people: whoever logs a chunk must not log them
    keys: list[bytes | None] = field(repr=False)
    values: list[bytes | None] = field(repr=False)
    headers: dict[int, list[tuple[str, bytes | None]]] = field(default_factory=dict, repr=False)
    #: Offset of the first record whose timestamp was set by its producer (CreateTime), -1 if the broker set all.
    create_time_offset: int = -1

    def parts(self, records: int) -> Iterator[Chunk]:
        """Yield the chunk in parts of at most so many records each; a chunk without records is one part."""
        for first in range(0, max(1, len(self.values)), records):
            last = first + records
            yield Chunk(
                tp=self.tp,
                assignment=self.assignment,
                start=self.start if first == 0 else int(self.offsets[first]),
                end=self.end if last >= len(self.values) else int(self.offsets[last]),
                offsets=self.offsets[first:last],
                timestamps_ms=self.timestamps_ms[first:last],
                keys=self.keys[first:last],
                values=self.values[first:last],
                headers={row - first: own for row, own in self.headers.items() if first <= row < last},
                create_time_offset=self.create_time_offset,
            )


class UnreadableError(Exception):
    """A record that aiokafka cannot decode."""


class BatchReader:
    """Reads chunks from the record batches of one fetch of one partition.

    Aborted transactions and control batches are passed over as aiokafka does it for a consumer with
    `read_committed`; a batch larger than a chunk is read in several.

    Raises
    ------
    CorruptRecordException
        From `read`, if a checksum is wrong: what has been fetched was damaged on its way.
    UnreadableError
        From `read`, if a record cannot be decoded.
    """

    def __init__(self, tp: TP, fetched: PartitionRecords) -> None:
        self.tp = tp
        self.fetched = fetched
        self._batch: Any = None
        self._rest: Iterator[Any] = iter(())
        self._at_once = _LARGE_RECORDS_AT_ONCE

    def read(self, assignment: int) -> Chunk:
        """Return the next chunk."""
        start = self.fetched.next_fetch_offset
        offsets: list[int] = []
        timestamps_ms: list[int] = []
        keys: list[bytes | None] = []
        values: list[bytes | None] = []
        headers: dict[int, list[tuple[str, bytes | None]]] = {}
        size, create_time_offset = 0, -1
        while len(values) < CHUNK_RECORDS and size < CHUNK_BYTES and self._open_batch():
            taken = self._take(CHUNK_RECORDS - len(values))
            if not taken:
                self.fetched.next_fetch_offset = self._batch.next_offset
                self._batch = None
                continue
            if self._batch.timestamp_type == 1:
                timestamps_ms += [self._batch.max_timestamp] * len(taken)
            else:
                timestamps_ms += map(_timestamp, taken)
                if create_time_offset < 0:
                    create_time_offset = taken[0].offset
            if any(map(_headers, taken)):
                headers |= {row: list(each.headers) for row, each in enumerate(taken, len(values)) if each.headers}
            offsets += map(_offset, taken)
            keys += map(_key, taken)
            taken_values = list(map(_value, taken))
            values += taken_values
            taken_bytes = sum(map(len, filter(None, taken_values)))
            size += taken_bytes
            is_large = taken_bytes > CHUNK_BYTES // 32
            self._at_once = _LARGE_RECORDS_AT_ONCE if is_large else min(2 * self._at_once, _RECORDS_AT_ONCE)
            self.fetched.next_fetch_offset = taken[-1].offset + 1
        return Chunk(
            tp=self.tp,
            assignment=assignment,
            start=start,
            end=self.fetched.next_fetch_offset,
            offsets=np.array(offsets, np.int64),
            timestamps_ms=np.array(timestamps_ms, np.int64),
            keys=keys,
            values=values,
            headers=headers,
            create_time_offset=create_time_offset,
        )

    @property
    def exhausted(self) -> bool:
        """Whether nothing of the fetch is left."""
        return self._batch is None and not self.fetched._records.has_next()

    def _take(self, limit: int) -> list[Any]:
        """Return the next records of the open batch, at most `limit`; none at its end."""
        position = self.fetched.next_fetch_offset
        try:
            while taken := list(islice(self._rest, min(limit, self._at_once))):
                if taken[0].offset >= position:
                    return taken
                if taken[-1].offset >= position:  # a fetch may begin inside of a batch
                    return [record for record in taken if record.offset >= position]
        except UnicodeDecodeError as error:
            raise UnreadableError(
                f"{self.tp.topic} partition {self.tp.partition}: a record at offset {position} or just after it has "
                "a header whose name is not UTF-8"
            ) from error
        return []

    def _open_batch(self) -> bool:
        fetched = self.fetched
        while self._batch is None and fetched._records.has_next():
            batch = fetched._records.next_batch()
            if fetched._check_crcs and not batch.validate_crc():
                raise CorruptRecordException(f"{self.tp.topic}[{self.tp.partition}]: invalid CRC")
            if batch.producer_id is not None:
                fetched._consume_aborted_up_to(batch.base_offset)
                if batch.is_control_batch and fetched._contains_abort_marker(batch):
                    fetched._aborted_producers.discard(batch.producer_id)
            aborted = batch.is_transactional and batch.producer_id in fetched._aborted_producers
            if batch.is_control_batch or aborted:
                fetched.next_fetch_offset = batch.next_offset
                continue
            # a batch is an iterator that must not be asked for another one, as islice does
            self._batch, self._rest = batch, chain(batch)
        return self._batch is not None
