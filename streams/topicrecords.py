"""Reading whole records of the reports or their dead letters: offsets, times and headers too, outside of any group."""

from __future__ import annotations

import heapq
import time
from collections import deque
from collections.abc import AsyncGenerator
from typing import NamedTuple

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import ConsumerRecord, TopicPartition

from streams.settings import Settings
from streams.topicreader import reader
from streams.topics import UnreachableError

#: How long one look for new records waits for some, and how long reading may stand still.
_WAIT_MS = 500
STALLED_S = 60.0
_AT_ONCE = 500

Header = tuple[str, bytes | None]


class TopicRecord(NamedTuple):
    """One record as it stands in Kafka."""

    partition: int
    offset: int
    timestamp_ms: int
    key: bytes | None
    value: bytes | None
    headers: tuple[Header, ...]


async def held(settings: Settings, topic: str, since_ms: int | None = None) -> AsyncGenerator[TopicRecord, None]:
    """Yield the records that a topic holds now, in append order.

    Each partition keeps its order; between partitions the append times decide, the running maxima of the record
    timestamps. Memory holds some fetches of each partition, however long the topic is.

    Parameters
    ----------
    settings
        The deployment's settings.
    topic
        The reports topic or that of the dead letters; it must exist.
    since_ms
        Begin each partition with its first record that has this timestamp or a later one.

    Raises
    ------
    UnreachableError, MissingRightError
        As `streams.topicreader.reader` does.
    """
    async with reader(settings) as consumer:
        partitions = _assign(consumer, topic, settings)
        ends = await consumer.end_offsets(partitions)
        begins = await _begins(consumer, partitions, ends, since_ms)
        sources = [_Partition(consumer, each, ends[each], settings) for each in partitions if begins[each] < ends[each]]
        for source in sources:
            consumer.seek(source.tp, begins[source.tp])
        waiting = [(source.append_ms, source.tp.partition, source) for source in sources if await source.advance()]
        heapq.heapify(waiting)
        while waiting:
            _, number, source = waiting[0]
            yield source.record
            if await source.advance():
                heapq.heapreplace(waiting, (source.append_ms, number, source))
            else:
                heapq.heappop(waiting)


async def append_times(settings: Settings, topic: str) -> dict[int, int]:
    """Return the timestamp of the last record of each partition that has any.

    Raises
    ------
    UnreachableError, MissingRightError
        As `streams.topicreader.reader` does.
    """
    async with reader(settings) as consumer:
        partitions = _assign(consumer, topic, settings)
        ends = await consumer.end_offsets(partitions)
        begins = await consumer.beginning_offsets(partitions)
        found: dict[int, int] = {}
        for each in partitions:
            if begins[each] < ends[each]:
                consumer.seek(each, ends[each] - 1)
                source = _Partition(consumer, each, ends[each], settings)
                if await source.advance():
                    found[each.partition] = source.record.timestamp_ms
        return found


class _Partition:
    """One partition being read to its end: `record` is where the reading stands."""

    record: TopicRecord

    def __init__(self, consumer: AIOKafkaConsumer, tp: TopicPartition, end: int, settings: Settings) -> None:
        self.tp = tp
        self.append_ms = -1
        self._consumer = consumer
        self._end = end
        self._address = settings.kafka.bootstrap_servers
        self._fetched: deque[ConsumerRecord] = deque()

    async def advance(self) -> bool:
        """Go to the next record; return False if there is none."""
        stalled_s = time.monotonic() + STALLED_S
        # the position, not the last offset: compaction may have removed the last records
        while not self._fetched and await self._consumer.position(self.tp) < self._end:
            batches = await self._consumer.getmany(self.tp, timeout_ms=_WAIT_MS, max_records=_AT_ONCE)
            self._fetched.extend(each for each in batches.get(self.tp, []) if each.offset < self._end)
            if time.monotonic() > stalled_s:
                raise UnreachableError(
                    f"Kafka at {self._address} (kafka.bootstrap_servers) has given no record of {self.tp.topic} "
                    f"partition {self.tp.partition} for {STALLED_S:.0f} s"
                )
        if not self._fetched:
            return False
        each = self._fetched.popleft()
        self.record = TopicRecord(
            self.tp.partition, each.offset, each.timestamp, each.key, each.value, tuple(each.headers)
        )
        self.append_ms = max(self.append_ms, each.timestamp)
        return True


def _assign(consumer: AIOKafkaConsumer, topic: str, settings: Settings) -> list[TopicPartition]:
    partitions = [TopicPartition(topic, each) for each in range(settings.kafka.reports_partitions)]
    consumer.assign(partitions)
    return partitions


async def _begins(
    consumer: AIOKafkaConsumer, partitions: list[TopicPartition], ends: dict[TopicPartition, int], since_ms: int | None
) -> dict[TopicPartition, int]:
    if since_ms is None:
        begins: dict[TopicPartition, int] = await consumer.beginning_offsets(partitions)
        return begins
    found = await consumer.offsets_for_times(dict.fromkeys(partitions, max(since_ms, 0)))
    return {each: ends[each] if found.get(each) is None else found[each].offset for each in partitions}
