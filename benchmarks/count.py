"""The count stage beside stock Faust, on a real Kafka: records per second of processor time, and memory.

    python benchmarks/count.py [--quick] [--runs N]

Starts the embedded Kafka, writes 2 million reports, has one worker count them, checks every count against an
independent one, and prints a table. Leaves nothing behind.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import platform
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

import psutil
from faust.types import TP
from kafka import KafkaAdminClient
from kafka.admin import NewTopic
from rich.console import Console
from rich.table import Table

from benchmarks import workload
from benchmarks.child import in_child
from benchmarks.measured import Measured, stock_faust, tocsin
from benchmarks.workload import PARTITIONS, CellName, Truth
from streams.broker import EmbeddedBroker
from streams.events import SENSOR, Frame, decode_counts
from streams.settings import Kafka, Settings
from streams.topicreader import TopicReader
from streams.topics import Cluster, Topics

RUNS = 3
REPORTS, STOCK_REPORTS = 2_000_000, 60_000
QUICK_REPORTS, QUICK_STOCK_REPORTS = 200_000, 10_000
PACKAGES = ["faust-streaming", "aiokafka", "msgspec", "numpy", "cramjam"]


class WrongCountError(Exception):
    """What was counted is not what was written."""


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
) -> tuple[list[Measured], list[Measured], Written]:
    """Write the reports, run the two workers in turn, and return the runs of Tocsin, of stock Faust, and the truth.

    Raises
    ------
    WrongCountError
        If a count is not what it has to be.
    """
    ours = [
        Settings(kafka=Kafka(bootstrap_servers=bootstrap_servers, prefix=f"bench-{run}", clock="log"))
        for run in range(runs)
    ]
    stock = [f"stock-{run}" for run in range(runs)]
    console.print(f"writing {reports:,} reports for each of {runs} runs ...")
    create_topics(ours, stock, bootstrap_servers)
    written = in_child(write, ours, stock, reports, stock_reports)
    of_tocsin, of_faust = [], []
    for settings, topic in zip(ours, stock, strict=True):
        of_tocsin.append(in_child(tocsin, settings, reports))
        in_child(check, settings, written.truth)
        console.print(f"Tocsin       {describe(of_tocsin[-1])}, every count right", highlight=False, soft_wrap=True)
        of_faust.append(in_child(stock_faust, bootstrap_servers, topic, stock_reports))
        console.print(f"stock Faust  {describe(of_faust[-1])}", highlight=False, soft_wrap=True)
    return of_tocsin, of_faust, written


def create_topics(ours: Sequence[Settings], stock: Sequence[str], bootstrap_servers: str) -> None:
    """Create the topics of each run."""
    for settings in ours:
        with Cluster(settings) as cluster:
            cluster.create()
    keep = {"retention.ms": "-1", "message.timestamp.before.max.ms": str(2**63 - 1)}
    with KafkaAdminClient(bootstrap_servers=bootstrap_servers) as admin:
        topics = [NewTopic(name, PARTITIONS, 1, topic_configs=keep) for name in stock]
        admin.create_topics(topics, wait_for_metadata=True)


class Written(NamedTuple):
    """What was written: the mean size of a report in bytes, and what counting has to come to."""

    report_bytes: float
    truth: Truth


async def write(ours: Sequence[Settings], stock: Sequence[str], reports: int, stock_reports: int) -> Written:
    """Fill the topics of each run."""
    made = workload.make(reports)
    servers = ours[0].kafka.bootstrap_servers
    topics = [Topics(settings.kafka.prefix).reports for settings in ours]
    report_bytes = await workload.write(made, topics, servers, closed=True)
    await workload.write(workload.make(stock_reports), stock, servers, closed=False)
    return Written(report_bytes, workload.count(made, ours[0]))


async def check(settings: Settings, truth: Truth) -> None:
    """Compare the counts topic with the truth, cell by cell.

    Raises
    ------
    WrongCountError
        If a count is wrong.
    """
    counts = await read_counts(settings)
    wrong = sorted(name for name in counts | truth.cells if counts[name] != truth.cells[name])
    if wrong:
        raise WrongCountError(
            f"{len(wrong)} of {len(truth.cells)} counts are wrong, {counts.total()} reports are counted and not "
            f"{truth.cells.total()}; {wrong[0]}: {counts[wrong[0]]} and not {truth.cells[wrong[0]]}"
        )


async def read_counts(settings: Settings) -> Counter[CellName]:
    """Return the counts as frames are meant: the greatest of each source, summed over the sources."""
    greatest: Counter[tuple[int, CellName]] = Counter()
    reader = TopicReader(settings)
    for partition in range(settings.kafka.counts_partitions):
        for _, value in await reader.read(TP(Topics(settings.kafka.prefix).counts, partition)):
            frame = decode_counts(value or b"")
            if not isinstance(frame, Frame):
                continue
            for cell in frame.cells:
                if cell.service != SENSOR:
                    key = frame.source, (cell.service, cell.region, cell.kind, cell.bin_ms)
                    greatest[key] = max(greatest[key], cell.count)
    counts: Counter[CellName] = Counter()
    for (_, name), count in greatest.items():
        counts[name] += count
    return counts


def describe(run: Measured) -> str:
    """Return one run in a line."""
    return (
        f"{run.records:>9,} records, {run.cpu_s:5.2f} CPU-s ({run.wall_s:5.2f} s): "
        f"{run.per_cpu_s:>9,.0f} per CPU-s, {run.peak_rss_bytes / 1e6:,.0f} MB"
    )


def show(console: Console, of_tocsin: Sequence[Measured], of_faust: Sequence[Measured], written: Written) -> None:
    """Print what was measured, on what, and the results."""
    truth = written.truth
    console.print(
        f"\n{platform.platform()}, {processor()}, {psutil.cpu_count()} cores, load {psutil.getloadavg()[0]:.1f}"
        f"\nPython {platform.python_version()}, "
        + ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
        + f"\n{of_tocsin[0].records:,} reports of {written.report_bytes:.0f} bytes and a key, lz4 in batches of 16 kB, "
        f"{PARTITIONS} partitions, one worker;\n{truth.late:,} late, {truth.duplicate:,} duplicate, "
        f"{truth.reporters_of_an_epoch:,} reporters in the largest epoch, {len(truth.cells):,} counts.",
        highlight=False,
        soft_wrap=True,
    )
    table = Table("reports per CPU-second", "median", "lowest", "highest", "peak memory")
    for name, runs in (("Tocsin, count stage", of_tocsin), ("stock Faust agent", of_faust)):
        rates = [run.per_cpu_s for run in runs]
        peak_mb = max(run.peak_rss_bytes for run in runs) / 1e6
        figures = [f"{rate:,.0f}" for rate in (median(rates), min(rates), max(rates))]
        table.add_row(name, *figures, f"{peak_mb:,.0f} MB")
    console.print(table)
    ratio = median(run.per_cpu_s for run in of_tocsin) / median(run.per_cpu_s for run in of_faust)
    console.print(f"Tocsin counts {ratio:.0f} times as many reports per CPU-second.", highlight=False)


def processor() -> str:
    """Return what the processor calls itself."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor()


if __name__ == "__main__":
    main()
