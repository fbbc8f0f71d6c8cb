"""Figures of merit of a detector: how often it is wrong, how much it sees, how fast it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtri


def poisson_interval(events: int, exposure: float, confidence: float = 0.95) -> tuple[float, float]:
    """Return the exact confidence interval of a rate.

    Parameters
    ----------
    events
        How many there were.
    exposure
        In how much time, in the unit that the rate is per; positive.

    Returns
    -------
    tuple of float
        Lower and upper end, events per unit of time.

    Notes
    -----
    F. Garwood, Fiducial limits for the Poisson distribution, Biometrika 28 (1936): quantiles of chi-squared.
    """
    tail = (1 - confidence) / 2
    low = float(chdtri(2 * events, 1 - tail)) / 2 if events else 0.0
    return low / exposure, float(chdtri(2 * events + 2, tail)) / 2 / exposure


@dataclass(frozen=True, slots=True)
class Quiet:
    """Incidents in time without outages: all of them false.

    Parameters
    ----------
    incidents
        How many, per group of keys.
    days
        Key-days watched, per group of keys.
    """

    incidents: NDArray[np.int64]
    days: NDArray[np.float64]

    @classmethod
    def joined(cls, parts: Sequence[Quiet]) -> Quiet:
        """Return several as one, group by group."""
        return cls(sum(part.incidents for part in parts), sum(part.days for part in parts))  # type: ignore[arg-type]  # sum starts at 0

    def per_30_days(self) -> float:
        """Return the false incidents per key and 30 days."""
        return float(30 * self.incidents.sum() / self.days.sum())

    def interval(self) -> tuple[float, float]:
        """Return the 95 % confidence interval of `per_30_days`."""
        return poisson_interval(int(self.incidents.sum()), float(self.days.sum()) / 30)

    def worst(self) -> float:
        """Return the false incidents per key and 30 days of the worst group."""
        return float((30 * self.incidents / self.days).max())


@dataclass(frozen=True, slots=True)
class Outages:
    """What became of outages, one element each.

    Parameters
    ----------
    group
        Which group of keys the outage was in.
    delay_min
        From its start to the end of the bin that opened an incident, in minutes; infinite where none did in time.
    clear_min
        From its end to the end of the bin that closed the last incident, 0 if before; infinite while that is open,
        NaN where none opened.
    incidents
        How many incidents opened.
    """

    group: NDArray[np.int64]
    delay_min: NDArray[np.float64]
    clear_min: NDArray[np.float64]
    incidents: NDArray[np.int64]

    @classmethod
    def joined(cls, parts: Sequence[Outages]) -> Outages:
        """Return several as one."""
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__slots__))

    def of(self, groups: NDArray[np.int64]) -> Outages:
        """Return those of some groups."""
        return self.where(np.isin(self.group, groups))

    def where(self, mask: NDArray[np.bool_]) -> Outages:
        """Return those that a mask, one element each, marks."""
        return Outages(self.group[mask], self.delay_min[mask], self.clear_min[mask], self.incidents[mask])

    def detected(self) -> float:
        """Return the share of outages in which an incident opened while they lasted."""
        return float(np.isfinite(self.delay_min).mean())

    def delay(self, percent: float) -> float:
        """Return a percentile of the delay in minutes; an undetected outage counts as infinite."""
        return percentile(self.delay_min, percent)

    def mean_delay(self, at_most_min: float) -> float:
        """Return the mean delay in minutes, none counted as more than `at_most_min`."""
        return float(np.minimum(self.delay_min, at_most_min).mean())

    def clear(self, percent: float) -> float:
        """Return a percentile of the minutes that it took to clear, of the detected outages."""
        return percentile(self.clear_min[np.isfinite(self.delay_min)], percent)

    def incidents_per_outage(self) -> float:
        """Return how many incidents a detected outage became on average."""
        detected = np.isfinite(self.delay_min)
        return float(self.incidents[detected].mean()) if detected.any() else float("nan")


def percentile(values: NDArray[np.float64], percent: float) -> float:
    """Return the smallest value that `percent` of the values do not exceed; NaN of none."""
    return float(np.percentile(values, percent, method="inverted_cdf")) if len(values) else float("nan")
