"""The reports that the count stage is measured on: made from a seed, written to Kafka, counted independently.

24 minutes of event time over two epochs, 2 million reports by 2.6 million people drawn at random, who keep to one
partition, service and region each: a million distinct reporters in the first epoch, where a fifth of the reports are
repeats. Half of all reports are about one service, 30 others share the rest. A report travels for 2 s on average, one
in 50 for up to 90 s.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from aiokafka import AIOKafkaProducer
from numpy.typing import NDArray

from streams.events import TICK_KEY
from streams.settings import Settings

START_MS = 1_748_088_000_000  # 24 May 2025, 12:00 UTC: the start of an epoch
SPAN_MS = 24 * 60_000
#: Append time of the tick that closes every partition: late enough to complete all bins.
CLOSING_MS = START_MS + SPAN_MS + 10 * 60_000
PARTITIONS = 4
#: Reporters for each report; together with the span this puts a million of them into the first epoch.
REPORTERS_PER_REPORT = 1.3

SERVICES = ["x", *(f"service{number:02}" for number in range(30))]
REGIONS = ["US", "GB", "DE", "FR", "IN", "BR", "JP", "CA", "AU", "ES", "IT", "MX"]
KINDS = ["app", "website"]

#: Service, region, kind and start of the bin.
CellName = tuple[str, str, str, int]


@dataclass(frozen=True)
class Workload:
    """Reports in append order, one element each in every array."""

    append_ms: NDArray[np.int64]
    time_ms: NDArray[np.int64]
    reporter: NDArray[np.int64]
    service: NDArray[np.int64]
    region: NDArray[np.int64]
    kind: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.append_ms)

    @property
    def partition(self) -> NDArray[np.int64]:
        """Partition of each report: that of its reporter."""
        return self.reporter % PARTITIONS

    def records(self, partition: int) -> Iterator[tuple[int, bytes, bytes]]:
        """Yield timestamp, key and value of the reports of a partition."""
        rows = np.flatnonzero(self.partition == partition)
        times = np.datetime_as_string(self.time_ms[rows].astype("datetime64[ms]"), timezone="UTC")
        columns = (self.append_ms, self.reporter, self.service, self.region, self.kind)
        for append_ms, reporter, service, region, kind, time in zip(
            *(column[rows].tolist() for column in columns), times.tolist(), strict=True
        ):
            key = f"{reporter:09x}"
            value = (
                f'{{"service":"{SERVICES[service]}","region":"{REGIONS[region]}","kind":"{KINDS[kind]}",'
                f'"reporter":"{key}","time":"{time}"}}'
            )
            yield append_ms, key.encode(), value.encode()


@dataclass(frozen=True)
class Truth:
    """What counting a workload must come to."""

    late: int
    duplicate: int
    reporters_of_an_epoch: int
    cells: Counter[CellName]


def make(reports: int, seed: int = 0) -> Workload:
    """Return a workload."""
    rng = np.random.default_rng(seed)
    delay_ms = rng.exponential(2_000, reports)
    slow = rng.random(reports) < 0.02
    delay_ms[slow] = rng.uniform(0, 90_000, int(slow.sum()))
    time_ms = START_MS + rng.integers(0, SPAN_MS, reports)
    append_ms = time_ms + delay_ms.astype(np.int64)
    order = np.argsort(append_ms, kind="stable")
    share = np.full(len(SERVICES), 0.5 / (len(SERVICES) - 1))
    share[0] = 0.5
    weight = 1 / np.arange(1, len(REGIONS) + 1)
    people = int(reports * REPORTERS_PER_REPORT)
    reporter = rng.integers(0, people, reports)
    return Workload(
        append_ms=append_ms[order],
        time_ms=time_ms[order],
        reporter=reporter,
        service=rng.choice(len(SERVICES), people, p=share)[reporter],
        region=rng.choice(len(REGIONS), people, p=weight / weight.sum())[reporter],
        kind=rng.integers(0, len(KINDS), reports),
    )


def count(workload: Workload, settings: Settings) -> Truth:
    """Return what counting comes to: by whole columns, with nothing of Tocsin's but its settings."""
    late = workload.append_ms - workload.time_ms > settings.count.lateness_ms
    epoch = workload.time_ms // settings.count.epoch_ms
    on_time = np.flatnonzero(~late)
    person = (workload.reporter * len(SERVICES) + workload.service) * 10 + epoch - epoch.min()
    _, first = np.unique(person[on_time], return_index=True)  # the first in append order
    accepted = on_time[first]
    bin_ms = workload.time_ms[accepted] // settings.count.bin_ms * settings.count.bin_ms
    columns = (workload.service, workload.region, workload.kind)
    names = zip(*(column[accepted].tolist() for column in columns), bin_ms.tolist(), strict=True)
    _, reporters = np.unique(epoch[accepted], return_counts=True)
    return Truth(
        late=int(late.sum()),
        duplicate=len(on_time) - len(accepted),
        reporters_of_an_epoch=int(reporters.max()),
        cells=Counter((SERVICES[service], REGIONS[region], KINDS[kind], at) for service, region, kind, at in names),
    )


async def write(workload: Workload, topics: Sequence[str], bootstrap_servers: str, *, closed: bool) -> float:
    """Write the reports to each topic, lz4-compressed in Kafka's default batches of 16 kB.

    Parameters
    ----------
    workload
        The reports.
    topics
        Topics with PARTITIONS partitions.
    bootstrap_servers
        Where Kafka is.
    closed
        Whether every partition ends with a tick that completes all bins.

    Returns
    -------
    float
        Mean size of a report in bytes.
    """
    size = 0
    async with AIOKafkaProducer(bootstrap_servers=bootstrap_servers, compression_type="lz4", acks="all") as producer:
        for partition in range(PARTITIONS):
            records: list[tuple[int, bytes, bytes | None]] = list(workload.records(partition))
            size += sum(len(value or b"") for _, _, value in records)
            if closed:
                records.append((CLOSING_MS, TICK_KEY, None))
            for topic in topics:
                await _write_partition(producer, topic, partition, records)
    return size / len(workload)


async def _write_partition(
    producer: AIOKafkaProducer, topic: str, partition: int, records: list[tuple[int, bytes, bytes | None]]
) -> None:
    sent = []
    batch = producer.create_batch()
    for timestamp_ms, key, value in records:
        if batch.append(timestamp=timestamp_ms, key=key, value=value) is None:  # it is full
            sent.append(await producer.send_batch(batch, topic, partition=partition))
            batch = producer.create_batch()
            batch.append(timestamp=timestamp_ms, key=key, value=value)
    sent.append(await producer.send_batch(batch, topic, partition=partition))
    await asyncio.gather(*sent)
