"""Counts of reports without outages: negative binomial, with the shape of day and week and a trend.

Keys are grouped in cells of one mean level and one dispersion. Every key has a shape of its own, and an offset of its
civil time that spreads the keys of a cell over the week: at any bin, some are in their night and some in their peak.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

MINUTE_MS = 60_000
DAY_BINS = 1440
WEEK_BINS = 7 * DAY_BINS
#: A Monday, 5 January 2026, 00:00 UTC.
START_MS = 1_767_571_200_000
#: Bins that noise takes to lose its memory: correlation exp(-1) after two hours.
NOISE_MEMORY_BINS = 120
TREND_PER_WEEK = 1.01


class Cell(NamedTuple):
    """Mean reports per minute, and variance over mean."""

    level: float
    dispersion: float


CELLS = tuple(Cell(*each) for each in product((0.5, 5.0, 50.0, 500.0), (1.2, 2.0, 5.0)))


@dataclass(frozen=True)
class Condition:
    """What the counts have that the detector is not made for.

    Parameters
    ----------
    name
        How tables call it.
    noise_sd
        Standard deviation of the log-intensity's noise, with a memory of two hours.
    shift_day
        From this day on people live an hour earlier; `shift_told` says whether their offset from UTC does too.
    gap_day
        A day that is not observed.
    """

    name: str
    noise_sd: float = 0.0
    shift_day: int | None = None
    shift_told: bool = False
    gap_day: int | None = None


class Series(NamedTuple):
    """A day of K keys: arrays (bins, K), and offsets (K,)."""

    counts: NDArray[np.float64]
    observed: NDArray[np.bool_]
    local_offset_s: NDArray[np.int64]


def counts_of(
    rng: np.random.Generator, mean: NDArray[np.float64], dispersion: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Draw counts of this mean, with a variance of `dispersion` times the mean."""
    # A Poisson whose mean is gamma distributed with shape mean / (dispersion - 1).
    excess = np.broadcast_to(dispersion - 1, mean.shape)
    return rng.poisson(rng.standard_gamma(mean / excess) * excess).astype(np.float64)


class Generator:
    """The keys of one condition, cell by cell.

    Parameters
    ----------
    seed
        Gives shapes and counts; another condition of the same seed has the same shapes and other counts.
    condition
        What is unusual.
    keys_per_cell
        How many keys each of `CELLS` has.
    """

    def __init__(self, seed: int, condition: Condition, keys_per_cell: int) -> None:
        self.condition = condition
        self.keys = len(CELLS) * keys_per_cell
        #: Index of the cell of every key.
        self.cell = np.repeat(np.arange(len(CELLS)), keys_per_cell)
        self.dispersion = np.array([each.dispersion for each in CELLS])[self.cell]
        shapes = np.random.default_rng([seed, 0])
        self._daily, self._second = shapes.uniform(0.5, 0.9, self.keys), shapes.uniform(0.0, 0.25, self.keys)
        self._peak, self._second_peak = shapes.uniform(15, 21, self.keys), shapes.uniform(0, 12, self.keys)
        self._weekend = shapes.uniform(-0.3, 0.2, self.keys)
        spread = np.tile(np.arange(keys_per_cell) / keys_per_cell, len(CELLS))
        self._offset_bins = np.round(spread * WEEK_BINS / 15).astype(np.int64) * 15
        week = np.exp(self._log_shape(np.arange(0, WEEK_BINS, 5)[:, np.newaxis]))
        self._base = np.array([each.level for each in CELLS])[self.cell] / week.mean(axis=0)
        self._seed = [seed, 1, *condition.name.encode()]
        self._noise = np.random.default_rng([*self._seed, 0]).standard_normal(self.keys)

    def _log_shape(self, civil_bins: NDArray[np.int64]) -> NDArray[np.float64]:
        hour = civil_bins / 60.0 % 24
        day = civil_bins / DAY_BINS % 7
        # Between weekday and weekend lie four hours around midnight.
        weekend = np.clip((1 - np.abs(day - 6)) * 6 + 0.5, 0, 1) + np.clip(0.5 - 6 * day, 0, 1)
        return np.asarray(
            self._daily * np.cos(2 * math.pi * (hour - self._peak) / 24)
            + self._second * np.cos(4 * math.pi * (hour - self._second_peak) / 24)
            + self._weekend * weekend
        )

    def offset_s(self, day: int) -> NDArray[np.int64]:
        """Return what the detector is told of the keys' offset from UTC, shape (K,)."""
        shift_day = self.condition.shift_day
        shifted = self.condition.shift_told and shift_day is not None and day >= shift_day
        return self._offset_bins * 60 + 3600 * shifted

    def mean(self, first_bin: int, bins: int) -> NDArray[np.float64]:
        """Return the mean counts without noise, shape (bins, K)."""
        numbers = np.arange(first_bin, first_bin + bins)[:, np.newaxis]
        civil = numbers + self._offset_bins
        if self.condition.shift_day is not None:
            civil = civil + 60 * (numbers >= self.condition.shift_day * DAY_BINS)
        return np.asarray(self._base * np.exp(self._log_shape(civil)) * TREND_PER_WEEK ** (numbers / WEEK_BINS))

    def day(self, day: int) -> Series:
        """Return the next day; days come in order, because noise has a memory."""
        rng = np.random.default_rng([*self._seed, 1, day])
        mean = self.mean(day * DAY_BINS, DAY_BINS)
        sd = self.condition.noise_sd
        if sd:
            keep = math.exp(-1 / NOISE_MEMORY_BINS)
            fresh = rng.standard_normal(mean.shape) * math.sqrt(1 - keep * keep)
            for row in fresh:
                row += keep * self._noise
                self._noise = row
            mean *= np.exp(sd * fresh - sd * sd / 2)
        observed = np.full(mean.shape, day != self.condition.gap_day)
        return Series(counts_of(rng, mean, self.dispersion) * observed, observed, self.offset_s(day))
