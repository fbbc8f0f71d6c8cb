"""The whole pipeline for an hour at 2,000 reports a second on a real Kafka: memory, lag, and every fact replayed.

    python benchmarks/soak.py [--minutes 60] [--rate 2000] [--output DIR]

Starts the embedded Kafka and `tocsin worker`, writes a fleet's reports in real time (`benchmarks/fleet.py`), looks at
all processes every 10 seconds, then replays what is in the reports topic and compares every incident, outage and level.
Writes soak.json, soak.svg and the workers' log to DIR. Exit code 1 if a criterion is not met.
"""

from __future__ import annotations

import argparse
import itertools
import platform
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from statistics import mean

import msgspec
import psutil
from rich.console import Console
from rich.table import Table

from benchmarks import criteria
from benchmarks.chart import draw
from benchmarks.child import in_child
from benchmarks.count import processor
from benchmarks.criteria import MB, Verdict
from benchmarks.deployment import Deployment, WorkerError
from benchmarks.feed import Fed, feed
from benchmarks.fleet import Fleet
from benchmarks.incidentlog import compare, replayed, stated
from benchmarks.samples import Metrics, Sample, Sampler
from streams.broker import EmbeddedBroker
from streams.events import MINUTE_MS
from streams.intake import Intake
from streams.replay import backfill
from streams.settings import Settings
from streams.snapshots import Packed
from streams.worker import STAGES

MINUTES, RATE = 60, 2000
EVERY_S = 10.0
#: Days of usual levels that the baselines are learnt from; a day is the least that raises anything.
HISTORY_DAYS = 2
#: How long the workers may take to judge the last report: a bin, the lateness, ticks, and some more.
DRAIN_S = 180.0

PROCESSES = (*STAGES, "worker", "broker")


class Outcome(msgspec.Struct, frozen=True):
    """Everything that a run has shown."""

    minutes: int
    rate: float
    epoch_s: int
    machine: str
    fed: Fed
    samples: list[Sample]
    drained_s: float
    facts: int
    transitions: int
    replay_s: float
    topic_bytes: dict[str, int]
    verdicts: list[Verdict]


def main() -> None:
    """Run the soak as the command line says."""
    parser = argparse.ArgumentParser(description="Run the whole pipeline for an hour on the embedded Kafka.")
    parser.add_argument("--minutes", type=int, default=MINUTES, help=f"length of the run (default {MINUTES})")
    parser.add_argument("--rate", type=float, default=RATE, help=f"reports a second, outages apart (default {RATE})")
    parser.add_argument("--output", type=Path, default=Path("build/soak"), help="folder for figures, chart and log")
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    console = Console()
    try:
        outcome = soak(console, options.minutes, options.rate, options.output.resolve())
    except WorkerError as error:
        console.print(error, markup=False)
        sys.exit(1)
    (options.output / "soak.json").write_bytes(msgspec.json.format(msgspec.json.encode(outcome)))
    draw(outcome.samples, options.output / "soak.svg")
    show(console, outcome)
    sys.exit(any(verdict.met is False for verdict in outcome.verdicts))


def soak(console: Console, minutes: int, rate: float, output: Path) -> Outcome:
    """Make the run.

    Raises
    ------
    WorkerError
        If the workers do not become ready, or do not judge the last report in time.
    """
    with EmbeddedBroker() as broker:
        deployment = Deployment(output, broker.bootstrap_servers, "soak")
        settings = deployment.settings
        fleet = Fleet(rate, minutes * 60, settings.kafka.reports_partitions)
        baselines = learn(settings, fleet)
        with Intake(settings) as intake:
            intake.baselines(baselines)
        with deployment.worker() as sampler, ThreadPoolExecutor(1) as pool:
            console.print(f"feeding {rate:,.0f} reports a second for {minutes} minutes ...", highlight=False)
            feeding = pool.submit(in_child, feed, settings, fleet)
            samples = list(watch(sampler, feeding))
            fed, fed_s = feeding.result(), time.time()
            metrics = drain(sampler, fed_s * 1000)
            drained_s = time.time() - fed_s
        console.print("replaying ...")
        topics = stated(settings)
        start_s = time.monotonic()
        comparison = compare(topics.values, replayed(settings, baselines, topics.judged_ms))
        replay_s = time.monotonic() - start_s
        topic_bytes = deployment.topic_bytes()
    return Outcome(
        minutes=minutes,
        rate=rate,
        epoch_s=settings.count.epoch_s,
        machine=f"{platform.platform()}, {processor()}, {psutil.cpu_count()} cores, Python {platform.python_version()}",
        fed=fed,
        samples=samples,
        drained_s=drained_s,
        facts=comparison.facts,
        transitions=sum(topic == "incidents" for topic, _ in topics.values),
        replay_s=replay_s,
        topic_bytes=topic_bytes,
        verdicts=[
            *criteria.completeness(fed, metrics),
            *criteria.facts(comparison, samples),
            *criteria.restarts(samples),
            *criteria.memory(samples, settings.count.epoch_s),
            *criteria.lag(samples, settings.count.bin_s, settings.count.allowed_lateness_s),
            *criteria.answers(samples),
        ],
    )


def learn(settings: Settings, fleet: Fleet) -> dict[int, list[Packed]]:
    """Return the baselines of the fleet's usual days, which end some minutes ago."""
    end_ms = (int(time.time() * 1000) // MINUTE_MS - 3) * MINUTE_MS
    return backfill(settings, fleet.history(end_ms, HISTORY_DAYS))


def watch(sampler: Sampler, feeding: Future[Fed]) -> Iterator[Sample]:
    """Yield a sample every 10 seconds until everything is written."""
    start_s = time.monotonic()
    for number in itertools.count(1):
        wait([feeding], start_s + number * EVERY_S - time.monotonic())
        if feeding.done():
            return
        yield sampler.take()


def drain(sampler: Sampler, fed_ms: float) -> Metrics:
    """Wait until every bin with reports is judged and nothing is left to read; return the metrics of then.

    Raises
    ------
    WorkerError
        If that takes too long.
    """
    deadline_s = time.monotonic() + DRAIN_S
    while True:
        metrics = sampler.metrics()
        judged_s = [value for _, value in metrics.get("tocsin_detect_judged_seconds", [])]
        lags = sampler.lags(metrics)
        if lags == dict.fromkeys(STAGES, 0) and judged_s and min(judged_s) * 1000 >= fed_ms:
            return metrics
        if time.monotonic() > deadline_s:
            raise WorkerError(f"the last report was not judged within {DRAIN_S:.0f} s")
        time.sleep(1)


def show(console: Console, outcome: Outcome) -> None:
    """Print what was measured, and how each criterion came out."""
    samples, fed = outcome.samples, outcome.fed
    load = [each.load for each in samples]
    console.print(
        f"\n{outcome.machine}, load {min(load):.1f} to {max(load):.1f}"
        f"\n{fed.records:,} records in {outcome.minutes} minutes; {outcome.facts:,} facts, of them "
        f"{outcome.transitions} transitions of incidents; replayed in {outcome.replay_s:.0f} s",
        highlight=False,
        soft_wrap=True,
    )
    table = Table("process", "memory: mean", "highest", "last", "growth", "CPU-s per 1 M reports")
    for process in PROCESSES:
        own = [each for each in samples if process in each.rss_bytes]
        rss = [each.rss_bytes[process] for each in own]
        growth = criteria.growth_mb_per_h([each.at_s for each in own], rss, outcome.epoch_s)
        cpu_s = (own[-1].cpu_s[process] - own[0].cpu_s[process]) / (own[-1].at_s - own[0].at_s)
        table.add_row(
            process,
            *(f"{figure / MB:,.0f} MB" for figure in (mean(rss), max(rss), rss[-1])),
            "" if growth is None else f"{growth:+.1f} MB/h",
            f"{cpu_s / fed.records * outcome.minutes * 60 * 1e6:.1f}",
        )
    console.print(table)
    table = Table("", "median", "99 %", "highest")
    for name, values in criteria.delays(samples).items():
        figures = [criteria.percentile(values, percent) for percent in (50, 99, 100)]
        table.add_row(name, *(f"{figure:,.3g}" for figure in figures))
    console.print(table)
    table = Table("topic", "MB", "bytes per report")
    for name, size in outcome.topic_bytes.items():
        table.add_row(name, f"{size / MB:,.1f}", f"{size / fed.records:.2f}")
    console.print(table)
    table = Table("criterion", "measured", "met")
    for verdict in outcome.verdicts:
        table.add_row(verdict.criterion, verdict.measured, {True: "yes", False: "NO", None: "-"}[verdict.met])
    console.print(table)


if __name__ == "__main__":
    main()
