"""Counting one source partition: lateness, epochs, deduplication, cells, and the point a restart begins at.

Plain code without Kafka or clocks. Every decision depends only on the log of the partition, so counting again from
any rebuild point states the same facts.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.decode import Columns, Reason, Rejected, decode
from streams.events import DAY_MS, FOLDED, SENSOR, TICK_KEY, Cell, Gap, Mark
from streams.reporterhash import NO_REPORTER
from streams.reporterset import ReporterSet
from streams.reporttime import NO_TIME
from streams.settings import Settings, SettingsError

#: Before all event times: the floor of a partition that is counted from the beginning of its log.
BEGINNING_MS = -(1 << 62)
#: A report that claims to be older than this is not late, it is wrong.
OLDEST_MS = 7 * DAY_MS

REPORTS, TICKS = "reports", "ticks"


class CountingChangedError(SettingsError):
    """What Kafka holds was counted under other settings than this worker's."""


class Rebuild(msgspec.Struct, frozen=True):
    """Where counting can begin again: all that Kafka keeps between two lives of a worker.

    `append_ms` is the append time just before the record at `offset`; epochs before `floor_ms` are published and
    are never stated again.
    """

    offset: int
    counting: str
    floor_ms: int
    append_ms: int
    version: int = 1


@dataclass(slots=True)
class Tally:
    """What became of the records of a partition; for metrics only, a restart counts some of them again."""

    read: int = 0
    ticks: int = 0
    accepted: int = 0
    late: int = 0
    duplicate: int = 0
    folded: int = 0
    rebuilt: int = 0


@dataclass(slots=True)
class Epoch:
    """An aligned stretch of event time in which one reporter counts once per service."""

    start_ms: int
    #: Offset of the first record that touched the epoch, and the append time just before it.
    first_offset: int
    append_before_ms: int
    seen: ReporterSet = field(default_factory=ReporterSet)
    #: Distinct (service, region, kind), by number of their first report; the cap applies to them.
    names: dict[tuple[str, str, str], int] = field(default_factory=dict)
    #: Reports by (name number, start of the bin), and those that grew since the last flush.
    counts: dict[tuple[int, int], int] = field(default_factory=dict)
    touched: set[tuple[int, int]] = field(default_factory=set)
    #: Records by (reports or ticks, start of the bin of append time), and those that grew; the cap ignores them.
    coverage: dict[tuple[str, int], int] = field(default_factory=dict)
    covered: set[tuple[str, int]] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Flush:
    """The facts about everything counted so far that have not been stated yet, and the rebuild point they cover."""

    gap: Gap | None
    cells: list[Cell]
    mark: Mark
    rebuild: Rebuild


class SourceCounter:
    """Counts the reports of one source partition.

    Parameters
    ----------
    settings
        The deployment's settings.
    source
        Number of the source partition.
    begin
        The rebuild point to go on from; offset 0, the beginning and no append time at the start of a log.
    gap_since_ms
        Set where the log does not begin at `begin`: what is before is published, event times from here on may be
        missing, and counting begins with the first whole epoch after the first record.
    """

    def __init__(self, settings: Settings, source: int, begin: Rebuild, gap_since_ms: int | None = None) -> None:
        self._settings = settings
        self._count = settings.count
        self.source = source
        self.position = begin.offset
        self.append_ms = begin.append_ms
        self.floor_ms = begin.floor_ms
        self.tally = Tally()
        self._epochs: dict[int, Epoch] = {}
        self._gap_since_ms = gap_since_ms
        self._gap: Gap | None = None

    @property
    def watermark_ms(self) -> int:
        """No further report with an event time before this will be binned."""
        return self.append_ms - self._count.lateness_ms

    @property
    def reporters(self) -> int:
        """How many reporters are remembered, once for each open epoch."""
        return sum(len(epoch.seen) for epoch in self._epochs.values())

    @property
    def cells(self) -> int:
        """How many cells are held, those of coverage too."""
        return sum(len(epoch.counts) + len(epoch.coverage) for epoch in self._epochs.values())

    def add_records(
        self,
        end: int,
        offsets: NDArray[np.int64],
        timestamps_ms: NDArray[np.int64],
        keys: Sequence[bytes | None],
        values: Sequence[bytes | None],
    ) -> list[Rejected]:
        """Decode and count a chunk of records as they are in Kafka; see `add`.

        Returns
        -------
        list of Rejected
            The records that are no reports, for the dead letters, in log order.
        """
        is_tick = np.zeros(len(values), np.bool_)
        if None in values:
            rows = [row for row, value in enumerate(values) if value is None and keys[row] == TICK_KEY]
            is_tick[rows] = True
        report_rows = np.flatnonzero(~is_tick)
        columns = decode(values if len(report_rows) == len(values) else [values[row] for row in report_rows.tolist()])
        columns.rows = report_rows[columns.rows]
        malformed = [dataclasses.replace(each, row=int(report_rows[each.row])) for each in columns.rejected]
        far_off = self.add(end, offsets, timestamps_ms, is_tick, columns)
        return sorted(malformed + far_off, key=lambda each: each.row)

    def add(
        self,
        end: int,
        offsets: NDArray[np.int64],
        timestamps_ms: NDArray[np.int64],
        is_tick: NDArray[np.bool_],
        columns: Columns,
    ) -> list[Rejected]:
        """Count a chunk of N records.

        Parameters
        ----------
        end
            The position after the chunk.
        offsets, timestamps_ms, is_tick
            Offset, record timestamp and tickhood of each record, shape (N,).
        columns
            The good reports among them; their rows refer to the N records.

        Returns
        -------
        list of Rejected
            Reports whose event time is far off, for the dead letters.
        """
        self.position = end
        if not len(offsets):
            return []
        if self._gap_since_ms is not None:
            self._begin_after_gap(int(timestamps_ms[0]))
        append = np.maximum.accumulate(np.maximum(timestamps_ms, self.append_ms))
        before = np.concatenate(([self.append_ms], append[:-1]))
        self.append_ms = int(append[-1])
        self._cover(offsets, append, before, is_tick)
        rejected = self._count_reports(offsets, append, before, columns)
        self.tally.read += len(offsets)
        self.tally.ticks += int(np.count_nonzero(is_tick))
        return rejected

    def flush(self) -> Flush | None:
        """Return what there is to state since the last flush, or None before the first record."""
        if self.append_ms == BEGINNING_MS:
            return None
        cells = [cell for epoch in self._epochs.values() for cell in self._touched_cells(epoch)]
        watermark_ms = self.watermark_ms
        for start_ms in [start for start in self._epochs if start + self._count.epoch_ms <= watermark_ms]:
            del self._epochs[start_ms]
        gap, self._gap = self._gap, None
        mark = Mark(counting=self._settings.counting, source=self.source, watermark_ms=watermark_ms)
        return Flush(gap=gap, cells=cells, mark=mark, rebuild=self._rebuild_point())

    def _rebuild_point(self) -> Rebuild:
        floor_ms = max(self.floor_ms, self._epoch_start(self.watermark_ms))
        first = min(self._epochs.values(), key=lambda epoch: epoch.first_offset, default=None)
        return Rebuild(
            offset=self.position if first is None else first.first_offset,
            counting=self._settings.counting,
            floor_ms=floor_ms,
            append_ms=self.append_ms if first is None else first.append_before_ms,
        )

    def _begin_after_gap(self, append_ms: int) -> None:
        assert self._gap_since_ms is not None
        first_whole_ms = self._epoch_start(append_ms + self._count.bin_ms) + self._count.epoch_ms
        self.floor_ms = max(first_whole_ms, self._gap_since_ms)
        self._gap = Gap(
            counting=self._settings.counting, source=self.source, since_ms=self._gap_since_ms, until_ms=self.floor_ms
        )
        self._gap_since_ms = None

    def _epoch_start(self, time_ms: int) -> int:
        return time_ms - time_ms % self._count.epoch_ms

    def _epoch(self, start_ms: int, offset: int, append_before_ms: int) -> Epoch:
        epoch = self._epochs.get(start_ms)
        if epoch is None:
            epoch = self._epochs[start_ms] = Epoch(start_ms, offset, append_before_ms)
        elif offset < epoch.first_offset:
            epoch.first_offset, epoch.append_before_ms = offset, append_before_ms
        return epoch

    def _cover(
        self,
        offsets: NDArray[np.int64],
        append: NDArray[np.int64],
        before: NDArray[np.int64],
        is_tick: NDArray[np.bool_],
    ) -> None:
        """Note, per bin of append time, that records arrived: this is what tells silence from blindness."""
        bins = append - append % self._count.bin_ms
        starts, first, inverse = np.unique(bins, return_index=True, return_inverse=True)
        ticks = np.bincount(inverse, weights=is_tick, minlength=len(starts)).astype(np.int64)
        totals = np.bincount(inverse, minlength=len(starts))
        for bin_ms, row, n_ticks, total in zip(
            starts.tolist(), first.tolist(), ticks.tolist(), totals.tolist(), strict=True
        ):
            start_ms = self._epoch_start(bin_ms)
            if start_ms < self.floor_ms:
                continue
            epoch = self._epoch(start_ms, int(offsets[row]), int(before[row]))
            for kind, count in ((REPORTS, total - n_ticks), (TICKS, n_ticks)):
                if count:
                    epoch.coverage[kind, bin_ms] = epoch.coverage.get((kind, bin_ms), 0) + count
                    epoch.covered.add((kind, bin_ms))

    def _count_reports(
        self, offsets: NDArray[np.int64], append: NDArray[np.int64], before: NDArray[np.int64], columns: Columns
    ) -> list[Rejected]:
        rows = columns.rows
        at = append[rows]
        time_ms = np.where(columns.time_ms == NO_TIME, at, columns.time_ms)
        future = time_ms > at + self._count.bin_ms
        ancient = time_ms < at - OLDEST_MS
        late = (at - time_ms > self._count.lateness_ms) & ~ancient
        good = ~(future | ancient | late)
        published = good & (time_ms < self.floor_ms)
        self.tally.late += int(np.count_nonzero(late))
        self.tally.rebuilt += int(np.count_nonzero(published))
        kept = np.flatnonzero(good & ~published)
        start = time_ms - time_ms % self._count.epoch_ms
        for start_ms in np.unique(start[kept]).tolist():
            chosen = kept[start[kept] == start_ms]
            row = rows[chosen[0]]
            epoch = self._epoch(start_ms, int(offsets[row]), int(before[row]))
            self._count_epoch(epoch, columns, chosen, time_ms)
        return list(self._far_off(columns, at, time_ms, future, ancient))

    def _count_epoch(
        self, epoch: Epoch, columns: Columns, chosen: NDArray[np.int64], time_ms: NDArray[np.int64]
    ) -> None:
        reporter = columns.reporter[chosen]
        is_fresh = reporter == NO_REPORTER
        is_fresh[~is_fresh] = epoch.seen.add(reporter[~is_fresh])
        self.tally.duplicate += len(chosen) - int(np.count_nonzero(is_fresh))
        chosen = chosen[is_fresh]
        self.tally.accepted += len(chosen)
        codes = columns.name[chosen].astype(np.int64)
        # in log order: the cap keeps the first names
        numbers = {code: self._name_number(epoch, columns.names[code]) for code in dict.fromkeys(codes.tolist())}
        bins_per_epoch = self._count.epoch_ms // self._count.bin_ms
        bins = (time_ms[chosen] - epoch.start_ms) // self._count.bin_ms
        keys, counts = np.unique(codes * bins_per_epoch + bins, return_counts=True)
        folded = epoch.names.get((FOLDED, FOLDED, FOLDED))
        for key, count in zip(keys.tolist(), counts.tolist(), strict=True):
            code, bin_number = divmod(key, bins_per_epoch)
            number = numbers[code]
            cell = number, epoch.start_ms + bin_number * self._count.bin_ms
            epoch.counts[cell] = epoch.counts.get(cell, 0) + count
            epoch.touched.add(cell)
            if number == folded:
                self.tally.folded += count

    def _name_number(self, epoch: Epoch, name: tuple[str, str, str]) -> int:
        number = epoch.names.get(name)
        if number is not None:
            return number
        if len(epoch.names) >= self._count.max_names:
            name = (FOLDED, FOLDED, FOLDED)
        return epoch.names.setdefault(name, len(epoch.names))

    def _touched_cells(self, epoch: Epoch) -> Iterator[Cell]:
        for kind, bin_ms in sorted(epoch.covered):
            yield Cell(SENSOR, SENSOR, kind, bin_ms, epoch.coverage[kind, bin_ms])
        names = list(epoch.names)
        for number, bin_ms in sorted(epoch.touched):
            yield Cell(*names[number], bin_ms, epoch.counts[number, bin_ms])
        epoch.covered.clear()
        epoch.touched.clear()

    def _far_off(
        self,
        columns: Columns,
        at: NDArray[np.int64],
        time_ms: NDArray[np.int64],
        future: NDArray[np.bool_],
        ancient: NDArray[np.bool_],
    ) -> Iterator[Rejected]:
        for i in np.flatnonzero(future | ancient).tolist():
            reason = Reason.FUTURE if future[i] else Reason.ANCIENT
            distance_s = abs(int(time_ms[i]) - int(at[i])) / 1000
            side = "after" if future[i] else "before"
            yield Rejected(int(columns.rows[i]), reason, f"event time {distance_s:.3f} s {side} the append time")


def begin_of_log(settings: Settings) -> Rebuild:
    """Return the rebuild point at the very beginning of a log."""
    return Rebuild(offset=0, counting=settings.counting, floor_ms=BEGINNING_MS, append_ms=BEGINNING_MS)
