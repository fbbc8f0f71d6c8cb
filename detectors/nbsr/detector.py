"""NB-SR: a seasonal baseline that incidents cannot poison, and evidence with a false-alarm budget."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.base import Verdict
from detectors.keyed import NEVER, KeyedDetector, require_more_than
from detectors.nbsr.baseline import DAY_MS, DAY_QUARTERS, HOUR_MS, WEEK_HOURS, Baseline, Bools, Floats, Ints, Mean
from detectors.nbsr.evidence import CLEAR_THRESHOLD, JUMPS, Evidence, clear_level, gather_end
from detectors.nbsr.negativebinomial import log_likelihood_ratio
from detectors.nbsr.noise import Dispersion, SlowNoise

Columns = dict[str, NDArray[Any]]

#: Bins are learnt from when they are so old: what an incident that is found late began with is never learnt.
LAG_MS = 1_800_000
#: No raise in the first days; then the mean may be so many times what it seems, up to the day that is named.
LEARNING_DAYS = 2
DOUBTFUL_DAYS = ((7, 2.0), (14, 1.25))
#: The guard: standard errors of the mean, and standard deviations of slow noise, that the null lies above the mean.
GUARD_ERRORS, GUARD_SLOW = 1.2, 3.5
#: The logarithm of what the null lies above the mean at most, however wild the counts.
GUARD_MOST = 2.5
#: The highest threshold, in nats.
MAX_THRESHOLD = 60.0
#: The reports of the last five bins must exceed those of the null by this.
RECENT_BINS, RECENT_EXCESS = 5, 1.25
#: After so many bins that were not observed nothing is known of what went before.
GAP_BINS = 15
#: What is far too low teaches nothing either: a CUSUM of a fifth of the mean against the mean, with its cap.
LOW_JUMP, LOW_THRESHOLD, LOW_CAP = 0.2, 8.0, 16.0
#: In a key's first day counts are cut at this multiple of its mean, later at 3 standard deviations and 4 phi above.
FIRST_DAY_CUT = 5.0
#: A level that is taken over counts as if seen for so many bins.
REBASELINED_BINS = 120.0
#: Added to the null, in reports per bin, so that it is never 0.
NULL_PAD = 0.01
#: By how much the threshold is below the logarithm of the run length asked for: evidence overshoots when it crosses it,
#: and the null is guarded, so that false alarms stay several times rarer than asked for where the model holds.
EASING = 1.2
#: What is published with a verdict beside the null and the noises: M of each jump before the bin.
EVIDENCE_FIGURES = tuple(f"evidence_x{jump:g}" for jump in JUMPS)
FIGURES = ("null_mean", "dispersion", "slow_noise", *EVIDENCE_FIGURES)
#: What a bin may teach: nothing, for it was not observed; what a new level is; how large slow noise is; everything.
_NONE, _COUNT, _NOISE, _ALL = range(4)
#: Keys that are stepped at a time: their temporary arrays stay in the cache.
CHUNK_KEYS = 4096


@dataclass(frozen=True, slots=True)
class _Bin:
    """One bin of a chunk of keys, arrays of shape (K,); `whole` bins are observed and hold all their reports."""

    number: int
    counts: Floats
    observed: Bools
    whole: Bools
    is_open: Bools
    offset_ms: Ints


class NBSR(KeyedDetector):
    """Raises when negative-binomial evidence for a jump over a seasonal baseline reaches the threshold of a budget.

    - *Expected* is level times quarter-hour of the day times hour of the week, of the key's civil time (`Baseline`).
    - The *null* is a mean that the counts may have without an outage: expected, raised by what the baseline may err by,
      by slow noise (`SlowNoise`), at steep edges by the higher of two slots, and in the first two weeks by more.
    - The *score* is mixture Shiryaev-Roberts evidence against the null (`evidence.gather`), in nats. It raises from the
      threshold on, if the last five bins hold a quarter more than the null, and no single bin has brought it about.
    - The *clear score* is a CUSUM of the usual mean against the clear level, while an incident is open.
    - Bins teach when they are 30 minutes old. Those of an incident, of suspicion (half the threshold), of a level far
      too low, or that may lack reports do not; others are cut, so that a burst teaches little.
    - What has taught nothing for a day is the new usual: an open incident is *rebaselined*.
    - More than 15 missing bins in a row end the evidence, and let the level rest on less.
    - A key is learning for two days of observed bins.

    Parameters
    ----------
    bin_ms
        Length of a bin in milliseconds.
    mean_bins_between_false_alarms
        The average run length (ARL) that the budget asks for, in bins of one key; the threshold is 1.2 below its
        logarithm, and at most 60.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    Notes
    -----
    State takes 2.5 kB a key with bins of a minute. What was measured, and how the constants were found:
    docs/detection.md.

    Examples
    --------
    Two days of 3 reports a minute, then two minutes of 30:

    >>> import numpy as np
    >>> from detectors import NBSR
    >>> detector = NBSR(bin_ms=60_000)
    >>> detector.resize(1)
    >>> yes, no, utc = np.array([True]), np.array([False]), np.array([0])
    >>> for minute in range(2882):
    ...     count = np.array([3.0 if minute < 2880 else 30.0])
    ...     verdict = detector.step(minute * 60_000, count, observed=yes, is_open=no, local_offset_s=utc)
    >>> verdict.raised, verdict.score.round(1), verdict.score_threshold.round(1)
    (array([ True]), array([10.2]), array([9.5]))
    """

    name = "nbsr"
    version = 1

    def __init__(self, bin_ms: int, mean_bins_between_false_alarms: float = 43_200.0) -> None:
        require_more_than(0, bin_ms=bin_ms)
        require_more_than(math.e, mean_bins_between_false_alarms=mean_bins_between_false_alarms)
        self._threshold = min(math.log(mean_bins_between_false_alarms) - EASING, MAX_THRESHOLD)
        self._day_bins = max(1, DAY_MS // bin_ms)
        self._hour_bins = max(1, HOUR_MS // bin_ms)
        self._lag_bins = max(1, -(-LAG_MS // bin_ms))
        self._baseline = Baseline(bin_ms)
        self._dispersion = Dispersion(bin_ms)
        self._slow_noise = SlowNoise(bin_ms)
        super().__init__(
            bin_ms,
            {"mean_bins_between_false_alarms": mean_bins_between_false_alarms},
            {
                "level": np.zeros(2, np.float32),
                "day": np.zeros((DAY_QUARTERS, 2), np.float32),
                "week": np.zeros((WEEK_HOURS, 2), np.float32),
                # Counts that wait to be learnt from, and what they may teach; bin b is at b modulo the lag.
                "waiting": np.zeros(self._lag_bins, np.float32),
                "lesson": np.full(self._lag_bins, _NONE, np.uint8),
                "recent_counts": np.zeros(RECENT_BINS, np.float32),
                "recent_null": np.zeros(RECENT_BINS, np.float32),
                "evidence": np.zeros(len(JUMPS), np.float64),
                "spikes": np.zeros(2, np.float32),
                "clear_score": np.float32(0),
                "low_score": np.float32(0),
                "observed_bins": np.int32(0),
                "taught_bins": np.int32(0),
                "last_observed": np.int64(NEVER),
                # Since when the key has taught nothing, and whether an incident was open; as of the last observed bin.
                "held_since": np.int64(NEVER),
                "was_open": np.bool_(False),
                "dispersion": np.zeros(2, np.float32),
                "last_residual": np.full(2, np.nan, np.float32),
                "slow_noise": np.zeros(3, np.float32),
                "hour": np.int64(NEVER),
                "hour_sums": np.zeros(3, np.float32),
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
        number = self._bin_number(bin_start_ms, counts, observed, is_open, local_offset_s, covered, threshold_rise)
        k = self.keys
        whole = observed if covered is None else observed & covered
        rise = np.zeros(k) if threshold_rise is None else threshold_rise
        verdict = Verdict(
            expected=np.empty(k),
            score=np.empty(k),
            score_threshold=np.minimum(self._threshold + rise, MAX_THRESHOLD),
            raised=np.empty(k, np.bool_),
            clear_level=np.empty(k),
            clear_score=np.empty(k),
            clear_threshold=np.full(k, CLEAR_THRESHOLD),
            rebaselined=np.empty(k, np.bool_),
            learning=np.empty(k, np.bool_),
            figures={name: np.empty(k) for name in FIGURES},
        )
        for start in range(0, k, CHUNK_KEYS):
            keys = slice(start, start + CHUNK_KEYS)
            columns = {name: column[keys] for name, column in self._columns.items()}
            bin_ = _Bin(number, counts[keys], observed[keys], whole[keys], is_open[keys], local_offset_s[keys] * 1000)
            self._catch_up(columns, bin_)
            self._judge(columns, bin_, verdict, keys)
        return verdict

    def _judge(self, columns: Columns, bin_: _Bin, verdict: Verdict, keys: slice) -> None:
        """Judge the bin of one chunk of keys, write the verdict on it, and learn."""
        number, observed = bin_.number, bin_.observed
        threshold = verdict.score_threshold[keys]
        mean = self._mean(columns, number, bin_.offset_ms)
        expected = mean.value
        phi = self._dispersion.phi(columns["dispersion"])
        psi = self._slow_noise.psi(columns["slow_noise"])
        err = np.sqrt(GUARD_ERRORS**2 * mean.doubt(phi) + GUARD_SLOW**2 * psi)
        guard = self._early(columns) * np.exp(np.minimum(err, GUARD_MOST))
        null = mean.highest * guard + NULL_PAD
        level = clear_level(null, phi)
        learning = columns["observed_bins"] < LEARNING_DAYS * self._day_bins

        missing_bins = number - columns["last_observed"] - 1
        gap = (columns["last_observed"] != NEVER) & (missing_bins >= GAP_BINS)
        anew = (gap | (observed & columns["was_open"] & ~bin_.is_open))[:, np.newaxis]
        before = Evidence(np.where(anew, 0.0, columns["evidence"]), np.where(anew, 0.0, columns["spikes"]))
        evidence = before.after(bin_.counts, null, phi, threshold).where(observed, before)
        _remember(columns, bin_, null)
        lasting = _total(columns["recent_counts"]) >= RECENT_EXCESS * _total(columns["recent_null"])
        score = evidence.score
        raised = evidence.reaches(threshold) & lasting & ~learning

        end_score = self._end_score(columns, bin_, expected, level, phi)
        low_score = _low_score(np.where(gap, 0.0, columns["low_score"]), bin_.counts, expected / guard, phi)
        suspected = ~learning & ((score > threshold / 2.0) | (low_score > LOW_THRESHOLD))
        condemned = bin_.is_open | (~learning & (score >= threshold))

        for name, value in (
            ("evidence", evidence.by_jump),
            ("spikes", evidence.spikes),
            ("clear_score", end_score),
            ("low_score", low_score),
            ("was_open", bin_.is_open),
        ):
            _write(columns[name], value, observed)
        since = columns["held_since"]
        _write(since, np.full(len(observed), NEVER), gap & observed)
        held = bin_.is_open | suspected
        _write(since, np.where(held, np.where(since == NEVER, number, since), NEVER), observed)
        rebaselined = observed & held & (number - since >= self._day_bins)
        forgetful = np.flatnonzero(gap & observed)
        self._baseline.forget(columns["level"], forgetful, missing_bins[forgetful] / self._day_bins)
        self._learn(columns, np.full(len(observed), number), bin_.offset_ms)
        self._queue(columns, bin_, suspected, condemned)
        self._rebaseline(columns, np.flatnonzero(rebaselined), mean)
        _write(columns["last_observed"], np.full(len(observed), number), observed)
        columns["observed_bins"] += observed
        columns["last_bin"][:] = number

        for field, value in (
            (verdict.expected, np.where(learning, np.nan, expected)),
            (verdict.score, np.where(learning, np.nan, score)),
            (verdict.raised, raised),
            (verdict.clear_level, np.where(learning, np.nan, level)),
            (verdict.clear_score, columns["clear_score"]),
            (verdict.rebaselined, rebaselined & bin_.is_open),
            (verdict.learning, learning),
            (verdict.figures["null_mean"], null),
            (verdict.figures["dispersion"], phi),
            (verdict.figures["slow_noise"], psi),
            *((verdict.figures[name], before.by_jump[:, i]) for i, name in enumerate(EVIDENCE_FIGURES)),
        ):
            field[keys] = value

    def _mean(self, columns: Columns, number: int | Ints, offset_ms: Ints) -> Mean:
        return self._baseline.mean(columns["level"], columns["day"], columns["week"], number * self._bin_ms + offset_ms)

    def _early(self, columns: Columns) -> Floats:
        """Return by what the mean of a young key may be wrong, as a factor, shape (K,)."""
        (first_days, first), (second_days, second) = DOUBTFUL_DAYS
        bins = columns["observed_bins"]
        return np.where(
            bins < first_days * self._day_bins, first, np.where(bins < second_days * self._day_bins, second, 1.0)
        )

    def _end_score(self, columns: Columns, bin_: _Bin, expected: Floats, level: Floats, phi: Floats) -> Floats:
        """Return the evidence that the incident is over, shape (K,); 0 where none is open."""
        scores = np.zeros(len(level))
        opened = np.flatnonzero(bin_.is_open)
        if len(opened):
            before = np.where(columns["was_open"], columns["clear_score"], 0.0)[opened]
            after = gather_end(before, bin_.counts[opened], expected[opened], level[opened], phi[opened])
            scores[opened] = np.where(bin_.whole[opened], after, before)
        return scores

    def _queue(self, columns: Columns, bin_: _Bin, suspected: Bools, condemned: Bools) -> None:
        """Let the bin wait until it is old enough to be learnt from."""
        place = bin_.number % self._lag_bins
        lesson = np.where(suspected, _NOISE, _ALL)
        lesson = np.where(bin_.whole & ~condemned, lesson, _COUNT)
        columns["waiting"][:, place] = np.where(bin_.observed, bin_.counts, 0.0)
        columns["lesson"][:, place] = np.where(bin_.observed, lesson, _NONE)

    def _learn(self, columns: Columns, numbers: Ints, offset_ms: Ints) -> None:
        """Learn from the bins that make room for those of these numbers, shape (K,)."""
        keys, place, bins = np.arange(len(numbers)), numbers % self._lag_bins, numbers - self._lag_bins
        lesson = np.where(columns["was_open"], _NONE, columns["lesson"][keys, place])
        waiting = columns["waiting"][keys, place].astype(np.float64)
        columns["lesson"][keys, place] = _NONE
        columns["waiting"][keys, place] = 0.0
        usable = lesson >= _NOISE
        if not usable.any():
            columns["last_residual"][:] = np.nan
            return
        mean = self._mean(columns, bins, offset_ms)
        phi = self._dispersion.phi(columns["dispersion"])
        psi = self._slow_noise.psi(columns["slow_noise"])
        shaped = self._baseline.has_shape(columns["taught_bins"])
        expected = np.where(shaped, mean.value, mean.level)
        top = expected * np.where(shaped, self._early(columns), FIRST_DAY_CUT)
        cut = top + 3.0 * np.sqrt(phi * top + psi * top * top) + 4.0 * phi
        settled = columns["taught_bins"] >= self._hour_bins
        counts = np.minimum(waiting, np.where(settled, cut, np.inf))

        taught = usable & (lesson == _ALL)
        self._dispersion.teach(columns["dispersion"], columns["last_residual"], counts, expected, taught & shaped)
        hour = columns["hour"], columns["hour_sums"]
        self._slow_noise.teach(
            columns["slow_noise"], *hour, bins, counts, expected, phi, mean.doubt(phi), usable & shaped
        )
        pupils = np.flatnonzero(taught & (columns["held_since"] == NEVER))
        self._baseline.teach(
            columns["level"], columns["day"], columns["week"], pupils, mean, counts, columns["taught_bins"]
        )
        columns["taught_bins"][pupils] += 1

    def _rebaseline(self, columns: Columns, keys: Ints, mean: Mean) -> None:
        """Take what has lasted for a day for the usual level of some keys."""
        if not len(keys):
            return
        seen = columns["lesson"][keys] != _NONE
        reports = _total(np.where(seen, columns["waiting"][keys], np.float32(0)))
        bins = np.maximum(_total(seen), 1.0)
        self._baseline.take_over(columns["level"], keys, mean, reports / bins, REBASELINED_BINS)
        for name in ("evidence", "spikes", "low_score"):
            columns[name][keys] = 0
        columns["held_since"][keys] = NEVER

    def _catch_up(self, columns: Columns, bin_: _Bin) -> None:
        """Learn what bins that were skipped would have: those that waited became old enough meanwhile."""
        last = columns["last_bin"]
        late = np.flatnonzero((last != NEVER) & (last < bin_.number - 1))
        if not len(late):
            return
        own = {name: column[late] for name, column in columns.items()}
        for step in range(1, self._lag_bins + 1):
            due = np.flatnonzero(own["last_bin"] + step < bin_.number)
            if not len(due):
                break
            pupils = {name: column[due] for name, column in own.items()}
            self._learn(pupils, pupils["last_bin"] + step, bin_.offset_ms[late[due]])
            for name, column in own.items():
                column[due] = pupils[name]
        for name, column in columns.items():
            column[late] = own[name]


def _remember(columns: Columns, bin_: _Bin, null: Floats) -> None:
    """Enter the bin, and nothing for those skipped, into the last five."""
    for skipped in range(bin_.number - RECENT_BINS + 1, bin_.number):
        missed = columns["last_bin"] < skipped
        for name in ("recent_counts", "recent_null"):
            columns[name][missed, skipped % RECENT_BINS] = 0.0
    place = bin_.number % RECENT_BINS
    columns["recent_counts"][:, place] = np.where(bin_.observed, bin_.counts, 0.0)
    columns["recent_null"][:, place] = np.where(bin_.observed, null, 0.0)


def _low_score(before: Floats, counts: Floats, least: Floats, phi: Floats) -> Floats:
    """Return a CUSUM of a fifth of the least mean against that mean, shape (K,)."""
    size = (least + NULL_PAD) / (phi - 1.0)
    return np.clip(before + log_likelihood_ratio(counts, size, LOW_JUMP * size, np.log(phi)), 0.0, LOW_CAP)


def _total(columns: NDArray[Any]) -> Floats:
    """Return the sum of each row, in the order of the columns whatever the number of rows."""
    total = columns[:, 0].astype(np.float64)
    for i in range(1, columns.shape[1]):
        total += columns[:, i]
    return total


def _write(column: NDArray[Any], value: NDArray[Any], where: Bools) -> None:
    mask = where if column.ndim == 1 else where[:, np.newaxis]
    np.copyto(column, value, where=mask, casting="same_kind")
