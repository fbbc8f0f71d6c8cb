"""The two workers that are compared, each in a process of its own that measures itself."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterable, Callable, Coroutine
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import faust
from prometheus_client import CollectorRegistry

from benchmarks.workload import CLOSING_MS, PARTITIONS
from streams.app import count_app
from streams.settings import Settings
from streams.stages.count import CountStage

_POLL_S = 0.05


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


class BenchmarkError(Exception):
    """A worker did not come to its end, or to a wrong one."""


def tocsin(settings: Settings, records: int) -> Measured:
    """Run the count stage over all records of the reports topic, in a new process.

    Measured is from the assignment of the partitions to the acknowledgement of the last frame and mark.
    """
    return _in_child(_tocsin, settings, records)


def stock_faust(bootstrap_servers: str, topic: str, records: int) -> Measured:
    """Run Faust as its manual shows it over all records of a topic, in a new process.

    Measured is from the first record to the last one.
    """
    return _in_child(_stock_faust, bootstrap_servers, topic, records)


class _Span:
    """Processor and wall time of this process since it was made."""

    def __init__(self) -> None:
        self._cpu_s, self._wall_s = time.process_time(), time.monotonic()

    def measured(self, records: int) -> Measured:
        rss_unit = 1 if sys.platform == "darwin" else 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * rss_unit
        return Measured(records, time.process_time() - self._cpu_s, time.monotonic() - self._wall_s, peak)


async def _tocsin(settings: Settings, records: int) -> Measured:
    registry = CollectorRegistry()
    app = count_app(settings, registry)
    stage = app.stage
    assert isinstance(stage, CountStage)
    last_s = (CLOSING_MS - settings.count.lateness_ms) / 1000

    def is_done() -> bool:
        name = "tocsin_count_watermark_seconds"
        return all(registry.get_sample_value(name, {"partition": str(n)}) == last_s for n in range(PARTITIONS))

    await _start(app)
    await _wait(app, lambda: stage.started)
    span = _Span()
    await _wait(app, is_done)
    return span.measured(records)


class _Report(faust.Record, serializer="json"):
    service: str
    region: str
    kind: str
    reporter: str
    time: str


async def _stock_faust(bootstrap_servers: str, topic: str, records: int) -> Measured:
    app = faust.App(topic, broker=f"kafka://{bootstrap_servers}", autodiscover=False, web_enabled=False)
    counts: Counter[tuple[str, str, str]] = Counter()
    spans: list[_Span] = []
    results: list[Measured] = []

    @app.agent(app.topic(topic, value_type=_Report))
    async def count(stream: AsyncIterable[_Report]) -> None:
        counted = 0
        async for report in stream:
            if not counted:
                spans.append(_Span())
            minute = report.time[:16]
            counts[report.service, report.region, minute] += 1
            counted += 1
            if counted == records:
                results.append(spans[0].measured(records))

    await _start(app)
    await _wait(app, lambda: bool(results))
    if counts.total() != records:
        raise BenchmarkError(f"stock Faust counted {counts.total()} of {records} records")
    return results[0]


_running: list[asyncio.Task[None]] = []


async def _start(app: faust.App) -> None:
    _running.append(asyncio.create_task(app.start()))


async def _wait(app: faust.App, condition: Callable[[], bool]) -> None:
    while not condition():
        if app.crashed:
            raise BenchmarkError(f"the worker crashed: {app.crash_reason!r}")
        await asyncio.sleep(_POLL_S)


def _in_child(function: Callable[..., Coroutine[Any, Any, Measured]], *arguments: Any) -> Measured:
    context = multiprocessing.get_context("spawn")
    receiving, sending = context.Pipe(duplex=False)
    with tempfile.TemporaryDirectory() as folder:
        child = context.Process(target=_child, args=(folder, sending, function, arguments))
        child.start()
        sending.close()
        try:
            result = receiving.recv()
        except EOFError:
            raise BenchmarkError(f"{function.__name__} ended with {child.exitcode}") from None
        finally:
            child.join()
    if isinstance(result, BaseException):
        raise result
    assert isinstance(result, Measured)
    return result


def _child(
    folder: str, sending: Connection, function: Callable[..., Coroutine[Any, Any, Measured]], arguments: Any
) -> None:
    os.chdir(folder)  # Faust leaves a folder of its own where it runs

    async def run() -> None:
        sending.send(await function(*arguments))
        # what was measured is over; an orderly stop of Faust only takes time
        os._exit(0)

    asyncio.run(run())
