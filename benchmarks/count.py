"""The count stage beside stock Faust, on a real Kafka: records per second of processor time, and memory.

    python benchmarks/count.py [--quick] [--runs N]

Starts the embedded Kafka, writes 2 million reports, has one worker count them, checks every count against an
independent one, and prints a table. Leaves nothing behind.
"""

from __future__ import annotations

import argparse
import asyncio
import platform
import statistics
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import psutil
from faust.types import TP
from kafka import KafkaAdminClient
from kafka.admin import NewTopic
from rich.console import Console
from rich.table import Table

from benchmarks import measured, workload
from benchmarks.measured import BenchmarkError, Measured
from benchmarks.workload import PARTITIONS, Truth
from streams.broker import EmbeddedBroker
from streams.events import SENSOR, Frame, decode_counts
from streams.settings import Kafka, Settings
from streams.topicreader import TopicReader
from streams.topics import Cluster, Topics

RUNS = 3
REPORTS, STOCK_REPORTS = 2_000_000, 60_000
QUICK_REPORTS, QUICK_STOCK_REPORTS = 200_000, 10_000
STOCK_TOPIC = "stock-{}.reports"


def main() -> None:
    """Run the benchmark as the command line says."""
    parser = argparse.ArgumentParser(description="Measure the count stage beside stock Faust on the embedded Kafka.")
    parser.add_argument("--quick", action="store_true", help="a tenth of the reports, one run: to see that it works")
    parser.add_argument("--runs", type=int, help=f"runs of each worker (default {RUNS})")
    options = parser.parse_args()
    runs = options.runs or (1 if options.quick else RUNS)
    reports, stock_reports = (QUICK_REPORTS, QUICK_STOCK_REPORTS) if options.quick else (REPORTS, STOCK_REPORTS)
    console = Console()
    with EmbeddedBroker() as broker:
        results = measure(console, broker.bootstrap_servers, runs, reports, stock_reports)
    show(console, *results)


def measure(
    console: Console, bootstrap_servers: str, runs: int, reports: int, stock_reports: int
) -> tuple[list[Measured], list[Measured], Truth, float]:
    """Write the reports and run the two workers in turn.

    Returns
    -------
    Tocsin's runs, stock Faust's runs, what counting had to come to, mean size of a report in bytes.
    """
    ours = [
        Settings(kafka=Kafka(bootstrap_servers=bootstrap_servers, prefix=f"bench-{run}", clock="log"))
        for run in range(runs)
    ]
    stock = [STOCK_TOPIC.format(run) for run in range(runs)]
    console.print(f"writing {reports:,} reports for each run ...")
    truth, size = write(bootstrap_servers, ours, stock, reports, stock_reports)
    of_tocsin, of_faust = [], []
    for settings, topic in zip(ours, stock, strict=True):
        of_tocsin.append(measured.tocsin(settings, reports))
        check(settings, truth)
        console.print(f"tocsin       {describe(of_tocsin[-1])}, every count right")
        of_faust.append(measured.stock_faust(bootstrap_servers, topic, stock_reports))
        console.print(f"stock Faust  {describe(of_faust[-1])}")
    return of_tocsin, of_faust, truth, size


def write(
    bootstrap_servers: str, ours: Sequence[Settings], stock: Sequence[str], reports: int, stock_reports: int
) -> tuple[Truth, float]:
    """Make the topics, fill them, and return what counting has to come to and the mean size of a report in bytes."""
    for settings in ours:
        with Cluster(settings) as cluster:
            cluster.create()
    with KafkaAdminClient(bootstrap_servers=bootstrap_servers) as admin:
        forever = {"message.timestamp.before.max.ms": str(2**63 - 1), "retention.ms": "-1"}
        admin.create_topics(
            [NewTopic(name, PARTITIONS, 1, topic_configs=forever) for name in stock], wait_for_metadata=True
        )
    made = workload.make(reports)
    topics = [Topics(settings.kafka.prefix).reports for settings in ours]
    size = asyncio.run(workload.write(made, topics, bootstrap_servers, closed=True))
    asyncio.run(workload.write(workload.make(stock_reports), list(stock), bootstrap_servers, closed=False))
    return workload.count(made, ours[0]), size


def check(settings: Settings, truth: Truth) -> None:
    """Compare the counts topic with the truth, cell by cell.

    Raises
    ------
    BenchmarkError
        If a count is wrong.
    """
    counts = asyncio.run(_read_counts(settings))
    if counts != truth.cells:
        wrong = {name for name in counts | truth.cells if counts[name] != truth.cells[name]}
        example = min(wrong)
        raise BenchmarkError(
            f"{len(wrong)} of {len(truth.cells)} counts are wrong, {counts.total()} reports counted of "
            f"{truth.cells.total()}; {example}: {counts[example]} of {truth.cells[example]}"
        )


async def _read_counts(settings: Settings) -> Counter[workload.CellName]:
    """Return the counts as a reader understands frames: the greatest of each source, summed over sources."""
    greatest: dict[tuple[int, workload.CellName], int] = {}
    reader = TopicReader(settings)
    for partition in range(settings.kafka.counts_partitions):
        for _, value in await reader.read(TP(Topics(settings.kafka.prefix).counts, partition)):
            frame = decode_counts(value or b"")
            if isinstance(frame, Frame):
                for *name, count in map(tuple, frame.cells):
                    pass
    sums: Counter[workload.CellName] = Counter()
    for (_, name), count in greatest.items():
        sums[name] += count
    return sums
