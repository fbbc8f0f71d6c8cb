"""What the detect stage says beside its facts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import cast

import numpy as np
from faust.types import TP
from prometheus_client import CollectorRegistry
from structlog.testing import capture_logs

from streams.chunks import Chunk
from streams.events import SENSOR, Cell, Frame, Mark, encode
from streams.metrics import DetectMetrics
from streams.publisher import Outgoing, Publisher
from streams.settings import Detect, Kafka, Settings
from streams.stages.detect import DetectStage
from streams.transport import Committed

START_MS, MINUTE_MS = 1_748_088_000_000, 60_000
COUNTS = TP("tocsin.counts", 0)


class _Published:
    async def publish(self, _: Iterable[Outgoing], wanted: Callable[[], bool] = lambda: True) -> bool:
        return wanted()


def chunks(settings: Settings, regions: list[int]) -> list[Chunk]:
    """Return a chunk a minute, in which so many regions of a service report."""
    made = []
    for minute, number in enumerate(regions):
        at_ms = START_MS + minute * MINUTE_MS
        cells = [Cell("x", f"R{each}", "app", at_ms, 1) for each in range(number)]
        cells.append(Cell(SENSOR, SENSOR, "reports", at_ms, number))
        frame = Frame(counting=settings.counting, source=0, cells=cells)
        mark = Mark(counting=settings.counting, source=0, watermark_ms=at_ms + MINUTE_MS)
        made.append(
            Chunk(
                tp=COUNTS,
                assignment=1,
                start=2 * minute,
                end=2 * minute + 2,
                offsets=np.arange(2 * minute, 2 * minute + 2),
                timestamps_ms=np.full(2, at_ms),
                keys=[b"0", b"0"],
                values=[encode(frame), encode(mark)],
            )
        )
    return made


def test_more_keys_than_the_budget_is_for_are_told_of_once() -> None:
    settings = Settings(
        kafka=Kafka(reports_partitions=1, counts_partitions=1), detect=Detect(detector="limit", fleet_keys=3)
    )

    async def read_partition(_: TP) -> list[tuple[bytes, bytes | None]]:
        return []

    async def run() -> None:
        metrics = DetectMetrics(CollectorRegistry(), settings)
        stage = DetectStage(settings, cast("Publisher", _Published()), metrics, read_partition)
        await stage.start({COUNTS: Committed(None, "", 0, 0)})
        for chunk in chunks(settings, [2, 3, 4, 5]):
            await stage.take(chunk)

    with capture_logs() as logs:
        asyncio.run(run())
    told = [(each["keys"], each["fleet_keys"]) for each in logs if "detect.fleet_keys" in each["event"]]
    assert told == [(4, 3)]
