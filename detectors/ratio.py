"""The ratio of a bin's reports to the median of the last seven days."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from detectors.base import Verdict
from detectors.keyed import KeyedDetector, require_more_than

BLOCK_MS = 900_000
DAY_MS = 86_400_000
WEEK_MS = 7 * DAY_MS
#: An outage is over below this multiple of what is expected (or its square root, where `above` itself is close to it).
CLEAR_RATIO = 1.3
#: How many keys end a block at a time: bounds the memory that sorting their weeks takes (11 MB).
CHUNK_KEYS = 4096


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
        self._block_bins = max(1, BLOCK_MS // bin_ms)
        block_ms = self._block_bins * bin_ms
        self._week_blocks = math.ceil(WEEK_MS / block_ms)
        self._needed_blocks = math.ceil(DAY_MS / block_ms)
        super().__init__(
            bin_ms,
            {"above": above, "min_excess": min_excess},
            {
                # The block of the last bin: bins observed so far, their reports, whether one of them must not teach.
                "block_bins": np.int32(0),
                "block_reports": np.float64(0),
                "block_excluded": np.bool_(False),
                "expected": np.float64(np.nan),
                # Block b is at b modulo the length; NaN is missing.
                "week": np.full(self._week_blocks, np.nan, np.float32),
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
        block = bin_number // self._block_bins
        ended = np.flatnonzero(self._columns["last_bin"] < block * self._block_bins)
        for start in range(0, len(ended), CHUNK_KEYS):
            self._end_block(ended[start : start + CHUNK_KEYS], block)

        expected = self._columns["expected"].copy()
        learning = np.isnan(expected)
        limit = np.maximum(self._above * expected, expected + self._min_excess)
        score = self._persistent(bin_number, np.where(observed & ~learning, self._above * (counts / limit), 0.0))
        score[learning] = np.nan

        self._columns["block_bins"] += observed
        self._columns["block_reports"] += np.where(observed, counts, 0.0)
        self._columns["block_excluded"] |= is_open if covered is None else is_open | ~covered
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

    def _end_block(self, keys: NDArray[np.int64], block: int) -> None:
        """Enter the blocks that `keys` were last in, all before `block`, into their weeks; expect anew."""
        columns = self._columns
        last_block = columns["last_bin"][keys] // self._block_bins
        bins = columns["block_bins"][keys]
        mean = np.where(2 * bins >= self._block_bins, columns["block_reports"][keys] / np.maximum(bins, 1), np.nan)
        teaches = ~columns["block_excluded"][keys]
        week = columns["week"][keys]
        week[teaches, (last_block % self._week_blocks)[teaches]] = mean[teaches]

        # Which of the blocks before `block` each place of a week is for; those after a key's last one were skipped.
        place = np.arange(self._week_blocks)
        held = block - 1 - (block - 1 - place) % self._week_blocks
        skipped = np.flatnonzero(last_block < block - 1)
        week[skipped] = np.where(held > last_block[skipped, np.newaxis], np.float32(np.nan), week[skipped])

        columns["week"][keys] = week
        columns["expected"][keys] = self._median(week)
        columns["block_bins"][keys] = 0
        columns["block_reports"][keys] = 0.0
        columns["block_excluded"][keys] = False

    def _median(self, week: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the median of the blocks of each week, NaN where fewer than 24 hours are there; sorts `week`."""
        week.sort(axis=1)  # NaN last
        blocks = self._week_blocks - np.count_nonzero(np.isnan(week), axis=1)
        row = np.arange(len(week))
        low, high = week[row, (blocks - 1) // 2], week[row, blocks // 2]
        middle: NDArray[np.float64] = (low.astype(np.float64) + high) / 2
        return np.where(blocks >= self._needed_blocks, middle, np.nan)
