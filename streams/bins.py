"""Merging the frames of all source partitions into complete bins.

The counts of a cell only grow, so the largest value ever stated is the latest one: frames may be repeated, split,
stale or out of order. A bin is complete when the watermark of every source has passed its end.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from streams.counting import REPORTS, CountingChangedError
from streams.events import SENSOR, CountsRecord, Frame, Gap, Mark, SettingsChange
from streams.settings import Settings


class BinRebuild(msgspec.Struct, frozen=True):
    """Where merging can begin again: what Kafka keeps between two lives of a worker.

    The same bins are judged again from `next_ms` on, each at the same record, if reading begins at `offset`.
    `dark_bins` is how many bins without any record were judged in a row just before. No bin is judged before the record
    at `first_judged_at`: the first one was not, although its sources had long passed it.
    """

    offset: int
    counting: str
    next_ms: int
    dark_bins: int
    blind_until_ms: int | None
    first_judged_at: int = 0


@dataclass(slots=True)
class Bin:
    """Everything that is known of one complete bin."""

    bin_ms: int
    #: Reports by (service, region) and kind.
    kinds: dict[tuple[str, str], dict[str, int]]
    #: All reports that arrived in the bin, by append time, whatever their event time.
    arrived: int
    #: Sources with a record in the bin and no gap over it; `sources` is how many there are.
    covered: int
    sources: int


@dataclass(slots=True)
class _Open:
    """A bin that is not judged yet."""

    first_offset: int
    cells: dict[tuple[int, str, str, str], int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Judged:
    """What a restart needs to judge a bin again."""

    first_offset: int
    marks_offset: int
    judged_at: int
    dark_bins: int


class BinMerger:
    """Merges the records of one counts partition; `add` them in log order, then take the bins of `complete`.

    Parameters
    ----------
    settings
        The deployment's settings.
    begin
        The rebuild point to go on from; None to begin with the first bin that has any record.
    gapped
        The log of this partition does not begin where reading began: bins that may have lost frames count as
        covered by nobody.
    """

    def __init__(self, settings: Settings, begin: BinRebuild | None = None, *, gapped: bool = False) -> None:
        self._settings = settings
        #: Asked for with every record, and dear to reckon.
        self._counting = settings.counting
        self._bin_ms = settings.count.bin_ms
        self._sources = settings.kafka.reports_partitions
        #: The first bin that is not judged yet; None until the first is known.
        self.next_ms = begin.next_ms if begin else None
        #: Bins before this are known in part only: the start of this partition's log is lost.
        self._blind_until_ms = begin.blind_until_ms if begin else None
        self._gapped = gapped
        self._open: dict[int, _Open] = {}
        #: In order of time, as they were judged.
        self._judged: dict[int, _Judged] = {}
        self._watermarks: dict[int, int] = {}
        self._mark_offsets: dict[int, int] = {}
        self._first_watermarks: dict[int, int] = {}
        self._gaps: list[tuple[int, Gap]] = []
        #: After so many bins in a row without any record nothing is open and all windows are empty: such bins are
        #: passed over.
        self._dark_after_bins = settings.count.window_bins + settings.detect.unknown_after_bins(self._bin_ms) + 1
        self._dark_bins = begin.dark_bins if begin else 0
        self._position = begin.offset if begin else 0
        self._first_judged_at = begin.first_judged_at if begin else 0

    def add(self, offset: int, record: CountsRecord) -> None:
        """Merge the record at `offset`.

        Raises
        ------
        CountingChangedError
            If the record was counted under other settings.
        ValueError
            If no source can state that.
        """
        self._position = offset + 1
        if record.counting != self._counting:
            raise CountingChangedError(
                f"offset {offset} was counted under settings {record.counting}, this worker has "
                f"{self._counting}: [count] and the partition numbers are fixed for the life of a counts "
                "topic; drain to a new kafka.prefix to change them"
            )
        if not isinstance(record, SettingsChange) and not 0 <= record.source < self._sources:
            raise ValueError(f"it is of source {record.source}, but there are {self._sources}")
        match record:
            case Frame():
                self._merge(offset, record)
            case Mark():
                self._mark(offset, record)
            case Gap():
                self._gaps.append((offset, record))

    @property
    def watermarks(self) -> dict[int, int]:
        """The watermark of each source that has stated one."""
        return self._watermarks

    @property
    def watermark_ms(self) -> int | None:
        """The watermark of the slowest source; None until every source has stated one."""
        return min(self._watermarks.values()) if len(self._watermarks) == self._sources else None

    def complete(self) -> Iterator[Bin]:
        """Yield the bins that are complete and not judged yet, in order."""
        watermark_ms = self.watermark_ms
        if watermark_ms is None or self._position <= self._first_judged_at:
            return
        if self._gapped:
            self._gapped = False
            lost_ms = max(self._first_watermarks.values()) + self._settings.count.lateness_ms + self._bin_ms
            self._blind_until_ms = lost_ms + self._bin_ms - lost_ms % self._bin_ms
        if self.next_ms is None:
            if min(self._open, default=watermark_ms) + self._bin_ms > watermark_ms:
                return  # an earlier bin may still appear
            self.next_ms = min(self._open)
        while self.next_ms + self._bin_ms <= watermark_ms:
            if self._dark_bins >= self._dark_after_bins and self.next_ms not in self._open:
                last_ms = watermark_ms - watermark_ms % self._bin_ms
                self.next_ms = min([last_ms, *self._open])
            else:
                yield self._take(self.next_ms)

    def rebuild(self, floor_ms: int) -> BinRebuild | None:
        """Return where to begin in order to judge the bins from `floor_ms` on again.

        None while nothing has been judged, or while it is not known which bins a lost start of the log touches.

        Parameters
        ----------
        floor_ms
            Not before the floor of the last call of `forget`.
        """
        if self.next_ms is None or self._gapped:
            return None
        needed = [self._position]
        needed += [open_bin.first_offset for open_bin in self._open.values()]
        needed += [offset for offset, gap in self._gaps if gap.until_ms > floor_ms]
        again = {bin_ms: judged for bin_ms, judged in self._judged.items() if bin_ms >= floor_ms}
        needed += [judged.first_offset for judged in again.values()]
        needed += [judged.marks_offset for judged in again.values()] or self._mark_offsets.values()
        # bins are passed over before the first and in the dark: the next one judged may lie behind the floor
        next_ms = min(again, default=self.next_ms)
        return BinRebuild(
            offset=min(needed),
            counting=self._counting,
            next_ms=next_ms,
            dark_bins=again[next_ms].dark_bins if again else self._dark_bins,
            blind_until_ms=self._blind_until_ms,
            first_judged_at=again[next_ms].judged_at if again else max(self._first_judged_at, self._position - 1),
        )

    def forget(self, floor_ms: int) -> None:
        """Drop what only bins before `floor_ms` needed."""
        for bin_ms in [bin_ms for bin_ms in self._judged if bin_ms < floor_ms]:
            del self._judged[bin_ms]
        self._gaps = [(offset, gap) for offset, gap in self._gaps if gap.until_ms > floor_ms]

    def _merge(self, offset: int, frame: Frame) -> None:
        for cell in frame.cells:
            if cell.bin_ms % self._bin_ms:
                raise ValueError(f"no bin begins at {cell.bin_ms} ms")
            if self.next_ms is not None and cell.bin_ms < self.next_ms:
                continue
            open_bin = self._open.get(cell.bin_ms)
            if open_bin is None:
                open_bin = self._open[cell.bin_ms] = _Open(offset)
            key = frame.source, cell.service, cell.region, cell.kind
            if cell.count > open_bin.cells.get(key, 0):
                open_bin.cells[key] = cell.count

    def _mark(self, offset: int, mark: Mark) -> None:
        self._first_watermarks.setdefault(mark.source, mark.watermark_ms)
        if mark.watermark_ms >= self._watermarks.get(mark.source, mark.watermark_ms):
            self._watermarks[mark.source] = mark.watermark_ms
            self._mark_offsets[mark.source] = offset

    def _take(self, bin_ms: int) -> Bin:
        self.next_ms = bin_ms + self._bin_ms
        merged = self._open.pop(bin_ms, None) or _Open(self._position)
        self._judged[bin_ms] = _Judged(
            merged.first_offset, min(self._mark_offsets.values()), self._position - 1, self._dark_bins
        )
        self._dark_bins = 0 if merged.cells else self._dark_bins + 1
        kinds: dict[tuple[str, str], dict[str, int]] = defaultdict(lambda: defaultdict(int))
        arrived = 0
        covering = set()
        for (source, service, region, kind), count in merged.cells.items():
            if service != SENSOR:
                kinds[service, region][kind] += count
                continue
            covering.add(source)
            if kind == REPORTS:
                arrived += count
        covering -= {gap.source for _, gap in self._gaps if gap.since_ms < self.next_ms and gap.until_ms > bin_ms}
        if self._blind_until_ms is not None and bin_ms < self._blind_until_ms:
            covering.clear()
        return Bin(
            bin_ms=bin_ms,
            kinds={name: dict(sorted(by_kind.items())) for name, by_kind in sorted(kinds.items())},
            arrived=arrived,
            covered=len(covering),
            sources=self._sources,
        )
