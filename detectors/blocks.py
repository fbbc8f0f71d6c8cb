"""The last seven days of each key, as means of blocks of 15 minutes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

BLOCK_MS = 900_000
DAY_MS = 86_400_000
WEEK_MS = 7 * DAY_MS
#: How many keys end a block at a time: bounds the memory that their weeks take (11 MB).
CHUNK_KEYS = 4096

Columns = Mapping[str, NDArray[Any]]


class Blocks:
    """Reads and teaches the columns that hold the blocks of a week.

    A block is the mean reports per observed bin; blocks are of one bin where bins are longer than 15 minutes. One with
    fewer than half of its bins observed is missing. One with a bin that must not teach leaves in place the block of the
    week before.

    Parameters
    ----------
    bin_ms
        Length of a bin in milliseconds, positive.
    guard
        How many of the last blocks are held back, beyond the week.
    """

    def __init__(self, bin_ms: int, guard: int = 0) -> None:
        #: Length of a block in bins, and of a day in blocks.
        self.block_bins = max(1, BLOCK_MS // bin_ms)
        block_ms = self.block_bins * bin_ms
        self.day_blocks = math.ceil(DAY_MS / block_ms)
        self._held_blocks = math.ceil(WEEK_MS / block_ms) + guard
        self._guard = guard

    def current(self) -> dict[str, np.generic]:
        """Return the columns of the block of the last bin, as they are before any bin."""
        return {
            # Bins observed so far, their reports, and whether one of them must not teach.
            "block_bins": np.int32(0),
            "block_reports": np.float64(0),
            "block_excluded": np.bool_(False),
        }

    def week(self) -> dict[str, NDArray[np.float32]]:
        """Return the column of the blocks before; block b is at b modulo the length, NaN is missing."""
        return {"week": np.full(self._held_blocks, np.nan, np.float32)}

    def end(self, columns: Columns, bin_number: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """End the blocks that are over at a bin; yield keys and their blocks, (keys, blocks), free to be changed."""
        block = bin_number // self.block_bins
        ended = np.flatnonzero(columns["last_bin"] < block * self.block_bins)
        for start in range(0, len(ended), CHUNK_KEYS):
            keys = ended[start : start + CHUNK_KEYS]
            week = self._entered(columns, keys, block)
            columns["week"][keys] = week
            columns["block_bins"][keys] = 0
            columns["block_reports"][keys] = 0.0
            columns["block_excluded"][keys] = False
            for number in range(block - self._guard, block):
                week[:, number % self._held_blocks] = np.nan
            yield keys, week

    def take(
        self, columns: Columns, counts: NDArray[np.float64], observed: NDArray[np.bool_], teaches: NDArray[np.bool_]
    ) -> None:
        """Take the counts of a bin into the present block."""
        columns["block_bins"][:] += observed
        columns["block_reports"][:] += np.where(observed, counts, 0.0)
        columns["block_excluded"][:] |= ~teaches

    def _entered(self, columns: Columns, keys: NDArray[np.int64], block: int) -> NDArray[np.float32]:
        """Return the weeks of `keys` with the blocks that they were last in, all before `block`."""
        last_block = columns["last_bin"][keys] // self.block_bins
        bins = columns["block_bins"][keys]
        mean = np.where(2 * bins >= self.block_bins, columns["block_reports"][keys] / np.maximum(bins, 1), np.nan)
        teaches = ~columns["block_excluded"][keys]
        week: NDArray[np.float32] = columns["week"][keys]
        week[teaches, (last_block % self._held_blocks)[teaches]] = mean[teaches]

        # Which of the blocks before `block` each place of a week is for; those after a key's last one were skipped.
        place = np.arange(self._held_blocks)
        held = block - 1 - (block - 1 - place) % self._held_blocks
        skipped = np.flatnonzero(last_block < block - 1)
        week[skipped] = np.where(held > last_block[skipped, np.newaxis], np.float32(np.nan), week[skipped])
        return week
