"""What the detect stage measures."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from streams.bins import BinMerger
from streams.detection import Detection, Judgement
from streams.events import Incident, Level, Levels, LevelState, decode
from streams.metrics.families import Families, Family
from streams.metrics.stage import StageMetrics
from streams.settings import Settings

_STATES: tuple[LevelState, ...] = ("learning", "normal", "open", "held", "unobserved", "sensor-lost")
_CLOSE_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

Key = tuple[str, str]


class DetectMetrics(StageMetrics):
    """Metrics of the detect stage, by counts partition.

    Parameters
    ----------
    registry
        Where they are registered.
    settings
        The deployment's settings.
    end_offset
        Returns the end of a counts partition as far as is known; asked at each scrape, by any thread.
    """

    def __init__(
        self, registry: CollectorRegistry, settings: Settings, end_offset: Callable[[int], int | None] = lambda _: None
    ) -> None:
        super().__init__(registry, "detect", settings, end_offset)
        make, by = self.families, "partition"
        self._levels = _LevelCollector(make, settings)
        registry.register(self._levels)
        self._hidden = make.counter(
            "tocsin_series_hidden_total",
            "levels",
            "Levels without series of their own, because worker.max_metric_series others have some.",
        )
        self._watermark = make.gauge(
            "tocsin_detect_watermark_seconds", "seconds", "Event time up to which a source is complete.", "source"
        )
        self._judged = make.gauge(
            "tocsin_detect_judged_seconds", "seconds", "Event time at the end of the last judged bin.", by
        )
        self._keys = make.gauge("tocsin_detect_keys", "keys", "Services and regions with state, and the sensor.", by)
        fleet = make.gauge("tocsin_detect_fleet_keys", "keys", "Services and regions that the budget is for.")
        fleet.set(settings.detect.fleet_keys)
        self._raises = make.gauge(
            "tocsin_detect_raises_monthly",
            "outages",
            "Outages begun per 30 days: in the last 30, or as far as state goes back, a day at least.",
            by,
        )
        asked = make.gauge(
            "tocsin_detect_false_alarms_asked_monthly", "outages", "The budget: false alarms that are asked for."
        )
        asked.set(settings.detect.false_alarms_per_30_days)
        sources = make.gauge("tocsin_detect_sources", "sources", "Source partitions that there are.")
        sources.set(settings.kafka.reports_partitions)
        self._covered = make.gauge(
            "tocsin_detect_covered_sources", "sources", "Source partitions that cover the last judged bin.", by
        )
        self._bins = make.counter("tocsin_detect_bins_total", "bins", "Bins judged.", by)
        self._close = make.histogram(
            "tocsin_detect_bin_close_seconds",
            "seconds",
            "Time to judge a complete bin and have its facts acknowledged.",
            _CLOSE_BUCKETS_S,
        )
        self._floor = make.gauge(
            "tocsin_detect_snapshot_floor_seconds",
            "seconds",
            "Event time of the committed floor: a restart judges the bins from there on again.",
            by,
        )
        self._open = make.gauge("tocsin_incidents_open", "incidents", "Incidents open after the last judged bin.", by)
        self._lost = make.gauge(
            "tocsin_sensor_lost", "", "1 if no reports arrived by the last judged bin, although many were expected.", by
        )
        self._transitions = make.counter(
            "tocsin_incident_transitions_total",
            "transitions",
            "Transitions of incidents stated, after a restart some of them again.",
            "transition",
        )
        self._gaps = make.counter(
            "tocsin_detect_gaps_total", "starts", "Starts at which a part of the counts was missing.", by
        )
        self._watermarks: dict[int, dict[int, int]] = {}
        #: When the judging began of each bin whose facts are not acknowledged yet, by the monotonic clock.
        self._closing_s: dict[int, list[float]] = {}
        #: When a bin was last judged, by the wall clock; when the worker began, before the first.
        self.judged_s = time.time()

    def revoked(self) -> None:
        """Take in that the partitions are gone."""
        super().revoked()
        self._levels.clear()
        self._watermarks = {}
        self._closing_s = {}

    def judged(self, partition: int, bin_end_ms: int, covered: int, detection: Detection, begun_s: float) -> None:
        """Take in a bin that `detection` has judged; `begun_s` is when judging it began, by the monotonic clock."""
        self._judged.labels(partition).set(bin_end_ms / 1000)
        self._covered.labels(partition).set(covered)
        self._keys.labels(partition).set(detection.keys)
        self._raises.labels(partition).set(detection.raises_per_30_days)
        self._bins.labels(partition).inc()
        self._closing_s.setdefault(partition, []).append(begun_s)
        self.judged_s = time.time()

    def closed(self, partition: int, judgements: Sequence[Judgement]) -> None:
        """Take in that all facts about the bins judged so far are acknowledged."""
        if not judgements:
            return
        now_s = time.monotonic()
        for begun_s in self._closing_s.pop(partition, []):
            self._close.observe(now_s - begun_s)
        for judgement in judgements:
            for fact in judgement.facts:
                if fact.topic == "incidents":
                    self._transitions.labels(decode(fact.value, Incident).transition).inc()
        last = [decode(fact.value, Levels) for fact in judgements[-1].facts if fact.topic == "levels"]
        levels = {(each.service, level.region): level for each in last for level in each.regions}
        self._open.labels(partition).set(sum(level.incident is not None for level in levels.values()))
        self._lost.labels(partition).set(any(level.state == "sensor-lost" for level in levels.values()))
        self._hidden.inc(self._levels.show(partition, levels))

    def merged(self, partition: int, merger: BinMerger) -> None:
        """Take in the sources' watermarks; of a worker's partitions, the one that knows least counts."""
        self._watermarks[partition] = dict(merger.watermarks)
        for source in merger.watermarks:
            known_ms = [each[source] for each in self._watermarks.values() if source in each]
            self._watermark.labels(source).set(min(known_ms) / 1000)

    def floor(self, partition: int, floor_ms: int) -> None:
        """Take in a committed floor."""
        self._floor.labels(partition).set(floor_ms / 1000)

    def gap(self, partition: int) -> None:
        """Take in a start at which a part of the counts was missing."""
        self._gaps.labels(partition).inc()


class _LevelCollector(Collector):
    """The last levels of the partitions that this worker owns, as series; no more than the settings allow.

    Services and regions that the settings name come first: those take the place of others.
    """

    def __init__(self, make: Families, settings: Settings) -> None:
        def family(name: str, unit: str, text: str, *labels: str) -> Family:
            return make.describe(f"tocsin_{name}", "gauge", unit, text, ("service", "region", *labels))

        self._window = family("window_reports", "reports", "Reports in the last window.")
        self._expected = family(
            "expected_reports", "reports", "Reports per bin that the baseline expects; none while it learns."
        )
        self._score = family("score", "", "Evidence for an outage, in the detector's unit; none while it learns.")
        self._threshold = family("score_threshold", "", "The score from which the detector raises.")
        self._state = family("state", "", "1 for the state that holds, 0 for the others.", "state")
        self._max_series = settings.worker.max_metric_series
        self._services = {each.service for each in settings.policy if each.specificity[0]}
        self._regions = {each.region for each in settings.policy if each.specificity[1]} | settings.regions.keys()
        #: By partition; replaced and never changed, as a scrape comes from another thread.
        self._shown: dict[int, dict[Key, Level]] = {}

    def show(self, partition: int, levels: Mapping[Key, Level]) -> int:
        """Show the levels of a partition's last bin instead of those before, and return how many are hidden."""
        others = {each: own for each, own in self._shown.items() if each != partition}
        before = self._shown.get(partition, {})
        ranked = [key for own in others.values() for key in own]
        ranked += [key for key in before if key in levels]
        ranked += [key for key in levels if key not in before]
        chosen = set(sorted(ranked, key=self._is_unnamed)[: self._max_series])
        self._shown = {
            each: {key: level for key, level in own.items() if key in chosen}
            for each, own in (others | {partition: levels}).items()
        }
        return len(levels) - len(self._shown[partition])

    def clear(self) -> None:
        """Show nothing."""
        self._shown = {}

    def collect(self) -> Iterable[GaugeMetricFamily]:
        window, expected, score, threshold, state = [
            GaugeMetricFamily(each.name, each.help, labels=each.labels)
            for each in (self._window, self._expected, self._score, self._threshold, self._state)
        ]
        for levels in self._shown.values():
            for key, level in levels.items():
                window.add_metric(key, level.window)
                for family, value in (
                    (expected, level.expected),
                    (score, level.score),
                    (threshold, level.score_threshold),
                ):
                    if value is not None:
                        family.add_metric(key, value)
                for each in _STATES:
                    state.add_metric((*key, each), each == level.state)
        return window, expected, score, threshold, state

    def _is_unnamed(self, key: Key) -> bool:
        return key[0] not in self._services or key[1] not in self._regions
