"""How the frames of two sources become complete bins: each rule on a log of counts written by hand.

Bins of 60 s. Times are bin numbers: bin 3 is [3, 4).
"""

from collections.abc import Sequence

import pytest

from streams.bins import Bin, BinMerger, BinRebuild
from streams.counting import CountingChangedError
from streams.events import SENSOR, Cell, CountsRecord, Frame, Gap, Mark
from streams.settings import Count, Detect, Kafka, Settings

BIN_MS = 60_000
FIRST = 29_134_800
SETTINGS = Settings(
    kafka=Kafka(reports_partitions=2),
    count=Count(window_bins=2, allowed_lateness_s=30),
    detect=Detect(unknown_after_minutes=1),
)
#: Window, bins until what is open becomes unknown, and one more.
DARK_AFTER_BINS = 4


def start_ms(number: float) -> int:
    """Return the start of bin `number`; a fraction is a time inside of it."""
    return round((FIRST + number) * BIN_MS)


def frame(
    source: int, number: int, count: int, service: str = "x", region: str = "US", kind: str = "app"
) -> CountsRecord:
    cells = [Cell(service, region, kind, start_ms(number), count)]
    return Frame(counting=SETTINGS.counting, source=source, cells=cells)


def covers(source: int, number: int, reports: int = 0) -> CountsRecord:
    """Return the frame with which a source covers a bin: by reports, or by a tick."""
    return frame(source, number, reports or 1, SENSOR, SENSOR, "reports" if reports else "ticks")


def mark(source: int, number: float) -> CountsRecord:
    return Mark(counting=SETTINGS.counting, source=source, watermark_ms=start_ms(number))


def gap(source: int, since: float, until: float) -> CountsRecord:
    return Gap(counting=SETTINGS.counting, source=source, since_ms=start_ms(since), until_ms=start_ms(until))


def judged(log: Sequence[CountsRecord], merger: BinMerger | None = None, first: int = 0) -> list[tuple[int, int]]:
    """Return which record completed which bin."""
    return [(offset, bin_.bin_ms // BIN_MS - FIRST) for offset, bin_ in _bins(log, merger, first)]


def bins(*log: CountsRecord, merger: BinMerger | None = None) -> dict[int, Bin]:
    """Return the bins that a log completes, by number."""
    return {bin_.bin_ms // BIN_MS - FIRST: bin_ for _, bin_ in _bins(log, merger, 0)}


def _bins(log: Sequence[CountsRecord], merger: BinMerger | None, first: int) -> list[tuple[int, Bin]]:
    merger = merger or BinMerger(SETTINGS)
    found = []
    for offset, record in enumerate(log[first:], start=first):
        merger.add(offset, record)
        found += [(offset, bin_) for bin_ in merger.complete()]
    return found


def test_a_bin_is_complete_when_the_watermarks_of_all_sources_have_passed_its_end() -> None:
    #  bin        0         1         2
    #        |---------|---------|---------|
    #  source 0     f                 >          marks: >
    #  source 1                  >  then  >
    log = [frame(0, 0, 3), mark(0, 2.5), mark(1, 1.9), mark(1, 2)]
    assert judged(log) == [(2, 0), (3, 1)]


def test_a_bin_is_not_complete_a_millisecond_before_its_end() -> None:
    early = mark(1, 1 - 1 / BIN_MS)
    assert judged([frame(0, 0, 3), mark(0, 1), early]) == []
    assert judged([frame(0, 0, 3), mark(0, 1), early, mark(1, 1)]) == [(3, 0)]


def test_no_bin_is_complete_before_every_source_has_spoken() -> None:
    assert judged([frame(0, 0, 3), mark(0, 9)]) == []


def test_the_first_bin_is_the_first_with_any_record() -> None:
    # source 1 is read later, and its log begins earlier
    log = [frame(0, 5, 3), mark(0, 8), frame(1, 3, 1), mark(1, 4), mark(1, 6)]
    assert judged(log) == [(3, 3), (4, 4), (4, 5)]
    # source 1 may still speak of bins from 3.5 on: 5 is not the first
    log = [frame(0, 5, 3), mark(0, 8), mark(1, 3.5), frame(1, 4, 1), mark(1, 6)]
    assert judged(log) == [(4, 4), (4, 5)]


def test_bins_without_any_record_in_between_are_judged_too() -> None:
    found = bins(covers(0, 0), covers(0, 2), mark(0, 3), mark(1, 3))
    assert sorted(found) == [0, 1, 2]
    assert found[1] == Bin(start_ms(1), kinds={}, arrived=0, covered=0, sources=2)


def test_counts_add_up_over_sources_and_kinds_stay_apart() -> None:
    found = bins(
        frame(0, 0, 3),
        frame(1, 0, 4),
        frame(1, 0, 2, kind="website"),
        frame(0, 0, 1, region="GB"),
        mark(0, 1),
        mark(1, 1),
    )
    assert found[0].kinds == {("x", "US"): {"app": 7, "website": 2}, ("x", "GB"): {"app": 1}}


def test_the_largest_count_of_a_cell_is_the_latest() -> None:
    log = [frame(0, 0, 3), frame(0, 0, 5), frame(0, 0, 5), frame(0, 0, 4), mark(0, 1), mark(1, 1)]
    assert bins(*log)[0].kinds == {("x", "US"): {"app": 5}}


def test_a_stale_frame_or_mark_after_its_bin_was_judged_changes_nothing() -> None:
    log = [covers(0, 0), mark(0, 2), mark(1, 1), frame(0, 0, 2), mark(0, 0.5), covers(0, 1), mark(1, 2)]
    assert judged(log) == [(2, 0), (6, 1)]
    assert rebuilt([*log, mark(0, 2.5)], floor=2).offset == 6, "nothing is kept for the stale frame"


def test_the_arrived_are_the_reports_of_all_sources_without_ticks() -> None:
    found = bins(covers(0, 0, reports=5), covers(0, 0), covers(1, 0, reports=2), mark(0, 1), mark(1, 1))
    assert found[0].arrived == 7
    assert found[0].kinds == {}


def test_a_source_covers_a_bin_in_which_it_has_any_record() -> None:
    #  bin        0       1       2       3
    #  source 0   report  tick    -       tick
    #  source 1   tick    -       x only  tick     x: a report that arrived elsewhere
    log = [covers(0, 0, reports=1), covers(1, 0), covers(0, 1), frame(1, 2, 9), covers(0, 3), covers(1, 3)]
    found = bins(*log, mark(0, 4), mark(1, 4))
    assert {number: bin_.covered for number, bin_ in found.items()} == {0: 2, 1: 1, 2: 0, 3: 2}
    assert found[0].sources == 2


def test_the_bins_that_a_gap_overlaps_are_not_covered_by_its_source() -> None:
    #  bin        0         1         2         3         4
    #        |---------|---------|---------|---------|---------|
    #  gap of 1             |-------------------)
    log = [gap(1, 1.5, 3.5), *[covers(source, number) for source in (0, 1) for number in range(5)]]
    found = bins(*log, mark(0, 5), mark(1, 5))
    assert {number: bin_.covered for number, bin_ in found.items()} == {0: 2, 1: 1, 2: 1, 3: 1, 4: 2}


def test_a_gap_that_ends_where_a_bin_begins_does_not_touch_it() -> None:
    found = bins(gap(1, 0, 1), covers(1, 0), covers(1, 1), mark(0, 2), mark(1, 2))
    assert {number: bin_.covered for number, bin_ in found.items()} == {0: 0, 1: 1}


def test_long_darkness_is_passed_over() -> None:
    log = [covers(0, 0), mark(0, 0.5), mark(1, 0.5), covers(0, 90), mark(0, 91), mark(1, 91)]
    assert [number for _, number in judged(log)] == [*range(DARK_AFTER_BINS + 1), 90]


def test_in_the_dark_it_does_not_matter_how_the_watermark_moves() -> None:
    steps = [mark(source, number) for number in (1, 3, 20.5, 40, 90) for source in (0, 1)]
    log = [covers(0, 0), *steps, covers(0, 90), covers(1, 92), mark(0, 93), mark(1, 93)]
    assert [number for _, number in judged(log)] == [*range(DARK_AFTER_BINS + 1), 90, 91, 92]


def test_records_counted_under_other_settings_are_refused() -> None:
    other = SETTINGS.model_copy(update={"count": Count(bin_s=30)})
    for record in (frame(0, 0, 1), mark(0, 0), gap(0, 0, 1)):
        record.counting = other.counting
        with pytest.raises(CountingChangedError, match=rf"offset 0 .* {other.counting}.* {SETTINGS.counting}"):
            BinMerger(SETTINGS).add(0, record)


@pytest.mark.parametrize("record", [mark(2, 0), gap(-1, 0, 1), frame(7, 0, 1)])
def test_what_is_of_a_source_that_does_not_exist_is_refused(record: CountsRecord) -> None:
    with pytest.raises(ValueError, match=r"of source (2|-1|7), but there are 2"):
        BinMerger(SETTINGS).add(0, record)


def test_a_cell_of_a_bin_that_does_not_exist_is_refused() -> None:
    between = Cell("x", "US", "app", start_ms(0) + 5, 1)
    with pytest.raises(ValueError, match=f"no bin begins at {between.bin_ms} ms"):
        BinMerger(SETTINGS).add(0, Frame(counting=SETTINGS.counting, source=0, cells=[between]))


# Rebuild points


def rebuilt(log: Sequence[CountsRecord], floor: int) -> BinRebuild:
    """Return the rebuild point for a floor after all of `log`."""
    merger = BinMerger(SETTINGS)
    judged(log, merger)
    rebuild = merger.rebuild(start_ms(floor))
    assert rebuild is not None
    return rebuild


#        0            1            2           3           4            5            6           7
LOG = [frame(0, 0, 1), covers(1, 1), mark(0, 1), mark(1, 1), frame(0, 1, 2), mark(0, 2.5), mark(1, 2), frame(0, 2, 3)]


@pytest.mark.parametrize(
    ("floor", "offset", "judged_at"),
    [
        (0, 0, 3),
        (1, 1, 6),  # source 1 spoke of bin 1 before bin 0 was complete
        (2, 5, 7),  # the latest marks; bin 2 is not complete yet, and no earlier record completes it
    ],
)
def test_a_rebuild_begins_at_the_first_record_that_a_bin_from_the_floor_on_needs(
    floor: int, offset: int, judged_at: int
) -> None:
    assert judged(LOG) == [(3, 0), (6, 1)]
    rebuild = rebuilt(LOG, floor)
    assert rebuild == BinRebuild(offset, SETTINGS.counting, start_ms(floor), 0, None, judged_at)
    log = [*LOG, mark(1, 3), mark(0, 3)]
    again = judged(log, BinMerger(SETTINGS, rebuild), rebuild.offset)
    assert again == [(offset, number) for offset, number in judged(log) if number >= floor]


def test_a_rebuild_begins_no_later_than_the_frames_of_open_bins() -> None:
    assert rebuilt([frame(0, 0, 1), frame(0, 1, 2), mark(0, 1), mark(1, 1)], floor=1).offset == 1


def test_a_rebuild_begins_no_later_than_the_marks_that_completed_a_bin() -> None:
    #                          1                                     4
    log = [frame(0, 0, 1), mark(0, 2), mark(1, 1), covers(1, 1), mark(1, 2), mark(0, 2.5), mark(1, 2.5)]
    rebuild = rebuilt(log, floor=1)
    assert rebuild.offset == 1
    assert judged(log, BinMerger(SETTINGS, rebuild), rebuild.offset) == [(4, 1)]


def test_a_rebuild_hears_again_of_a_gap_that_reaches_over_the_floor() -> None:
    log = [gap(1, 0, 2), frame(0, 0, 1), mark(0, 1), mark(1, 1)]
    assert rebuilt(log, floor=1).offset == 0
    assert rebuilt([gap(1, 0, 1), *log[1:]], floor=1).offset == 2


def test_bins_that_were_passed_over_before_the_first_stay_passed_over() -> None:
    # a baseline was learned up to bin 0, so that is the floor; the log begins at bin 9
    log = [frame(0, 9, 1), mark(0, 10), mark(1, 10)]
    rebuild = rebuilt(log, floor=0)
    assert rebuild.next_ms == start_ms(9)
    assert judged(log, BinMerger(SETTINGS, rebuild), rebuild.offset) == [(2, 9)]


def test_a_restart_in_the_dark_judges_no_more_bins_than_the_first_life() -> None:
    log = [covers(0, 0), mark(0, 3), mark(1, 3), covers(0, 90), mark(0, 91), mark(1, 91)]
    rebuild = rebuilt(log[:3], floor=3)
    assert rebuild.dark_bins == 2
    assert rebuilt(log, floor=2).dark_bins == 1
    assert judged(log, BinMerger(SETTINGS, rebuild), rebuild.offset) == [(5, 3), (5, 4), (5, 90)]


def test_there_is_no_rebuild_point_before_the_first_bin_is_known() -> None:
    merger = BinMerger(SETTINGS)
    judged([frame(0, 0, 1), mark(0, 5)], merger)
    assert merger.rebuild(start_ms(0)) is None


@pytest.mark.parametrize("floor", [0, 1, 2])
def test_what_is_forgotten_is_no_longer_kept_back(floor: int) -> None:
    merger = BinMerger(SETTINGS)
    judged([gap(0, 0, 1), gap(1, 0, 1.5), *LOG], merger)
    kept = [merger.rebuild(start_ms(number)) for number in range(floor, 3)]
    merger.forget(start_ms(floor))
    assert [merger.rebuild(start_ms(number)) for number in range(floor, 3)] == kept
    assert merger.rebuild(start_ms(0)) == kept[0], "there is no way back behind what was forgotten"


# The start of this partition's log is lost: frames from before it cannot be read.


def test_bins_that_lost_frames_may_have_spoken_of_are_covered_by_nobody() -> None:
    #  first marks: source 0 at 2.5, source 1 at 3.5; lateness half a bin, so append times were 3 and 4, and a lost
    #  report may have spoken of a bin's length after that, of time 5 in bin 5
    log = [mark(0, 2.5), mark(1, 3.5), *[covers(source, number) for source in (0, 1) for number in range(3, 9)]]
    found = bins(*log, mark(0, 8), mark(1, 8), merger=BinMerger(SETTINGS, gapped=True))
    assert {number: bin_.covered for number, bin_ in found.items()} == {3: 0, 4: 0, 5: 0, 6: 2, 7: 2}


def test_a_restart_remembers_which_bins_lost_their_frames() -> None:
    log = [covers(0, 2), mark(0, 2.5), mark(1, 3.5), covers(0, 3), mark(0, 3), mark(1, 4)]
    merger = BinMerger(SETTINGS, gapped=True)
    judged(log[:2], merger)
    assert merger.rebuild(start_ms(0)) is None, "source 1 has not said yet how far its lost frames may reach"
    judged(log, merger, 2)
    rebuild = merger.rebuild(start_ms(3))
    assert rebuild is not None
    assert rebuild.blind_until_ms == start_ms(6)
    again = BinMerger(SETTINGS, rebuild)
    found = _bins([*log, mark(0, 4)], again, rebuild.offset)
    assert [(bin_.bin_ms, bin_.covered) for _, bin_ in found] == [(start_ms(3), 0)]


def test_a_known_floor_does_not_hide_that_the_start_of_the_log_is_lost() -> None:
    # the committed offset has been deleted meanwhile: bins between it and the log's new start are unobserved
    begin = BinRebuild(7, SETTINGS.counting, start_ms(1), dark_bins=0, blind_until_ms=None)
    merger = BinMerger(SETTINGS, begin, gapped=True)
    judged([covers(0, 2), mark(0, 2)], merger, 0)
    assert merger.rebuild(start_ms(1)) is None
    found = bins(covers(0, 2), mark(0, 2), covers(1, 2), mark(1, 3), mark(0, 3), merger=merger)
    assert {number: bin_.covered for number, bin_ in found.items()} == {1: 0, 2: 0}
