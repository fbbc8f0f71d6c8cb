"""The seasonal baseline: level, quarter-hour of the day and hour of the week of the key's civil time.

The mean of a bin is the product of the three, mu = L D W. Each factor is a ratio of two sums that forget: reports seen,
over reports that the other two factors expect. D and W are drawn to 1 while little has been seen, and slots that have
seen little to what the slots around them say.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
#: Reports seen and expected, side by side, as they are held.
Sums = NDArray[np.float32]

QUARTER_MS, HOUR_MS, DAY_MS = 900_000, 3_600_000, 86_400_000
DAY_QUARTERS, WEEK_HOURS = 96, 168
LEVEL_HALF_LIFE_H, DAY_HALF_LIFE_VISITS, WEEK_HALF_LIFE_VISITS = 24.0, 21.0, 8.0
#: Hours of the week are learnt once there is a day to compare with: else they would learn the day over again.
WEEK_FROM_DAYS = 2
#: What the slots around one say counts like so many reports of its own at most: they differ by a few percent.
MOST_AROUND = 1000.0


class Season(NamedTuple):
    """A season: length of its slots, reports that draw a factor to 1, how many slots on each side are around one."""

    slot_ms: int
    prior: float
    reach: int


DAY, WEEK = Season(QUARTER_MS, 30.0, 3), Season(HOUR_MS, 60.0, 2)


@dataclass(frozen=True, slots=True)
class Factor:
    """A seasonal factor of some keys at one moment, arrays of shape (K,).

    `value` lies between the factors of the two slots whose centres are nearest, `highest` is the larger of these.
    `slot` is the row, among all slots of all keys, of the slot that the moment is in; `seen` the reports that its
    factor rests on, those around it included.
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
            day=_factor(day, middle_ms, DAY),
            week=_factor(week, middle_ms, WEEK),
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


def _factor(column: Sums, middle_ms: Ints, season: Season) -> Factor:
    keys, slots, _ = column.shape
    half_ms = season.slot_ms // 2
    # the moment lies between the centres of the lower slot and the one after it
    lower = (middle_ms - half_ms) // season.slot_ms
    share = (middle_ms - half_ms - lower * season.slot_ms) / season.slot_ms
    later = share >= 0.5
    first = np.arange(0, keys * slots, slots, dtype=np.int64)
    sums = _around(column, lower - season.reach, first, 2 * season.reach + 2)
    last = 2 * season.reach + 1
    # the slots that are around both
    shared = [sums[:, each] + np.float32(season.prior) for each in (2, 3)]
    for place in range(2, last):
        for each in (0, 1):
            shared[each] += sums[:, 2 * place + each]
    lower_factor, lower_seen = _drawn(sums, season.reach, shared[0] + sums[:, 0], shared[1] + sums[:, 1])
    upper_factor, upper_seen = _drawn(
        sums, season.reach + 1, shared[0] + sums[:, 2 * last], shared[1] + sums[:, 2 * last + 1]
    )
    own = lower + later
    return Factor(
        value=lower_factor + share * (upper_factor - lower_factor),
        highest=np.maximum(lower_factor, upper_factor),
        slot=first + (own - own // slots * slots),
        seen=np.where(later, upper_seen, lower_seen),
    )


def _around(column: Sums, number: Ints, first: Ints, length: int) -> Sums:
    """Return the sums of `length` slots from slot `number` on, round the end of the season; shape (K, 2 length)."""
    slots = column.shape[1]
    start = number - number // slots * slots
    # each window is one value of many bytes: gathering these takes a third of the time
    windows = np.ndarray((column.size // 2 - length + 1,), np.dtype((np.void, 8 * length)), column, strides=(8,))
    found: Sums = windows[first + np.minimum(start, slots - length)].view(np.float32).reshape(len(start), -1)
    split = np.flatnonzero(start > slots - length)
    if len(split):
        places = (start[split, np.newaxis] + np.arange(length)) % slots
        found[split] = _pairs(column)[first[split, np.newaxis] + places].view(np.float32)
    return found


def _drawn(sums: Sums, place: int, seen_around: Sums, expected_around: Sums) -> tuple[Floats, Floats]:
    """Return the factors of the slots at one place, drawn to what is around them, and the reports these rest on.

    Notes
    -----
    Empirical Bayes: what is known beforehand of a slot is the ratio around it, with an error of its own (B. Efron,
    C. Morris, "Data analysis using Stein's estimator and its generalizations", JASA 70, 1975).
    """
    seen, expected = sums[:, 2 * place].astype(np.float64), sums[:, 2 * place + 1].astype(np.float64)
    around = seen_around.astype(np.float64)
    weight = MOST_AROUND * around / (MOST_AROUND + around)
    rests_on = seen + weight
    return (seen + weight * (around / expected_around)) / (expected + weight), rests_on
