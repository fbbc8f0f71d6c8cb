"""EARS C2: how many standard deviations the reports of a quarter of an hour are above those of the last week."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from detectors.base import Verdict
from detectors.blocks import Blocks
from detectors.keyed import RECENT_SCORES, KeyedDetector, require_more_than

#: Blocks between the present one and the baseline, so that an outage that begins slowly does not hide itself.
GUARD_BLOCKS = 2
#: An outage is over below this share of the score that raises.
CLEAR_SHARE = 0.5


class Ears(KeyedDetector):
    """Raises when the reports of a quarter of an hour are three standard deviations above the mean of a week.

    C2 of the Early Aberration Reporting System [1]_ compares a day with the mean and standard deviation of seven days,
    two days back. Here the unit is a block of 15 minutes (of one bin, where bins are longer), and the baseline is
    all blocks of seven days, up to two blocks back. By seven blocks alone, one in 65 would be that far above their
    mean by chance: Student's t with six degrees of freedom exceeds 3 / sqrt(1 + 1/7) that often.

    - A block with fewer than half of its bins observed is missing. A block with an incident open in it, or with a
      bin that may lack reports, teaches nothing and leaves in place the block of the week before.
    - A key is learning until 24 hours of blocks are there.
    - The score of a bin is `(m - mean) / deviation`, with m the smaller of its reports and of the mean reports per
      observed bin of the last 15 minutes. That of a key is the third largest of the last five bins (0 for bins not
      observed): one burst lifts the 15 minutes, but not three bins.
    - The deviation of 15 minutes is taken to be at least that of a Poisson count, and at least one report.
    - The outage is over where the mean of the window is below half of `above` deviations.

    Parameters
    ----------
    bin_ms
        Length of a bin in milliseconds.
    above
        The score at which the detector raises; positive. C2 has 3.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    Notes
    -----
    A key takes 2.9 kB with bins of a minute. The baseline knows no time of day: what is usual by day is far above the
    mean by night, when only large outages are seen.

    References
    ----------
    .. [1] L. Hutwagner, W. Thompson, G. M. Seeman, T. Treadwell: The bioterrorism preparedness and response Early
       Aberration Reporting System (EARS). Journal of Urban Health 80 (2003), i89-i96.

    Examples
    --------
    A day of two reports per bin, then four, where a Poisson count deviates by 1.4:

    >>> import numpy as np
    >>> from detectors import Ears
    >>> detector = Ears(bin_ms=900_000)
    >>> detector.resize(1)
    >>> yes, no, utc = np.array([True]), np.array([False]), np.array([0])
    >>> for number, count in enumerate([2.0] * 98 + [7.0] * 3):
    ...     verdict = detector.step(number * 900_000, np.array([count]), observed=yes, is_open=no, local_offset_s=utc)
    >>> verdict.expected, verdict.score.round(2), verdict.raised
    (array([2.]), array([3.54]), array([ True]))
    """

    name = "ears"
    version = 1

    def __init__(self, bin_ms: int, above: float = 3.0) -> None:
        require_more_than(0, bin_ms=bin_ms, above=above)
        self._above = float(above)
        self._blocks = Blocks(bin_ms, GUARD_BLOCKS)
        super().__init__(
            bin_ms,
            {"above": above},
            {
                **RECENT_SCORES,
                **self._blocks.current(),
                # Of the blocks of the week, in reports per bin.
                "mean": np.float64(np.nan),
                "deviation": np.float64(np.nan),
                # Counts of the last block's length of bins, bin b at b modulo the length; NaN is not observed.
                "latest": np.full(self._blocks.block_bins, np.nan, np.float32),
                **self._blocks.week(),
            },
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
            self._columns["mean"][keys], self._columns["deviation"][keys] = self._moments(week)

        mean, deviation = self._columns["mean"].copy(), self._columns["deviation"].copy()
        learning = np.isnan(mean)
        latest = self._latest_mean(bin_number, counts, observed)
        judged = observed & ~learning
        excess = np.minimum(counts, latest) - mean
        score = self._persistent(bin_number, np.where(judged, np.maximum(excess / deviation, 0.0), 0.0))
        score[learning] = np.nan

        teaches = ~is_open if covered is None else covered & ~is_open
        self._blocks.take(self._columns, counts, observed, teaches)
        return Verdict(
            expected=mean,
            score=score,
            score_threshold=np.full(self.keys, self._above),
            raised=score >= self._above,
            clear_level=mean + CLEAR_SHARE * self._above * deviation,
            clear_score=np.full(self.keys, np.nan),
            clear_threshold=np.full(self.keys, np.nan),
            rebaselined=np.zeros(self.keys, np.bool_),
            learning=learning,
            figures={"deviation": deviation, "latest_mean": latest},
        )

    def _latest_mean(
        self, bin_number: int, counts: NDArray[np.float64], observed: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        """Enter the counts of a bin; return the mean of the last ones, NaN where none was observed."""
        latest, last_bin, length = self._columns["latest"], self._columns["last_bin"], self._blocks.block_bins
        for skipped in range(bin_number - length + 1, bin_number):
            latest[last_bin < skipped, skipped % length] = np.nan
        latest[:, bin_number % length] = np.where(observed, counts, np.nan)
        total, bins = np.zeros(self.keys), np.zeros(self.keys)
        for place in range(length):
            seen = ~np.isnan(latest[:, place])
            total += np.where(seen, latest[:, place], 0.0)
            bins += seen
        return np.where(bins > 0, total / np.maximum(bins, 1.0), np.nan)

    def _moments(self, week: NDArray[np.float32]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean and deviation of the blocks of each week, NaN where fewer than 24 hours are there."""
        blocks = np.ascontiguousarray(week.T, np.float64)
        there = ~np.isnan(blocks)
        number = np.count_nonzero(there, axis=0)
        # Block by block: a sum over an axis goes in another order where there is one key.
        total = np.zeros(len(week))
        for block, seen in zip(blocks, there, strict=True):
            total += np.where(seen, block, 0.0)
        mean = total / np.maximum(number, 1)
        squares = np.zeros(len(week))
        for block, seen in zip(blocks, there, strict=True):
            squares += np.where(seen, (block - mean) ** 2, 0.0)
        length = self._blocks.block_bins
        least = np.maximum(np.sqrt(mean / length), 1.0 / length)
        deviation = np.maximum(np.sqrt(squares / np.maximum(number - 1, 1)), least)
        known = number >= self._blocks.day_blocks
        return np.where(known, mean, np.nan), np.where(known, deviation, np.nan)
