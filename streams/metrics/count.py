"""What the count stage measures."""

from __future__ import annotations

import time
from collections import Counter as Tallies
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields

from faust.types import TP
from prometheus_client import CollectorRegistry

from streams.counting import BEGINNING_MS, Flush, SourceCounter, Tally
from streams.decode import Rejected
from streams.metrics.stage import StageMetrics
from streams.settings import Settings
from streams.transport import Committed

_FLUSH_BUCKETS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)


class CountMetrics(StageMetrics):
    """Metrics of the count stage, by source partition.

    Parameters
    ----------
    registry
        Where they are registered.
    settings
        The deployment's settings.
    end_offset
        Returns the end of a source partition as far as is known; asked at each scrape, by any thread.
    """

    def __init__(
        self, registry: CollectorRegistry, settings: Settings, end_offset: Callable[[int], int | None] = lambda _: None
    ) -> None:
        super().__init__(registry, "count", settings, end_offset)
        make, by = self.families, "partition"
        self._tallies = {
            "read": make.counter("tocsin_count_records_read_total", "records", "Records read, ticks included.", by),
            "ticks": make.counter("tocsin_count_ticks_total", "records", "Records that only carry an append time.", by),
            "accepted": make.counter("tocsin_count_reports_accepted_total", "reports", "Reports counted.", by),
            "late": make.counter(
                "tocsin_count_reports_late_total", "reports", "Reports beyond the allowed lateness, not counted.", by
            ),
            "duplicate": make.counter(
                "tocsin_count_reports_duplicate_total",
                "reports",
                "Reports of a reporter who had already counted in the epoch.",
                by,
            ),
            "folded": make.counter(
                "tocsin_count_reports_folded_total",
                "reports",
                "Reports counted as `other`: their epoch had too many names.",
                by,
            ),
            "rebuilt": make.counter(
                "tocsin_count_reports_rebuilt_total",
                "reports",
                "Reports of published epochs, passed over after a restart.",
                by,
            ),
        }
        self._dead = make.counter(
            "tocsin_count_dead_letters_total", "records", "Records that are no reports.", by, "reason"
        )
        self._gaps = make.counter(
            "tocsin_count_gaps_total", "starts", "Starts at which a part of the log was missing.", by
        )
        self._watermark = make.gauge(
            "tocsin_count_watermark_seconds", "seconds", "Event time up to which counts are complete and stated.", by
        )
        self._append_time = make.gauge(
            "tocsin_count_append_time_seconds", "seconds", "Append time of the newest record counted.", by
        )
        self._reporters = make.gauge(
            "tocsin_count_reporters", "reporters", "Reporters remembered, as hashes, in open epochs.", by
        )
        self._cells = make.gauge("tocsin_count_cells", "cells", "Cells of service, region, kind and bin held.", by)
        self._flush = make.histogram(
            "tocsin_count_flush_seconds", "seconds", "Time to state and acknowledge a flush.", _FLUSH_BUCKETS_S
        )
        self._seen: dict[int, Tally] = {}
        #: When a flush was last acknowledged, by the wall clock; when the worker began, before the first.
        self.flushed_s = time.time()

    def assigned(self, assigned: Mapping[TP, Committed], positions: Mapping[TP, int]) -> None:
        """Take in an assignment; the tallies of its partitions begin at zero again."""
        super().assigned(assigned, positions)
        self._seen = {tp.partition: Tally() for tp in assigned}

    def counted(self, counter: SourceCounter, rejected: Iterable[Rejected]) -> None:
        """Take in what a chunk added."""
        seen, partition = self._seen[counter.source], counter.source
        for each in fields(Tally):
            now = getattr(counter.tally, each.name)
            self._tallies[each.name].labels(partition).inc(now - getattr(seen, each.name))
            setattr(seen, each.name, now)
        for reason, count in Tallies(str(each.reason) for each in rejected).items():
            self._dead.labels(partition, reason).inc(count)
        if counter.append_ms != BEGINNING_MS:
            self._append_time.labels(partition).set(counter.append_ms / 1000)
        self._held(counter)
        self.processed(partition, counter.position)

    def flushed(self, counter: SourceCounter, flush: Flush, seconds: float) -> None:
        """Take in an acknowledged flush."""
        self._watermark.labels(counter.source).set(flush.mark.watermark_ms / 1000)
        self._held(counter)
        self._flush.observe(seconds)
        self.flushed_s = time.time()

    def gap(self, partition: int) -> None:
        """Take in a start at which a part of the log was missing."""
        self._gaps.labels(partition).inc()

    def _held(self, counter: SourceCounter) -> None:
        self._reporters.labels(counter.source).set(counter.reporters)
        self._cells.labels(counter.source).set(counter.cells)
