"""What the stages use and write at a steady rate, and what a report takes on disk."""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from aiokafka import AIOKafkaProducer
from kafka import KafkaAdminClient
from kafka.admin import NewTopic

from benchmarks.child import in_child
from benchmarks.deployment import Deployment, bytes_on_disk
from benchmarks.feed import feed
from benchmarks.fleet import Fleet
from benchmarks.samples import Sample, Sampler
from streams.reportlog import LogRecord
from streams.worker import STAGES

#: The first seconds are not measured: the workers begin, and every name is new.
WARM_S, MEASURED_S = 70, 120
_DISK_BATCHES = 500


class Steady(NamedTuple):
    """What was seen over two minutes at `rate` reports a second of `keys` keys.

    `cpu` is CPU-seconds a second by process, `rss_bytes` the highest; `written` bytes a second by topic,
    `flushes` and `bins` how many there were in that time, of all partitions.
    """

    rate: float
    keys: int
    cpu: dict[str, float]
    rss_bytes: dict[str, int]
    written: dict[str, float]
    flushes: float
    bins: float
    seconds: float


class OnDisk(NamedTuple):
    """Bytes that a report and its key take in a batch of so many."""

    compression: str
    per_batch: int
    bytes_each: float


def steady(folder: Path, bootstrap_servers: str, rate: float) -> Steady:
    """Measure all three stages at a rate."""
    deployment = Deployment(folder, bootstrap_servers, f"steady-{rate:.0f}")
    with deployment.worker() as sampler, ThreadPoolExecutor(1) as pool:
        feeding = pool.submit(in_child, feed, deployment.settings, Fleet(rate, WARM_S + MEASURED_S + 5, 4))
        time.sleep(WARM_S)
        before, bytes_before = _whole(sampler), deployment.topic_bytes()
        time.sleep(MEASURED_S)
        after, bytes_after = _whole(sampler), deployment.topic_bytes()
        feeding.result()
    seconds = after.at_s - before.at_s
    return Steady(
        rate=rate,
        keys=round(after.keys or 0),
        cpu={name: (after.cpu_s[name] - before.cpu_s[name]) / seconds for name in before.cpu_s},
        rss_bytes={name: max(before.rss_bytes[name], after.rss_bytes[name]) for name in before.rss_bytes},
        written={name: (bytes_after[name] - size) / seconds for name, size in bytes_before.items()},
        flushes=(after.flushes or 0) - (before.flushes or 0),
        bins=(after.bins or 0) - (before.bins or 0),
        seconds=seconds,
    )


def _whole(sampler: Sampler) -> Sample:
    """Return a sample in which every stage has answered."""
    while (found := sampler.take()).lag_records.keys() != set(STAGES):
        time.sleep(1)
    return found


def on_disk(bootstrap_servers: str, compressions: Sequence[str], per_batch: Sequence[int]) -> list[OnDisk]:
    """Measure reports on disk, in batches of each size with each compression."""
    return [in_child(_on_disk, bootstrap_servers, each, many) for each in compressions for many in per_batch]


async def _on_disk(bootstrap_servers: str, compression: str, per_batch: int) -> OnDisk:
    topic = f"disk-{compression}-{per_batch}"
    with KafkaAdminClient(bootstrap_servers=bootstrap_servers.split(",")) as admin:
        admin.create_topics([NewTopic(topic, 1, 1)], wait_for_metadata=True)
    reports = itertools.islice(_reports(), _DISK_BATCHES * per_batch)
    written = 0
    async with AIOKafkaProducer(
        bootstrap_servers=bootstrap_servers, compression_type=None if compression == "none" else compression
    ) as producer:
        while own := list(itertools.islice(reports, per_batch)):
            batch = producer.create_batch()
            for each in own:
                batch.append(timestamp=each.timestamp_ms, key=each.key, value=each.value)
            await (await producer.send_batch(batch, topic, partition=0))
            written += len(own)
    return OnDisk(compression, per_batch, bytes_on_disk(bootstrap_servers, [topic])[topic] / written)


def _reports() -> Iterator[LogRecord]:
    fleet = Fleet(2000, 3600, 1)
    for number in range(fleet.seconds):
        yield from fleet.second(number, round(time.time() * 1000) // 1000 * 1000 + 1000 * number).records
