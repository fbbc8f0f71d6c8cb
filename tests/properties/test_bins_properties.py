"""Whatever becomes of the frames on their way, and wherever merging begins again: the same bins."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle, pairwise
from random import Random

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.bins import Bin, BinMerger, BinRebuild
from streams.counting import Flush, begin_of_log
from streams.events import CountsRecord, Frame, Gap, Mark
from streams.frames import facts, marks
from streams.partitions import partition_for
from streams.settings import Settings
from tests.support.countmodel import BIN_MS, START_MS, Entry, Truth, entries, live, plans, small_settings, truth

thorough = settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.too_slow])
#: With a window of one bin, and unknown after two: windows are empty and nothing is open.
DARK_AFTER_BINS = 1 + 2 + 1


@dataclass
class Counted:
    """A deployment's sources: what they come to, and what they have stated of it."""

    deployment: Settings
    truths: list[Truth]
    flushes: list[list[Flush]]


@st.composite
def counted(draw: st.DrawFn) -> Counted:
    """Draw a log for each source, closed by a tick, and count it in two lives."""
    deployment = small_settings(draw)
    sources = range(deployment.kafka.reports_partitions)
    logs = [draw(entries(deployment, max_size=20)) for _ in sources]
    close_ms = max(entry.timestamp_ms for log in logs for entry in log) + draw(st.sampled_from([1_000, 500_000]))
    flushes = []
    for source, log in enumerate(logs):
        log.append(Entry(log[-1].offset + 1, close_ms, "tick"))
        first = live(deployment, log, begin_of_log(deployment), draw(plans), source=source).flushes
        committed = draw(st.integers(0, len(first) - 1))
        died = draw(st.integers(committed, len(first) - 1))
        second = live(deployment, log, first[committed].rebuild, draw(plans), source=source).flushes
        flushes.append(first[: died + 1] + second)
    return Counted(deployment, [truth(deployment, log) for log in logs], flushes)


def stated_in(flush: Flush, deployment: Settings, partition: int) -> list[CountsRecord]:
    """Return what one counts partition hears of a flush."""
    records = [*facts(flush, deployment), *marks(flush, deployment)]
    return [record for at, record in records if at == partition]


def interleaved(streams: Sequence[Sequence[CountsRecord]], turns: Sequence[int]) -> list[CountsRecord]:
    """Merge the records of all sources; `turns` says whose comes next, again and again."""
    rest = [list(reversed(stream)) for stream in streams]
    merged: list[CountsRecord] = []
    for turn in cycle([*turns, *range(len(streams))]):
        if not any(rest):
            return merged
        if rest[turn % len(rest)]:
            merged.append(rest[turn % len(rest)].pop())
    raise AssertionError


@st.composite
def counts_logs(draw: st.DrawFn) -> tuple[Counted, int, list[CountsRecord]]:
    """Draw sources, one of the counts partitions, and its log."""
    sources = draw(counted())
    partition = draw(st.integers(0, sources.deployment.kafka.counts_partitions - 1))
    streams = [
        [record for flush in flushes for record in stated_in(flush, sources.deployment, partition)]
        for flushes in sources.flushes
    ]
    turns = draw(st.lists(st.integers(0, len(streams) - 1), max_size=8))
    return sources, partition, interleaved(streams, turns)


def judged(
    deployment: Settings, log: Sequence[CountsRecord], begin: BinRebuild | None = None, *, lost: int = 0
) -> list[tuple[int, Bin]]:
    """Return the bins that a log completes, each with the offset of the record that did."""
    merger = BinMerger(deployment, begin, gapped=lost > 0)
    bins = []
    for offset in range(begin.offset if begin else lost, len(log)):
        merger.add(offset, log[offset])
        bins += [(offset, bin_) for bin_ in merger.complete()]
    return bins


def expected_bins(sources: Counted, partition: int, gaps: Sequence[Gap] = ()) -> list[Bin]:
    """Return what the bins of a counts partition must be, from the logs of reports."""
    deployment = sources.deployment
    watermark_ms = min(each.append_ms or 0 for each in sources.truths) - deployment.count.lateness_ms
    bins: dict[int, Bin] = {}
    covering: dict[int, set[int]] = defaultdict(set)
    for source, each in enumerate(sources.truths):
        for (service, region, kind, bin_ms), count in each.cells.items():
            is_here = partition_for(service.encode(), deployment.kafka.counts_partitions) == partition
            if not is_here and service != "*":
                continue
            bin_ = bins.setdefault(bin_ms, Bin(bin_ms, {}, 0, 0, len(sources.truths)))
            if service != "*":
                by_kind = bin_.kinds.setdefault((service, region), {})
                by_kind[kind] = by_kind.get(kind, 0) + count
                continue
            covering[bin_ms].add(source)
            if kind == "reports":
                bin_.arrived += count
    for bin_ms in sorted(bins):
        for dark in range(1, DARK_AFTER_BINS + 1):
            dark_ms = bin_ms + dark * BIN_MS
            if covering[dark_ms] or (dark_ms in bins and bins[dark_ms].kinds):
                break
            bins.setdefault(dark_ms, Bin(dark_ms, {}, 0, 0, len(sources.truths)))
    for bin_ms, bin_ in bins.items():
        lost = {gap.source for gap in gaps if gap.since_ms < bin_ms + BIN_MS and bin_ms < gap.until_ms}
        bin_.covered = len(covering[bin_ms] - lost)
    return [bins[bin_ms] for bin_ms in sorted(bins) if bin_ms + BIN_MS <= watermark_ms]


@thorough
@given(counts_logs())
def test_bins_are_judged_once_in_order_and_complete(log: tuple[Counted, int, list[CountsRecord]]) -> None:
    sources, partition, records = log
    bins = [bin_ for _, bin_ in judged(sources.deployment, records)]
    assert bins == expected_bins(sources, partition)
    assert all(earlier.bin_ms < later.bin_ms for earlier, later in pairwise(bins))


@thorough
@given(counts_logs())
def test_a_bin_is_judged_as_soon_as_all_marks_have_passed_it(log: tuple[Counted, int, list[CountsRecord]]) -> None:
    sources, _, records = log
    promised: dict[int, int] = {}
    at: dict[int, list[int]] = defaultdict(list)
    for offset, bin_ in judged(sources.deployment, records):
        at[offset].append(bin_.bin_ms)
    for offset, record in enumerate(records):
        before_ms = min(promised.values()) if len(promised) == len(sources.truths) else None
        if isinstance(record, Mark):
            promised[record.source] = max(record.watermark_ms, promised.get(record.source, record.watermark_ms))
        for bin_ms in at[offset]:
            assert bin_ms + BIN_MS <= min(promised.values())
            assert len(promised) == len(sources.truths)
            assert before_ms is None or before_ms < bin_ms + BIN_MS


@thorough
@given(counted(), st.randoms(use_true_random=False))
def test_frames_may_be_split_repeated_and_out_of_order(sources: Counted, chance: Random) -> None:
    streams = []
    for flushes in sources.flushes:
        placed: list[tuple[float, CountsRecord]] = []
        for number, flush in enumerate(flushes):
            *frames, mark = stated_in(flush, sources.deployment, 0)
            placed.append((number, mark))
            for frame in frames:
                assert isinstance(frame, Frame)
                cells = list(frame.cells)
                chance.shuffle(cells)
                cut = chance.randint(0, len(cells))
                for part in (cells[:cut], cells[cut:], cells[: chance.randint(0, len(cells))]):
                    piece = msgspec.structs.replace(frame, cells=part)
                    placed.append((chance.uniform(-1, number - 0.01), piece))  # before its mark, or long before
                    placed.append((chance.uniform(-1, len(flushes)), piece))  # and again, perhaps long after
        streams.append([record for _, record in sorted(placed, key=lambda place: place[0])])
    turns = [chance.randrange(len(streams)) for _ in range(8)]
    bins = [bin_ for _, bin_ in judged(sources.deployment, interleaved(streams, turns))]
    assert bins == expected_bins(sources, partition=0)


@thorough
@given(counts_logs(), st.data())
def test_merging_again_from_any_rebuild_point_judges_the_same_bins_at_the_same_records(
    log: tuple[Counted, int, list[CountsRecord]], data: st.DataObject
) -> None:
    sources, _, records = log
    deployment = sources.deployment
    gap_at = data.draw(st.none() | st.integers(0, len(records)))
    if gap_at is not None:
        since_ms = START_MS + data.draw(st.integers(-5, 10)) * BIN_MS
        until_ms = since_ms + data.draw(st.integers(1, 5)) * BIN_MS
        gap = Gap(counting=deployment.counting, source=0, since_ms=since_ms, until_ms=until_ms)
        records = [*records[:gap_at], gap, *records[gap_at:]]
    lost = data.draw(st.sampled_from([0, 0, len(records) // 3]))
    undisturbed = judged(deployment, records, lost=lost)
    begin, forgotten_ms = None, START_MS - 100 * BIN_MS
    for _ in range(2):  # lives
        merger = BinMerger(deployment, begin, gapped=lost > 0 and begin is None)
        for offset in range(begin.offset if begin else lost, data.draw(st.integers(0, len(records)))):
            merger.add(offset, records[offset])
            for bin_ in merger.complete():
                assert (offset, bin_) in undisturbed
                # facts of a catch-up are published, and a point committed, between the bins of one record, too
                if data.draw(st.integers(0, 3)) == 0:
                    assert_restarts_alike(deployment, records, merger, forgotten_ms, undisturbed)
        if merger.next_ms is not None:
            forgotten_ms = max(forgotten_ms, merger.next_ms - data.draw(st.integers(0, 6)) * BIN_MS)
            merger.forget(forgotten_ms)
            begin = assert_restarts_alike(deployment, records, merger, forgotten_ms, undisturbed) or begin


def assert_restarts_alike(
    deployment: Settings,
    records: Sequence[CountsRecord],
    merger: BinMerger,
    oldest_ms: int,
    undisturbed: Sequence[tuple[int, Bin]],
) -> BinRebuild | None:
    """Restart from every floor that is still offered; return the oldest rebuild point."""
    assert merger.next_ms is not None
    oldest = None
    for floor_ms in range(max(oldest_ms, merger.next_ms - 12 * BIN_MS), merger.next_ms + BIN_MS, BIN_MS):
        rebuild = merger.rebuild(floor_ms)
        if rebuild is None:
            return None
        again = judged(deployment, records, msgspec.json.decode(msgspec.json.encode(rebuild), type=BinRebuild))
        assert again == [(offset, bin_) for offset, bin_ in undisturbed if bin_.bin_ms >= floor_ms]
        oldest = oldest or rebuild
    return oldest


@thorough
@given(counts_logs(), st.integers(-90_000, 300_000), st.integers(1, 200_000))
def test_a_source_does_not_cover_the_bins_of_its_gap(
    log: tuple[Counted, int, list[CountsRecord]], after_ms: int, length_ms: int
) -> None:
    sources, partition, records = log
    since_ms = START_MS + after_ms
    last = len(sources.truths) - 1
    gap = Gap(counting=sources.deployment.counting, source=last, since_ms=since_ms, until_ms=since_ms + length_ms)
    bins = [bin_ for _, bin_ in judged(sources.deployment, [gap, gap, *records])]
    assert bins == expected_bins(sources, partition, [gap])


@thorough
@given(counts_logs(), st.integers(1, 30))
def test_what_is_covered_although_the_start_of_the_counts_is_lost_is_complete(
    log: tuple[Counted, int, list[CountsRecord]], lost: int
) -> None:
    sources, partition, records = log
    whole = {bin_.bin_ms: bin_ for bin_ in expected_bins(sources, partition)}
    for _, bin_ in judged(sources.deployment, records, lost=lost):
        assert bin_.covered == 0 or bin_ == whole[bin_.bin_ms]
