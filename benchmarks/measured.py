"""The two workers that are compared; each measures the process it runs in."""

from __future__ import annotations

import asyncio
import resource
import sys
import time
from collections import Counter
from collections.abc import AsyncIterable, Callable
from typing import NamedTuple

import faust
from prometheus_client import CollectorRegistry

from benchmarks.workload import CLOSING_MS, PARTITIONS
from streams.app import count_app
from streams.settings import Settings
from streams.stages.count import CountStage
from streams.worker import settle_collector

_POLL_S = 0.2


class Measured(NamedTuple):
    """What a worker used for a number of records; `cpu_s` is user and system time of all threads."""

    records: int
    cpu_s: float
    wall_s: float
    peak_rss_bytes: int

    @property
    def per_cpu_s(self) -> float:
        """Records per second of processor time."""
        return self.records / self.cpu_s


class _Span:
    """Processor and wall time of this process since it was made."""

    def __init__(self) -> None:
        self._cpu_s, self._wall_s = time.process_time(), time.monotonic()

    def measured(self, records: int) -> Measured:
        rss_unit = 1 if sys.platform == "darwin" else 1024
        peak_rss_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * rss_unit
        return Measured(records, time.process_time() - self._cpu_s, time.monotonic() - self._wall_s, peak_rss_bytes)


async def tocsin(settings: Settings, records: int) -> Measured:
    """Run the count stage over the reports topic, from the assignment to the acknowledgement of the last mark."""
    registry = CollectorRegistry()
    app = count_app(settings, registry)
    settle_collector()
    stage = app.stage
    assert isinstance(stage, CountStage)
    last_s = (CLOSING_MS - settings.count.lateness_ms) / 1000

    def is_done() -> bool:
        name = "tocsin_count_watermark_seconds"  # set when a flush is acknowledged
        return all(registry.get_sample_value(name, {"partition": str(n)}) == last_s for n in range(PARTITIONS))

    await _run_until(app, lambda: stage.started)
    span = _Span()
    await _run_until(app, is_done)
    return span.measured(records)


class StockReport(faust.Record, serializer="json"):
    """A report as Faust's manual would have it."""

    service: str
    region: str
    kind: str
    reporter: str
    time: str


async def stock_faust(bootstrap_servers: str, topic: str, records: int) -> Measured:
    """Run a stock Faust agent that counts by service, region and minute, from the first record to the last one."""
    app = faust.App(topic, broker=f"kafka://{bootstrap_servers}", autodiscover=False, web_enabled=False)
    counts: Counter[tuple[str, str, str]] = Counter()
    spans: list[_Span] = []
    results: list[Measured] = []

    @app.agent(app.topic(topic, value_type=StockReport))
    async def count(stream: AsyncIterable[StockReport]) -> None:
        left = records
        async for report in stream:
            if left == records:
                spans.append(_Span())
            counts[report.service, report.region, report.time[:16]] += 1
            left -= 1
            if not left:
                results.append(spans[0].measured(records))

    await _run_until(app, lambda: bool(results))
    return results[0]


async def _run_until(app: faust.App, condition: Callable[[], bool]) -> None:
    """Start `app` unless it runs and return when the condition holds.

    Raises
    ------
    RuntimeError
        If the app crashes before.
    """
    if not app.started:
        _starting.append(asyncio.create_task(app.start()))
    while not condition():
        if app.crashed:
            raise RuntimeError(f"the worker crashed: {app.crash_reason!r}")
        await asyncio.sleep(_POLL_S)


_starting: list[asyncio.Task[None]] = []
