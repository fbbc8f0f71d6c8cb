"""What the baseline makes of its slots: each leans on those around it, round the end of the day and of the week."""

from __future__ import annotations

import numpy as np
import pytest

from detectors.nbsr.baseline import DAY, DAY_QUARTERS, MOST_AROUND, WEEK, WEEK_HOURS, Baseline, Season, Sums

KEYS = 400


def leant(sums: Sums, slot: int, season: Season) -> tuple[float, float]:
    """Return the factor of one slot of one key, and the reports it rests on, slot by slot in plain arithmetic."""
    near = [(slot + step) % len(sums) for step in range(-season.reach, season.reach + 1)]
    seen, expected = sums[near].astype(float).sum(axis=0) + season.prior
    weight = 1 / (1 / MOST_AROUND + 1 / seen)
    own_seen, own_expected = sums[slot].astype(float)
    return (own_seen + weight * seen / expected) / (own_expected + weight), own_seen + weight


@pytest.mark.parametrize("season", [DAY, WEEK], ids=["day", "week"])
def test_a_factor_lies_between_two_slots_that_lean_on_those_around_them(season: Season) -> None:
    rng = np.random.default_rng(1)
    level = np.ones((KEYS, 2), np.float32)
    day, week = (rng.uniform(0, 500, (KEYS, slots, 2)).astype(np.float32) for slots in (DAY_QUARTERS, WEEK_HOURS))
    column = day if season is DAY else week
    # the middle of a bin is half a minute after it starts
    local_ms = rng.integers(-(10**12), 10**12, KEYS)
    mean = Baseline(60_000).mean(level, day, week, local_ms)
    factor = mean.day if season is DAY else mean.week
    for key, at_ms in enumerate((local_ms + 30_000).tolist()):
        number, rest_ms = divmod(at_ms, season.slot_ms)
        share = rest_ms / season.slot_ms - 0.5
        own = number % column.shape[1]
        other = (own + (1 if share >= 0 else -1)) % column.shape[1]
        here, seen = leant(column[key], own, season)
        there, _ = leant(column[key], other, season)
        assert factor.value[key] == pytest.approx(here + abs(share) * (there - here), rel=1e-5)
        assert factor.highest[key] == pytest.approx(max(here, there), rel=1e-5)
        assert factor.seen[key] == pytest.approx(seen, rel=1e-5)
        assert factor.slot[key] == key * column.shape[1] + own
