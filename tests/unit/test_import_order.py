"""What `import` makes of reports in order of their times: append times, partitions, ticks."""

from __future__ import annotations

from itertools import pairwise

import pytest

from streams.events import TICK_KEY
from streams.importers import ImportedReport, ImporterError, report_log
from streams.partitions import partition_for
from streams.replay import Replay
from streams.reportlog import LogRecord
from streams.settings import Count, Settings
from tests.support.reports import report

T = 1_748_088_000_000  # 2025-05-24T12:00:00Z
SETTINGS = Settings(count=Count(bin_s=300, window_bins=4, epoch_s=300, allowed_lateness_s=30))


def imported(line: int, after_s: int, key: bytes | None = b"a") -> ImportedReport:
    time_ms = T + after_s * 1000
    return ImportedReport(line, time_ms, key, report(time_ms=time_ms))


def log(*reports: ImportedReport) -> list[LogRecord]:
    return list(report_log(reports, SETTINGS, "file.csv"))


def reports_of(records: list[LogRecord]) -> list[LogRecord]:
    return [each for each in records if each.key != TICK_KEY]


def test_a_report_is_appended_at_its_own_time_to_the_partition_of_its_reporter() -> None:
    written = reports_of(log(imported(2, 0), imported(3, 7, b"b"), imported(4, 9, None)))
    assert [(each.timestamp_ms - T, each.key, each.partition) for each in written] == [
        (0, b"a", partition_for(b"a", 4)),
        (7000, b"b", partition_for(b"b", 4)),
        (9000, None, 0),
    ]


def test_a_report_out_of_order_by_less_than_the_allowed_lateness_is_appended_with_the_newest_and_is_counted() -> None:
    records = log(imported(2, 40), imported(3, 10, b"b"))
    assert [each.timestamp_ms - T for each in reports_of(records)] == [40_000, 40_000]
    pipeline = Replay(SETTINGS)
    list(pipeline.run(records))
    assert sum(counter.tally.accepted for counter in pipeline.counters) == 2


def test_a_report_further_out_of_order_is_an_error_that_names_its_line() -> None:
    with pytest.raises(ImporterError, match=r"^file\.csv:3: 2025-05-24T12:00:09\.000Z comes after .*--sort$"):
        log(imported(2, 40), imported(3, 9))


def test_every_source_covers_every_bin_until_all_windows_are_empty() -> None:
    records = log(imported(2, 0), imported(3, 3600))
    for partition in range(4):
        times_ms = [each.timestamp_ms for each in records if each.partition == partition]
        assert all(later - earlier <= 30_000 for earlier, later in pairwise(times_ms))
        assert times_ms[-1] >= T + 3_600_000 + SETTINGS.count.window_ms
    bins_ms = [judgement.bin_ms for judgement in Replay(SETTINGS).run(records)]
    assert bins_ms[-1] >= T + 3_600_000 + SETTINGS.count.window_ms
