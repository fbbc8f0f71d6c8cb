"""The last hour of every key, bin by bin: what the levels of quarters and the series of outages are made of.

Held in columns that go round: bin b is in column b modulo their number. So what is held does not grow with an outage,
and the same bins give the same bytes, wherever a restart begins.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.events import MINUTE_MS, LevelState, QuarterLevel, figure

_HOUR_MS = 60 * MINUTE_MS
#: In snapshots a state is its place here.
STATES: Final[tuple[LevelState, ...]] = ("learning", "normal", "open", "held", "unobserved", "sensor-lost")
#: The gravest first; what hides incidents is graver than that none is known.
GRAVITY: Final[tuple[LevelState, ...]] = ("open", "held", "sensor-lost", "unobserved", "normal", "learning")
_RANKS = np.array([GRAVITY.index(state) for state in STATES])
#: Of a bin that was not judged, or before the key was known.
_ABSENT = -1


class Recent:
    """Counts, windows, what was expected and states of the last bins: an hour of them, and one more.

    Parameters
    ----------
    bin_ms
        Length of a bin in milliseconds; at most an hour.
    """

    def __init__(self, bin_ms: int) -> None:
        self.bin_ms = bin_ms
        self.bins = _HOUR_MS // bin_ms + 1
        self._counts = np.zeros((0, self.bins), np.int64)
        self._windows = np.zeros((0, self.bins), np.int64)
        #: To four significant digits, as they are published: single precision tells those apart. NaN: not known.
        self._expected = np.zeros((0, self.bins), np.float32)
        self._states = np.zeros((0, self.bins), np.int8)

    @property
    def before_ms(self) -> int:
        """How long before a bin the first one that is still held begins, in milliseconds."""
        return (self.bins - 1) * self.bin_ms

    def add(self, keys: int) -> None:
        """Add keys at the end, of which nothing is known yet."""
        more = (keys, self.bins)
        self._counts = np.concatenate((self._counts, np.zeros(more, np.int64)))
        self._windows = np.concatenate((self._windows, np.zeros(more, np.int64)))
        self._expected = np.concatenate((self._expected, np.full(more, np.nan, np.float32)))
        self._states = np.concatenate((self._states, np.full(more, _ABSENT, np.int8)))

    def drop(self, row: int) -> None:
        """Remove a key; the last one takes its row."""
        for column in self._columns:
            column[row] = column[-1]
        self._counts, self._windows = self._counts[:-1], self._windows[:-1]
        self._expected, self._states = self._expected[:-1], self._states[:-1]

    def skip(self, numbers: Sequence[int]) -> None:
        """Note that bins of these numbers are not judged."""
        self._states[:, [number % self.bins for number in numbers[-self.bins :]]] = _ABSENT

    def record(
        self,
        bin_ms: int,
        counts: NDArray[np.int64],
        windows: NDArray[np.int64],
        expected: Sequence[float | None],
        states: Sequence[LevelState | None],
    ) -> None:
        """Take in a judged bin; all arguments are by row, and a state of None leaves a key out."""
        column = bin_ms // self.bin_ms % self.bins
        self._counts[:, column] = counts
        self._windows[:, column] = windows
        self._expected[:, column] = [np.nan if each is None else each for each in expected]
        self._states[:, column] = [_ABSENT if each is None else STATES.index(each) for each in states]

    def snapshot(self, rows: NDArray[np.int64]) -> bytes:
        """Return what is held of some keys: counts and windows as int64, expected as float32, states as int8.

        Of each of the four, first all lowest bytes, then all second ones, and so on: the high ones are mostly nought,
        and compress to nothing.
        """
        return b"".join(
            column[rows].astype(column.dtype.newbyteorder("<")).view(np.uint8).reshape(-1, column.itemsize).T.tobytes()
            for column in self._columns
        )

    def restore(self, rows: NDArray[np.int64], state: bytes) -> None:
        """Take over what `snapshot` gave for as many keys; nothing is known where a snapshot has none of it."""
        at = 0
        for column in self._columns if state else ():
            end = at + len(rows) * self.bins * column.itemsize
            held = np.frombuffer(state[at:end], np.uint8).reshape(column.itemsize, -1).T.tobytes()
            column[rows] = np.frombuffer(held, column.dtype.newbyteorder("<")).reshape(len(rows), self.bins)
            at = end

    def quarter(self, start_ms: int, last_ms: int) -> Quarter:
        """Return what the bins of a quarter come to.

        Parameters
        ----------
        start_ms
            Start of the quarter.
        last_ms
            Start of the last judged bin, which is in it.
        """
        made = Quarter(len(self._states))
        # bin by bin, so that sums do not depend on which keys are added up together
        first_ms = -(-start_ms // self.bin_ms) * self.bin_ms
        for bin_ms in range(first_ms, last_ms + 1, self.bin_ms):
            at = bin_ms // self.bin_ms % self.bins
            made.add(self._counts[:, at], self._windows[:, at], self._expected[:, at], self._states[:, at])
        return made

    def piece(self, row: int, first_ms: int, end_ms: int, last_ms: int) -> Bins | None:
        """Return what is held of a key from `first_ms` to `end_ms`, or None if that is nothing.

        Parameters
        ----------
        row
            The row of the key.
        first_ms, end_ms
            Start of the first bin and end of the last one; at most as many bins as are held.
        last_ms
            Start of the last judged bin.
        """
        held_ms = range(last_ms - self.before_ms, last_ms + 1)
        made = Bins()
        for bin_ms in range(first_ms, end_ms, self.bin_ms):
            column = bin_ms // self.bin_ms % self.bins
            if bin_ms not in held_ms or self._states[row, column] == _ABSENT:
                made.add(None, None, None, None)
            else:
                made.add(
                    int(self._counts[row, column]),
                    int(self._windows[row, column]),
                    figure(float(self._expected[row, column])),
                    STATES[self._states[row, column]],
                )
        return made if any(each is not None for each in made.count) else None

    @property
    def _columns(self) -> list[NDArray[Any]]:
        return [self._counts, self._windows, self._expected, self._states]


class Quarter:
    """What some bins come to, for all keys.

    Parameters
    ----------
    keys
        How many keys there are.
    """

    def __init__(self, keys: int) -> None:
        self._counts, self._windows, self._peaks, self._bins = (np.zeros(keys, np.int64) for _ in range(4))
        self._expected = np.zeros(keys)
        self._ranks = np.full(keys, len(GRAVITY))

    def add(
        self,
        counts: NDArray[np.int64],
        windows: NDArray[np.int64],
        expected: NDArray[np.float32],
        states: NDArray[np.int8],
    ) -> None:
        """Take in the next bin."""
        known = states != _ABSENT
        self._counts += np.where(known, counts, 0)
        self._windows = np.where(known, windows, self._windows)
        self._peaks = np.where(known, np.maximum(self._peaks, windows), self._peaks)
        self._expected += np.where(known, expected, np.float32(0))
        self._ranks = np.where(known, np.minimum(self._ranks, _RANKS[states]), self._ranks)
        self._bins += known

    def level(self, region: str, row: int) -> QuarterLevel | None:
        """Return what a key has come to, None if none of its bins was judged."""
        if not self._bins[row]:
            return None
        return QuarterLevel(
            region=region,
            bins=int(self._bins[row]),
            count=int(self._counts[row]),
            window=int(self._windows[row]),
            peak=int(self._peaks[row]),
            expected=figure(float(self._expected[row])),
            state=GRAVITY[self._ranks[row]],
        )


class Bins(msgspec.Struct):
    """Some bins of one key, in order."""

    count: list[int | None] = []
    window: list[int | None] = []
    expected: list[float | None] = []
    state: list[LevelState | None] = []

    def add(self, count: int | None, window: int | None, expected: float | None, state: LevelState | None) -> None:
        """Add a bin, or with None that it was not judged."""
        self.count.append(count)
        self.window.append(window)
        self.expected.append(expected)
        self.state.append(state)
