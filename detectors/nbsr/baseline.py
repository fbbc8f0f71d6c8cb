"""The seasonal baseline: level, quarter-hour of the day and hour of the week of the key's civil time.

The mean of a bin is the product of the three, mu = L D W. Each factor is a ratio of two sums that forget: reports seen,
over reports that the other two factors expect. D and W are drawn to 1 while little has been seen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
#: Reports seen and expected, side by side, as they are held.
Sums = NDArray[np.float32]

QUARTER_MS, HOUR_MS, DAY_MS = 900_000, 3_600_000, 86_400_000
DAY_QUARTERS, WEEK_HOURS = 96, 168
#: Reports that each slot is taken to have seen and expected before any: they draw its factor to 1.
DAY_PRIOR, WEEK_PRIOR = 30.0, 60.0
LEVEL_HALF_LIFE_H, DAY_HALF_LIFE_VISITS, WEEK_HALF_LIFE_VISITS = 24.0, 21.0, 8.0
#: Hours of the week are learnt once there is a day to compare with: else they would learn the day over again.
WEEK_FROM_DAYS = 2


@dataclass(frozen=True, slots=True)
class Factor:
    """A seasonal factor of some keys at one moment, arrays of shape (K,).

    `value` lies between the factors of the two slots whose centres are nearest, `highest` is the larger of these.
    `slot` is the row, among all slots of all keys, of the slot that the moment is in; `seen` the reports it rests on.
    """

    value: Floats
    highest: Floats
    slot: Ints
    seen: Floats


@dataclass(frozen=True, slots=True)
class Mean:
    """What the baseline expects of one bin of some keys, arrays of shape (K,), in reports per bin."""

    level: Floats
    #: Reports that the level rests on.
    seen: Floats
    day: Factor
    week: Factor

    @property
    def shape(self) -> Floats:
        """The mean at a level of 1."""
        return self.day.value * self.week.value

    @property
    def value(self) -> Floats:
        """The mean, mu."""
        return self.level * self.shape

    @property
    def highest(self) -> Floats:
        """The mean if each factor were that of the higher of its two slots: what a steep edge may come to."""
        return np.maximum(self.value, self.level * self.day.highest * self.week.highest)

    def doubt(self, phi: Floats) -> Floats:
        """Return the relative variance of the mean, by the reports that its factors rest on."""
        return phi * (1.0 / (self.seen + 1.0) + 1.0 / self.day.seen + 1.0 / self.week.seen)


class Baseline:
    """Reads and teaches the columns of a seasonal baseline: shapes (K, 2), (K, 96, 2) and (K, 168, 2).

    Parameters
    ----------
    bin_ms
        Length of a bin in milliseconds.
    """

    def __init__(self, bin_ms: int) -> None:
        self._half_bin_ms = bin_ms // 2
        self._day_bins = DAY_MS // bin_ms
        self._level_decay = 0.5 ** (bin_ms / (LEVEL_HALF_LIFE_H * HOUR_MS))
        self._day_decay = 0.5 ** (1.0 / (DAY_HALF_LIFE_VISITS * max(1, QUARTER_MS // bin_ms)))
        self._week_decay = 0.5 ** (1.0 / (WEEK_HALF_LIFE_VISITS * max(1, HOUR_MS // bin_ms)))

    def mean(self, level: Sums, day: Sums, week: Sums, local_ms: Ints) -> Mean:
        """Return what is expected of the bin that starts at `local_ms` of each key's civil time, shape (K,)."""
        middle_ms = local_ms + self._half_bin_ms
        seen = level[:, 0].astype(np.float64)
        return Mean(
            level=(seen + 0.5) / (level[:, 1] + 1.0),
            seen=seen,
            day=_factor(day, middle_ms, QUARTER_MS, DAY_PRIOR),
            week=_factor(week, middle_ms, HOUR_MS, WEEK_PRIOR),
        )

    def has_shape(self, taught_bins: NDArray[np.int32]) -> Bools:
        """Return which keys have been taught a whole day, and so have a shape."""
        return taught_bins >= self._day_bins

    def teach(
        self,
        level: Sums,
        day: Sums,
        week: Sums,
        keys: Ints,
        mean: Mean,
        counts: Floats,
        taught_bins: NDArray[np.int32],
    ) -> None:
        """Take in the counts of one bin of some keys.

        In a key's first day the level still moves, so its slots sum up reports over bins; when the day is full, they
        are put in relation to its mean.

        Parameters
        ----------
        level, day, week
            The columns of all keys.
        keys
            Which keys to teach.
        mean
            What was expected of that bin, of all keys.
        counts
            Of all keys, shape (K,).
        taught_bins
            Bins that each key has been taught before, shape (K,).
        """
        before, reports = taught_bins[keys], counts[keys]
        shaped = self.has_shape(before)
        sums = level[keys] * np.float64(self._level_decay)
        sums[:, 0] += reports
        sums[:, 1] += np.where(shaped, mean.shape[keys], 1.0)
        level[keys] = sums
        of_day = np.where(shaped, (mean.level * mean.week.value)[keys], 1.0)
        _add(day, mean.day.slot[keys], self._day_decay, reports, of_day)
        weekly = before >= WEEK_FROM_DAYS * self._day_bins
        of_week = (mean.level * mean.day.value)[keys[weekly]]
        _add(week, mean.week.slot[keys[weekly]], self._week_decay, reports[weekly], of_week)
        full = keys[before == self._day_bins - 1]
        if len(full):
            seen, expected = level[full, 0], level[full, 1]
            day[full, :, 1] *= ((seen + 0.5) / (expected + 1.0))[:, np.newaxis]

    def forget(self, level: Sums, keys: Ints, days: Floats) -> None:
        """Let the level of some keys rest on less, after so many days without a look at it."""
        level[keys] *= (0.5 ** (days * (24.0 / LEVEL_HALF_LIFE_H)))[:, np.newaxis].astype(np.float32)

    def take_over(self, level: Sums, keys: Ints, mean: Mean, counts: Floats, bins: float) -> None:
        """Take `counts`, of `keys`, for their usual mean, as if seen for so many bins; `mean` is that of all keys."""
        level[keys, 0] = counts / mean.shape[keys] * bins
        level[keys, 1] = bins


def _add(column: Sums, slots: Ints, decay: float, counts: Floats, expected: Floats) -> None:
    pairs = _pairs(column)
    sums = pairs[slots].view(np.float32).reshape(-1, 2) * np.float64(decay)
    sums[:, 0] += counts
    sums[:, 1] += expected
    pairs[slots] = sums.astype(np.float32).view(np.int64)[:, 0]


def _pairs(column: Sums) -> Ints:
    """Return all slots of all keys, each one as an integer that holds both sums: gathering these is twice as fast."""
    return column.reshape(-1, 2).view(np.int64)[:, 0]


def _factor(column: Sums, middle_ms: Ints, slot_ms: int, prior: float) -> Factor:
    keys, slots, _ = column.shape
    number = middle_ms // slot_ms
    place = (middle_ms - number * slot_ms) / slot_ms - 0.5
    own = number - number // slots * slots
    # the centre of the other slot is behind where the moment is in the later half of its own
    other = own + np.where(place >= 0.0, 1, -1)
    other[other < 0] = slots - 1
    other[other == slots] = 0
    first = np.arange(0, keys * slots, slots, dtype=np.int64)
    own += first
    other += first
    pairs = _pairs(column)
    own_sums, other_sums = (pairs[at].view(np.float32).reshape(-1, 2) + np.float64(prior) for at in (own, other))
    here, there = own_sums[:, 0] / own_sums[:, 1], other_sums[:, 0] / other_sums[:, 1]
    return Factor(
        value=here + np.abs(place) * (there - here), highest=np.maximum(here, there), slot=own, seen=own_sums[:, 0]
    )
