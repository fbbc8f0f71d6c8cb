"""What a cluster has stated beside what a replay of its reports states: the strongest check there is."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition
from faust.types import TP

from streams.events import Levels, decode
from streams.frames import service_partition
from streams.replay import Replay
from streams.reportlog import LogRecord
from streams.settings import Settings
from streams.snapshots import Packed
from streams.topicreader import TopicReader
from streams.topics import Topics

#: Topic and key of a fact; levels are named by service and bin.
FactName = tuple[str, str]
_BATCH_RECORDS = 20_000


class Stated(NamedTuple):
    """What the topics hold: every value under each name, and the last bin judged in each partition."""

    values: dict[FactName, set[bytes]]
    judged_ms: dict[int, int]
    records: int


class Comparison(NamedTuple):
    """Facts stated and replayed, by name: how many there are, and those that are not alike."""

    facts: int
    contradicted: list[FactName]
    missing: list[FactName]
    surplus: list[FactName]
    differing: list[FactName]

    @property
    def same(self) -> bool:
        """Whether the cluster has stated what a replay states, each fact with one value."""
        return not (self.contradicted or self.missing or self.surplus or self.differing)


def stated(settings: Settings) -> Stated:
    """Return the facts in the topics of incidents, outages and levels."""
    return asyncio.run(_stated(settings))


async def _stated(settings: Settings) -> Stated:
    topics = Topics(settings.kafka.prefix)
    reader = TopicReader(settings)
    values: dict[FactName, set[bytes]] = defaultdict(set)
    judged_ms: dict[int, int] = {}
    records = 0
    for partition in range(settings.kafka.counts_partitions):
        for name, topic in (("incidents", topics.incidents), ("outages", topics.outages)):
            for key, value in await reader.read(TP(topic, partition)):
                values[name, key.decode()].add(value or b"")
                records += 1
        for _, value in await reader.read(TP(topics.levels, partition)):
            levels = decode(value or b"", Levels)
            values[_levels_name(levels.service, levels.bin_ms)].add(value or b"")
            judged_ms[partition] = max(levels.bin_ms, judged_ms.get(partition, 0))
            records += 1
    return Stated(dict(values), judged_ms, records)


def replayed(
    settings: Settings, baselines: Mapping[int, Iterable[Packed]], judged_ms: Mapping[int, int]
) -> dict[FactName, bytes]:
    """Return the facts that a replay of the reports topic states, up to the last bin judged in each partition."""
    replay = Replay(
        settings, {partition: [(each.key, each.value) for each in own] for partition, own in baselines.items()}
    )
    found: dict[FactName, bytes] = {}
    for judgement in replay.run(_reports(settings)):
        for fact in judgement.facts:
            if judgement.bin_ms <= judged_ms.get(service_partition(fact.service, settings), 0):
                is_levels = fact.topic == "levels"
                name = _levels_name(fact.service, judgement.bin_ms) if is_levels else (fact.topic, fact.key.decode())
                found[name] = fact.value
    return found


def compare(values: Mapping[FactName, set[bytes]], replayed: Mapping[FactName, bytes]) -> Comparison:
    """Return how what was stated differs from a replay."""
    return Comparison(
        facts=len(values),
        contradicted=sorted(name for name, own in values.items() if len(own) > 1),
        missing=sorted(replayed.keys() - values.keys()),
        surplus=sorted(values.keys() - replayed.keys()),
        differing=sorted(name for name, own in values.items() if name in replayed and replayed[name] not in own),
    )


def _levels_name(service: str, bin_ms: int) -> FactName:
    return "levels", f"{service}/{bin_ms}"


def _reports(settings: Settings) -> Iterator[LogRecord]:
    """Yield what the reports topic holds now, each partition in its order."""
    topic = Topics(settings.kafka.prefix).reports
    partitions = [TopicPartition(topic, each) for each in range(settings.kafka.reports_partitions)]
    with asyncio.Runner() as runner:
        consumer = runner.run(_started(settings, partitions))
        try:
            ends = runner.run(consumer.end_offsets(partitions))
            while any(runner.run(consumer.position(each)) < end for each, end in ends.items()):
                batches = runner.run(consumer.getmany(timeout_ms=1000, max_records=_BATCH_RECORDS))
                for partition, records in batches.items():
                    for record in records:
                        if record.offset < ends[partition]:
                            yield LogRecord(record.timestamp, record.partition, record.key, record.value)
        finally:
            runner.run(consumer.stop())


async def _started(settings: Settings, partitions: list[TopicPartition]) -> AIOKafkaConsumer:
    consumer = AIOKafkaConsumer(
        bootstrap_servers=settings.kafka.bootstrap_servers, auto_offset_reset="earliest", enable_auto_commit=False
    )
    await consumer.start()
    consumer.assign(partitions)
    await consumer.seek_to_beginning()
    return consumer
