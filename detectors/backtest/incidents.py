"""The incidents that verdicts give rise to, of many keys at once, by the rules of the incident state machine."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detectors.base import Verdict

#: An incident does not close before it has been open for so many bins.
MIN_OPEN_BINS = 3
#: How many windows in a row must be below the clear level.
CLEAR_WINDOWS = 2


class Incidents:
    """Opens and closes an incident per key; a key has at most one at a time.

    An incident opens where the detector has raised. It closes when it has been open for three bins and the detector
    holds that the outage is over: by its clear score where it has one, else by two windows in a row, without a raise,
    below its clear level. It also closes when the detector has rebaselined, and, as unknown, when more than a window of
    bins in a row was not observed. These are the rules of the incidents that are announced, without any limits set.

    Parameters
    ----------
    keys
        How many keys.
    window_bins
        Number of bins in a window.
    """

    def __init__(self, keys: int, window_bins: int = 15) -> None:
        self._window_bins = window_bins
        self._recent = np.zeros((window_bins, keys))
        #: Reports of the window that ends with the last bin, shape (K,).
        self.window = np.zeros(keys)
        #: Whether an incident is open, shape (K,).
        self.is_open = np.zeros(keys, np.bool_)
        self._open_bins = np.zeros(keys, np.int64)
        self._below = np.zeros(keys, np.int64)
        self._missing = np.zeros(keys, np.int64)
        self._bins = 0

    def take(self, keys: NDArray[np.int64]) -> Incidents:
        """Return the incidents of some keys, in the order given, independent of these."""
        taken = Incidents(len(keys), self._window_bins)
        taken._recent = self._recent[:, keys].copy()
        for name in ("window", "is_open", "_open_bins", "_below", "_missing"):
            setattr(taken, name, getattr(self, name)[keys].copy())
        taken._bins = self._bins
        return taken

    def step(
        self, verdict: Verdict, counts: NDArray[np.float64], observed: NDArray[np.bool_]
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Take in the verdict on the next bin; return which keys' incidents opened with it, and which closed.

        Parameters
        ----------
        verdict
            The detector's, having been told `is_open` as it was before this bin.
        counts, observed
            What the detector was given.
        """
        place = self._bins % self._window_bins
        self._bins += 1
        own = np.where(observed, counts, 0.0)
        # Counts are integers: the running sum is exact.
        self.window += own - self._recent[place]
        self._recent[place] = own
        self._missing = np.where(observed, 0, self._missing + 1)
        lost = self._missing > self._window_bins

        was_open = self.is_open
        raised = verdict.raised & (self.window >= 1)
        opened = raised & ~was_open & ~lost & ~verdict.rebaselined
        is_open = was_open | opened
        self._open_bins = np.where(is_open, np.where(opened, 1, self._open_bins + 1), 0)
        by_level = np.isnan(verdict.clear_score)
        below = is_open & ~raised & (self._missing == 0) & (self.window < verdict.clear_level * self._window_bins)
        self._below = np.where(below, np.where(opened, 0, self._below) + 1, 0)
        over = np.where(by_level, self._below >= CLEAR_WINDOWS, verdict.clear_score >= verdict.clear_threshold)
        closed = is_open & ~opened & ((over & (self._open_bins >= MIN_OPEN_BINS)) | verdict.rebaselined | lost)
        self.is_open = is_open & ~closed
        return opened, closed
