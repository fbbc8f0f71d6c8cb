from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from kafka import KafkaAdminClient, KafkaConsumer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from prometheus_client import CollectorRegistry

from streams import stageapp
from streams.app import count_app
from streams.broker import EmbeddedBroker
from streams.counting import Rebuild
from streams.decode import Reason
from streams.events import SENSOR, TICK_KEY, CountsRecord, Frame, Gap, Mark, decode_counts
from streams.settings import Count, Kafka, Settings
from streams.stageapp import StageApp
from streams.stages import StageError
from streams.topics import Cluster, Topics
from tests.support.reports import report
from tests.support.waiting import comes

START_MS = 1_748_088_000_000
REASONS = Reason.MALFORMED, Reason.NULL, Reason.EMPTY, Reason.OVERSIZED, Reason.FUTURE
_numbers = itertools.count()

Record = tuple[int, bytes | None, bytes | None, list[tuple[str, bytes | None]], int]


class Deployment:
    """Topics of its own, and what is written to them and found in them."""

    def __init__(self, broker: EmbeddedBroker, **kafka: Any) -> None:
        prefix = f"count-{next(_numbers)}"
        self.settings = Settings(
            kafka=Kafka(
                bootstrap_servers=broker.bootstrap_servers,
                prefix=prefix,
                session_timeout_s=2,
                reports_partitions=2,
                counts_partitions=2,
                **kafka,
            ),
            count=Count(bin_s=10, epoch_s=60, allowed_lateness_s=10, flush_s=0.1, idle_tick_s=0.3),
        )
        self.topics = Topics(prefix)
        with Cluster(self.settings) as cluster:
            cluster.create()
            assert list(cluster.findings()) == []

    async def produce(self, *values: bytes | None, partition: int = 0, **fields: Any) -> None:
        options = {"max_request_size": 2**20, "linger_ms": 20}
        servers = self.settings.kafka.bootstrap_servers
        async with AIOKafkaProducer(bootstrap_servers=servers, **options) as producer:
            sent = [await producer.send(self.topics.reports, value, partition=partition, **fields) for value in values]
            await asyncio.gather(*sent)

    async def report_at(self, *seconds: float, partition: int = 0) -> None:
        """Append an anonymous report for each of these times, which are those of the records too."""
        for second in seconds:
            time_ms = START_MS + int(second * 1000)
            await self.produce(report(time_ms=time_ms), partition=partition, timestamp_ms=time_ms)

    def records(self, topic: str) -> list[Record]:
        """Return partition, key, value, headers and timestamp of every record of a topic."""
        consumer: Any = KafkaConsumer(bootstrap_servers=self.settings.kafka.bootstrap_servers, enable_auto_commit=False)
        try:
            partitions = [TopicPartition(topic, each) for each in consumer.partitions_for_topic(topic)]
            consumer.assign(partitions)
            consumer.seek_to_beginning(*partitions)
            ends = consumer.end_offsets(partitions)
            found: list[Any] = []
            while any(consumer.position(each) < ends[each] for each in partitions):
                found += itertools.chain.from_iterable(consumer.poll(timeout_ms=200).values())
            return [(each.partition, each.key, each.value, list(each.headers), each.timestamp) for each in found]
        finally:
            consumer.close()

    async def found(self, topic: str) -> list[Record]:
        return await asyncio.to_thread(self.records, topic)

    async def stated(self) -> list[tuple[int, CountsRecord]]:
        """Return partition and content of every record of the counts topic."""
        return [(each[0], decode_counts(each[2] or b"")) for each in await self.found(self.topics.counts)]

    async def counted(self) -> dict[tuple[str, int, int], int]:
        """Return what the frames amount to: by service, source and bin."""
        cells: dict[tuple[str, int, int], int] = {}
        for _, record in await self.stated():
            if isinstance(record, Frame):
                for cell in record.cells:
                    key = cell.service, record.source, cell.bin_ms
                    cells[key] = max(cells.get(key, 0), cell.count)
        return cells

    async def rebuild_point(self, partition: int = 0) -> Rebuild | None:
        """Return what is committed, the offset in the string being the one beside it."""
        servers, group = self.settings.kafka.bootstrap_servers, f"{self.settings.kafka.prefix}-count"
        async with AIOKafkaConsumer(bootstrap_servers=servers, group_id=group, enable_auto_commit=False) as consumer:
            tp = TopicPartition(self.topics.reports, partition)
            known = (await consumer._coordinator.fetch_committed_offsets([tp])).get(tp)
        if known is None:
            return None
        rebuild = msgspec.json.decode(known.metadata, type=Rebuild)
        assert rebuild.offset == known.offset
        return rebuild


@asynccontextmanager
async def counting(settings: Settings) -> AsyncIterator[StageApp]:
    app = count_app(settings, CollectorRegistry())
    await app.start()
    try:
        yield app
    finally:
        await app.stop()


@pytest.fixture(autouse=True)
def commits_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stageapp, "COMMIT_S", 0.2)


def test_what_is_no_report_is_found_in_the_dead_letters_as_it_was(broker: EmbeddedBroker) -> None:
    deployment = Deployment(broker, clock="log")
    large = report()[:-1] + b',"unknown":"%s"}' % (b"x" * 900_000)
    headers = [("traceparent", b"00"), ("null", None)]

    async def scenario() -> list[Record]:
        await deployment.produce(report(), partition=1, timestamp_ms=START_MS)
        await deployment.produce(b"not json", partition=1, timestamp_ms=START_MS + 1, key=b"\xff", headers=headers)
        await deployment.produce(None, partition=1, timestamp_ms=START_MS + 2, key=b"no tick")
        await deployment.produce(
            b"",
            large,
            report(time_ms=START_MS + 3_600_000),
            report(),
            partition=1,
            timestamp_ms=START_MS + 3,
        )
        await deployment.produce(None, partition=1, timestamp_ms=START_MS + 4, key=TICK_KEY)
        async with counting(deployment.settings):

            async def all_counted() -> bool:
                return (await deployment.counted()).get(("x", 1, START_MS)) == 2

            await comes(all_counted, "both reports counted")
        return await deployment.found(deployment.topics.dead_letters)

    letters = asyncio.run(scenario())
    topic = deployment.topics.reports
    assert {partition for partition, *_ in letters} == {1}
    assert [(key, value) for _, key, value, *_ in letters] == [
        (f"{topic}/1/1".encode(), b"not json"),
        (f"{topic}/1/2".encode(), b""),
        (f"{topic}/1/3".encode(), b""),
        (f"{topic}/1/4".encode(), large),
        (f"{topic}/1/5".encode(), report(time_ms=START_MS + 3_600_000)),
    ]
    reasons = [dict(headers)["__connect.errors.exception.class.name"] for *_, headers, _ in letters]
    assert reasons == [str(each).encode() for each in REASONS]
    details = [dict(headers)["__connect.errors.exception.message"] for *_, headers, _ in letters]
    assert all(details)
    assert letters[0][3] == [
        *headers,
        ("__connect.errors.topic", topic.encode()),
        ("__connect.errors.partition", b"1"),
        ("__connect.errors.offset", b"1"),
        ("__connect.errors.stage", b"count"),
        ("__connect.errors.exception.class.name", reasons[0]),
        ("__connect.errors.exception.message", details[0]),
        ("tocsin.original.timestamp", b"%d" % (START_MS + 1)),
        ("tocsin.original.key", b"\xff"),
    ]
    assert letters[1][3][-2:] == [("tocsin.original.key", b"no tick"), ("tocsin.original.null", b"1")]
    assert "tocsin.original.null" not in dict(letters[2][3])


def test_an_idle_source_gets_ticks_and_its_watermark_advances(broker: EmbeddedBroker) -> None:
    deployment = Deployment(broker, clock="broker")

    async def scenario() -> tuple[list[Record], list[tuple[int, CountsRecord]]]:
        async with counting(deployment.settings):

            async def advanced() -> bool:
                marks = [record for _, record in await deployment.stated() if isinstance(record, Mark)]
                return all(len({mark.watermark_ms for mark in marks if mark.source == each}) > 2 for each in (0, 1))

            await comes(advanced, "the watermarks of both sources advance")
        return await deployment.found(deployment.topics.reports), await deployment.stated()

    ticks, stated = asyncio.run(scenario())
    assert {(key, value) for _, key, value, *_ in ticks} == {(TICK_KEY, None)}
    stamps = {partition: [tick[4] for tick in ticks if tick[0] == partition] for partition in (0, 1)}
    for source, partition in itertools.product((0, 1), (0, 1)):
        marks = [
            record.watermark_ms
            for stated_in, record in stated
            if stated_in == partition and isinstance(record, Mark) and record.source == source
        ]
        assert marks == sorted(marks)
        assert {mark + 10_000 for mark in marks} <= set(stamps[source])
    cells = [cell for _, record in stated if isinstance(record, Frame) for cell in record.cells]
    assert {(cell.service, cell.kind) for cell in cells} == {(SENSOR, "ticks")}


async def counted_up_to_a_rebuild_point(deployment: Deployment) -> Rebuild:
    """Count reports over three epochs, of which the last is open, and return what is committed."""
    async with counting(deployment.settings):
        await deployment.report_at(0, 30, 65, 75, 100, 140)
        expected = Rebuild(
            offset=5,
            counting=deployment.settings.counting,
            floor_ms=START_MS + 120_000,
            append_ms=START_MS + 100_000,
        )

        async def committed() -> bool:
            return await deployment.rebuild_point() == expected

        await comes(committed, f"{expected} committed")
    return expected


def test_a_restart_counts_on_from_its_rebuild_point_and_states_nothing_below_the_floor(broker: EmbeddedBroker) -> None:
    deployment = Deployment(broker, clock="log")

    async def scenario() -> tuple[Rebuild, list[CountsRecord], dict[tuple[str, int, int], int]]:
        begin = await counted_up_to_a_rebuild_point(deployment)
        before = len(await deployment.stated())
        async with counting(deployment.settings):
            await deployment.report_at(105, 141, 150)

            async def all_counted() -> bool:
                return ("x", 0, START_MS + 150_000) in await deployment.counted()

            await comes(all_counted, "the last report counted")
        stated = await deployment.stated()
        assert len(stated) > before
        return begin, [record for _, record in stated], await deployment.counted()

    begin, stated, counted = asyncio.run(scenario())
    assert {(key[2] - START_MS) // 1000: count for key, count in counted.items() if key[0] == "x"} == {
        **dict.fromkeys((0, 30, 60, 70, 100, 150), 1),  # the report of 105 s is late, and below the floor
        140: 2,
    }
    assert not any(isinstance(record, Gap) for record in stated)
    assert {record.counting for record in stated} == {begin.counting}


def test_a_source_whose_log_lost_records_before_the_commit_states_a_gap_first(broker: EmbeddedBroker) -> None:
    deployment = Deployment(broker, clock="log")

    async def scenario() -> list[tuple[int, CountsRecord]]:
        await counted_up_to_a_rebuild_point(deployment)
        before = await deployment.stated()
        await deployment.report_at(150, 160)
        with KafkaAdminClient(bootstrap_servers=deployment.settings.kafka.bootstrap_servers) as admin:
            admin.delete_records({TopicPartition(deployment.topics.reports, 0): 7})
        async with counting(deployment.settings):
            await deployment.report_at(170, 185)

            async def all_counted() -> bool:
                return ("x", 0, START_MS + 180_000) in await deployment.counted()

            await comes(all_counted, "the first whole epoch is counted")
        return [each for each in await deployment.stated() if each not in before]

    stated = asyncio.run(scenario())
    gap = Gap(counting=deployment.settings.counting, source=0, since_ms=START_MS + 120_000, until_ms=START_MS + 180_000)
    for partition in (0, 1):
        own = [record for stated_in, record in stated if stated_in == partition]
        assert own[0] == gap
        assert own.count(gap) == 1
        cells = [cell for record in own if isinstance(record, Frame) for cell in record.cells]
        assert all(cell.bin_ms >= gap.until_ms for cell in cells)


def test_a_record_of_the_producers_clock_ends_a_worker_of_the_brokers(broker: EmbeddedBroker) -> None:
    deployment = Deployment(broker, clock="broker")

    async def scenario() -> BaseException | None:
        async with counting(deployment.settings) as app:
            await deployment.produce(report())
            await comes(deployment.counted, "the first report counted")
            with KafkaAdminClient(bootstrap_servers=deployment.settings.kafka.bootstrap_servers) as admin:
                alter(admin, deployment.topics.reports, {"message.timestamp.type": "CreateTime"})

            async def crashed() -> BaseException | None:
                await deployment.produce(report())
                return app.crash_reason

            return await comes(crashed, "the app has crashed")

    reason = asyncio.run(scenario())
    assert isinstance(reason, StageError)
    assert 'kafka.clock = "broker", but the record at offset' in str(reason)
    # a tick of the other partition may come before the report
    assert re.search(rf"of {deployment.topics.reports} partition [01] has its producer's timestamp", str(reason))


def alter(admin: KafkaAdminClient, topic: str, configs: dict[str, str]) -> None:
    admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=configs)])
