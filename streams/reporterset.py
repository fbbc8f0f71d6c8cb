"""A set of reporters that takes a whole column at once: 64-bit hashes in an open-addressing table of numpy arrays."""

from __future__ import annotations

import secrets

import numpy as np
from numpy.typing import NDArray

_FIRST_SLOTS = 1 << 10
_NOBODY = np.iinfo(np.int32).max


class ReporterSet:
    """A set of non-zero 64-bit integers; 24 to 48 bytes for each."""

    def __init__(self) -> None:
        # Secret, so that nobody can choose reporters who collide; what is in the set does not depend on it.
        self._factor = np.uint64(secrets.randbits(64) | 1)
        self._size = 0
        self._clear(_FIRST_SLOTS)

    def __len__(self) -> int:
        return self._size

    def add(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Add hashes, and say which are new.

        Parameters
        ----------
        hashes : uint64, shape (n,)
            None is zero.

        Returns
        -------
        bool, shape (n,)
            True for a hash that was not in the set, where it occurs first.
        """
        if 2 * (self._size + len(hashes)) > len(self._slots):
            known = self._slots[self._slots != 0]
            self._clear(1 << (2 * (self._size + len(hashes))).bit_length())
            self._insert(known)
        is_new = self._insert(hashes)
        self._size += int(np.count_nonzero(is_new))
        return is_new

    def _clear(self, slots: int) -> None:
        self._slots = np.zeros(slots, np.uint64)
        #: The row of the column that took the slot.
        self._taker = np.full(slots, _NOBODY, np.int32)
        self._shift = np.uint64(64 - (slots.bit_length() - 1))

    def _insert(self, hashes: NDArray[np.uint64]) -> NDArray[np.bool_]:
        """Put every hash into the first slot that is free or has it already, all rows a step at a time."""
        is_new = np.zeros(len(hashes), np.bool_)
        rows = np.arange(len(hashes), dtype=np.int32)
        at = ((hashes * self._factor) >> self._shift).astype(np.int64)
        while len(rows):
            is_free = self._slots[at] == 0
            rows_free, at_free = rows[is_free], at[is_free]
            np.minimum.at(self._taker, at_free, rows_free)  # of several rows the first takes the slot
            takes = self._taker[at_free] == rows_free
            self._slots[at_free[takes]] = hashes[rows_free[takes]]
            is_new[rows_free[takes]] = True
            goes_on = self._slots[at] != hashes[rows]
            rows, at = rows[goes_on], (at[goes_on] + 1) % len(self._slots)
        return is_new
