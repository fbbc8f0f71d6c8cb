"""An absolute limit on the reports of a bin."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detectors.base import Verdict
from detectors.keyed import RECENT_SCORES, KeyedDetector, require_more_than


class Limit(KeyedDetector):
    """Raises when three of the last five bins hold more reports than a fixed limit.

    Needs no history and has no baseline, so it never learns. The score is the third largest count of the last five
    bins, in reports per bin; bins that were not observed count as 0. The outage is over below the limit.

    Parameters
    ----------
    bin_ms
        Length of a bin in milliseconds.
    above
        The limit, in reports per bin; positive. A bin is in excess when it holds more.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    Examples
    --------
    One burst raises nothing, a third bin above the limit does:

    >>> import numpy as np
    >>> from detectors import Limit
    >>> detector = Limit(bin_ms=60_000, above=100)
    >>> detector.resize(1)
    >>> yes, no, utc = np.array([True]), np.array([False]), np.array([0])
    >>> for minute, count in enumerate([20.0, 800.0, 20.0, 300.0, 300.0]):
    ...     verdict = detector.step(minute * 60_000, np.array([count]), observed=yes, is_open=no, local_offset_s=utc)
    ...     print(verdict.score, verdict.raised)
    [0.] [False]
    [0.] [False]
    [20.] [False]
    [20.] [False]
    [300.] [ True]
    """

    name = "limit"
    version = 1

    def __init__(self, bin_ms: int, above: float = 100.0) -> None:
        require_more_than(0, bin_ms=bin_ms, above=above)
        super().__init__(bin_ms, {"above": above}, RECENT_SCORES)
        self._above = float(above)

    def step(
        self,
        bin_start_ms: int,
        counts: NDArray[np.float64],
        observed: NDArray[np.bool_],
        is_open: NDArray[np.bool_],
        local_offset_s: NDArray[np.int64],
        *,
        covered: NDArray[np.bool_] | None = None,
        threshold_rise: NDArray[np.float64] | None = None,
    ) -> Verdict:
        """Judge one bin of every key; see `Detector.step`."""
        bin_number = self._bin_number(bin_start_ms, counts, observed, is_open, local_offset_s, covered, threshold_rise)
        score = self._persistent(bin_number, np.where(observed, counts, 0.0))
        return Verdict(
            expected=np.full(self.keys, np.nan),
            score=score,
            score_threshold=np.full(self.keys, self._above),
            raised=score > self._above,
            clear_level=np.full(self.keys, self._above),
            clear_score=np.full(self.keys, np.nan),
            clear_threshold=np.full(self.keys, np.nan),
            rebaselined=np.zeros(self.keys, np.bool_),
            learning=np.zeros(self.keys, np.bool_),
        )
