"""What a worker counts and measures of itself, for Prometheus."""

from __future__ import annotations

import time
from collections import Counter as Tallies
from collections.abc import Iterable, Mapping
from dataclasses import fields

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from streams.bins import BinMerger
from streams.counting import Flush, SourceCounter, Tally
from streams.decode import Rejected
from streams.events import Levels, LevelState

_STATES: tuple[LevelState, ...] = ("learning", "normal", "open", "held", "unobserved", "sensor-lost")


class CountMetrics:
    """Metrics of the count stage, by source partition.

    Parameters
    ----------
    registry
        Where they are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"tocsin_count_{name}", text, ["partition", *labels], registry=registry)

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(f"tocsin_count_{name}", text, ["partition"], registry=registry)

        self._tallies = {
            "read": counter("records_read_total", "Records read, ticks included."),
            "ticks": counter("ticks_total", "Records that only carry an append time."),
            "accepted": counter("reports_accepted_total", "Reports counted."),
            "late": counter("reports_late_total", "Reports older than the allowed lateness, not counted."),
            "duplicate": counter("reports_duplicate_total", "Reports of a reporter who has counted in the epoch."),
            "folded": counter("reports_folded_total", "Reports counted as `other`: their epoch had too many names."),
            "rebuilt": counter("reports_rebuilt_total", "Reports of published epochs, passed over after a restart."),
        }
        self._dead = counter("dead_letters_total", "Records that are no reports.", "reason")
        self._gaps = counter("gaps_total", "Starts at which a part of the log was missing.")
        self._watermark = gauge("watermark_seconds", "Event time up to which counts are complete.")
        self._position = gauge("position", "Offset up to which records are counted.")
        self._commit = gauge("commit_timestamp_seconds", "When a rebuild point was last committed.")
        self._flush = Histogram(
            "tocsin_count_flush_seconds", "Time to state and acknowledge a flush.", registry=registry
        )
        self._seen: dict[int, Tally] = {}
        #: When a flush was last acknowledged, by the wall clock; when the worker began, before the first.
        self.flushed_s = time.time()

    def assigned(self, partitions: Iterable[int]) -> None:
        """Begin anew for the partitions of an assignment: their counters count from zero again."""
        self._seen = {partition: Tally() for partition in partitions}

    def counted(self, counter: SourceCounter, rejected: Iterable[Rejected]) -> None:
        """Take in what a chunk added."""
        seen, partition = self._seen[counter.source], str(counter.source)
        for each in fields(Tally):
            now = getattr(counter.tally, each.name)
            self._tallies[each.name].labels(partition).inc(now - getattr(seen, each.name))
            setattr(seen, each.name, now)
        for reason, count in Tallies(str(each.reason) for each in rejected).items():
            self._dead.labels(partition, reason).inc(count)
        self._position.labels(partition).set(counter.position)

    def flushed(self, partition: int, flush: Flush, seconds: float) -> None:
        """Take in an acknowledged flush."""
        self._watermark.labels(str(partition)).set(flush.mark.watermark_ms / 1000)
        self._flush.observe(seconds)
        self.flushed_s = time.time()

    def committed(self, partition: int) -> None:
        """Take in a commit."""
        self._commit.labels(str(partition)).set_to_current_time()

    def gap(self, partition: int) -> None:
        """Take in a start at which a part of the log was missing."""
        self._gaps.labels(str(partition)).inc()


class DetectMetrics:
    """Metrics of the detect stage.

    Parameters
    ----------
    registry
        Where they are registered.
    max_series
        How many (service, region) pairs get series of their own; further ones are only counted.
    """

    def __init__(self, registry: CollectorRegistry, max_series: int) -> None:
        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"tocsin_{name}", text, labels, registry=registry)

        key = "service", "region"
        self._max_series = max_series
        self._series: set[tuple[str, str]] = set()
        self._window = gauge("window_reports", "Reports in the last window.", *key)
        self._expected = gauge("expected_reports", "Reports per bin that the baseline expects.", *key)
        self._score = gauge("score", "Evidence for an outage, in the detector's unit.", *key)
        self._state = gauge("state", "1 for the state that holds.", *key, "state")
        self._hidden = Counter(
            "tocsin_series_hidden_total", "Levels without series of their own: over the cap.", registry=registry
        )
        self._watermark = gauge("detect_watermark_seconds", "Event time up to which a source is complete.", "source")
        self._judged = gauge("detect_judged_seconds", "End of the last judged bin.", "partition")
        self._keys = gauge("detect_keys", "Keys with state.", "partition")
        self._covered = gauge("detect_covered_sources", "Sources that cover the last judged bin.", "partition")
        self._bins = Counter("tocsin_detect_bins_total", "Bins judged.", ["partition"], registry=registry)
        self._transitions = Counter(
            "tocsin_incident_transitions_total", "Transitions of incidents stated.", ["transition"], registry=registry
        )
        #: When a bin was last judged, by the wall clock; when the worker began, before the first.
        self.judged_s = time.time()

    def judged(self, partition: int, bin_end_ms: int, covered: int, keys: int) -> None:
        """Take in a judged bin."""
        self._judged.labels(str(partition)).set(bin_end_ms / 1000)
        self._covered.labels(str(partition)).set(covered)
        self._keys.labels(str(partition)).set(keys)
        self._bins.labels(str(partition)).inc()
        self.judged_s = time.time()

    def merged(self, merger: BinMerger) -> None:
        """Take in the sources' watermarks."""
        for source, watermark_ms in merger.watermarks.items():
            self._watermark.labels(str(source)).set(watermark_ms / 1000)

    def transition(self, transition: str) -> None:
        """Take in a transition of an incident."""
        self._transitions.labels(transition).inc()

    def levels(self, levels: Levels) -> None:
        """Take in the levels of a service."""
        for level in levels.regions:
            key = levels.service, level.region
            if key not in self._series and len(self._series) >= self._max_series:
                self._hidden.inc()
                continue
            self._series.add(key)
            self._window.labels(*key).set(level.window)
            numbers: Mapping[Gauge, float | None] = {self._expected: level.expected, self._score: level.score}
            for gauge, value in numbers.items():
                gauge.labels(*key).set(float("nan") if value is None else value)
            for state in _STATES:
                self._state.labels(*key, state).set(state == level.state)


class NotifyMetrics:
    """Metrics of the notify stage.

    Parameters
    ----------
    registry
        Where they are registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._alerts = Counter("tocsin_notify_alerts_total", "Alerts sent.", ["kind"], registry=registry)
        self._repeated = Counter(
            "tocsin_facts_repeated_total", "Transitions stated again: after a restart.", registry=registry
        )
        self._contradicted = Counter(
            "tocsin_facts_contradicted_total", "Transitions stated again with another value: a bug.", registry=registry
        )

    def alerted(self, kind: str) -> None:
        """Take in an alert."""
        self._alerts.labels(kind).inc()

    def repeated(self, *, contradicted: bool) -> None:
        """Take in a transition that was stated before."""
        (self._contradicted if contradicted else self._repeated).inc()
