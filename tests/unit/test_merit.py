"""Figures of merit: intervals, shares, delays and clearing."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import poisson

from detectors.backtest import Outages, Quiet, poisson_interval

INF, NAN = math.inf, math.nan


def outages(delays: list[float], clears: list[float], incidents: list[int] | None = None) -> Outages:
    number = incidents or [int(math.isfinite(each)) for each in delays]
    return Outages(np.zeros(len(delays), np.int64), np.array(delays), np.array(clears), np.array(number, np.int64))


def test_no_event_leaves_a_rate_of_up_to_3_69_per_exposure() -> None:
    low, high = poisson_interval(0, 1.0)
    assert low == 0.0
    assert high == pytest.approx(3.6889, abs=1e-4)


def test_the_interval_scales_with_the_exposure() -> None:
    low, high = poisson_interval(10, 100.0)
    assert low == pytest.approx(0.047954, abs=1e-6)
    assert high == pytest.approx(0.183904, abs=1e-6)


@given(st.integers(1, 1000))
def test_at_each_end_of_the_interval_the_count_is_as_unlikely_as_the_confidence_says(events: int) -> None:
    low, high = poisson_interval(events, 1.0, confidence=0.9)
    assert poisson.sf(events - 1, low) == pytest.approx(0.05)
    assert poisson.cdf(events, high) == pytest.approx(0.05)


def test_false_incidents_are_pooled_by_time_and_the_worst_group_is_by_its_own() -> None:
    quiet = Quiet(np.array([0, 3]), np.array([45.0, 15.0]))
    assert (quiet.per_30_days(), quiet.worst()) == (1.5, 6.0)
    twice = Quiet.joined([quiet, quiet])
    assert (twice.per_30_days(), twice.incidents.tolist()) == (1.5, [0, 6])


def test_an_undetected_outage_has_an_infinite_delay() -> None:
    found = outages([2, 4, INF, 3], [5, 5, NAN, 5])
    assert (found.detected(), found.delay(50), found.delay(75), found.delay(90)) == (0.75, 3, 4, INF)


def test_a_mean_delay_counts_none_as_the_longest() -> None:
    assert outages([2, INF, 1000], [0, NAN, 0]).mean_delay(100) == 202 / 3


def test_clearing_is_of_detected_outages_alone_and_one_that_stays_open_never_clears() -> None:
    found = outages([2, INF, 2, 2], [4, NAN, 6, INF])
    assert (found.clear(50), found.clear(90)) == (6, INF)


def test_incidents_are_counted_per_detected_outage() -> None:
    assert outages([2, INF, 2], [4, NAN, 4], [1, 0, 2]).incidents_per_outage() == 1.5


def test_of_no_detected_outage_nothing_is_known() -> None:
    found = outages([INF], [NAN])
    assert math.isnan(found.clear(50))
    assert math.isnan(found.incidents_per_outage())


def test_groups_are_told_apart() -> None:
    found = Outages(np.array([0, 1, 1]), np.array([1.0, 2.0, 4.0]), np.zeros(3), np.ones(3, np.int64))
    assert found.of(np.array([1])).delay_min.tolist() == [2, 4]
    assert Outages.joined([found, found]).group.tolist() == [0, 1, 1, 0, 1, 1]
