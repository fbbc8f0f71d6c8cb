"""A topic of its own for a test of the transport, and reading it with a stage that only notes."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.structs import OffsetAndMetadata, TopicPartition
from faust.types import TP
from kafka import KafkaAdminClient
from kafka.admin import NewTopic

from streams.broker import EmbeddedBroker
from streams.settings import Kafka, Settings
from tests.support.recorder import Recorder, recording
from tests.support.waiting import eventually

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
