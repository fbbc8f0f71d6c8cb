"""The counts of the simulation study are what it says they are."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import nbinom

from benchmarks.study.clairvoyant import log_likelihood_ratio, thresholds
from benchmarks.study.generator import CELLS, DAY_BINS, WEEK_BINS, Condition, Generator, counts_of
from benchmarks.study.runs import CLEAN, affected
from benchmarks.study.scenarios import PRANKS, STEPS

NOISE = Condition("noise", noise_sd=0.3)


def per_cell(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(values.reshape(len(CELLS), -1).mean(axis=1))


def test_every_cell_has_the_level_that_it_is_named_after() -> None:
    week = Generator(7, CLEAN, 3).mean(0, WEEK_BINS).mean(axis=0)
    # the trend has added half a percent by the middle of the week
    assert per_cell(week) == pytest.approx([each.level for each in CELLS], rel=0.01)


def test_the_variance_is_the_dispersion_times_the_mean() -> None:
    mean = np.tile(np.array([0.5, 5.0, 500.0]), (200_000, 1))
    for dispersion in (1.2, 5.0):
        counts = counts_of(np.random.default_rng(1), mean, np.array([dispersion]))
        assert counts.mean(axis=0) == pytest.approx(mean[0], rel=0.03)
        assert counts.var(axis=0) / mean[0] == pytest.approx([dispersion] * 3, rel=0.05)


def test_levels_grow_by_one_percent_a_week() -> None:
    generator = Generator(7, CLEAN, 2)
    assert generator.mean(WEEK_BINS, 60) / generator.mean(0, 60) == pytest.approx(1.01)


def test_a_day_has_peaks_and_troughs_and_keys_have_theirs_at_other_times() -> None:
    day = Generator(7, CLEAN, 8).mean(0, DAY_BINS)
    assert (day.max(axis=0) / day.min(axis=0)).min() > 2
    assert len(set(day.argmax(axis=0).tolist())) > 8


def test_the_same_seed_gives_the_same_counts_and_another_one_others() -> None:
    days = [Generator(seed, NOISE, 2).day(0).counts for seed in (3, 3, 4)]
    assert (days[0] == days[1]).all()
    assert not (days[0] == days[2]).all()


def test_noise_has_its_size_and_its_memory() -> None:
    generator = Generator(3, NOISE, 40)
    rows = []
    for day in range(4):
        counts, mean = generator.day(day).counts, generator.mean(day * DAY_BINS, DAY_BINS)
        rows.append((counts / mean)[:, generator.cell >= 9])  # 500 a minute: the counts' own noise is small
    log = np.log(np.concatenate(rows))
    assert log.std() == pytest.approx(0.3, rel=0.1)
    lagged = np.mean((log[:-120] + 0.045) * (log[120:] + 0.045)) / log.var()
    assert lagged == pytest.approx(np.exp(-1), abs=0.1)


def test_a_gap_is_not_observed_and_a_shift_moves_the_day_by_an_hour() -> None:
    gap = Generator(3, Condition("gap", gap_day=0), 2).day(0)
    assert not gap.observed.any()
    assert not gap.counts.any()
    plain = Generator(3, CLEAN, 2)
    for told in (False, True):
        shifted = Generator(3, Condition("shift", shift_day=1, shift_told=told), 2)
        assert shifted.mean(0, DAY_BINS) == pytest.approx(plain.mean(0, DAY_BINS))
        assert shifted.mean(DAY_BINS, 60) == pytest.approx(plain.mean(DAY_BINS + 60, 60), rel=0.001)
        assert (shifted.offset_s(1) - shifted.offset_s(0)).tolist() == [3600 * told] * shifted.keys


def test_an_outage_multiplies_the_mean_and_a_prank_adds_reports_at_once() -> None:
    generator = Generator(5, CLEAN, 50)
    mean = generator.mean(0, 90)
    counts = affected(np.random.default_rng(1), mean, generator, [STEPS[2], PRANKS[0], PRANKS[3]])
    step, burst, drop = counts.reshape(90, 3, generator.keys).transpose(1, 0, 2)
    high = generator.cell >= 9
    assert (step[:60] / mean[:60])[:, high].mean() == pytest.approx(10, rel=0.02)
    assert (step[60:] / mean[60:])[:, high].mean() == pytest.approx(1, rel=0.02)
    assert (burst[0] >= 50).all()
    assert (burst[1:] / mean[1:])[:, high].mean() == pytest.approx(1, rel=0.02)
    assert not drop[:60].any()
    assert drop[60:].any()


def test_the_clairvoyant_evidence_is_the_ratio_of_two_negative_binomials() -> None:
    counts = np.arange(0.0, 400.0, 7)
    mean, dispersion = np.full(len(counts), 60.0), np.full(len(counts), 2.5)
    for jump in (1.5, 3.0):
        # SciPy: number of failures before `n` successes of probability `p`
        expected = [nbinom.logpmf(counts, each * 60.0 / 1.5, 1 / 2.5) for each in (jump, 1.0)]
        assert log_likelihood_ratio(counts, mean, dispersion, jump) == pytest.approx(
            expected[0] - expected[1], rel=1e-9
        )


def test_a_higher_jump_or_dispersion_does_not_need_a_threshold_out_of_range() -> None:
    found = thresholds(11, [2.0, 10.0], keys_per_cell=2, days=2)
    for each in found.values():
        assert each.shape == (len(CELLS),)
        assert ((each >= 3) & (each <= 12)).all()
