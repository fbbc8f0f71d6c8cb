"""The data of a backtest: report logs, and tables (CSV) of counts.

A table of counts has a column `timestamp` (ISO 8601, UTC unless it says otherwise, or Unix seconds), a column `value`
(reports, a whole number) and, where it holds more than one series, `service` or `region` or both. Without `service` the
service is the name of the file, without `region` the region is `all`. A row stands for the bin that its timestamp is
in, and rows of one bin add up; a series without a row in a bin that another one has a row in had no reports then, and a
bin without any row was not observed.
"""

from __future__ import annotations

import gzip
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO, cast

import numpy as np

from streams.decode import ReportError, read_report
from streams.events import DAY_MS
from streams.importers.rows import ImporterError, Row, Table
from streams.importers.slugs import slug
from streams.importers.timeformat import ISO, UNIX_S, TimeFormat
from streams.replay import Replay
from streams.reportlog import IDLE_MS, partitions_of, read
from streams.settings import Count, Settings

Key = tuple[str, str]
#: Region of a table that has none.
REGION = "all"
_TABLE = re.compile(r"\.csv(\.gz)?$", re.IGNORECASE)
_MAX_COUNT = 2**53


class BacktestError(Exception):
    """Data or labels cannot be used; the message names the file, and the line where there is one."""


@dataclass(frozen=True, eq=False)
class Series:
    """The counts of one file.

    Parameters
    ----------
    name
        The file as it was given.
    stem
        Its name as a service.
    bins
        Reports by (service, region) of each observed bin, by its start in milliseconds, ascending.
    settings
        The deployment's, with the bins that the data have.
    signs_of_life
        Whether a bin without reports is known to be observed: not so in a log, where reports are all that arrives.
    """

    name: str
    stem: str
    bins: Mapping[int, Mapping[Key, int]]
    settings: Settings
    signs_of_life: bool

    @property
    def bin_ms(self) -> int:
        """Length of a bin in milliseconds."""
        return self.settings.count.bin_ms

    @property
    def keys(self) -> set[Key]:
        """Every service and region that has reports."""
        return {key for counts in self.bins.values() for key in counts}


def read_series(path: Path, settings: Settings) -> Series:
    """Return the counts of a file: a table if its name ends in `.csv` or `.csv.gz`, else a report log.

    Raises
    ------
    BacktestError
        If a table is wrong, or the file holds nothing.
    ReportLogError
        If a report log is wrong.
    OSError
        If the file cannot be read.
    """
    try:
        series = _table(path, settings) if _TABLE.search(path.name) else _log(path, settings)
    except ImporterError as error:
        raise BacktestError(str(error)) from error
    if not series.bins:
        raise BacktestError(f"{path}: holds no counts")
    return series


def _log(path: Path, settings: Settings) -> Series:
    # A log may come from a topic with other partitions; its counts do not depend on them.
    partitions = partitions_of(path) or settings.kafka.reports_partitions
    kafka = settings.kafka.model_copy(update={"reports_partitions": partitions})
    closing_ms = settings.count.lateness_ms + IDLE_MS
    counted = Replay(settings.model_copy(update={"kafka": kafka}))
    bins = dict(counted.history(read(path, partitions, closing_ms)))
    if counted.rejected:
        reason, count = counted.rejected.most_common(1)[0]
        if not any(bins.values()):
            raise BacktestError(f"{path}: no record is a report; {count:,} of them: {reason}")
    return Series(str(path), _stem(path), bins, settings, signs_of_life=False)


def _table(path: Path, settings: Settings) -> Series:
    rows: Counter[tuple[int, Key]] = Counter()
    with _opened(path) as file:
        table = Table(file, str(path))
        time, value = table.column("timestamp"), table.column("value")
        columns = [table.header.index(name) if name in table.header else None for name in ("service", "region")]
        others = set(table.header) - {"timestamp", "value", "service", "region"}
        if others:
            raise BacktestError(
                f"{path}:1: unknown column {', '.join(map(repr, sorted(others)))}; "
                "there may be 'timestamp', 'value', 'service', 'region'"
            )
        known: set[Key] = set()
        stem = _stem(path)
        for row in table:
            if row.damage:
                raise BacktestError(f"{path}:{row.line}: {row.damage}")
            service, region = (
                default if place is None else row.fields[place].strip()
                for place, default in zip(columns, (stem, REGION), strict=True)
            )
            if (service, region) not in known:
                _require_names(path, row, service, region)
                known.add((service, region))
            rows[_time_ms(path, row, time), (service, region)] += _count(path, row, value)
    if not rows:
        raise BacktestError(f"{path}: has no rows but the names of the columns")
    settings = _with_bins_of(path, sorted({at_ms for at_ms, _ in rows}), settings)
    bin_ms = settings.count.bin_ms
    bins: defaultdict[int, dict[Key, int]] = defaultdict(dict)
    for (at_ms, key), count in sorted(rows.items()):
        counts = bins[at_ms // bin_ms * bin_ms]
        counts[key] = counts.get(key, 0) + count
    return Series(str(path), stem, dict(bins), settings, signs_of_life=True)


@contextmanager
def _opened(path: Path) -> Iterator[TextIO]:
    if path.suffix == ".gz":
        with gzip.open(path, "rt", encoding="utf-8-sig", errors="surrogateescape", newline="") as unpacked:
            yield cast("TextIO", unpacked)
    else:
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            yield file


def _stem(path: Path) -> str:
    return slug(re.sub(r"(\.csv|\.jsonl|\.json)?(\.gz)?$", "", path.name, flags=re.IGNORECASE) or "data")


def _require_names(path: Path, row: Row, service: str, region: str) -> None:
    try:
        read_report(
            b'{"service":"%s","region":"%s"}' % (service.encode(errors="replace"), region.encode("utf-8", "replace"))
        )
    except ReportError as error:
        raise BacktestError(f"{path}:{row.line}: {error}") from None


def _time_ms(path: Path, row: Row, place: int) -> int:
    text = row.fields[place].strip()
    try:
        return _UNIX.read(text) if re.fullmatch(r"[0-9.]+", text) else _ISO.read(text)
    except ValueError as error:
        raise BacktestError(f"{path}:{row.line}: column 'timestamp': {error}") from None


_ISO, _UNIX = TimeFormat(ISO, "UTC"), TimeFormat(UNIX_S)


def _count(path: Path, row: Row, place: int) -> int:
    text = row.fields[place].strip()
    try:
        count = float(text)
    except ValueError:
        count = -1.0
    if not 0 <= count <= _MAX_COUNT or count != int(count):
        raise BacktestError(f"{path}:{row.line}: column 'value': {text!r} is no whole number from 0 to 2**53")
    return int(count)


def _with_bins_of(path: Path, times_ms: list[int], settings: Settings) -> Settings:
    """Return settings whose bins are no shorter than the rows are apart; windows keep their length in time."""
    if len(times_ms) < 2:
        return settings
    apart_ms = int(np.median(np.diff(np.array(times_ms, np.int64))))
    count = settings.count
    if apart_ms <= count.bin_ms:
        return settings
    if DAY_MS % apart_ms or apart_ms % 1000 or apart_ms > 3_600_000:
        raise BacktestError(
            f"{path}: rows are {apart_ms / 1000:g} s apart (median), which is no length of a bin: set count.bin_s to a "
            "longer one that is, such as 900 or 3600"
        )
    bins = max(1, count.window_ms // apart_ms)
    epoch_ms = -(-count.epoch_ms // apart_ms) * apart_ms
    changed = Count(
        **count.model_dump(exclude={"bin_s", "window_bins", "epoch_s"}),
        bin_s=apart_ms // 1000,
        window_bins=bins,
        epoch_s=epoch_ms // 1000,
    )
    return settings.model_copy(update={"count": changed})
