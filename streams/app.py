"""The whole flow: three agents, each in a Faust app and a consumer group of its own.

reports ──> count ──> counts ──> detect ──> incidents, outages, levels ──> notify ──> alerts
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterable, Callable
from functools import partial

from prometheus_client import CollectorRegistry

from streams.chunks import Chunk
from streams.metrics import CountMetrics, DetectMetrics, NotifyMetrics
from streams.notify.console import Console
from streams.publisher import Publisher
from streams.settings import Settings
from streams.stageapp import StageApp, stage_app
from streams.stages.count import CountStage
from streams.stages.detect import DetectStage
from streams.stages.notify import NotifyStage
from streams.topicreader import TopicReader
from streams.topics import Topics


def count_app(settings: Settings, registry: CollectorRegistry) -> StageApp:
    """Return the app that counts reports: frames and marks come out, dead letters aside."""
    app = stage_app(settings, "count")
    reports = Topics(settings.kafka.prefix).reports
    metrics = CountMetrics(registry, settings, partial(app.end_offset, reports))
    stage = CountStage(settings, Publisher(app, metrics), metrics)
    app.stage = stage

    @app.agent(app.chunks(reports), name="count")
    async def count(chunks: AsyncIterable[Chunk]) -> None:
        async for chunk in chunks:
            if app.is_current(chunk):
                await stage.take(chunk)

    @app.timer(settings.count.flush_s)  # type: ignore[untyped-decorator]  # Faust does not type it
    async def flush() -> None:
        await stage.flush()
        await stage.tick()

    return app


def detect_app(settings: Settings, registry: CollectorRegistry, *, apply_settings: bool = False) -> StageApp:
    """Return the app that judges bins: incidents, outages, levels and snapshots come out."""
    app = stage_app(settings, "detect")
    counts = Topics(settings.kafka.prefix).counts
    metrics = DetectMetrics(registry, settings, partial(app.end_offset, counts))
    read = TopicReader(settings).read
    stage = DetectStage(settings, Publisher(app, metrics), metrics, read, apply_settings=apply_settings)
    app.stage = stage

    @app.agent(app.chunks(counts), name="detect")
    async def detect(chunks: AsyncIterable[Chunk]) -> None:
        async for chunk in chunks:
            if app.is_current(chunk):
                await stage.take(chunk)

    return app


def notify_app(settings: Settings, registry: CollectorRegistry) -> StageApp:
    """Return the app that tells people: alerts come out, each once."""
    app = stage_app(settings, "notify")
    incidents = Topics(settings.kafka.prefix).incidents
    metrics = NotifyMetrics(registry, settings, partial(app.end_offset, incidents))
    stage = NotifyStage(settings, Publisher(app, metrics), metrics, [Console(sys.stdout)])
    app.stage = stage

    @app.agent(app.chunks(incidents), name="notify")
    async def notify(chunks: AsyncIterable[Chunk]) -> None:
        async for chunk in chunks:
            if app.is_current(chunk):
                await stage.take(chunk)

    return app


#: The app of each stage.
APPS: dict[str, Callable[[Settings, CollectorRegistry], StageApp]] = {
    "count": count_app,
    "detect": detect_app,
    "notify": notify_app,
}
