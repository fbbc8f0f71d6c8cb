"""A partition that goes to another worker: from then on only that one shows it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry

from streams.app import count_app
from streams.broker import EmbeddedBroker
from streams.intake import Intake
from streams.settings import Count, Kafka, Settings
from streams.topics import Cluster
from tests.support.reports import record, report
from tests.support.series import series
from tests.support.waiting import eventually


@asynccontextmanager
async def worker(settings: Settings) -> AsyncIterator[CollectorRegistry]:
    registry = CollectorRegistry()
    app = count_app(settings, registry)
    await app.start()
    try:
        yield registry
    finally:
        await app.stop()


def positions(registry: CollectorRegistry) -> dict[str, float]:
    """Return the processed position of each partition that a worker shows."""
    head, tail = 'tocsin_position{partition="', '",stage="count"}'
    found = series(registry)
    return {each.removeprefix(head).removesuffix(tail): value for each, value in found.items() if each.startswith(head)}


def partitions(registry: CollectorRegistry) -> set[str]:
    """Return the partitions that any series of a worker is about."""
    labels = [sample.labels for family in registry.collect() for sample in family.samples]
    return {each["partition"] for each in labels if "partition" in each}


def test_each_partition_is_shown_by_the_worker_that_has_it(broker: EmbeddedBroker) -> None:
    kafka = Kafka(
        bootstrap_servers=broker.bootstrap_servers,
        prefix="rebalanced",
        clock="log",
        reports_partitions=2,
        counts_partitions=1,
        session_timeout_s=2,
    )
    settings = Settings(kafka=kafka, count=Count(flush_s=0.1))
    with Cluster(settings) as cluster:
        cluster.create()
    with Intake(settings) as intake:
        intake.reports(record(1_748_088_000_000, report(), partition=each) for each in (0, 1, 1))

    async def scenario() -> None:
        async with worker(settings) as first:
            await eventually(lambda: positions(first) == {"0": 1, "1": 2}, "one worker has both")
            async with worker(settings) as second:
                await eventually(
                    lambda: len(positions(first)) == 1 and positions(first) | positions(second) == {"0": 1, "1": 2},
                    "each worker has one",
                )
                assert partitions(first) | partitions(second) == {"0", "1"}
                assert partitions(first) & partitions(second) == set()
            await eventually(lambda: positions(first) == {"0": 1, "1": 2}, "the first one has both again")

    asyncio.run(scenario())
