"""What every stage measures: the process it runs in, and the partitions of its input topic."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from importlib.metadata import version

from faust.types import TP
from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from streams.metrics.families import Families, Place
from streams.settings import Settings
from streams.transport import Committed

_UNITS = {"seconds": "seconds", "bytes": "bytes"}


class ProcessMetrics:
    """Metrics of a process of Tocsin, whatever it does.

    Parameters
    ----------
    registry
        Where they are registered.
    stage
        The stage that runs in it, or `parent`.
    """

    def __init__(self, registry: CollectorRegistry, stage: str) -> None:
        own = _Labelled(stage)
        registry.register(own)
        self.families = Families(registry, "every")
        for metric in own.collect():
            unit = _UNITS.get(metric.name.rpartition("_")[2], "")
            if metric.type == "counter":
                name = f"{metric.name}_total"
                self.families.describe(name, "counter", unit, metric.documentation, metric.samples[0].labels)
            else:
                self.families.describe(metric.name, "gauge", unit, metric.documentation, metric.samples[0].labels)


class _Labelled(Collector):
    """The metrics that the client library has of a process and its interpreter, with a label for the stage."""

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._unlabelled = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._unlabelled)

    def collect(self) -> Iterable[Metric]:
        for metric in self._unlabelled.collect():
            metric.samples = [each._replace(labels={"stage": self._stage, **each.labels}) for each in metric.samples]
            yield metric


class WorkerMetrics:
    """Metrics of a process that runs a stage, from its first moment on.

    Parameters
    ----------
    registry
        Where they are registered.
    stage
        The name of the stage.
    troubles
        Returns why the worker is not ready; asked at each scrape.
    """

    def __init__(self, registry: CollectorRegistry, stage: str, troubles: Callable[[], list[str]]) -> None:
        self.families = Families(registry, "every")
        build = self.families.gauge("tocsin_build_info", "", "1, for the version that runs.", "stage", "version")
        build.labels(stage, version("tocsin")).set(1)
        ready = self.families.gauge("tocsin_ready", "", "1 if /readyz says so, else 0.", "stage")
        ready.labels(stage).set_function(lambda: not troubles())


class StageMetrics:
    """Metrics that every stage has, by partition of its input topic.

    Those of a partition are there while this worker owns it, and only then.

    Parameters
    ----------
    registry
        Where they are registered.
    stage
        The name of the stage.
    settings
        The deployment's settings.
    end_offset
        Returns the end of a partition as far as is known; asked at each scrape, by any thread.
    """

    def __init__(
        self, registry: CollectorRegistry, stage: Place, settings: Settings, end_offset: Callable[[int], int | None]
    ) -> None:
        self._stage = stage
        self._prefix = f"{settings.kafka.prefix}."
        self._end_offset = end_offset
        #: Of every stage, and of this one only.
        self.shared = shared = Families(registry, "every")
        self.families = Families(registry, stage)
        self._position = shared.gauge(
            "tocsin_position", "offset", "Offset up to which records are processed.", "stage", "partition"
        )
        self._lag = shared.gauge(
            "tocsin_lag_records",
            "records",
            "End of the partition, as of the last fetch, less the processed position.",
            *("stage", "partition"),
        )
        self._commit = shared.gauge(
            "tocsin_commit_timestamp_seconds",
            "seconds",
            "Wall clock of the last accepted commit, or of the assignment before the first.",
            *("stage", "partition"),
        )
        self._rebuilding = shared.gauge(
            "tocsin_rebuilding",
            "",
            "1 from a start until what was in the log at that start has been processed.",
            *("stage", "partition"),
        )
        self._published = shared.counter(
            "tocsin_facts_published_total", "records", "Records acknowledged, by topic.", "stage", "topic"
        )
        self._retries = shared.counter(
            "tocsin_publish_retries_total", "attempts", "Attempts to publish again what was not acknowledged.", "stage"
        ).labels(stage)
        self._rebalances = shared.counter(
            "tocsin_rebalances_total", "assignments", "Assignments of partitions to this worker.", "stage"
        ).labels(stage)
        self._positions: dict[int, int] = {}
        #: Where the log of each partition ended at the start.
        self._ends: dict[int, int] = {}
        self._last_owned: set[int] = set()

    def assigned(self, assigned: Mapping[TP, Committed], positions: Mapping[TP, int]) -> None:
        """Take in an assignment: what Kafka knows of the partitions, and where reading begins."""
        self.revoked()
        self._rebalances.inc()
        self._ends = {tp.partition: known.log_end for tp, known in assigned.items()}
        for partition in self._last_owned - self._ends.keys():
            self.families.clear_counters(partition)
        self._last_owned = set(self._ends)
        for tp, position in positions.items():
            self.processed(tp.partition, position)
            self._lag.labels(self._stage, tp.partition).set_function(partial(self._lag_records, tp.partition))
            self.committed(tp.partition)

    def revoked(self) -> None:
        """Take in that the partitions are gone: what is known of them is out of date from now on."""
        self._positions = {}
        self.shared.clear_gauges()
        self.families.clear_gauges()

    def processed(self, partition: int, position: int) -> None:
        """Take in up to where a partition has been processed."""
        self._positions[partition] = position
        self._position.labels(self._stage, partition).set(position)
        self._rebuilding.labels(self._stage, partition).set(position < self._ends[partition])

    def committed(self, partition: int) -> None:
        """Take in a commit."""
        self._commit.labels(self._stage, partition).set_to_current_time()

    def published(self, records: Mapping[str, int]) -> None:
        """Take in how many records were acknowledged, by topic."""
        for topic, count in records.items():
            self._published.labels(self._stage, topic.removeprefix(self._prefix)).inc(count)

    def retried(self) -> None:
        """Take in that something is published once more."""
        self._retries.inc()

    def _lag_records(self, partition: int) -> int:
        # the end is not known before the first fetch, and less is known then than at the start
        end = max(self._end_offset(partition) or 0, self._ends.get(partition, 0))
        return max(0, end - self._positions.get(partition, end))
