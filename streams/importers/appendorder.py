"""Reports in order of their times to a report log: append times, partitions, ticks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from streams.importers.rows import ImportedReport, ImporterError
from streams.partitions import partition_for
from streams.reportlog import LogRecord, with_ticks
from streams.reporttime import format_time
from streams.settings import Settings

#: Longest silence of a partition in an imported log, where bins are not shorter still.
TICK_MS = 30_000


def report_log(reports: Iterable[ImportedReport], settings: Settings, name: str) -> Iterator[LogRecord]:
    """Yield a report log in which every report was appended at its own time.

    Reports may be out of order by the allowed lateness: those are appended at the time of the newest one before them.
    A partition without reports gets a tick at least every 30 s, or every half bin, and at the end until every window
    is empty: enough for each bin to be covered and judged. A silence of more than a day is left without ticks.

    Parameters
    ----------
    reports
        In order of time, but for the allowed lateness.
    settings
        The deployment's: partitions of the reports topic, bin, window and allowed lateness.
    name
        What messages call the file.

    Raises
    ------
    ImporterError
        If a report is further out of order; the message names the line.
    """
    count = settings.count
    return with_ticks(
        _appended(reports, settings, name),
        settings.kafka.reports_partitions,
        idle_ms=min(TICK_MS, count.bin_ms // 2),
        closing_ms=count.window_ms + count.lateness_ms + 2 * count.bin_ms,
    )


def _appended(reports: Iterable[ImportedReport], settings: Settings, name: str) -> Iterator[LogRecord]:
    newest_ms: int | None = None
    for report in reports:
        newest_ms = report.time_ms if newest_ms is None else max(newest_ms, report.time_ms)
        if report.time_ms < newest_ms - settings.count.lateness_ms:
            raise ImporterError(
                f"{name}:{report.line}: {format_time(report.time_ms)} comes after {format_time(newest_ms)}, and a "
                "report out of order by more than count.allowed_lateness_s = "
                f"{settings.count.allowed_lateness_s} is late: sort the file by time, or give --sort"
            )
        partition = 0 if report.key is None else partition_for(report.key, settings.kafka.reports_partitions)
        yield LogRecord(newest_ms, partition, report.key, report.value)
