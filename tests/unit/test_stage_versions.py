"""A stage that meets a record of a version that it does not know stops before it writes anything."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import msgspec
import numpy as np
import pytest
from faust.types import TP
from prometheus_client import CollectorRegistry

from streams.bins import BinRebuild
from streams.chunks import Chunk
from streams.counting import Rebuild
from streams.events import Mark, encode
from streams.metrics import CountMetrics, DetectMetrics, NotifyMetrics
from streams.publisher import Outgoing
from streams.replay import Replay
from streams.settings import Detect, Kafka, Limit, Settings
from streams.snapshots import pack, unpack
from streams.stages.count import CountStage
from streams.stages.detect import DetectStage, Floor
from streams.stages.notify import Delivered, NotifyStage
from streams.transport import Committed
from streams.versions import VersionError
from tests.support.reports import record, report
from tests.support.statedrecords import stated

START_MS = 1_748_088_000_000
SETTINGS = Settings(
    kafka=Kafka(reports_partitions=1, counts_partitions=2), detect=Detect(detector="limit", limit=Limit(above=30))
)
LOG = [record(START_MS + 1000 * second, report(reporter=str(second))) for second in range(1200)]
REPORTS, COUNTS, INCIDENTS = TP("tocsin.reports", 0), TP("tocsin.counts", 1), TP("tocsin.incidents", 1)
FRESH = Committed(None, "", 0, 100)

Records = list[tuple[bytes, bytes | None]]


class Published:
    """Takes what a stage writes."""

    def __init__(self) -> None:
        self.records: list[Outgoing] = []

    async def publish(self, records: Iterable[Outgoing], wanted: Callable[[], bool] = lambda: True) -> bool:
        self.records += records
        return wanted()


def newer(value: bytes) -> bytes:
    return msgspec.json.encode(msgspec.json.decode(value) | {"version": 2})


def committed(commit: Any) -> Committed:
    """Return what Kafka knows of a partition after a Tocsin of the next version."""
    return Committed(7, newer(msgspec.json.encode(commit)).decode(), 0, 100)


def chunk(tp: TP, *records: tuple[bytes | None, bytes | None]) -> Chunk:
    return Chunk(
        tp=tp,
        assignment=1,
        start=0,
        end=len(records),
        offsets=np.arange(len(records)),
        timestamps_ms=np.full(len(records), START_MS),
        keys=[key for key, _ in records],
        values=[value for _, value in records],
    )


def refusal(work: Awaitable[object], published: Published) -> str:
    """Return why a stage stops; it has written nothing by then."""

    async def wait() -> None:
        await work

    with pytest.raises(VersionError) as caught:
        asyncio.run(wait())
    assert published.records == []
    return str(caught.value)


def count(published: Any) -> CountStage:
    return CountStage(SETTINGS, published, CountMetrics(CollectorRegistry(), SETTINGS))


def notify(published: Any) -> NotifyStage:
    return NotifyStage(SETTINGS, published, NotifyMetrics(CollectorRegistry(), SETTINGS), [])


def detect(published: Any, held: Mapping[TP, Records] = {}, *, apply_settings: bool = False) -> DetectStage:
    async def read_partition(tp: TP) -> Records:
        return held.get(tp, [])

    metrics = DetectMetrics(CollectorRegistry(), SETTINGS)
    return DetectStage(SETTINGS, published, metrics, read_partition, apply_settings=apply_settings)


def test_count_at_a_newer_commit() -> None:
    published = Published()
    commit = Rebuild(offset=7, counting=SETTINGS.counting, floor_ms=START_MS, append_ms=START_MS)
    message = refusal(count(published).start({REPORTS: committed(commit)}), published)
    assert message.startswith("tocsin.reports partition 0, committed offset 7: commit version 2, but this Tocsin knows")


def test_detect_at_a_newer_commit() -> None:
    published = Published()
    commit = Floor(START_MS, SETTINGS.detecting, BinRebuild(7, SETTINGS.counting, START_MS, 0, None))
    message = refusal(detect(published).start({COUNTS: committed(commit)}), published)
    assert message.startswith("tocsin.counts partition 1, committed offset 7: commit version 2, but this Tocsin knows")


def test_notify_at_a_newer_commit() -> None:
    published = Published()
    message = refusal(notify(published).start({INCIDENTS: committed(Delivered(7))}), published)
    assert message.startswith("tocsin.incidents partition 1, committed offset 7: commit version 2, but this Tocsin")


@pytest.mark.parametrize("apply_settings", [False, True])
@pytest.mark.parametrize("topic", ["baselines", "incidents", "outages"])
def test_detect_at_newer_records_of_its_own(topic: str, apply_settings: bool) -> None:
    published = Published()
    if topic == "baselines":
        first = next(each for judgement in Replay(SETTINGS).run(LOG) for each in judgement.snapshots)
        changed = pack(msgspec.structs.replace(unpack(first.key, first.value), version=2))
        key, value = changed.key, changed.value
    else:
        first_stated = stated(SETTINGS, LOG, {})[topic][0]
        key, value = first_stated.key, newer(first_stated.value)
    stage = detect(published, {TP(f"tocsin.{topic}", 1): [(key, value)]}, apply_settings=apply_settings)

    message = refusal(stage.start({TP("tocsin.counts", 0): FRESH, COUNTS: FRESH}), published)

    assert f"tocsin.{topic}" in message
    assert "partition 1: " in message
    assert key.decode() in message
    assert f"{topic.removesuffix('s')} version 2, but this Tocsin knows version 1" in message


def test_detect_at_a_newer_counts_record_behind_others() -> None:
    published = Published()
    stage = detect(published)
    own = [each.value for each in stated(SETTINGS, LOG, {})["counts"]]
    later = newer(encode(Mark(counting=SETTINGS.counting, source=0, watermark_ms=START_MS)))

    async def work() -> None:
        await stage.start({COUNTS: FRESH})
        await stage.take(chunk(COUNTS, *((b"0", value) for value in [*own, later])))

    message = refusal(work(), published)
    assert message.startswith(f"tocsin.counts partition 1 offset {len(own)}: counts version 2, but this Tocsin knows")
    assert stage.commit_points() == {}


def test_notify_at_a_newer_incident_behind_others() -> None:
    published = Published()
    stage = notify(published)
    first, *_ = stated(SETTINGS, LOG, {})["incidents"]

    async def work() -> None:
        await stage.start({INCIDENTS: FRESH})
        await stage.take(chunk(INCIDENTS, (first.key, first.value), (b"x.GB.20250524T1202Z/1", newer(first.value))))

    message = refusal(work(), published)
    assert message.startswith("tocsin.incidents partition 1 offset 1: incident version 2, but this Tocsin knows")
    assert stage.commit_points() == {}
