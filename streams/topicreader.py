"""Reading outside of any consumer group: what all readers use, and whole partitions to their present end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError
from aiokafka.structs import TopicPartition
from faust.types import TP

from streams.security import MissingRightError, Operation, Resource, Right, client_arguments
from streams.settings import Settings
from streams.topics import unreached


@asynccontextmanager
async def reader(settings: Settings) -> AsyncIterator[AIOKafkaConsumer]:
    """Yield a consumer of no group, to be given partitions and positions.

    Raises
    ------
    UnreachableError
        If Kafka does not answer or does not let us in, now or until the context ends.
    MissingRightError
        If a topic may not be read.
    """
    try:
        async with _started(settings) as consumer:
            yield consumer
    except TopicAuthorizationFailedError as error:
        right = Right(Operation.READ, Resource.TOPIC, str(error.args[0]))
        raise MissingRightError(settings.kafka, [right]) from None
    except KafkaError as error:
        raise await unreached(settings.kafka, error) from None


@asynccontextmanager
async def _started(settings: Settings) -> AsyncIterator[AIOKafkaConsumer]:
    arguments = client_arguments(settings.kafka)
    consumer = AIOKafkaConsumer(**arguments, auto_offset_reset="earliest", enable_auto_commit=False)
    try:
        await consumer.start()
        yield consumer
    finally:
        await _stop(consumer)


async def _stop(consumer: AIOKafkaConsumer) -> None:
    try:
        await consumer.stop()
    except asyncio.CancelledError:
        # of a fetch from a broker that is gone; aiokafka cancels it, and hands that on as if it were meant for us
        task = asyncio.current_task()
        if task is None or task.cancelling():
            raise


class TopicReader:
    """Reads whole partitions.

    Parameters
    ----------
    settings
        The deployment's settings.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    async def read(self, tp: TP) -> list[tuple[bytes, bytes | None]]:
        """Return key and value of every record of a partition, in log order; None is a tombstone.

        Raises
        ------
        aiokafka.errors.KafkaError
            If the partition cannot be read.
        """
        partition = TopicPartition(tp.topic, tp.partition)
        async with _started(self._settings) as consumer:
            consumer.assign([partition])
            end = (await consumer.end_offsets([partition]))[partition]
            await consumer.seek_to_beginning(partition)
            records: list[tuple[bytes, bytes | None]] = []
            # the position, not the last offset: compaction may have removed the last records
            while await consumer.position(partition) < end:
                batches = await consumer.getmany(partition, timeout_ms=1000)
                read = [record for record in batches.get(partition, []) if record.offset < end]
                records += [(record.key or b"", record.value) for record in read]
            return records
