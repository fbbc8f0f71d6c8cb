"""How counts scatter around the mean: dispersion from bin to bin, and slow noise that the baseline does not know.

Dispersion phi is the variance of a bin over its mean. Slow noise psi is the variance, relative to the mean squared,
that hours have beyond what their bins' dispersion explains: moods of the day that no season tells of.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detectors.nbsr.baseline import DAY_MS, HOUR_MS, Bools, Floats, Ints

HALF_LIFE_DAYS = 7.0
#: A dispersion of 2 before anything is seen, with the weight of so many expected reports.
_PRIOR_PHI, _PRIOR_REPORTS = 2.0, 20.0
#: Below it the negative binomial becomes numerically a Poisson distribution of infinite size.
_LEAST_PHI = 1.05
#: Slow noise is believed where it exceeds this many standard errors.
_ERRORS = 2.0
#: More than this is no noise: a standard deviation of 0.4.
_MOST_PSI = 0.16
#: How much of the doubt about the mean an hour shows: its quarters err by themselves.
_DOUBT_SHARE = 0.3


class Dispersion:
    """Estimates phi from successive residuals: a slow error of the mean cancels in their differences.

    Parameters
    ----------
    bin_ms
        Length of a bin in milliseconds.
    """

    def __init__(self, bin_ms: int) -> None:
        self._decay = 0.5 ** (bin_ms / (HALF_LIFE_DAYS * DAY_MS))

    def phi(self, sums: NDArray[np.float32]) -> Floats:
        """Return the dispersion, shape (K,), from its sums (K, 2): squared differences, and the means they are of."""
        squares, means = sums[:, 0].astype(np.float64), sums[:, 1].astype(np.float64)
        return np.maximum((squares + _PRIOR_PHI * _PRIOR_REPORTS) / (means + _PRIOR_REPORTS), _LEAST_PHI)

    def teach(
        self, sums: NDArray[np.float32], last: NDArray[np.float32], counts: Floats, means: Floats, usable: Bools
    ) -> None:
        """Take in a bin of each key, where usable.

        Parameters
        ----------
        sums
            See `phi`.
        last
            Residual and mean of the bin before, NaN where it was not usable; shape (K, 2).
        counts, means
            Shape (K,).
        """
        residual = counts - means
        pair = usable & ~np.isnan(last[:, 0])
        difference = residual - last[:, 0]
        np.copyto(sums[:, 0], sums[:, 0] * self._decay + difference * difference, where=pair, casting="same_kind")
        np.copyto(sums[:, 1], sums[:, 1] * self._decay + (means + last[:, 1]), where=pair, casting="same_kind")
        last[:, 0] = np.where(usable, residual, np.nan)
        last[:, 1] = np.where(usable, means, np.nan)


class SlowNoise:
    """Estimates psi from hours: E (Y - M)^2 = phi M + psi M^2 for the Y reports of an hour with the mean M.

    Parameters
    ----------
    bin_ms
        Length of a bin in milliseconds.
    """

    def __init__(self, bin_ms: int) -> None:
        self._hour_bins = max(1, HOUR_MS // bin_ms)
        self._decay = 0.5 ** (self._hour_bins * bin_ms / (HALF_LIFE_DAYS * DAY_MS))

    def psi(self, sums: NDArray[np.float32]) -> Floats:
        """Return the slow noise, shape (K,), from its sums (K, 3): excess squares, M^2, the variance of the first."""
        excess, scale, variance = (sums[:, i].astype(np.float64) for i in range(3))
        return np.clip((excess - _ERRORS * np.sqrt(variance)) / np.maximum(scale, 1e-9), 0.0, _MOST_PSI)

    def teach(
        self,
        sums: NDArray[np.float32],
        hour: Ints,
        hour_sums: NDArray[np.float32],
        bins: Ints,
        counts: Floats,
        means: Floats,
        phi: Floats,
        doubt: Floats,
        usable: Bools,
    ) -> None:
        """Take in a bin of each key, where usable; an hour counts once the next one begins, if half of it was usable.

        Parameters
        ----------
        sums
            See `psi`.
        hour
            The hour that each key is in, shape (K,).
        hour_sums
            Of that hour: reports, their mean, bins; shape (K, 3).
        bins
            Number of the bin of each key, shape (K,).
        counts, means, phi, doubt
            Reports of the bin, their mean, its dispersion and its relative variance; shape (K,).
        """
        now = bins // self._hour_bins
        ended = np.flatnonzero(usable & (now != hour))
        if len(ended):
            half = ended[2.0 * hour_sums[ended, 2] >= self._hour_bins]
            reports, mean = hour_sums[half, 0].astype(np.float64), hour_sums[half, 1].astype(np.float64)
            spread = phi[half] * mean
            # an hour that nobody has called an incident may be one: it must not pass for noise of any size
            deviation = np.minimum(np.abs(reports - mean), mean + 3.0 * np.sqrt(spread))
            known = spread + _DOUBT_SHARE * doubt[half] * mean * mean
            sums[half, 0] = sums[half, 0] * self._decay + (deviation * deviation - known)
            sums[half, 1] = sums[half, 1] * self._decay + mean * mean
            # a square of a normal deviate has twice the square of its variance
            sums[half, 2] = sums[half, 2] * self._decay**2 + 2.0 * spread * spread
            hour_sums[ended] = 0.0
            hour[ended] = now[ended]
        for i, each in enumerate((counts, means, np.ones(len(counts)))):
            np.copyto(hour_sums[:, i], hour_sums[:, i] + each, where=usable, casting="same_kind")
