"""Writing a fleet's reports to Kafka as they happen, second by second."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable
from itertools import groupby
from typing import NamedTuple

from aiokafka import AIOKafkaProducer
from aiokafka.producer.message_accumulator import BatchBuilder
from aiokafka.structs import RecordMetadata

from benchmarks.fleet import Fleet
from streams.reportlog import LogRecord
from streams.settings import Settings
from streams.topics import Topics

#: The records of one slice and partition are written as one batch.
SLICE_MS = 100
_BATCH_BYTES = 1 << 20


class Fed(NamedTuple):
    """What was written: records, of them so many late or no reports; `behind_s` is the greatest delay of a slice."""

    records: int
    late: int
    malformed: int
    behind_s: float


async def feed(settings: Settings, fleet: Fleet, compression: str | None = "gzip") -> Fed:
    """Write the records of a fleet in real time and return when all of them are acknowledged."""
    records = late = malformed = 0
    behind_s = 0.0
    topic = Topics(settings.kafka.prefix).reports
    async with AIOKafkaProducer(
        bootstrap_servers=settings.kafka.bootstrap_servers,
        compression_type=compression,
        acks="all",
        enable_idempotence=True,
        max_batch_size=_BATCH_BYTES,
    ) as producer:
        start_s = time.time()
        sent: list[asyncio.Future[RecordMetadata]] = []
        for number in range(fleet.seconds):
            second = fleet.second(number, round((start_s + number) * 1000))
            for due_ms, slice_ in groupby(second.records, lambda record: record.timestamp_ms // SLICE_MS * SLICE_MS):
                ahead_s = (due_ms + SLICE_MS) / 1000 - time.time()
                await asyncio.sleep(max(0.0, ahead_s))
                behind_s = max(behind_s, -ahead_s)
                sent += await _write(producer, topic, slice_)
            done, sent = sent[: len(sent) // 2], sent[len(sent) // 2 :]
            await asyncio.gather(*done)
            records += len(second.records)
            late += second.late
            malformed += second.malformed
        await asyncio.gather(*sent)
    return Fed(records, late, malformed, behind_s)


async def _write(
    producer: AIOKafkaProducer, topic: str, records: Iterable[LogRecord]
) -> list[asyncio.Future[RecordMetadata]]:
    """Begin to write records, one batch for each partition."""
    batches: dict[int, BatchBuilder] = defaultdict(producer.create_batch)
    for record in records:
        batches[record.partition].append(timestamp=record.timestamp_ms, key=record.key, value=record.value)
    return [await producer.send_batch(batch, topic, partition=partition) for partition, batch in batches.items()]
