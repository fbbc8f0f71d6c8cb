"""Reporters stay where they were reported: what people have sent about themselves is found in two topics, and nowhere
else, however good or bad the report."""

from __future__ import annotations

import asyncio
import base64
import io
import logging
import zlib
from collections.abc import Iterator
from contextlib import AsyncExitStack
from typing import Any

import msgspec
import pytest
import structlog
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from kafka import KafkaConsumer, TopicPartition
from prometheus_client import CollectorRegistry, generate_latest

from streams import logs, stageapp
from streams.app import APPS
from streams.broker import EmbeddedBroker
from streams.decode import Reason
from streams.events import Alert, Levels, decode
from streams.reporterhash import hash_reporter
from streams.settings import Count, Detect, Kafka, Limit, Settings
from streams.topics import Cluster, Topics, layout
from tests.support.reports import report
from tests.support.schemas import validator
from tests.support.waiting import comes

START_MS = 1_748_088_000_000
MINUTES = 8
#: Without reports, after which the chart of the outage is published.
QUIET_MINUTES = 100
#: Who reports; in every report that there can be.
CANARY = "Canary.Jane.Doe@example.org"
RAW = CANARY.encode()

Record = tuple[bytes, bytes, list[tuple[str, bytes]]]


def traces() -> dict[str, bytes]:
    """Return what would give the canary away, by its form; text is compared without regard to case."""
    encoded = {
        # whatever stands before it, some of the digits are the same
        f"base64, {shift} before": base64.b64encode(b"?" * shift + RAW)[4 if shift else 0 : -4]
        for shift in range(3)
    }
    hashed = hash_reporter("x", CANARY)
    return {
        "as it is": RAW,
        "in hexadecimal": RAW.hex().encode(),
        "its hash": str(hashed).encode(),
        "its hash in hexadecimal": f"{hashed:x}".encode(),
        "the bytes of its hash": hashed.to_bytes(8, "little"),
        **encoded,
    }


def found_in(text: bytes) -> list[str]:
    return [form for form, trace in traces().items() if trace.lower() in text.lower()]


def wrong_ones(time_ms: int) -> dict[Reason, bytes | None]:
    """Return a record for each reason not to count it, each with the canary where it can be."""
    reporter = b'"reporter":"%b"' % RAW
    return {
        Reason.NULL: None,
        Reason.EMPTY: b"",
        Reason.OVERSIZED: b'{"service":"x","region":"US",%b,"u":"%b"}' % (reporter, b"u" * 70_000),
        Reason.MALFORMED: b'{"service":"x","region":"US",%b,\xff}' % reporter,
        Reason.TYPE: b'{"service":"x","region":"US","reporter":["%b"]}' % RAW,
        Reason.SERVICE: b'{"service":"X!","region":"US",%b}' % reporter,
        Reason.REGION: b'{"service":"x","region":"_",%b}' % reporter,
        Reason.KIND: b'{"service":"x","region":"US","kind":"K",%b}' % reporter,
        Reason.REPORTER: report(reporter=CANARY * 20),
        Reason.TIME: b'{"service":"x","region":"US","time":"now",%b}' % reporter,
        Reason.FUTURE: report(reporter=CANARY, time_ms=time_ms + 3_600_000),
        Reason.ANCIENT: report(reporter=CANARY, time_ms=time_ms - 30 * 86_400_000),
    }


async def produce(settings: Settings) -> None:
    """Write a report a second that raises an incident, and now and then one of each kind of the canary's."""
    topic = Topics(settings.kafka.prefix).reports
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka.bootstrap_servers) as producer:

        async def send(value: bytes | None, time_ms: int, key: bytes | None = RAW) -> None:
            headers = [("user", RAW)]
            await producer.send(topic, value, key=key, partition=0, timestamp_ms=time_ms, headers=headers)

        for second in range(MINUTES * 60):
            time_ms = START_MS + second * 1000
            await send(report(reporter=f"{CANARY}-{second}"), time_ms)
            await send(report(reporter=CANARY), time_ms)
            if second % 60 == 59:
                await send(report(reporter=CANARY, time_ms=time_ms - 40_000), time_ms)
                await send(report("mail", "DE", reporter=CANARY, kind="app"), time_ms)
                for value in wrong_ones(time_ms).values():
                    await send(value, time_ms)
        for minute in range(MINUTES, MINUTES + QUIET_MINUTES + 2):
            await send(None, START_MS + minute * 60_000, key=b"tocsin.tick")


def records(settings: Settings, topic: str) -> list[Record]:
    """Return key, value and headers of every record; snapshots decompressed."""
    consumer: Any = KafkaConsumer(bootstrap_servers=settings.kafka.bootstrap_servers, enable_auto_commit=False)
    try:
        partitions = [TopicPartition(topic, each) for each in consumer.partitions_for_topic(topic)]
        consumer.assign(partitions)
        consumer.seek_to_beginning(*partitions)
        ends = consumer.end_offsets(partitions)
        found: list[Any] = []
        while any(consumer.position(each) < ends[each] for each in partitions):
            for batch in consumer.poll(timeout_ms=200).values():
                found += batch
    finally:
        consumer.close()
    packed = topic == Topics(settings.kafka.prefix).baselines
    return [
        (
            each.key or b"",
            zlib.decompress(each.value) if packed and each.value else each.value or b"",
            [(name, value or b"") for name, value in each.headers],
        )
        for each in found
    ]


async def commits(settings: Settings, stage: str, topic: str) -> str:
    """Return what is kept beside the committed offset of partition 0, nothing before the first commit."""
    group = f"{settings.kafka.prefix}-{stage}"
    servers = settings.kafka.bootstrap_servers
    async with AIOKafkaConsumer(bootstrap_servers=servers, group_id=group, enable_auto_commit=False) as consumer:
        tp = TopicPartition(topic, 0)
        known = (await consumer._coordinator.fetch_committed_offsets([tp])).get(tp)
    return known.metadata if known is not None else ""


@pytest.fixture
def log() -> Iterator[io.StringIO]:
    """What is logged, details included."""
    root, own = logging.getLogger(), logging.getLogger("streams")
    before = root.handlers, root.level, own.level, structlog.get_config()
    stream = io.StringIO()
    logs.configure(logging.DEBUG, stream)
    yield stream
    root.handlers, config = before[0], before[3]
    root.setLevel(before[1])
    own.setLevel(before[2])
    structlog.configure(**config)


def test_a_reporter_is_found_among_reports_and_dead_letters_and_nowhere_else(
    broker: EmbeddedBroker,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    log: io.StringIO,
) -> None:
    monkeypatch.setattr(stageapp, "COMMIT_S", 0.2)
    settings = Settings(
        kafka=Kafka(
            bootstrap_servers=broker.bootstrap_servers,
            prefix="privacy",
            clock="log",
            reports_partitions=1,
            counts_partitions=1,
            session_timeout_s=2,
        ),
        count=Count(flush_s=0.1, window_bins=5, epoch_s=300),
        detect=Detect(detector="limit", limit=Limit(above=10)),
    )
    topics = Topics(settings.kafka.prefix)
    with Cluster(settings) as cluster:
        cluster.create()
    registries = {stage: CollectorRegistry() for stage in APPS}

    def told() -> bool:
        last_ms = START_MS + (MINUTES + QUIET_MINUTES - 1) * 60_000
        levels = [decode(value, Levels) for _, value, _ in records(settings, topics.levels)]
        alerts = [decode(value, Alert) for _, value, _ in records(settings, topics.alerts)]
        return bool(alerts) and any(each.service == "x" and each.bin_ms == last_ms for each in levels)

    async def run() -> list[str]:
        async with AsyncExitStack() as stack:
            for stage, make in APPS.items():
                app = make(settings, registries[stage])
                await app.start()
                stack.push_async_callback(app.stop)
            await produce(settings)
            await comes(lambda: asyncio.to_thread(told), "all bins judged and an alert")
            inputs = {"count": topics.reports, "detect": topics.counts, "notify": topics.incidents}
            return [
                await comes(lambda stage=stage, topic=topic: commits(settings, stage, topic), f"a commit of {stage}")  # type: ignore[misc]  # a lambda with defaults
                for stage, topic in inputs.items()
            ]

    metadata = asyncio.run(run())

    by_topic = {topic.name: records(settings, topic.name) for topic in layout(settings)}
    assert all(by_topic.values()), "something is in every topic"
    dead_letters = by_topic.pop(topics.dead_letters)
    reports = by_topic.pop(topics.reports)
    assert found_in(b"".join(value for _, value, _ in reports)) == ["as it is"]
    for topic, own in by_topic.items():
        for key, value, headers in own:
            assert found_in(key + b"\n" + value) == [], topic
            assert found_in(b"\n".join(name.encode() + value for name, value in headers)) == [], topic
    for text in metadata:
        assert found_in(text.encode()) == []
    for stage, registry in registries.items():
        shown = generate_latest(registry)
        assert f'stage="{stage}"'.encode() in shown
        assert found_in(shown) == []
    written = capsys.readouterr()
    assert "OPENED" in written.out
    assert found_in((log.getvalue() + written.out + written.err).encode()) == []

    # dead letters hold the record itself, but what is said about it does not quote the reporter
    reasons = set()
    for _, _, headers in dead_letters:
        about = {name: value.decode() for name, value in headers if name.startswith(("__connect", "tocsin"))}
        validator("reports.dlq.headers.json").validate(about)
        reasons.add(about["__connect.errors.exception.class.name"])
        assert about.pop("tocsin.original.key") == CANARY
        assert found_in(msgspec.json.encode(about)) == []
    assert reasons == set(Reason)
