"""Quarters and series say what the levels of the same bins say, whichever worker states them after a restart."""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams.archive import QUARTER_MS
from streams.bins import Bin
from streams.detection import Detection, Fact, Judgement
from streams.events import Levels, Outage, QuarterLevels, Series, decode
from streams.recent import GRAVITY
from streams.settings import Settings
from streams.snapshots import SnapshotBook, complete

START_MS = 1_748_088_000_000
HOUR_MS = 3_600_000
KEYS = [("alpha", f"R{number}") for number in range(3)] + [("beta", "R0")]
BINS = 150

States = list[Judgement]


def deployment(bin_s: int, merge_gap_minutes: int) -> Settings:
    return Settings.model_validate(
        {
            "kafka": {"reports_partitions": 2, "counts_partitions": 1},
            "count": {"bin_s": bin_s, "epoch_s": bin_s, "window_bins": 3},
            "detect": {
                "detector": "limit",
                "limit": {"above": 20},
                "merge_gap_minutes": merge_gap_minutes,
                "unknown_after_minutes": 60,
                "snapshot_every_bins": 4,
            },
            "policy": [{"min_open_minutes": 0, "clear_windows": 1}],
        }
    )


def history(seed: int, bin_ms: int) -> list[Bin]:
    """Return bins with outages of all lengths, births, silences and skips."""
    rng = np.random.default_rng(seed)
    failing = {name: rng.random(BINS) < 0 for name in KEYS}
    for name in KEYS:
        for _ in range(3):
            first = int(rng.integers(BINS))
            failing[name][first : first + int(rng.integers(3, 70))] = True
    born = {name: int(rng.integers(30)) for name in KEYS}
    skipped = set()
    for _ in range(2):
        first = int(rng.integers(10, BINS))
        skipped |= set(range(first, first + int(rng.choice([1, 5, 80]))))
    bins = []
    for number in range(BINS):
        if number in skipped:
            continue
        counts = {name: int(rng.poisson(50 if failing[name][number] else 3)) for name in KEYS if born[name] <= number}
        kinds = {name: {"app": count} for name, count in counts.items() if count}
        covered = 1 if rng.random() < 0.03 else 2
        bins.append(Bin(START_MS + number * bin_ms, kinds, sum(counts.values()), covered=covered, sources=2))
    return bins


def judged(policy: Settings, bins: list[Bin], snapshots: Any = None) -> States:
    detection = Detection(policy, snapshots or {})
    return [detection.judge(bin_) for bin_ in bins]


def facts(judgements: States, topic: str) -> list[Fact]:
    return [fact for judgement in judgements for fact in judgement.facts if fact.topic == topic]


bin_lengths_s = st.sampled_from([60, 300, 600, 1200])
gaps_minutes = st.sampled_from([0, 10, 60, 240])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32), bin_lengths_s, gaps_minutes)
def test_a_quarter_says_of_its_bins_what_their_levels_say(seed: int, bin_s: int, gap: int) -> None:
    judgements = judged(deployment(bin_s, gap), history(seed, bin_s * 1000))
    by_quarter: dict[tuple[str, int, str], list[Any]] = defaultdict(list)
    for fact in facts(judgements, "levels"):
        levels = decode(fact.value, Levels)
        for level in levels.regions:
            start_ms = levels.bin_ms // QUARTER_MS * QUARTER_MS
            by_quarter[levels.service, start_ms, level.region].append(level)
    last_ms = judgements[-1].bin_ms // QUARTER_MS * QUARTER_MS
    stated = set()
    for fact in facts(judgements, "levels.15m"):
        quarter = decode(fact.value, QuarterLevels)
        assert fact.key.decode() == f"{quarter.service}/{quarter.start_ms}"
        for own in quarter.regions:
            name = quarter.service, quarter.start_ms, own.region
            stated.add(name)
            levels_ = by_quarter[name]
            assert own.bins == len(levels_)
            assert own.count == sum(each.count for each in levels_)
            assert own.window == levels_[-1].window
            assert own.peak == max(each.window for each in levels_)
            assert own.state == min((each.state for each in levels_), key=GRAVITY.index)
            expected = [each.expected for each in levels_]
            assert own.expected == (None if None in expected else float(f"{sum(expected):.4g}"))
    assert stated == {name for name in by_quarter if name[1] != last_ms}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32), bin_lengths_s, gaps_minutes)
def test_a_series_says_of_each_bin_around_an_outage_what_its_levels_say(seed: int, bin_s: int, gap: int) -> None:
    bin_ms = bin_s * 1000
    judgements = judged(deployment(bin_s, gap), history(seed, bin_ms))
    levels = {
        (each.service, level.region, each.bin_ms): level
        for each in (decode(fact.value, Levels) for fact in facts(judgements, "levels"))
        for level in each.regions
    }
    end_ms = judgements[-1].bin_ms
    told: dict[tuple[str, str, int], Any] = {}
    for fact in facts(judgements, "series"):
        series = decode(fact.value, Series)
        assert fact.key.decode() == f"{series.outage}/{series.region}/{series.start_ms}"
        columns = zip(series.count, series.window, series.expected, series.state, strict=True)
        assert len(series.count) <= HOUR_MS // bin_ms + 1
        for number, column in enumerate(columns):
            name = series.outage, series.region, series.start_ms + number * bin_ms
            assert name not in told, "no bin is told twice"
            told[name] = column
            level = levels.get((series.service, series.region, name[2]))
            assert column == (
                (None, None, None, None) if level is None else (level.count, level.window, level.expected, level.state)
            )
    outages = [decode(fact.value, Outage) for fact in facts(judgements, "outages")]
    before_ms = HOUR_MS // bin_ms * bin_ms
    for outage in {outage.id: outage for outage in outages}.values():
        if outage.state == "open" or outage.at_ms + before_ms > end_ms:
            continue
        reopened = any(each.state != "open" for each in outages if each.id == outage.id and each is not outage)
        for region in outage.regions:
            for at_ms in range(region.opened_ms - before_ms, outage.at_ms + before_ms, bin_ms):
                known = (outage.service, region.region, at_ms) in levels
                if known and not reopened:
                    assert (outage.id, region.region, at_ms) in told, (outage.id, region.region, at_ms)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**32), bin_lengths_s, gaps_minutes, st.integers(1, BINS))
def test_a_restart_states_the_same_bytes(seed: int, bin_s: int, gap: int, judged_bins: int) -> None:
    bin_ms = bin_s * 1000
    policy, bins = deployment(bin_s, gap), history(seed, bin_ms)
    truth = judged(policy, bins)
    before = truth[: min(judged_bins, len(truth) - 1)]
    book = SnapshotBook(bin_ms)
    for judgement in before:
        for service in judgement.born:
            book.born(service, judgement.bin_ms)
        for packed in judgement.snapshots:
            book.acknowledged(packed.service, packed.bin_ms, packed.parts)
    floor_ms = book.floor_ms(before[-1].bin_ms + bin_ms)
    records = [(packed.key, packed.value) for judgement in before for packed in judgement.snapshots]
    again = judged(policy, [bin_ for bin_ in bins if bin_.bin_ms >= floor_ms], complete(records))
    after_ms = before[-1].bin_ms
    for topic in ("levels.15m", "series"):
        known = {fact.key: fact.value for fact in facts(truth, topic)}
        stated = {fact.key: fact.value for fact in facts(again, topic)}
        assert stated.items() <= known.items()
        new = {fact.key for judgement in truth if judgement.bin_ms > after_ms for fact in facts([judgement], topic)}
        assert new <= stated.keys()


def test_what_is_held_and_snapshotted_does_not_grow_with_an_outage() -> None:
    policy = deployment(60, 60)
    sizes = []
    for length in (200, 2000):
        detection = Detection(policy, {})
        for number in range(length):
            kinds = {("alpha", "R0"): {"app": 50}}
            last = detection.judge(Bin(START_MS + number * 60_000, kinds, 50, covered=2, sources=2))
        assert facts([last], "levels")
        (packed,) = detection.snapshot(["alpha"], last.bin_ms)
        sizes.append(len(packed.value))
    assert sizes[1] < 1.2 * sizes[0]


def test_histories_hold_outages_that_end_and_some_that_go_on_after_their_end() -> None:
    ended = reopened = gaps = 0
    for seed in range(12):
        judgements = judged(deployment(300, 240), history(seed, 300_000))
        series = [decode(fact.value, Series) for fact in facts(judgements, "series")]
        ended += len({(each.outage, each.region) for each in series if each.last})
        gaps += sum(None in each.count for each in series)
        states = [decode(fact.value, Outage) for fact in facts(judgements, "outages")]
        reopened += sum(
            before.state != "open" and after.state == "open" and before.id == after.id
            for before, after in pairwise(states)
        )
    assert min(ended, reopened, gaps) >= 5, (ended, reopened, gaps)
