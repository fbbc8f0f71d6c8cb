"""What every detector promises: the `Detector` protocol, and the `Verdict` that a step returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

#: Which keys of a detector: a slice, or their indices.
Keys: TypeAlias = slice | NDArray[np.int64]


class SnapshotError(ValueError):
    """A snapshot is of another detector, version, set of parameters or number of keys."""


@dataclass(frozen=True, slots=True, eq=False)
class Verdict:
    """What a detector says of one bin: arrays of length K, one element per key.

    Parameters
    ----------
    expected
        Reports per bin that the baseline expects; NaN where there is no baseline (yet).
    score
        Evidence for an outage, in the detector's own unit; NaN where it is still learning.
    score_threshold
        The score at which the detector raises, in the same unit.
    raised
        Whether the detector holds that an outage is going on. Without an observed bin the evidence so far decides.
    clear_level
        Reports per bin below which the detector holds that an outage is over; NaN where it has no opinion.
    clear_score
        Evidence that an outage is over; 0 where nothing speaks for it, NaN where the detector weighs none and
        `clear_level` alone tells.
    clear_threshold
        The clear score from which the detector holds that an outage is over; NaN where it weighs no such evidence.
    rebaselined
        Whether the detector has just taken the level of a long incident for the usual one: the incident is to end.
    learning
        Whether the key has too little history to be judged; such a key is never raised.
    figures
        What else it takes to recompute the score, each an array of length K under its name.
    """

    expected: NDArray[np.float64]
    score: NDArray[np.float64]
    score_threshold: NDArray[np.float64]
    raised: NDArray[np.bool_]
    clear_level: NDArray[np.float64]
    clear_score: NDArray[np.float64]
    clear_threshold: NDArray[np.float64]
    rebaselined: NDArray[np.bool_]
    learning: NDArray[np.bool_]
    figures: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)


class Detector(Protocol):
    """Judges K independent series of counts, its keys, one bin at a time.

    A key's verdicts and state are a function of its own bins alone: the same bytes whatever other keys the detector
    holds, and in whatever order. A new detector has no keys.
    """

    name: str
    #: Rises whenever the same bins would lead to another state or verdict; a snapshot of another version is refused.
    version: int

    @property
    def keys(self) -> int:
        """How many keys the detector holds, K."""
        ...

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
        """Judge one bin of every key, then learn from it.

        Bins that were skipped since a key's last step count as not observed.

        Parameters
        ----------
        bin_start_ms
            Start of the bin, milliseconds since the Unix epoch, a multiple of the bin's length.
        counts
            Reports in the bin, shape (K,); ignored where the bin was not observed.
        observed
            Whether the bin was observed, shape (K,). Missing is not zero: such a bin neither teaches nor is in excess.
        is_open
            Whether an incident is open, shape (K,). Such a bin is judged but does not teach.
        local_offset_s
            Seconds that the key's civil time is ahead of UTC, shape (K,).
        covered
            Whether the bin is known to hold all its reports, shape (K,); without it, every observed one is. Another
            one may raise, but it neither teaches nor speaks for the end of an outage.
        threshold_rise
            What a raise takes on top of the detector's own threshold, in the unit of the score, not negative, shape
            (K,); without it, nothing. A detector whose threshold does not follow from a budget ignores it.

        Raises
        ------
        ValueError
            If the bin is not aligned or not later than every key's last one, or an array has another type or length,
            or a count is negative, not a number or above 2**53. Nothing has been judged or learnt then.
        """
        ...

    def resize(self, k: int) -> None:
        """Hold `k` keys: add fresh ones at the end, or drop the last ones."""
        ...

    def snapshot(self, keys: Keys) -> bytes:
        """Return the state of some keys, in the order given."""
        ...

    def restore(self, keys: Keys, state: bytes) -> None:
        """Overwrite the state of some keys with a snapshot of as many; `snapshot` of them is then `state`.

        Raises
        ------
        SnapshotError
            If `state` was not written by this version of this detector with these parameters, or not for as many keys.
        """
        ...
