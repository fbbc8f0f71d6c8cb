"""What detectors do alike: hold state per key, snapshot it, check what they are given, ask for persistence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from detectors.base import Keys, SnapshotError

#: A bin is one of the last five; an excess must be seen in three of them, so that one burst raises nothing.
RECENT_BINS = 5
NEEDED_BINS = 3
#: What detectors that ask for persistence add to a fresh key's state: the scores of the last five bins.
RECENT_SCORES: Mapping[str, NDArray[np.float64]] = {"recent": np.zeros(RECENT_BINS)}
#: The `last_bin` of a key that has not been stepped.
NEVER = np.iinfo(np.int64).min
#: Up to here a float64 holds every integer count exactly.
MAX_COUNT = 2.0**53


def require_more_than(bound: float, **parameters: float) -> None:
    """Raise a ValueError that names the first of the parameters that is not finite and more than `bound`."""
    for name, value in parameters.items():
        if not bound < value < math.inf:
            raise ValueError(f"{name} is {value}: must be finite and more than {bound}")


class KeyedDetector:
    """The keys of a detector: columns of state with one row per key.

    A snapshot is a line that names detector, version and parameters, then one row per key: its columns one after
    the other, little-endian, in exactly the types that they are held in.

    Parameters
    ----------
    bin_ms
        Length of a bin in milliseconds, positive.
    parameters
        The detector's own parameters; a snapshot with others is refused.
    fresh
        The state of a key that has not been stepped: name of a column to its value, a scalar or an array.
        The column `last_bin` is added to it.
    """

    name: str
    version: int

    def __init__(
        self, bin_ms: int, parameters: Mapping[str, float], fresh: Mapping[str, NDArray[Any] | np.generic]
    ) -> None:
        settings = "".join(f" {name}={float(value)!r}" for name, value in parameters.items())
        self._bin_ms = bin_ms
        self._header = f"{self.name} version {self.version} bin_ms={bin_ms}{settings}".encode()
        self._fresh: dict[str, NDArray[Any] | np.generic] = {
            "last_bin": np.int64(NEVER),
            **fresh,
        }
        self._row = np.dtype(
            [(name, value.dtype.newbyteorder("<"), value.shape) for name, value in self._fresh.items()]
        )
        self._keys = 0
        self._storage = {name: np.empty((0, *value.shape), value.dtype) for name, value in self._fresh.items()}
        #: The columns: views of the first K rows of the storage.
        self._columns = dict(self._storage)

    @property
    def keys(self) -> int:
        """How many keys the detector holds, K."""
        return self._keys

    def resize(self, k: int) -> None:
        """Hold `k` keys: add fresh ones at the end, or drop the last ones."""
        if k < 0:
            raise ValueError(f"cannot hold {k} keys")
        capacity = len(self._storage["last_bin"])
        kept = min(k, self._keys)
        for name, value in self._fresh.items():
            if k > capacity or k < capacity // 4:
                # Room to spare when growing, so that K births copy each row about once and not K times.
                storage = np.empty((max(k, 3 * self._keys // 2) if k > capacity else k, *value.shape), value.dtype)
                storage[:kept] = self._columns[name][:kept]
                self._storage[name] = storage
            self._columns[name] = self._storage[name][:k]
            self._columns[name][kept:] = value
        self._keys = k

    def snapshot(self, keys: Keys) -> bytes:
        """Return the state of some keys, in the order given."""
        rows = np.empty(len(self._columns["last_bin"][keys]), self._row)
        for name, column in self._columns.items():
            rows[name] = column[keys]
        return self._header + b"\n" + rows.tobytes()

    def restore(self, keys: Keys, state: bytes) -> None:
        """Overwrite the state of some keys with a snapshot of as many; `snapshot` of them is then `state`.

        Raises
        ------
        SnapshotError
            If `state` was not written by this version of this detector with these parameters, or not for as many keys.
        """
        header, _, body = state.partition(b"\n")
        if header != self._header:
            raise SnapshotError(f"the snapshot is of {header[:200]!r}, this detector is {self._header!r}")
        k = len(self._columns["last_bin"][keys])
        if len(body) != k * self._row.itemsize:
            raise SnapshotError(f"the snapshot holds {len(body)} bytes, {k} keys take {k * self._row.itemsize}")
        rows = np.frombuffer(body, self._row)
        for name, column in self._columns.items():
            column[keys] = rows[name]

    def _bin_number(
        self,
        bin_start_ms: int,
        counts: NDArray[np.float64],
        observed: NDArray[np.bool_],
        is_open: NDArray[np.bool_],
        local_offset_s: NDArray[np.int64],
        covered: NDArray[np.bool_] | None = None,
        threshold_rise: NDArray[np.float64] | None = None,
    ) -> int:
        """Return the number of the bin that starts at `bin_start_ms`, after checking every argument of a step."""
        bin_number, remainder = divmod(bin_start_ms, self._bin_ms)
        if remainder:
            raise ValueError(f"bin_start_ms is {bin_start_ms}: not a multiple of bin_ms, {self._bin_ms}")
        given: dict[str, tuple[NDArray[Any], type[np.generic]]] = {
            "counts": (counts, np.float64),
            "observed": (observed, np.bool_),
            "is_open": (is_open, np.bool_),
            "local_offset_s": (local_offset_s, np.int64),
        }
        if covered is not None:
            given["covered"] = (covered, np.bool_)
        if threshold_rise is not None:
            given["threshold_rise"] = (threshold_rise, np.float64)
        for name, (array, kind) in given.items():
            if array.dtype != kind or array.shape != (self._keys,):
                raise ValueError(
                    f"{name} has type {array.dtype} and shape {array.shape}: must be {kind.__name__} of ({self._keys},)"
                )
        possible = (counts >= 0) & (counts <= MAX_COUNT)
        if not possible.all():
            key = int(np.argmin(possible))
            raise ValueError(f"counts[{key}] is {counts[key]}: must be between 0 and 2**53")
        if threshold_rise is not None:
            possible = (threshold_rise >= 0) & (threshold_rise < np.inf)
            if not possible.all():
                key = int(np.argmin(possible))
                raise ValueError(f"threshold_rise[{key}] is {threshold_rise[key]}: must be finite and not negative")
        early = self._columns["last_bin"] >= bin_number
        if early.any():
            key = int(np.argmax(early))
            last_ms = int(self._columns["last_bin"][key]) * self._bin_ms
            raise ValueError(f"bin_start_ms is {bin_start_ms}: key {key} has been stepped up to {last_ms} already")
        return bin_number

    def _persistent(self, bin_number: int, scores: NDArray[np.float64]) -> NDArray[np.float64]:
        """Enter the scores of a bin, 0 where it was not observed; return the third largest of the last five bins.

        It reaches a threshold exactly where three of the last five bins do. Bins that were skipped score 0: they age
        the evidence, but do not wipe it out.
        """
        recent, last_bin = self._columns["recent"], self._columns["last_bin"]
        for skipped in range(bin_number - RECENT_BINS + 1, bin_number):
            recent[last_bin < skipped, skipped % RECENT_BINS] = 0.0
        recent[:, bin_number % RECENT_BINS] = scores
        last_bin[:] = bin_number
        rank = RECENT_BINS - NEEDED_BINS
        third: NDArray[np.float64] = np.partition(recent, rank, axis=1)[:, rank]
        return third
