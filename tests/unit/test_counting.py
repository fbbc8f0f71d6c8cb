"""What a source partition counts: each rule on a log short enough to count by hand.

Bins of 60 s, epochs of 15 minutes, 30 s of allowed lateness. Times are milliseconds after noon, which starts an
epoch.
"""

import msgspec
import numpy as np
import pytest

from streams.counting import BEGINNING_MS, Flush, Rebuild, SourceCounter, begin_of_log
from streams.events import DAY_MS, TICK_KEY, Gap
from streams.reportlog import LogRecord
from streams.settings import Count, Settings
from tests.support.reports import feed, record, report, tick

NOON_MS = 1_748_088_000_000
BIN_MS = 60_000
EPOCH_MS = 900_000
LATENESS_MS = 30_000
SETTINGS = Settings()


def said(
    at_ms: int,
    time_ms: int | None = None,
    reporter: str | None = None,
    *,
    service: str = "x",
    region: str = "US",
    kind: str = "app",
) -> LogRecord:
    """Return a report that arrives at one time after noon and speaks of another."""
    event_ms = None if time_ms is None else NOON_MS + time_ms
    return record(NOON_MS + at_ms, report(service, region, kind=kind, reporter=reporter, time_ms=event_ms))


def ticked(at_ms: int) -> LogRecord:
    return tick(NOON_MS + at_ms)


def new_counter(deployment: Settings = SETTINGS) -> SourceCounter:
    return SourceCounter(deployment, 0, begin_of_log(deployment))


def flushed(counter: SourceCounter) -> Flush:
    flush = counter.flush()
    assert flush is not None
    return flush


def cells(flush: Flush) -> dict[tuple[str, int], int]:
    """Return the cells by their names and the number of their bin after noon."""
    return {
        (f"{cell.service} {cell.region} {cell.kind}", (cell.bin_ms - NOON_MS) // BIN_MS): cell.count
        for cell in flush.cells
    }


def reports(*log: LogRecord, deployment: Settings = SETTINGS) -> dict[tuple[str, int], int]:
    """Count a log from its beginning and return the cells but those of the sensor."""
    counter = new_counter(deployment)
    feed(counter, log)
    return {key: count for key, count in cells(flushed(counter)).items() if not key[0].startswith("*")}


def test_a_report_counts_in_the_bin_of_its_event_time() -> None:
    #  bin      0         1         2
    #       |---------|---------|---------|
    #  time      a   b c
    #  arrives       a   b   c
    log = [said(59_000, 40_000), said(61_000, 59_999), said(75_000, 60_000)]
    assert reports(*log) == {("x US app", 0): 2, ("x US app", 1): 1}


def test_a_report_without_a_time_counts_in_the_bin_of_its_append_time() -> None:
    assert reports(said(59_999), said(60_000)) == {("x US app", 0): 1, ("x US app", 1): 1}


def test_append_time_never_goes_back() -> None:
    #  timestamps  60_000, then 10_000: the second is appended at 60_000 as well
    log = [said(60_000), said(10_000), said(10_000, 60_000 - LATENESS_MS - 1)]
    counter = new_counter()
    feed(counter, log)
    assert counter.append_ms == NOON_MS + 60_000
    assert cells(flushed(counter)) == {("* * reports", 1): 3, ("x US app", 1): 2}
    assert counter.tally.late == 1


def test_a_report_is_late_when_it_comes_more_than_the_allowed_lateness_after_its_time() -> None:
    counter = new_counter()
    feed(counter, [said(300_000, 300_000 - LATENESS_MS), said(300_000, 300_000 - LATENESS_MS - 1)])
    assert (counter.tally.accepted, counter.tally.late) == (1, 1)


def test_the_watermark_is_the_earliest_event_time_that_may_still_be_binned() -> None:
    counter = new_counter()
    feed(counter, [ticked(300_000)])
    watermark_ms = flushed(counter).mark.watermark_ms
    assert watermark_ms == counter.watermark_ms == NOON_MS + 300_000 - LATENESS_MS
    feed(counter, [said(300_000, watermark_ms - NOON_MS - 1)])
    assert (counter.tally.accepted, counter.tally.late) == (0, 1)
    feed(counter, [said(300_000, watermark_ms - NOON_MS)])
    assert (counter.tally.accepted, counter.tally.late) == (1, 1)


def test_a_report_from_more_than_one_bin_in_the_future_is_a_dead_letter() -> None:
    counter = new_counter()
    rejected = feed(counter, [said(10_000, 10_000 + BIN_MS), said(10_000, 10_000 + BIN_MS + 1)])
    assert [(each.row, each.reason, each.detail) for each in rejected] == [
        (1, "future", "event time 60.001 s after the append time")
    ]
    assert cells(flushed(counter))["x US app", 1] == 1


def test_a_report_from_more_than_seven_days_ago_is_a_dead_letter_and_not_late() -> None:
    counter = new_counter()
    rejected = feed(counter, [said(0, -7 * DAY_MS), said(0, -7 * DAY_MS - 1)])
    assert [(each.row, each.reason, each.detail) for each in rejected] == [
        (1, "ancient", "event time 604800.001 s before the append time")
    ]
    assert (counter.tally.accepted, counter.tally.late) == (0, 1)


def test_dead_letters_come_in_log_order_with_their_place_among_ticks() -> None:
    log = [
        ticked(0),
        said(0, 500_000),
        record(NOON_MS, b"down!"),
        ticked(0),
        record(NOON_MS, None),
        said(0, -8 * DAY_MS),
        record(NOON_MS, b""),
    ]
    rejected = feed(new_counter(), log)
    assert [(each.row, str(each.reason)) for each in rejected] == [
        (1, "future"),
        (2, "malformed"),
        (4, "null"),
        (5, "ancient"),
        (6, "empty"),
    ]


def test_the_first_report_of_a_reporter_in_an_epoch_counts() -> None:
    counter = new_counter()
    feed(counter, [said(0, 0, "ada"), said(1_000, 1_000, "ada", region="GB", kind="website"), said(2_000, 0, "bob")])
    assert cells(flushed(counter)) == {("* * reports", 0): 3, ("x US app", 0): 2}
    assert counter.tally.duplicate == 1


def test_a_reporter_counts_once_for_each_service() -> None:
    log = [said(0, 0, "ada"), said(1_000, 1_000, "ada", service="mail"), said(2_000, 2_000, "ada", service="mail")]
    assert reports(*log) == {("x US app", 0): 1, ("mail US app", 0): 1}


def test_a_reporter_counts_again_in_the_next_epoch() -> None:
    #  epoch     0                 1
    #       |---------------|---------------|
    #  time                ab
    log = [said(EPOCH_MS, EPOCH_MS - 1, "ada"), said(EPOCH_MS, EPOCH_MS, "ada")]
    assert reports(*log) == {("x US app", 14): 1, ("x US app", 15): 1}


def test_epochs_go_by_event_time_not_by_append_time() -> None:
    log = [said(EPOCH_MS, EPOCH_MS, "ada"), said(EPOCH_MS + 1_000, EPOCH_MS - 1, "ada")]
    assert reports(*log) == {("x US app", 14): 1, ("x US app", 15): 1}


def test_a_report_without_a_reporter_always_counts() -> None:
    assert reports(*[said(0, 0, reporter) for reporter in (None, None, "", "")]) == {("x US app", 0): 4}


def test_a_late_report_does_not_use_up_its_reporter() -> None:
    log = [said(200_000, 100_000, "ada"), said(200_000, 200_000, "ada")]
    assert reports(*log) == {("x US app", 3): 1}


@pytest.mark.parametrize("chunks", [[4, 2], [6], [1] * 6])
def test_once_an_epoch_has_its_names_later_ones_count_as_other(chunks: list[int]) -> None:
    deployment = Settings(count=Count(max_names=2))
    log = [
        said(0, region="US"),
        said(1, region="GB"),
        said(2, region="AA"),
        said(3, region="GB"),
        said(4, region="BB"),
        said(EPOCH_MS, region="BB"),
    ]
    counter = new_counter(deployment)
    for size in chunks:
        feed(counter, log[counter.position : counter.position + size])
    assert cells(flushed(counter)) == {
        ("* * reports", 0): 5,
        ("* * reports", 15): 1,
        ("x US app", 0): 1,
        ("x GB app", 0): 2,
        ("other other other", 0): 2,
        ("x BB app", 15): 1,  # the next epoch has room again
    }
    assert counter.tally.folded == 2


def test_a_repeated_report_takes_no_name_from_the_cap() -> None:
    log = [said(0, 0, "ada"), said(1, 1, "ada", region="GB"), said(2, 2, "bob", region="DE")]
    assert reports(*log, deployment=Settings(count=Count(max_names=2))) == {("x US app", 0): 1, ("x DE app", 0): 1}


def test_the_cap_does_not_fold_the_sensor() -> None:
    counter = new_counter(Settings(count=Count(max_names=1)))
    feed(counter, [said(0), said(1, region="GB"), said(60_000, region="GB")])
    assert cells(flushed(counter))["* * reports", 1] == 1


def test_a_tick_moves_time_and_covers_its_bin_but_reports_nothing() -> None:
    counter = new_counter()
    feed(counter, [ticked(0), ticked(60_000), ticked(61_000)])
    flush = flushed(counter)
    assert cells(flush) == {("* * ticks", 0): 1, ("* * ticks", 1): 2}
    assert flush.mark.watermark_ms == NOON_MS + 61_000 - LATENESS_MS
    assert (counter.tally.read, counter.tally.ticks) == (3, 3)


def test_only_a_record_with_the_key_of_ticks_and_no_value_is_a_tick() -> None:
    counter = new_counter()
    value = report(time_ms=NOON_MS)
    rejected = feed(counter, [record(NOON_MS, value, key=TICK_KEY), record(NOON_MS, None, key=b"someone")])
    assert [(each.row, str(each.reason)) for each in rejected] == [(1, "null")]
    assert cells(flushed(counter)) == {("* * reports", 0): 2, ("x US other", 0): 1}


def test_every_record_covers_the_bin_of_its_append_time_whatever_it_says() -> None:
    #  bin             0         1         2
    #             |---------|---------|---------|
    #  arrives                   l m f     t
    #  speaks of   l                       f
    log = [said(70_000, 0), record(NOON_MS + 80_000, b"down!"), said(90_000, 150_000), ticked(130_000)]
    counter = new_counter()
    feed(counter, log)
    assert cells(flushed(counter)) == {("* * reports", 1): 3, ("* * ticks", 2): 1, ("x US app", 2): 1}


def test_a_flush_states_the_cells_that_have_grown_with_all_they_have_come_to() -> None:
    counter = new_counter()
    assert counter.flush() is None
    feed(counter, [said(0), said(1), said(2, region="GB")])
    assert cells(flushed(counter)) == {("* * reports", 0): 3, ("x US app", 0): 2, ("x GB app", 0): 1}
    assert cells(flushed(counter)) == {}
    feed(counter, [said(3)])
    assert cells(flushed(counter)) == {("* * reports", 0): 4, ("x US app", 0): 3}


def test_a_chunk_without_records_moves_only_the_position() -> None:
    # what was in Kafka between two records may have been compacted away
    counter = new_counter()
    feed(counter, [ticked(0)])
    before = flushed(counter)
    counter.add_records(50, np.empty(0, np.int64), np.empty(0, np.int64), [], [])
    assert counter.position == 50
    after = flushed(counter)
    assert (after.cells, after.mark, after.rebuild) == ([], before.mark, before.rebuild)


# Rebuild points: the first record that an open epoch needs, the append time just before it, and the floor.


def test_the_rebuild_point_is_the_first_record_of_the_oldest_open_epoch() -> None:
    #  offset        0   1  2      3  4
    #  epoch     0              |  1
    #        |------------------|--------------
    #  time          0   1   3     2  4            record 2 speaks of epoch 1 before it has begun
    counter = new_counter()
    feed(counter, [ticked(1_000), said(850_000), said(870_000, 910_000), said(880_000), said(901_000)])
    assert flushed(counter).rebuild == Rebuild(
        offset=0, counting=SETTINGS.counting, floor_ms=NOON_MS, append_ms=BEGINNING_MS
    )
    feed(counter, [ticked(EPOCH_MS + LATENESS_MS - 1)])
    assert flushed(counter).rebuild.offset == 0, "epoch 0 may still hear of reports"
    feed(counter, [ticked(EPOCH_MS + LATENESS_MS)])
    assert flushed(counter).rebuild == Rebuild(
        offset=2, counting=SETTINGS.counting, floor_ms=NOON_MS + EPOCH_MS, append_ms=NOON_MS + 850_000
    )


def test_a_restart_states_nothing_below_its_floor() -> None:
    #  epoch 0 is published; its second record is read again, for epoch 1 begins at the first
    counter = SourceCounter(SETTINGS, 0, Rebuild(2, SETTINGS.counting, NOON_MS + EPOCH_MS, NOON_MS + 850_000))
    feed(counter, [said(870_000, 910_000), said(880_000, 880_000, "ada"), said(901_000, 901_000, "ada")])
    assert cells(flushed(counter)) == {("* * reports", 15): 1, ("x US app", 15): 2}
    assert counter.tally.rebuilt == 1


def test_a_restart_knows_the_append_time_before_its_first_record() -> None:
    # without it, the first report would carry its own, smaller timestamp and be in time
    counter = SourceCounter(SETTINGS, 0, Rebuild(7, SETTINGS.counting, NOON_MS, NOON_MS + 500_000))
    feed(counter, [said(100_000, 100_000)])
    assert (counter.tally.accepted, counter.tally.late) == (0, 1)
    assert flushed(counter).mark.watermark_ms == NOON_MS + 500_000 - LATENESS_MS


def test_a_restart_before_its_first_record_offers_the_point_it_began_at() -> None:
    begin = Rebuild(7, SETTINGS.counting, NOON_MS, NOON_MS + 5_000)
    flush = flushed(SourceCounter(SETTINGS, 0, begin))
    assert (flush.cells, flush.rebuild) == ([], begin)


def test_a_rebuild_point_survives_its_way_through_kafka() -> None:
    begin = begin_of_log(SETTINGS)
    assert msgspec.json.decode(msgspec.json.encode(begin), type=Rebuild) == begin


# Gaps: records between the committed point and where the log now begins are lost.


@pytest.mark.parametrize(
    ("first_ms", "until_ms"),
    [
        (0, EPOCH_MS),
        (EPOCH_MS - BIN_MS - 1, EPOCH_MS),
        (EPOCH_MS - BIN_MS, 2 * EPOCH_MS),  # a lost report may have spoken of the very start of epoch 1
        (EPOCH_MS, 2 * EPOCH_MS),
    ],
)
def test_counting_after_a_gap_begins_with_the_first_epoch_that_no_lost_report_can_touch(
    first_ms: int, until_ms: int
) -> None:
    #  lost      lost      first record
    #   ......:.......:.......x  one bin >|     | next epoch
    begin = Rebuild(40, SETTINGS.counting, BEGINNING_MS, BEGINNING_MS)
    counter = SourceCounter(SETTINGS, 0, begin, gap_since_ms=NOON_MS - EPOCH_MS)
    feed(counter, [said(first_ms)])
    flush = flushed(counter)
    assert flush.gap == Gap(
        counting=SETTINGS.counting, source=0, since_ms=NOON_MS - EPOCH_MS, until_ms=NOON_MS + until_ms
    )
    assert flush.cells == []
    assert flush.rebuild == Rebuild(41, SETTINGS.counting, NOON_MS + until_ms, NOON_MS + first_ms)
    feed(counter, [said(until_ms - 1, until_ms - 1), said(until_ms, until_ms)])
    flush = flushed(counter)
    assert flush.gap is None
    assert cells(flush) == {("* * reports", until_ms // BIN_MS): 1, ("x US app", until_ms // BIN_MS): 1}


def test_a_gap_is_stated_once_there_is_a_record() -> None:
    counter = SourceCounter(SETTINGS, 0, begin_of_log(SETTINGS), gap_since_ms=BEGINNING_MS)
    counter.add_records(50, np.empty(0, np.int64), np.empty(0, np.int64), [], [])
    assert counter.flush() is None
    feed(counter, [ticked(0)])
    gap = flushed(counter).gap
    assert gap is not None
    assert (gap.since_ms, gap.until_ms) == (BEGINNING_MS, NOON_MS + EPOCH_MS)


def test_what_is_published_is_not_stated_again_after_a_gap() -> None:
    # the log has lost its end, not its start: what it holds is older than what has been published
    counter = SourceCounter(SETTINGS, 0, begin_of_log(SETTINGS), gap_since_ms=NOON_MS + 5 * EPOCH_MS)
    feed(counter, [said(0), said(2 * EPOCH_MS)])
    flush = flushed(counter)
    assert flush.cells == []
    assert flush.gap is not None
    assert flush.gap.since_ms == flush.gap.until_ms == NOON_MS + 5 * EPOCH_MS
