from __future__ import annotations

import math
import statistics
from collections.abc import Iterable

import numpy as np
import pytest

from detectors import Ears, Verdict

MINUTE_MS, QUARTER_MS, HOUR_MS = 60_000, 900_000, 3_600_000
DAY_BLOCKS, WEEK_BLOCKS, GUARD_BLOCKS = 96, 672, 2


class Key:
    """One key of an `Ears`, stepped bin by bin."""

    def __init__(self, bin_ms: int, above: float = 3.0) -> None:
        self.detector = Ears(bin_ms, above)
        self.detector.resize(1)
        self.bin_ms = bin_ms
        self.next_bin = 0

    def step(self, count: float, observed: bool = True, is_open: bool = False) -> Verdict:
        verdict = self.detector.step(
            self.next_bin * self.bin_ms,
            np.array([float(count)]),
            np.array([observed]),
            np.array([is_open]),
            np.array([0]),
        )
        self.next_bin += 1
        return verdict

    def steps(self, counts: Iterable[float], observed: bool = True, is_open: bool = False) -> list[Verdict]:
        return [self.step(count, observed, is_open) for count in counts]


def test_golden_verdicts() -> None:
    key = Key(MINUTE_MS)
    key.steps([4.0] * (1440 + 30))
    counts = [4, 900, *[4] * 19, *[6] * 6, *[8] * 6, *[4] * 4]
    #            a burst         a quarter of an hour of 4 deviates by 0.52
    verdicts = key.steps(counts)
    assert [minute for minute, verdict in enumerate(verdicts) if verdict.raised[0]] == [31, 32, 33, 34]
    scores = [round(float(verdict.score[0]), 2) for verdict in verdicts]
    assert scores[:23] == [0.0] * 23
    assert scores[23:] == [0.26, 0.52, 0.77, 1.03, 1.29, 1.55, 2.07, 2.58, 3.1, 3.61, 3.61, 3.61, 0.0, 0.0]


def test_mean_and_deviation_are_those_of_the_blocks_of_seven_days_up_to_two_blocks_back() -> None:
    random = np.random.default_rng(5)
    counts = random.negative_binomial(5, 0.05, 900).astype(float)
    key = Key(QUARTER_MS)
    for number, count in enumerate(counts):
        verdict = key.step(count)
        baseline = counts[max(0, number - GUARD_BLOCKS - WEEK_BLOCKS) : max(0, number - GUARD_BLOCKS)].tolist()
        assert verdict.learning[0] == (len(baseline) < DAY_BLOCKS)
        if len(baseline) >= DAY_BLOCKS:
            assert verdict.expected[0] == pytest.approx(statistics.fmean(baseline))
            assert verdict.figures["deviation"][0] == pytest.approx(statistics.stdev(baseline))


@pytest.mark.parametrize(("level", "deviation"), [(0.0, 1 / 15), (0.01, 1 / 15), (15.0, 1.0), (60.0, 2.0)])
def test_the_deviation_of_a_constant_series_is_that_of_a_poisson_count_and_one_report_at_least(
    level: float, deviation: float
) -> None:
    key = Key(MINUTE_MS)
    assert key.steps([level] * (1440 + 31))[-1].figures["deviation"][0] == pytest.approx(deviation)


def test_a_quarter_of_an_hour_three_deviations_above_raises_and_less_does_not() -> None:
    for count, raised in ((27.0, False), (28.0, True)):  # 16 +- 4 a bin
        key = Key(QUARTER_MS)
        key.steps([16.0] * (DAY_BLOCKS + GUARD_BLOCKS))
        assert key.steps([count] * 3)[-1].raised[0] == raised


def test_an_outage_that_begins_slowly_is_held_back_from_its_own_baseline_for_two_blocks() -> None:
    key = Key(QUARTER_MS)
    key.steps([16.0] * (DAY_BLOCKS + GUARD_BLOCKS))
    assert [float(verdict.expected[0]) for verdict in key.steps([24.0] * 4)] == pytest.approx(
        [16.0, 16.0, 16.0, 16.0 + 8.0 / (DAY_BLOCKS + 3)]
    )


def test_bins_that_were_not_observed_are_not_zeros_of_the_last_quarter_of_an_hour() -> None:
    key = Key(MINUTE_MS)
    key.steps([4.0] * (1440 + 30))
    key.steps([0.0] * 12, observed=False)
    assert key.step(40.0).figures["latest_mean"][0] == pytest.approx((4 + 4 + 40) / 3)


def test_an_incident_does_not_wear_out_its_baseline_however_long() -> None:
    key = Key(HOUR_MS)
    key.steps([4.0] * 200)
    verdict = key.steps([90.0] * 500, is_open=True)[-1]
    assert verdict.raised[0]
    assert verdict.expected[0] == 4.0


def test_the_outage_is_over_below_half_of_what_raises() -> None:
    key = Key(QUARTER_MS)
    assert key.steps([16.0] * (DAY_BLOCKS + GUARD_BLOCKS + 1))[-1].clear_level[0] == pytest.approx(16 + 1.5 * 4)


@pytest.mark.parametrize("above", [0.0, -1.0, math.inf, math.nan])
def test_a_parameter_that_makes_no_sense_is_named(above: float) -> None:
    with pytest.raises(ValueError, match=f"above is {above}"):
        Ears(MINUTE_MS, above)
