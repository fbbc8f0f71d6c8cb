"""What raises cost: the threshold of a service that raises too often goes up, and comes down again."""

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.budget import MAX_THRESHOLD, Budget, raises_per_30_days
from streams.events import DAY_MS, MINUTE_MS

MEAN_BINS = 43_200.0


def step(budget: Budget, minute: int, *, raised: bool = False, ongoing: bool = False, keys: int = 1) -> None:
    bin_ms = minute * MINUTE_MS
    budget.step(bin_ms, bin_ms + MINUTE_MS, keys, MEAN_BINS, raised=raised, ongoing=ongoing)


def test_a_raise_lifts_the_threshold_and_the_mean_time_between_false_alarms_lowers_it_again() -> None:
    budget = Budget()
    step(budget, 0, raised=True)
    assert budget.rise == 2.0
    for minute in range(1, int(MEAN_BINS) + 1):
        step(budget, minute)
    assert budget.rise == pytest.approx(0.0, abs=1e-9)


def test_a_raise_counts_once_its_outage_is_over_so_that_its_other_regions_are_not_seen_late() -> None:
    budget = Budget()
    step(budget, 0, raised=True, ongoing=True)
    step(budget, 1, ongoing=True)
    assert (budget.rise, budget.pending) == (0.0, 2.0)
    step(budget, 2)
    assert (budget.rise, budget.pending) == (2.0, 0.0)


def test_the_threshold_sinks_for_each_key_of_the_service() -> None:
    budget = Budget(rise=2.0)
    step(budget, 0, keys=100)
    assert budget.rise == pytest.approx(2.0 - 2.0 * 100 / MEAN_BINS)


def test_however_often_it_raises_the_threshold_ends_at_60_nats() -> None:
    budget = Budget()
    for minute in range(100):
        step(budget, minute, raised=True)
    assert budget.rise == MAX_THRESHOLD - math.log(MEAN_BINS)


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.integers(0, 500)), max_size=60), st.integers(0, 60))
def test_the_rise_stays_in_bounds_and_a_snapshot_at_any_bin_goes_on_with_the_same_bytes(
    bins: list[tuple[bool, bool, int]], at: int
) -> None:
    running, restored = Budget(), Budget()
    for minute, (raised, ongoing, keys) in enumerate(bins):
        if minute == at:
            restored = msgspec.msgpack.decode(msgspec.msgpack.encode(restored), type=Budget)
        for budget in (running, restored):
            step(budget, minute, raised=raised, ongoing=ongoing, keys=keys)
        assert 0.0 <= running.rise <= MAX_THRESHOLD - math.log(MEAN_BINS)
        assert msgspec.msgpack.encode(restored) == msgspec.msgpack.encode(running)


def test_the_rate_of_raises_is_over_the_time_that_is_held_a_day_at_least_and_30_at_most() -> None:
    hour, day = 60, 1440
    budget = Budget()
    assert raises_per_30_days([budget], 0) == 0.0
    step(budget, 0)
    step(budget, hour, raised=True)
    assert raises_per_30_days([budget], 2 * hour * MINUTE_MS) == 30.0
    assert raises_per_30_days([budget], 10 * DAY_MS) == 3.0
    step(budget, 20 * day, raised=True)
    assert raises_per_30_days([budget, Budget()], 30 * DAY_MS) == 2.0
    step(budget, 30 * day + 2 * hour)
    assert raises_per_30_days([budget], 30 * DAY_MS + 2 * hour * MINUTE_MS) == 1.0, "the first is forgotten"
