"""The ratio of a bin's reports to the median of the last seven days."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from detectors.base import Verdict
from detectors.blocks import Blocks
from detectors.keyed import RECENT_SCORES, KeyedDetector, require_more_than

#: An outage is over below this multiple of what is expected (or its square root, where `above` itself is close to it).
CLEAR_RATIO = 1.3


class Ratio(KeyedDetector):
    """Raises when three of the last five bins hold several times the reports that the last week leads to expect.

    A week is held as blocks of 15 minutes (of one bin, where bins are longer), each the mean reports per observed bin;
    *expected* is the median of the blocks. IODA, the Internet outage observatory, compares with a 7-day median too.

    - A block with fewer than half of its bins observed is missing. A block with an incident open in it, or with a
      bin that may lack reports, teaches nothing and leaves in place the block of the week before: an incident neither
      raises its own baseline nor wears it out.
    - A key is learning until 24 hours of blocks are there.
    - A bin is in excess when it reaches both `above` times expected and expected plus `min_excess`, which alone decides
      where nothing is expected. With *limit* the larger of the two, the score of a bin is `above * count / limit`,
      and that of a key the third largest of the last five bins (0 for bins not observed), so it raises at `above`.
      Where `min_excess` does not bind, a bin's score is just count over expected.
    - The outage is over below `1.3 * limit / above`, that is below 1.3 times expected where `min_excess` does not bind.

    Parameters
    ----------
    bin_ms
        Length of a bin in milliseconds.
    above
        The ratio to expected at which a bin is in excess; more than 1.
    min_excess
        The reports per bin beyond expected that an excess takes at least; positive.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    Notes
    -----
    A key takes 2.8 kB with bins of a minute. Measured on one core with 100,000 keys: 5 ms a step, 0.16 s where a block
    ends (every week is sorted), 16 ms on average.

    Examples
    --------
    A day of two reports per bin, then ten:

    >>> import numpy as np
    >>> from detectors import Ratio
    >>> detector = Ratio(bin_ms=900_000, above=5, min_excess=5)
    >>> detector.resize(1)
    >>> yes, no, utc = np.array([True]), np.array([False]), np.array([0])
    >>> for number, count in enumerate([2.0] * 96 + [10.0] * 3):
    ...     verdict = detector.step(number * 900_000, np.array([count]), observed=yes, is_open=no, local_offset_s=utc)
    >>> verdict.expected, verdict.score, verdict.raised
    (array([2.]), array([5.]), array([ True]))
    """

    name = "ratio"
    version = 1

    def __init__(self, bin_ms: int, above: float = 5.0, min_excess: float = 5.0) -> None:
        require_more_than(0, bin_ms=bin_ms, min_excess=min_excess)
        require_more_than(1, above=above)
        self._above = float(above)
        self._min_excess = float(min_excess)
        self._clear_ratio = min(CLEAR_RATIO, math.sqrt(above))
        self._blocks = Blocks(bin_ms)
        super().__init__(
            bin_ms,
            {"above": above, "min_excess": min_excess},
            {**RECENT_SCORES, **self._blocks.current(), "expected": np.float64(np.nan), **self._blocks.week()},
        )

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
        """Judge one bin of every key, then learn from it; see `Detector.step`."""
        bin_number = self._bin_number(bin_start_ms, counts, observed, is_open, local_offset_s, covered, threshold_rise)
        for keys, week in self._blocks.end(self._columns, bin_number):
            self._columns["expected"][keys] = self._median(week)

        expected = self._columns["expected"].copy()
        learning = np.isnan(expected)
        limit = np.maximum(self._above * expected, expected + self._min_excess)
        score = self._persistent(bin_number, np.where(observed & ~learning, self._above * (counts / limit), 0.0))
        score[learning] = np.nan

        teaches = ~is_open if covered is None else covered & ~is_open
        self._blocks.take(self._columns, counts, observed, teaches)
        return Verdict(
            expected=expected,
            score=score,
            score_threshold=np.full(self.keys, self._above),
            raised=score >= self._above,
            clear_level=self._clear_ratio * limit / self._above,
            clear_score=np.full(self.keys, np.nan),
            clear_threshold=np.full(self.keys, np.nan),
            rebaselined=np.zeros(self.keys, np.bool_),
            learning=learning,
            figures={"bin_limit": limit},
        )

    def _median(self, week: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the median of the blocks of each week, NaN where fewer than 24 hours are there; sorts `week`."""
        week.sort(axis=1)  # NaN last
        blocks = week.shape[1] - np.count_nonzero(np.isnan(week), axis=1)
        row = np.arange(len(week))
        low, high = week[row, (blocks - 1) // 2], week[row, blocks // 2]
        middle: NDArray[np.float64] = (low.astype(np.float64) + high) / 2
        return np.where(blocks >= self._blocks.day_blocks, middle, np.nan)
