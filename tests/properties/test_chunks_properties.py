"""A reader of batches gives in chunks what aiokafka gives one by one."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from unittest import mock

import pytest
from aiokafka.consumer.fetcher import READ_COMMITTED, PartitionRecords
from aiokafka.errors import CorruptRecordException
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from aiokafka.record.memory_records import MemoryRecords
from aiokafka.record.util import calc_crc32c
from faust.types import TP
from hypothesis import given
from hypothesis import strategies as st

from streams import chunks
from streams.chunks import BatchReader, Chunk, UnreadableError

T0_MS = 1_748_088_000_000
_ATTRIBUTES, _BASE_OFFSET = struct.calcsize(">qiibI"), 0
_CRC = struct.calcsize(">qiib")
_CONTROL, _TRANSACTIONAL, _LOG_APPEND_TIME = 0x20, 0x10, 0x08
_ABORT_MARKER = b"\x00\x00\x00\x00"


@dataclass(frozen=True)
class Batch:
    """A batch as it stands in a log: compaction may have left few of its records, or none."""

    offsets: tuple[int, ...]
    length: int
    compression: int = 0
    producer: int = -1
    log_append_time: bool = False
    control: bool = False


def encoded(base: int, batch: Batch) -> bytes:
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=batch.compression if batch.offsets else 0,  # as Kafka leaves an empty one
        is_transactional=int(batch.producer >= 0),
        producer_id=batch.producer,
        producer_epoch=0,
        base_sequence=0,
        batch_size=2**20,
    )
    if batch.control:
        builder.append(0, timestamp=T0_MS, key=_ABORT_MARKER, value=b"", headers=[])
    for offset in batch.offsets:
        headers = [("h", b"%d" % offset)] if offset % 3 == 0 else []
        key = None if offset % 5 == 0 else b"%d" % offset
        value = None if offset % 7 == 0 else b"v%d" % (base + offset)
        builder.append(offset, timestamp=T0_MS + offset, key=key, value=value, headers=headers)
    raw = bytearray(bytes(builder.build()))
    struct.pack_into(">q", raw, _BASE_OFFSET, base)
    [attributes] = struct.unpack_from(">h", raw, _ATTRIBUTES)
    attributes |= _LOG_APPEND_TIME * batch.log_append_time | _CONTROL * batch.control
    struct.pack_into(">hi", raw, _ATTRIBUTES, attributes, batch.length - 1)
    return signed(raw)


def signed(raw: bytearray) -> bytes:
    struct.pack_into(">I", raw, _CRC, calc_crc32c(bytes(raw[_ATTRIBUTES:])))
    return bytes(raw)


def fetched(log: list[Batch], begin: int, aborted: list[tuple[int, int]]) -> PartitionRecords:
    """Return what a fetch from `begin` brings: whole batches, from the one that holds `begin`."""
    raw, base = b"", 0
    for batch in log:
        if base + batch.length > begin:
            raw += encoded(base, batch)
        base += batch.length
    return PartitionRecords(TP("t", 0), MemoryRecords(raw), aborted, begin, None, None, True, READ_COMMITTED)


batches = st.integers(1, 30).flatmap(
    lambda length: st.builds(
        Batch,
        offsets=st.sets(st.integers(0, length - 1)).map(lambda offsets: tuple(sorted(offsets))),
        length=st.just(length),
        compression=st.sampled_from([0, 1, 2, 3, 4]),
        producer=st.integers(-1, 1),
        log_append_time=st.booleans(),
    )
)
markers = st.builds(Batch, st.just(()), st.just(1), producer=st.integers(0, 1), control=st.just(True))


def read_all(reader: BatchReader) -> list[Chunk]:
    found = []
    while not reader.exhausted:
        found.append(reader.read(assignment=3))
    return found


@given(
    log=st.lists(batches | markers, min_size=1, max_size=8),
    data=st.data(),
    chunk_records=st.integers(1, 40),
    chunk_bytes=st.sampled_from([1, 30, 1 << 20]),
)
def test_chunks_hold_what_aiokafka_reads_one_by_one(
    log: list[Batch], data: st.DataObject, chunk_records: int, chunk_bytes: int
) -> None:
    end = sum(batch.length for batch in log)
    begin = data.draw(st.integers(0, end - 1), label="begin")
    aborted = data.draw(st.lists(st.tuples(st.integers(0, 1), st.integers(0, end)), max_size=3), label="aborted")
    known = fetched(log, begin, aborted)
    expected = list(known)
    with mock.patch.multiple(chunks, CHUNK_RECORDS=chunk_records, CHUNK_BYTES=chunk_bytes):
        found = read_all(BatchReader(TP("t", 0), fetched(log, begin, aborted)))

    assert [
        (offset, stamp, key, value, tuple(chunk.headers.get(row, ())))
        for chunk in found
        for row, (offset, stamp, key, value) in enumerate(
            zip(chunk.offsets.tolist(), chunk.timestamps_ms.tolist(), chunk.keys, chunk.values, strict=True)
        )
    ] == [(each.offset, each.timestamp, each.key, each.value, each.headers) for each in expected]
    assert [chunk.start for chunk in found] == [begin, *(chunk.end for chunk in found[:-1])]
    assert found[-1].end == known.next_fetch_offset == end
    assert max(len(chunk.values) for chunk in found) <= chunk_records
    first = {each.offset: each.timestamp_type for each in expected}
    for chunk in found:
        by_producers = [offset for offset in chunk.offsets.tolist() if first[offset] == 0]
        assert chunk.create_time_offset == (by_producers[0] if by_producers else -1)


def test_a_damaged_batch_is_an_error() -> None:
    raw = bytearray(encoded(0, Batch((0, 1), 2)))
    raw[-1] ^= 1
    broken = PartitionRecords(TP("t", 0), MemoryRecords(bytes(raw)), [], 0, None, None, True, READ_COMMITTED)
    with pytest.raises(CorruptRecordException, match="invalid CRC"):
        BatchReader(TP("t", 0), broken).read(assignment=0)


def test_a_header_whose_name_is_no_utf_8_is_named_with_its_place() -> None:
    raw = bytearray(encoded(40, Batch((0,), 1))).replace(b"h", b"\xff")
    assert isinstance(MemoryRecords(signed(raw)).next_batch(), DefaultRecordBatch)
    bad = PartitionRecords(TP("t", 2), MemoryRecords(signed(raw)), [], 40, None, None, True, READ_COMMITTED)
    with pytest.raises(UnreadableError, match="t partition 2: a record at offset 40 or just after it has a header"):
        BatchReader(TP("t", 2), bad).read(assignment=0)
