from __future__ import annotations

import math
import statistics
import tracemalloc
from collections.abc import Iterable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors import Ratio, Verdict

MINUTE_MS, QUARTER_MS, HOUR_MS, DAY_MS = 60_000, 900_000, 3_600_000, 86_400_000
WEEK_HOURS = 168


class Key:
    """One key of a `Ratio`, stepped bin by bin."""

    def __init__(self, bin_ms: int, above: float = 5.0, min_excess: float = 5.0) -> None:
        self.detector = Ratio(bin_ms, above, min_excess)
        self.detector.resize(1)
        self.bin_ms = bin_ms
        self.next_bin = 0

    def step(self, count: float, observed: bool = True, is_open: bool = False, covered: bool = True) -> Verdict:
        verdict = self.detector.step(
            self.next_bin * self.bin_ms,
            np.array([float(count)]),
            np.array([observed]),
            np.array([is_open]),
            np.array([0]),
            covered=np.array([covered]),
        )
        self.next_bin += 1
        return verdict

    def steps(self, counts: Iterable[float], observed: bool = True, is_open: bool = False) -> list[Verdict]:
        return [self.step(count, observed, is_open) for count in counts]

    def skip(self, bins: int) -> None:
        self.next_bin += bins


def expected(verdict: Verdict) -> float:
    return float(verdict.expected[0])


def test_golden_verdicts() -> None:
    key = Key(MINUTE_MS)
    key.steps([2.0] * 1440)
    counts = [2, 800, 2, 2, 2, 2, 9, 9, 9, 10, 10, 2, 10, 400, 400, 2, 2, 2, 2, 2]
    #            a burst       9 is not 5 times 2
    verdicts = key.steps(counts)
    assert [minute for minute, verdict in enumerate(verdicts) if verdict.raised[0]] == [12, 13, 14, 15, 16]
    assert [verdict.score[0] for verdict in verdicts] == [
        *[0.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 4.5, 4.5, 4.5],  # the third largest of the last five
        *[4.5, 5.0, 5.0, 5.0, 5.0, 5.0, 1.0, 1.0, 1.0],
    ]
    assert {expected(verdict) for verdict in verdicts} == {2.0}
    assert {float(verdict.score_threshold[0]) for verdict in verdicts} == {5.0}


@settings(max_examples=200, deadline=None)
@given(
    baseline=st.integers(0, 1000),
    count=st.integers(0, 10_000),
    above=st.sampled_from([1.1, 1.5, 2.0, 3.0, 5.0, 10.0]),
    min_excess=st.integers(1, 200),
)
def test_a_bin_is_in_excess_by_ratio_and_by_reports(baseline: int, count: int, above: float, min_excess: int) -> None:
    key = Key(HOUR_MS, above, min_excess)
    key.steps([baseline] * 24)
    verdict = key.steps([count] * 3)[-1]
    assert verdict.raised[0] == (count >= above * baseline and count - baseline >= min_excess)
    assert verdict.raised[0] == (verdict.score[0] >= verdict.score_threshold[0])
    if baseline * (above - 1) >= min_excess:
        assert verdict.score[0] == pytest.approx(count / baseline)
    # Raised and over at once would flap.
    assert not (verdict.raised[0] and count < verdict.clear_level[0])


def test_where_nothing_is_expected_the_least_excess_alone_decides() -> None:
    key = Key(HOUR_MS, above=5, min_excess=7)
    key.steps([0] * 24)
    assert not key.steps([6] * 5)[-1].raised[0]
    assert key.steps([7] * 5)[-1].raised[0]


@pytest.mark.parametrize(
    ("baseline", "above", "clear_level"),
    [(100, 5, 130.0), (100, 1.21, 110.0), (0, 5, 1.3), (1, 5, 1.3 * 6 / 5)],
)
def test_the_outage_is_over_near_the_baseline(baseline: float, above: float, clear_level: float) -> None:
    key = Key(HOUR_MS, above, min_excess=5)
    key.steps([baseline] * 24)
    assert key.step(baseline).clear_level[0] == pytest.approx(clear_level)


@pytest.mark.parametrize(
    ("bin_ms", "bins"),
    # Blocks are whole bins, of a quarter of an hour at most unless a bin is longer.
    [(10_000, 8640), (MINUTE_MS, 1440), (96_000, 900), (600_000, 144), (QUARTER_MS, 96), (HOUR_MS, 24)],
)
def test_the_baseline_is_there_after_24_hours(bin_ms: int, bins: int) -> None:
    key = Key(bin_ms)
    verdicts = key.steps([3] * (bins + 1))
    assert [bool(verdict.learning[0]) for verdict in verdicts] == [True] * bins + [False]
    assert math.isnan(expected(verdicts[-2]))
    assert math.isnan(verdicts[-2].score[0])
    assert math.isnan(verdicts[-2].clear_level[0])
    assert expected(verdicts[-1]) == 3


def test_a_block_is_the_mean_of_its_observed_bins() -> None:
    key = Key(MINUTE_MS)
    for _ in range(96):
        key.steps([1, 2, 3, 4, 5, 6, 7, 8])
        key.steps([1000] * 7, observed=False)
    assert expected(key.step(0)) == 4.5


@pytest.mark.parametrize(
    ("bin_ms", "bins_of_block", "observed", "learning"),
    [(60_000, 15, 7, True), (60_000, 15, 8, False), (90_000, 10, 4, True), (90_000, 10, 5, False)],
)
def test_a_block_with_fewer_than_half_of_its_bins_observed_is_missing(
    bin_ms: int, bins_of_block: int, observed: int, learning: bool
) -> None:
    key = Key(bin_ms)
    key.steps([2] * (95 * bins_of_block + observed))
    key.skip(bins_of_block - observed)
    assert key.step(2).learning[0] == learning


@pytest.mark.parametrize("untaught", [{"is_open": True}, {"covered": False}])
def test_one_bin_that_is_open_or_not_covered_excludes_its_block(untaught: dict[str, bool]) -> None:
    key = Key(MINUTE_MS)
    key.steps([2] * 1439)
    key.step(2, **untaught)
    assert key.step(2).learning[0]


def test_a_gap_of_a_week_forgets_the_baseline() -> None:
    key = Key(HOUR_MS)
    key.steps([2] * WEEK_HOURS)
    key.skip(WEEK_HOURS - 24)
    assert not key.step(2).learning[0]
    key.skip(WEEK_HOURS)
    assert key.step(2).learning[0]


def test_an_incident_does_not_wear_out_its_baseline_however_long() -> None:
    key = Key(HOUR_MS)
    key.steps([2] * WEEK_HOURS)
    verdict = key.steps([500] * 3 * WEEK_HOURS, is_open=True)[-1]
    assert verdict.raised[0]
    assert expected(verdict) == 2


def test_the_baseline_follows_a_lasting_change_after_half_a_week() -> None:
    key = Key(HOUR_MS)
    key.steps([10] * WEEK_HOURS)
    verdicts = key.steps([20] * 100)
    assert [expected(verdict) for verdict in verdicts[:84]] == [10] * 84
    assert [expected(verdict) for verdict in verdicts[84:86]] == [15, 20]


def test_expected_is_the_median_of_the_blocks_of_the_last_seven_days() -> None:
    """Against a plain model: a dictionary of blocks and `statistics.median`."""
    random = np.random.default_rng(11)
    bins_per_block, week_blocks = 3, 672
    key = Key(5 * MINUTE_MS)
    blocks: dict[int, float] = {}
    judged = 0
    for block in range(2000):
        if random.random() < 0.02:
            gap = int(random.integers(1, 60))
            key.skip(gap * bins_per_block)
        number = key.next_bin // bins_per_block
        week = range(number - week_blocks, number)
        known = [blocks[each] for each in week if each in blocks]
        counts = random.poisson(3 + block % 96 / 10, bins_per_block).tolist()
        observed = (random.random(bins_per_block) < 0.9).tolist()
        is_open = (random.random() < 0.05, False, False)
        verdicts = [key.step(*each) for each in zip(counts, observed, is_open, strict=True)]
        for verdict in verdicts:
            if len(known) < 96:
                assert verdict.learning[0]
            else:
                judged += 1
                assert expected(verdict) == statistics.median(known)
        taught = [count for count, seen in zip(counts, observed, strict=True) if seen]
        if is_open[0]:
            if number - week_blocks in blocks:
                blocks[number] = blocks[number - week_blocks]
        elif 2 * len(taught) >= bins_per_block:
            blocks[number] = float(np.float32(sum(taught) / len(taught)))
    assert judged > 1000


def test_dropping_keys_gives_their_memory_back() -> None:
    detector = Ratio(MINUTE_MS)
    tracemalloc.start()
    try:
        detector.resize(10_000)
        full, _ = tracemalloc.get_traced_memory()
        detector.resize(10)
        rest, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert full > 10_000 * 2700
    assert rest < full / 100


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("above", {"above": 1.0}),
        ("above", {"above": math.nan}),
        ("min_excess", {"min_excess": 0.0}),
        ("min_excess", {"min_excess": math.inf}),
    ],
)
def test_a_parameter_that_makes_no_sense_is_named(name: str, parameters: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{name} is"):
        Ratio(MINUTE_MS, **parameters)


def test_a_bin_without_length_is_named() -> None:
    with pytest.raises(ValueError, match="bin_ms is 0"):
        Ratio(0)
