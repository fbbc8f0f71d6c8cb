"""Reading what topics hold and then what comes, outside of any consumer group."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition

from streams.settings import Settings
from streams.topicreader import reader

#: How long one look for new records waits for some.
WAIT_MS = 200


class Record(NamedTuple):
    """One record; the value of a tombstone is empty."""

    topic: str
    partition: int
    key: bytes
    value: bytes


async def tail(settings: Settings, topics: Sequence[str], *, follow: bool) -> AsyncGenerator[list[Record], None]:
    """Yield the records of some topics behind counting, each partition in its order.

    Parameters
    ----------
    settings
        The deployment's settings.
    topics
        Their names; they must exist.
    follow
        Whether to go on with what comes, without end.

    Yields
    ------
    list
        First all that the topics hold now, then what has come since; often nothing.

    Raises
    ------
    UnreachableError, MissingRightError
        As `streams.topicreader.reader` does.
    """
    partitions = [TopicPartition(topic, each) for topic in topics for each in range(settings.kafka.counts_partitions)]
    async with reader(settings) as consumer:
        consumer.assign(partitions)
        ends = await consumer.end_offsets(partitions)
        await consumer.seek_to_beginning()
        held: list[Record] = []
        # the position, not the last offset: compaction may have removed the last records
        while any([await consumer.position(each) < end for each, end in ends.items()]):
            held += await _next(consumer)
        yield held
        while follow:
            yield await _next(consumer)


async def _next(consumer: AIOKafkaConsumer) -> list[Record]:
    batches = await consumer.getmany(timeout_ms=WAIT_MS)
    return [
        Record(each.topic, each.partition, each.key or b"", each.value or b"")
        for batch in batches.values()
        for each in batch
    ]
