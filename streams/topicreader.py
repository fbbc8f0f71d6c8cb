"""Reading a partition from its beginning to its present end, outside of any consumer group."""

from __future__ import annotations

from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition
from faust.types import TP

from streams.settings import Settings


class TopicReader:
    """Reads whole partitions.

    Parameters
    ----------
    settings
        The deployment's settings.
    """

    def __init__(self, settings: Settings) -> None:
        self._servers = settings.kafka.bootstrap_servers

    async def read(self, tp: TP) -> list[tuple[bytes, bytes | None]]:
        """Return key and value of every record of a partition, in log order; None is a tombstone.

        Raises
        ------
        aiokafka.errors.KafkaError
            If the partition cannot be read.
        """
        partition = TopicPartition(tp.topic, tp.partition)
        consumer = AIOKafkaConsumer(
            bootstrap_servers=self._servers, auto_offset_reset="earliest", enable_auto_commit=False
        )
        await consumer.start()
        try:
            consumer.assign([partition])
            end = (await consumer.end_offsets([partition]))[partition]
            await consumer.seek_to_beginning(partition)
            records: list[tuple[bytes, bytes | None]] = []
            # the position, not the last offset: compaction may have removed the last records
            while await consumer.position(partition) < end:
                batches = await consumer.getmany(partition, timeout_ms=1000)
                own = [record for record in batches.get(partition, []) if record.offset < end]
                records += [(record.key or b"", record.value) for record in own]
            return records
        finally:
            await consumer.stop()
