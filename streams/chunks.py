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

#: Largest chunk: what one step of an agent may hold the event loop with (8,192 records take about 16 ms).
CHUNK_RECORDS = 8192
CHUNK_BYTES = 4 << 20
#: Kafka's record objects that exist at a time: each is one more for the garbage collector to look at.
_RECORDS_AT_ONCE = 512

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
    keys: list[bytes | None]
    values: list[bytes | None]
    headers: dict[int, list[tuple[str, bytes | None]]] = field(default_factory=dict)
    #: Offset of the first record whose timestamp was set by its producer (CreateTime), -1 if the broker set all.
    create_time_offset: int = -1


class BatchReader:
    """Reads chunks from the record batches of one fetch of one partition.

    Aborted transactions and control batches are passed over as aiokafka does it for a consumer with
    `read_committed`; a batch larger than a chunk is read in several.
    """

    def __init__(self, tp: TP, fetched: PartitionRecords) -> None:
        self.tp = tp
        self.fetched = fetched
        self._batch: Any = None
        self._rest: Iterator[Any] = iter(())

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
            taken, taken_bytes = self._take(min(CHUNK_RECORDS - len(values), _RECORDS_AT_ONCE), CHUNK_BYTES - size)
            if not taken:
                self.fetched.next_fetch_offset = self._batch.next_offset
                self._batch = None
                continue
            size += taken_bytes
            if self._batch.timestamp_type == 1:
                timestamps_ms += [self._batch.max_timestamp] * len(taken)
            else:
                timestamps_ms += map(_timestamp, taken)
                if create_time_offset < 0:
                    create_time_offset = taken[0].offset
            taken_headers = list(map(_headers, taken))
            if any(taken_headers):
                headers |= {row: list(some) for row, some in enumerate(taken_headers, len(values)) if some}
            offsets += map(_offset, taken)
            keys += map(_key, taken)
            values += map(_value, taken)
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

    def _take(self, limit: int, limit_bytes: int) -> tuple[list[Any], int]:
        """Return up to `limit` records of the open batch, and about `limit_bytes` of them, with their size."""
        position = self.fetched.next_fetch_offset
        taken: list[Any] = []
        size, some_records = 0, 8
        while limit > len(taken) and size < limit_bytes:
            some = list(islice(self._rest, min(limit - len(taken), some_records)))
            some_records = min(2 * some_records, 512)  # few while it is not known how large they are
            if not some:
                break
            if some[0].offset < position:  # a fetch may begin inside of a batch
                if some[-1].offset < position:
                    continue
                some = [record for record in some if record.offset >= position]
            taken += some
            size += sum(map(len, filter(None, map(_value, some))))
        return taken, size

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
