"""Looking at a running pipeline from outside: memory and processor time by process, and what /metrics says."""

from __future__ import annotations

import time
import urllib.request
from collections import defaultdict
from collections.abc import Mapping
from contextlib import suppress

import msgspec
import psutil
from kafka import KafkaConsumer, TopicPartition
from prometheus_client.parser import text_string_to_metric_families

from streams.settings import Settings
from streams.topics import Topics
from streams.worker import STAGES

_TIMEOUT_S = 5.0

#: Every value of a metric, with its labels.
Metrics = Mapping[str, list[tuple[dict[str, str], float]]]


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """One look at everything.

    By process: `rss_bytes`, and `cpu_s` since it started. By stage: `lag_records` of all partitions, from the positions
    in /metrics to the broker's end offsets; `commit_age_s` of the partition whose last commit is the oldest.
    `watermark_delay_s` and `judged_delay_s` are how far the slowest source and the slowest partition are behind the
    clock, in event time. What /metrics does not show is None or absent; so is everything where it did not answer.
    Counters are totals since the workers began.
    """

    at_s: float
    load: float
    rss_bytes: dict[str, int]
    cpu_s: dict[str, float]
    lag_records: dict[str, int]
    commit_age_s: dict[str, float]
    watermark_delay_s: float | None
    judged_delay_s: float | None
    flushes: float | None
    flush_s: float | None
    closes: float | None
    close_s: float | None
    bins: float | None
    reporters: float | None
    cells: float | None
    keys: float | None
    incidents_open: float | None
    contradicted: float | None
    restarts: float | None
    rebalances: float | None


class Sampler:
    """Takes samples of a worker with its stages as children, and of the broker of this process.

    Parameters
    ----------
    worker_pid
        The process `tocsin worker`.
    settings
        Its settings.
    """

    def __init__(self, worker_pid: int, settings: Settings) -> None:
        self.pid = worker_pid
        self._url = f"http://127.0.0.1:{settings.worker.http_port}"
        self._start_s = time.monotonic()
        topics = Topics(settings.kafka.prefix)
        self._inputs = {"count": topics.reports, "detect": topics.counts, "notify": topics.incidents}
        self._consumer = KafkaConsumer(bootstrap_servers=settings.kafka.bootstrap_servers.split(","))

    def ready(self) -> bool:
        """Return whether every stage says that it is ready."""
        try:
            with urllib.request.urlopen(f"{self._url}/readyz", timeout=_TIMEOUT_S):
                return True
        except OSError:
            return False

    def metrics(self) -> Metrics:
        """Return what /metrics shows; nothing where it does not answer."""
        try:
            with urllib.request.urlopen(f"{self._url}/metrics", timeout=_TIMEOUT_S) as answer:
                text = answer.read().decode()
        except OSError:
            return {}
        found = defaultdict(list)
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                found[sample.name].append((sample.labels, sample.value))
        return found

    def processes(self) -> dict[str, psutil.Process]:
        """Return the processes that run now: the stages by name, `worker` their parent, and `broker`."""
        found = {"worker": psutil.Process(self.pid)}
        for child in psutil.Process().children(recursive=True):
            with suppress(psutil.NoSuchProcess):  # a stage that is just being started again
                arguments = child.cmdline()
                if child.name() == "java":
                    found["broker"] = child
                elif child.ppid() == self.pid:
                    found |= {stage: child for stage in STAGES if stage in arguments}
        return found

    def take(self) -> Sample:
        """Take a sample."""
        rss_bytes: dict[str, int] = {}
        cpu_s: dict[str, float] = {}
        for name, process in self.processes().items():
            with suppress(psutil.NoSuchProcess):
                rss_bytes[name] = process.memory_info().rss
                cpu_s[name] = sum(process.cpu_times()[:2])
        metrics, now_s = self.metrics(), time.time()
        return sample(metrics, self.lags(metrics), time.monotonic() - self._start_s, now_s, rss_bytes, cpu_s)

    def lags(self, metrics: Metrics) -> dict[str, int]:
        """Return how many records each stage had not processed when `metrics` were read, or a moment later."""
        positions = {
            TopicPartition(self._inputs[labels["stage"]], int(labels["partition"])): (labels["stage"], int(value))
            for labels, value in metrics.get("tocsin_position", [])
        }
        found: dict[str, int] = defaultdict(int)
        for partition, end in self._consumer.end_offsets([*positions]).items():
            stage, position = positions[partition]
            found[stage] += end - position
        return found


def sample(
    metrics: Metrics,
    lag_records: dict[str, int],
    at_s: float,
    now_s: float,
    rss_bytes: dict[str, int],
    cpu_s: dict[str, float],
) -> Sample:
    """Return what metrics come to, at `now_s` by the wall clock."""
    watermark_s = _least(metrics, "tocsin_count_watermark_seconds")
    judged_s = _least(metrics, "tocsin_detect_judged_seconds")
    commits = metrics.get("tocsin_commit_timestamp_seconds", [])
    return Sample(
        at_s=at_s,
        load=psutil.getloadavg()[0],
        rss_bytes=rss_bytes,
        cpu_s=cpu_s,
        lag_records=lag_records,
        commit_age_s={stage: now_s - min(own) for stage, own in _by_stage(commits).items()},
        watermark_delay_s=None if watermark_s is None else now_s - watermark_s,
        judged_delay_s=None if judged_s is None else now_s - judged_s,
        flushes=total(metrics, "tocsin_count_flush_seconds_count"),
        flush_s=total(metrics, "tocsin_count_flush_seconds_sum"),
        closes=total(metrics, "tocsin_detect_bin_close_seconds_count"),
        close_s=total(metrics, "tocsin_detect_bin_close_seconds_sum"),
        bins=total(metrics, "tocsin_detect_bins_total"),
        reporters=total(metrics, "tocsin_count_reporters"),
        cells=total(metrics, "tocsin_count_cells"),
        keys=total(metrics, "tocsin_detect_keys"),
        incidents_open=total(metrics, "tocsin_incidents_open"),
        contradicted=total(metrics, "tocsin_facts_contradicted_total"),
        restarts=total(metrics, "tocsin_stage_restarts_total"),
        rebalances=total(metrics, "tocsin_rebalances_total"),
    )


def total(metrics: Metrics, name: str) -> float | None:
    """Return the sum of a metric over all its labels, None if there is none."""
    values = [value for _, value in metrics.get(name, [])]
    return sum(values) if values else None


def _least(metrics: Metrics, name: str) -> float | None:
    return min((value for _, value in metrics.get(name, [])), default=None)


def _by_stage(values: list[tuple[dict[str, str], float]]) -> dict[str, list[float]]:
    found: dict[str, list[float]] = defaultdict(list)
    for labels, value in values:
        found[labels["stage"]].append(value)
    return found
