"""What the transport gives a stage: every record of a log as it stands there, in chunks of a bounded size."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping

import pytest
from aiokafka import AIOKafkaProducer
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType

from streams.broker import EmbeddedBroker
from streams.chunks import CHUNK_BYTES, CHUNK_RECORDS
from tests.support.pipeline import read_topic
from tests.support.recorder import Recorder, recording
from tests.support.source import Source, read, read_up_to
from tests.support.waiting import comes


def offsets(recorder: Recorder) -> list[int]:
    return [offset for chunk in recorder.chunks for offset in chunk.offsets.tolist()]


@pytest.fixture
def source(broker: EmbeddedBroker) -> Source:
    return Source(broker)


# --- What is in a chunk ---------------------------------------------------------------------------------------------


def test_every_compression_is_read(broker: EmbeddedBroker) -> None:
    compressions = None, "gzip", "snappy", "lz4", "zstd"
    source = Source(broker, partitions=len(compressions))
    values = [b'{"service":"x","number":%d}' % number for number in range(3000)]

    async def scenario() -> Recorder:
        for partition, compression in enumerate(compressions):
            await source.produce(*values, partition=partition, compression_type=compression)
        return await read(source, dict.fromkeys(range(len(compressions)), len(values)))

    life = asyncio.run(scenario()).lives[-1]
    for partition in range(len(compressions)):
        read_chunks = life.chunks[source.tp(partition)]
        assert [value for chunk in read_chunks for value in chunk.values] == values
        assert [offset for chunk in read_chunks for offset in chunk.offsets.tolist()] == list(range(len(values)))


def test_keys_values_and_headers_are_kept_as_they_are_null_and_empty_ones_too(source: Source) -> None:
    records: list[tuple[bytes | None, bytes | None, list[tuple[str, bytes | None]]]] = [
        (b"k", b"v", []),
        (None, b"no key", [("one", b"1"), ("one", b"again"), ("null", None)]),
        (b"no value", None, []),
        (b"", b"", [("", b"")]),
        (b"\xff\x00", b"\x00\xff", [("nom\xe9", b"\xff")]),
    ]

    async def scenario() -> Recorder:
        async with source.producer() as producer:
            for key, value, headers in records:
                await producer.send_and_wait(source.topic, value, key=key, headers=headers)
        return await read(source, {0: len(records)})

    recorder = asyncio.run(scenario())
    rows = [
        (key, value, chunk.headers.get(row, []))
        for chunk in recorder.chunks
        for row, (key, value) in enumerate(zip(chunk.keys, chunk.values, strict=True))
    ]
    assert rows == records
    assert all(headers for chunk in recorder.chunks for headers in chunk.headers.values())


def test_create_time_is_the_producers_clock_and_the_first_such_record_is_named(source: Source) -> None:
    stamps = [1_748_088_000_000, 1_748_087_000_000, 1_748_088_000_001]

    async def scenario() -> Recorder:
        async with source.producer(linger_ms=50) as producer:
            sent = [await producer.send(source.topic, b"x", timestamp_ms=stamp) for stamp in stamps]
            await asyncio.gather(*sent)
        return await read(source, {0: 3})

    [chunk] = asyncio.run(scenario()).chunks
    assert chunk.timestamps_ms.tolist() == stamps
    assert chunk.create_time_offset == 0


def test_log_append_time_is_the_brokers_clock_and_the_first_record_of_another_is_named(broker: EmbeddedBroker) -> None:
    source = Source(broker, message_timestamp_type="LogAppendTime")

    async def scenario() -> tuple[int, Recorder]:
        async with source.producer() as producer:
            await producer.send_and_wait(source.topic, b"claims to be of 1970", timestamp_ms=1)
            await producer.send_and_wait(source.topic, b"and of a millisecond later", timestamp_ms=2)
            with KafkaAdminClient(bootstrap_servers=source.servers) as admin:
                alter(admin, source.topic, {"message.timestamp.type": "CreateTime"})

            async def is_of_1970() -> int | None:
                sent = await producer.send_and_wait(source.topic, b"is of 1970", timestamp_ms=3)
                return sent.offset if sent.timestamp_type == 0 else None

            named = await comes(is_of_1970, "the topic takes the producer's timestamps")
            await producer.send_and_wait(source.topic, b"and so is this", timestamp_ms=4)
        return named, await read(source, {0: named + 2})

    before_ms = int(time.time() * 1000)
    named, recorder = asyncio.run(scenario())
    stamps = [stamp for chunk in recorder.chunks for stamp in chunk.timestamps_ms.tolist()]
    assert all(before_ms <= stamp <= time.time() * 1000 for stamp in stamps[:named])
    assert stamps[named:] == [3, 4]
    assert [chunk.create_time_offset for chunk in recorder.chunks if chunk.create_time_offset >= 0] == [named]


# --- How large a chunk is -------------------------------------------------------------------------------------------


def test_a_batch_of_more_records_than_a_chunk_may_have_is_read_in_several(source: Source) -> None:
    values = [b"%d" % number for number in range(2 * CHUNK_RECORDS + 100)]

    async def scenario() -> Recorder:
        await source.produce(*values, compression_type="zstd")
        return await read(source, {0: len(values)})

    recorder = asyncio.run(scenario())
    assert recorder.values == values
    assert [len(chunk.values) for chunk in recorder.chunks] == [CHUNK_RECORDS, CHUNK_RECORDS, 100]


def test_records_of_a_megabyte_are_read_a_few_at_a_time(source: Source) -> None:
    megabyte = 1_000_000

    async def scenario() -> Recorder:
        async with source.producer(max_request_size=2 * megabyte, linger_ms=100) as producer:
            sent = [await producer.send(source.topic, bytes([each]) * megabyte) for each in range(6)]
            await asyncio.gather(*sent)
        # 16 of them in one batch: compressed, a megabyte is not much
        async with source.producer(
            max_request_size=32 * megabyte, max_batch_size=32 * megabyte, linger_ms=500, compression_type="zstd"
        ) as producer:
            sent = [await producer.send(source.topic, bytes([each]) * megabyte) for each in range(16)]
            await asyncio.gather(*sent)
        return await read(source, {0: 22})

    recorder = asyncio.run(scenario())
    assert [value[0] for value in recorder.values if value] == [*range(6), *range(16)]
    assert {len(value or b"") for value in recorder.values} == {megabyte}
    largest = max(sum(len(value or b"") for value in chunk.values) for chunk in recorder.chunks)
    assert largest <= 2 * CHUNK_BYTES + megabyte


# --- Holes in offsets -----------------------------------------------------------------------------------------------


def test_aborted_records_are_not_seen_and_positions_have_no_holes(source: Source) -> None:
    async def scenario() -> Recorder:
        async with source.producer(transactional_id=source.topic, linger_ms=20) as producer:
            for number in range(6):
                aborted = number % 3 == 1
                await producer.begin_transaction()
                sent = [
                    await producer.send(source.topic, b"%s %d.%d" % (b"aborted" if aborted else b"made", number, each))
                    for each in range(5)
                ]
                await asyncio.gather(*sent)
                await (producer.abort_transaction() if aborted else producer.commit_transaction())
        await source.produce(b"outside")
        return await read(source, {0: 6 * (5 + 1) + 1})

    recorder = asyncio.run(scenario())
    made = [b"made %d.%d" % (number, each) for number in (0, 2, 3, 5) for each in range(5)]
    assert recorder.values == [*made, b"outside"]
    assert offsets(recorder) == [
        *(6 * number + each for number in (0, 2, 3, 5) for each in range(5)),
        36,
    ]


def test_a_chunk_of_nothing_but_an_aborted_transaction_still_moves_the_position(source: Source) -> None:
    async def scenario() -> Recorder:
        async with source.producer(transactional_id=source.topic) as producer:
            await producer.begin_transaction()
            await producer.send_and_wait(source.topic, b"never")
            await producer.abort_transaction()
        return await read(source, {0: 2})

    recorder = asyncio.run(scenario())
    assert recorder.values == []
    assert [(chunk.start, chunk.end) for chunk in recorder.chunks][-1][1] == 2


def test_an_open_transaction_holds_reading_back_until_it_ends(source: Source) -> None:
    async def scenario() -> tuple[list[bytes | None], list[bytes | None]]:
        recorder = Recorder()
        async with source.producer(transactional_id=source.topic) as producer:
            await source.produce(b"before")
            await producer.begin_transaction()
            await producer.send_and_wait(source.topic, b"inside")
            await source.produce(b"after")
            async with recording(source.settings, source.topic, recorder):
                await read_up_to(source, {0: 1}, recorder)
                meanwhile = recorder.values
                assert recorder.lives[-1].known[source.tp()].log_end == 1
                await producer.commit_transaction()
                await read_up_to(source, {0: 4}, recorder)
        return meanwhile, recorder.values

    meanwhile, after = asyncio.run(scenario())
    assert meanwhile == [b"before"]
    assert after == [b"before", b"inside", b"after"]


def test_a_compacted_topic_is_read_over_its_holes(broker: EmbeddedBroker) -> None:
    source = Source(
        broker,
        cleanup_policy="compact",
        segment_ms="100",
        min_cleanable_dirty_ratio="0.001",
        max_compaction_lag_ms="1",
        delete_retention_ms="0",
    )

    async def send(producer: AIOKafkaProducer, numbers: Iterable[int]) -> None:
        sent = [await producer.send(source.topic, b"%d" % each, key=b"%d" % (each % 7)) for each in numbers]
        await asyncio.gather(*sent)

    async def scenario() -> Recorder:
        async with source.producer(linger_ms=20) as producer:
            await send(producer, range(1000))
            deadline_s = time.monotonic() + 30
            end = 1000
            while len(await asyncio.to_thread(read_topic, source.settings, source.topic)) > end / 2:
                assert time.monotonic() < deadline_s, "the log is compacted"
                await send(producer, [end])  # the last segment is never compacted: another record begins a new one
                end += 1
        return await read(source, {0: end})

    recorder = asyncio.run(scenario())
    found = offsets(recorder)
    assert found == sorted(set(found))
    assert [int(value or b"") for value in recorder.values] == found
    assert {offset % 7 for offset in found} == set(range(7))


def alter(admin: KafkaAdminClient, topic: str, configs: Mapping[str, str]) -> None:
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=dict(configs))])
