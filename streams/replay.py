"""The whole pipeline over a log of reports, without Kafka: the same logic in one process.

What Kafka does between the stages, a list does here. A replay of a log gives the same incident log, byte for byte,
as the workers that read it from Kafka.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice

import numpy as np

from streams.bins import Bin, BinMerger
from streams.counting import SourceCounter, begin_of_log
from streams.detection import Detection, Judgement
from streams.events import SENSOR
from streams.frames import facts, marks, service_partition
from streams.reportlog import LogRecord
from streams.settings import Settings
from streams.snapshots import Packed, complete

#: Records between two flushes: what a worker reads in about a second at a moderate rate.
FLUSH_RECORDS = 8192


class Replay:
    """Counts and judges a log of reports.

    Parameters
    ----------
    settings
        The deployment's settings.
    baselines
        Records of the baselines topic to begin with, by counts partition: key and value.
    """

    def __init__(self, settings: Settings, baselines: Mapping[int, Iterable[tuple[bytes, bytes | None]]] = {}) -> None:
        self._settings = settings
        self._counters = [
            SourceCounter(settings, source, begin_of_log(settings))
            for source in range(settings.kafka.reports_partitions)
        ]
        self._offsets = [0] * len(self._counters)
        partitions = range(settings.kafka.counts_partitions)
        self._mergers = [BinMerger(settings) for _ in partitions]
        self._positions = [0 for _ in partitions]
        self._detections = [Detection(settings, complete(baselines.get(each, ()))) for each in partitions]
        self.rejected: Counter[str] = Counter()

    @property
    def counters(self) -> list[SourceCounter]:
        """The counter of each source partition."""
        return self._counters

    def run(self, records: Iterable[LogRecord], flush_records: int = FLUSH_RECORDS) -> Iterator[Judgement]:
        """Read a log to its end and yield what is judged on the way.

        Parameters
        ----------
        records
            In append order.
        flush_records
            How many records to count between two flushes; it changes when a bin is judged, never how.
        """
        for partition, bin_ in self._bins(records, flush_records):
            yield self._detections[partition].judge(bin_)

    def history(self, records: Iterable[LogRecord]) -> Iterator[tuple[int, dict[tuple[str, str], int]]]:
        """Read a log to its end, judge nothing, and yield what `backfill` learns from.

        Yields
        ------
        tuple
            Start of each bin in milliseconds, ascending, and its reports by (service, region); without the bins that
            not every source covers.
        """
        partitions = range(self._settings.kafka.counts_partitions)
        waiting: dict[int, dict[int, Bin]] = defaultdict(dict)
        for partition, bin_ in self._bins(records, FLUSH_RECORDS):
            parts = waiting[bin_.bin_ms]
            parts[partition] = bin_
            if len(parts) == len(partitions):
                del waiting[bin_.bin_ms]
                if bin_.covered == bin_.sources:
                    kinds = {name: own for part in parts.values() for name, own in part.kinds.items()}
                    yield bin_.bin_ms, {name: sum(own.values()) for name, own in kinds.items()}

    def _bins(self, records: Iterable[LogRecord], flush_records: int) -> Iterator[tuple[int, Bin]]:
        """Yield the complete bins of each counts partition, in order."""
        iterator = iter(records)
        while batch := list(islice(iterator, flush_records)):
            self._count(batch)
            yield from self._flush()

    def _count(self, batch: list[LogRecord]) -> None:
        by_source: dict[int, list[LogRecord]] = defaultdict(list)
        for record in batch:
            by_source[record.partition].append(record)
        for source, own in by_source.items():
            first = self._offsets[source]
            self._offsets[source] = first + len(own)
            rejected = self._counters[source].add_records(
                first + len(own),
                np.arange(first, first + len(own)),
                np.fromiter((record.timestamp_ms for record in own), np.int64, len(own)),
                [record.key for record in own],
                [record.value for record in own],
            )
            self.rejected.update(str(each.reason) for each in rejected)

    def _flush(self) -> Iterator[tuple[int, Bin]]:
        for counter in self._counters:
            flush = counter.flush()
            if flush is None:
                continue
            for stated in (facts(flush, self._settings), marks(flush, self._settings)):
                for partition, record in stated:
                    self._mergers[partition].add(self._positions[partition], record)
                    self._positions[partition] += 1
                    for bin_ in self._mergers[partition].complete():
                        self._mergers[partition].forget(bin_.bin_ms)  # a replay never begins again
                        yield partition, bin_


def backfill(
    settings: Settings, history: Iterable[tuple[int, Mapping[tuple[str, str], int]]]
) -> dict[int, list[Packed]]:
    """Learn baselines from history and return them as records of the baselines topic, by counts partition.

    Parameters
    ----------
    settings
        The deployment's settings.
    history
        Start of each bin in milliseconds, ascending, and its reports by (service, region); bins without a record
        of their own are taken for not observed.
    """
    # one for all partitions: keys know nothing of each other, and all partitions hear the same of the sensor
    detection = Detection(settings, {})
    last_ms = None
    for bin_ms, counts in history:
        kinds = {name: {"": count} for name, count in sorted(counts.items())}
        detection.judge(Bin(bin_ms, kinds, sum(counts.values()), covered=1, sources=1), publish=False)
        last_ms = bin_ms
    if last_ms is None:
        return {}
    services: dict[int, list[str]] = {partition: [] for partition in range(settings.kafka.counts_partitions)}
    for service in detection.services:
        services[service_partition(service, settings)].append(service)
    return {partition: detection.snapshot([*own, SENSOR], last_ms) for partition, own in services.items()}


class ContradictionError(Exception):
    """Two facts have one key but different values; the log of reports determines facts, so this is a bug."""


def distinct(judgements: Iterable[Judgement]) -> dict[tuple[str, bytes], bytes]:
    """Return each incident and outage fact once: its value by topic and key, in the order of first mention.

    Raises
    ------
    ContradictionError
        If two facts under one key differ.
    """
    found: dict[tuple[str, bytes], bytes] = {}
    for judgement in judgements:
        for fact in judgement.facts:
            if fact.topic not in ("incidents", "outages"):
                continue
            if found.setdefault((fact.topic, fact.key), fact.value) != fact.value:
                raise ContradictionError(f"{fact.topic} {fact.key.decode()} is stated twice with different values")
    return found
