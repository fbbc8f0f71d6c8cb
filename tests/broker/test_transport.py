from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaConnectionError
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.types import TP
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType, NewTopic

from streams import chunks, stageapp, transport
from streams.broker import EmbeddedBroker
from streams.chunks import CHUNK_BYTES, CHUNK_RECORDS
from streams.settings import Kafka, Settings
from streams.transport import ChunkConsumer, CommitPoint, Committed, PositionLostError
from tests.support.pipeline import read_topic
from tests.support.recorder import Recorder, recording
from tests.support.waiting import comes, eventually

_numbers = itertools.count()


class Source:
    """A topic of its own, and settings to read it with."""

    def __init__(self, broker: EmbeddedBroker, partitions: int = 1, **config: str) -> None:
        self.servers = broker.bootstrap_servers
        prefix = f"transport-{next(_numbers)}"
        self.topic = f"{prefix}.reports"
        self.settings = Settings(kafka=Kafka(bootstrap_servers=self.servers, prefix=prefix, session_timeout_s=2))
        configs = {key.replace("_", "."): value for key, value in config.items()}
        with KafkaAdminClient(bootstrap_servers=self.servers) as admin:
            admin.create_topics([NewTopic(self.topic, partitions, 1, topic_configs=configs)])
            admin.wait_for_topics([self.topic])

    def tp(self, partition: int = 0) -> TP:
        return TP(self.topic, partition)

    @asynccontextmanager
    async def producer(self, **options: Any) -> AsyncIterator[AIOKafkaProducer]:
        async with AIOKafkaProducer(bootstrap_servers=self.servers, **options) as producer:
            yield producer

    async def produce(self, *values: bytes, partition: int = 0, **options: Any) -> None:
        """Append records as few batches as can be."""
        async with self.producer(linger_ms=200, max_batch_size=2**20, **options) as producer:
            sent = [await producer.send(self.topic, value, partition=partition) for value in values]
            await asyncio.gather(*sent)

    def delete_before(self, offset: int, partition: int = 0) -> None:
        """Remove records as retention would."""
        with KafkaAdminClient(bootstrap_servers=self.servers) as admin:
            admin.delete_records({TopicPartition(self.topic, partition): offset})

    async def commit(self, offset: int, metadata: str = "", partition: int = 0) -> None:
        """Commit in the name of the recorder's group, while it has no members."""
        group = f"{self.settings.kafka.prefix}-recorder"
        async with AIOKafkaConsumer(
            bootstrap_servers=self.servers, group_id=group, enable_auto_commit=False
        ) as consumer:
            partition_ = TopicPartition(self.topic, partition)
            consumer.assign([partition_])
            await consumer.commit({partition_: OffsetAndMetadata(offset, metadata)})

    async def committed(self, partition: int = 0) -> OffsetAndMetadata | None:
        """Return what Kafka holds for the recorder's group."""
        group = f"{self.settings.kafka.prefix}-recorder"
        async with AIOKafkaConsumer(
            bootstrap_servers=self.servers, group_id=group, enable_auto_commit=False
        ) as consumer:
            partition_ = TopicPartition(self.topic, partition)
            offsets: dict[TopicPartition, OffsetAndMetadata] = await consumer._coordinator.fetch_committed_offsets(
                [partition_]
            )
            return offsets.get(partition_)


async def read(source: Source, ends: Mapping[int, int], recorder: Recorder | None = None) -> Recorder:
    """Return what a stage is given up to these positions."""
    recorder = recorder or Recorder()
    async with recording(source.settings, source.topic, recorder):
        await read_up_to(source, ends, recorder)
    return recorder


async def read_up_to(source: Source, ends: Mapping[int, int], recorder: Recorder) -> None:
    for partition, end in ends.items():
        tp = source.tp(partition)
        await eventually(lambda: recorder.at(tp) >= end, f"{tp} read up to {end}")  # noqa: B023 - awaited at once
    assert recorder.discontinuities == []


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


# --- Where reading begins, and what is committed --------------------------------------------------------------------


@pytest.fixture
def commits_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stageapp, "COMMIT_S", 0.2)


def test_a_stage_is_told_what_kafka_knows_and_reads_exactly_from_where_it_has_chosen(broker: EmbeddedBroker) -> None:
    source = Source(broker, partitions=3)
    new, kept, lost = source.tp(0), source.tp(1), source.tp(2)

    async def scenario() -> Recorder:
        await source.produce(b"0", b"1", b"2", partition=0)
        source.delete_before(1, partition=0)
        await source.produce(*(b"%d" % each for each in range(2000)), partition=1)  # one batch: 777 is inside of it
        await source.commit(5, "kept", partition=1)
        await source.produce(*(b"%d" % each for each in range(10)), partition=2)
        await source.commit(3, "lost", partition=2)
        source.delete_before(6, partition=2)
        return await read(source, {0: 3, 1: 2000, 2: 10}, Recorder(begin={kept: 777, lost: 6}))

    life = asyncio.run(scenario()).lives[0]
    assert life.known == {
        new: Committed(None, "", 1, 3),
        kept: Committed(5, "kept", 0, 2000),
        lost: Committed(3, "lost", 6, 10),
    }
    assert {tp: [int(value or b"") for chunk in life.chunks[tp] for value in chunk.values] for tp in life.begun} == {
        new: [1, 2],
        kept: list(range(777, 2000)),
        lost: [6, 7, 8, 9],
    }


@pytest.mark.usefixtures("commits_at_once")
def test_what_a_stage_commits_is_what_its_next_start_is_told(source: Source) -> None:
    tp = source.tp()

    async def scenario() -> tuple[list[OffsetAndMetadata | None], Recorder]:
        await source.produce(*(b"%d" % each for each in range(10)))
        recorder, found = Recorder(), []
        async with recording(source.settings, source.topic, recorder):
            await read_up_to(source, {0: 10}, recorder)
            for point in (CommitPoint(4, '{"floor": 1}'), CommitPoint(4, '{"floor": 2}'), CommitPoint(3, "\xe9")):
                recorder.offered = {tp: point}
                await eventually(lambda: not recorder.offered, f"{point} accepted")
                assert recorder.accepted == {tp: point}
                found.append(await source.committed())
        return found, await read(source, {0: 10})

    found, second = asyncio.run(scenario())
    assert found == [
        OffsetAndMetadata(4, '{"floor": 1}'),
        OffsetAndMetadata(4, '{"floor": 2}'),  # the string alone has changed
        OffsetAndMetadata(3, "\xe9"),
    ]
    assert second.lives[0].known == {tp: Committed(3, "\xe9", 0, 10)}
    assert second.values == [b"%d" % each for each in range(3, 10)]


def test_what_is_offered_when_the_app_ends_is_committed(source: Source) -> None:
    async def scenario() -> OffsetAndMetadata | None:
        await source.produce(b"0", b"1")
        recorder = Recorder()
        async with recording(source.settings, source.topic, recorder):
            await read_up_to(source, {0: 2}, recorder)
            recorder.offered = {source.tp(): CommitPoint(2, "last")}
        return await source.committed()

    assert asyncio.run(scenario()) == OffsetAndMetadata(2, "last")


def test_when_retention_removes_what_was_to_be_read_next_the_app_ends_and_nothing_is_reset(source: Source) -> None:
    class Overtaken(Recorder):
        async def start(self, assigned: Mapping[TP, Committed]) -> Mapping[TP, int]:
            begun = await super().start(assigned)
            await asyncio.to_thread(source.delete_before, 6)
            return begun

    async def scenario() -> tuple[Recorder, BaseException | None]:
        await source.produce(*(b"%d" % each for each in range(10)))
        await source.commit(3)
        recorder = Overtaken()
        async with recording(source.settings, source.topic, recorder) as app:
            await eventually(lambda: app.crash_reason, "the app has crashed")
            return recorder, app.crash_reason

    recorder, reason = asyncio.run(scenario())
    assert isinstance(reason, PositionLostError)
    assert str(reason).startswith(f"{source.topic} partition 0: the record at offset 3 is gone")
    assert recorder.values == []


def test_a_start_that_meets_an_error_of_kafkas_is_tried_again(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "START_AGAIN_S", 0.1)

    class Unlucky(Recorder):
        failures = 2

        async def start(self, assigned: Mapping[TP, Committed]) -> Mapping[TP, int]:
            if self.failures:
                self.failures -= 1
                raise KafkaConnectionError
            return await super().start(assigned)

    async def scenario() -> Recorder:
        await source.produce(b"0")
        return await read(source, {0: 1}, Unlucky())

    assert asyncio.run(scenario()).values == [b"0"]


def test_a_start_may_take_longer_than_faust_would_wait(source: Source) -> None:
    class Slow(Recorder):
        async def start(self, assigned: Mapping[TP, Committed]) -> Mapping[TP, int]:
            await asyncio.sleep(2.5)
            return await super().start(assigned)

    async def scenario() -> Recorder:
        await source.produce(b"0")
        recorder = Slow()
        async with recording(source.settings, source.topic, recorder, broker_request_timeout=2.0):
            await read_up_to(source, {0: 1}, recorder)
        return recorder

    assert asyncio.run(scenario()).values == [b"0"]


def test_what_a_start_raises_ends_the_app(source: Source) -> None:
    class Broken(Recorder):
        async def start(self, assigned: Mapping[TP, Committed]) -> Mapping[TP, int]:
            raise ZeroDivisionError(f"what went wrong with {assigned}")

    async def scenario() -> BaseException | None:
        async with recording(source.settings, source.topic, Broken()) as app:
            await eventually(lambda: app.crash_reason, "the app has crashed")
            return app.crash_reason

    assert isinstance(asyncio.run(scenario()), ZeroDivisionError)


# --- Rebalances -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("commits_at_once")
def test_after_a_rebalance_nothing_of_before_is_used(broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two apps come and go while records are written: each life reads every record from where it began, in order."""
    monkeypatch.setattr(chunks, "CHUNK_RECORDS", 20)
    source = Source(broker, partitions=4)
    every = {source.tp(partition) for partition in range(4)}
    first, second = Recorder(pause_s=0.01), Recorder(pause_s=0.01)

    async def scenario() -> None:
        written = [0, 0, 0, 0]
        writing = asyncio.Event()

        async def write() -> None:
            async with source.producer(linger_ms=5) as producer:
                while not writing.is_set():
                    for partition in range(4):
                        sent = [await producer.send(source.topic, b"x", partition=partition) for _ in range(30)]
                        await asyncio.gather(*sent)
                        written[partition] += 30

        def shared() -> bool:
            parts = [set(each.lives[-1].begun) for each in (first, second) if each.lives and not each.lives[-1].over]
            return len(parts) == 2 and all(parts) and parts[0] | parts[1] == every and not parts[0] & parts[1]

        async with recording(source.settings, source.topic, first) as app:
            writer = asyncio.create_task(write())
            await eventually(lambda: len(first.chunks) > 20, "the first app reads")
            old = first.chunks[0]
            consumer = app.consumer
            assert isinstance(consumer, ChunkConsumer)
            number = consumer.assignment_number
            assert app.is_current(old)
            first.offered = {tp: CommitPoint(first.at(tp), "first") for tp in every}
            await eventually(lambda: not first.offered, "committed")

            async with recording(source.settings, source.topic, second):
                await eventually(shared, "both apps have a share")
                assert not app.is_current(old)
                [gone, *_] = second.lives[-1].begun
                stale = {gone: CommitPoint(0, "stale")}
                assert not await consumer._thread.call_thread(consumer._thread.commit_points, number, stale)
                assert second.lives[-1].known[gone].metadata == "first"
                await eventually(lambda: len(second.chunks) > 20 and len(first.chunks) > 20, "both read")
                assert (await source.committed(gone.partition) or stale[gone]).metadata == "first"

            await eventually(lambda: set(first.lives[-1].begun) == every, "the first app has all again")
            writing.set()
            await writer
            await read_up_to(source, dict(enumerate(written)), first)

    asyncio.run(scenario())
    assert first.discontinuities == second.discontinuities == []
    assert len(first.lives) >= 3
    for life in first.lives + second.lives:
        for tp, begun in life.begun.items():
            read_offsets = [offset for chunk in life.chunks[tp] for offset in chunk.offsets.tolist()]
            assert read_offsets == list(range(begun, begun + len(read_offsets)))


@pytest.mark.usefixtures("commits_at_once")
def test_a_commit_that_hangs_while_the_group_rebalances_is_not_made_in_the_name_of_the_next_generation(
    broker: EmbeddedBroker,
) -> None:
    source = Source(broker, partitions=2)

    async def scenario() -> None:
        first, second = Recorder(), Recorder()
        async with recording(source.settings, source.topic, first) as app:
            await eventually(lambda: first.lives, "the first app has begun")
            assert isinstance(app.consumer, ChunkConsumer)
            consumer = app.consumer._thread._ensure_consumer()
            commit, hangs = consumer.commit, threading.Event()

            async def hang(_: object) -> None:
                hangs.set()
                await asyncio.get_running_loop().create_future()

            consumer.commit = hang
            first.offered = {source.tp(0): CommitPoint(0, "stale"), source.tp(1): CommitPoint(0, "stale")}
            await eventually(hangs.is_set, "the commit hangs")
            consumer.commit = commit
            async with recording(source.settings, source.topic, second):
                await eventually(lambda: second.lives, "the second app has begun")
                await eventually(lambda: len(first.lives) == 2, "the first app has begun again")
                assert first.accepted == {}
                [tp] = first.lives[-1].begun
                first.offered = {tp: CommitPoint(0, "new")}
                await eventually(lambda: first.accepted, "the next commit is made")
                assert await source.committed(tp.partition) == OffsetAndMetadata(0, "new")
                assert await source.committed(1 - tp.partition) is None

    asyncio.run(scenario())


# --- Contact --------------------------------------------------------------------------------------------------------


def test_an_app_says_that_it_has_no_contact_until_it_has(source: Source) -> None:
    async def scenario() -> None:
        app = stageapp.stage_app(source.settings, "recorder")
        assert app.troubles(0.0) == [f"{source.settings.kafka.prefix}-recorder: no contact with Kafka"]
        async with recording(source.settings, source.topic, Recorder()) as running:
            await eventually(lambda: running.troubles(12.0) == ["asked at 12.0"], "the stage is asked")

    asyncio.run(scenario())


def alter(admin: KafkaAdminClient, topic: str, configs: Mapping[str, str]) -> None:
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=dict(configs))])
