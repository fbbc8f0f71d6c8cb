"""The detectors that the conformance suite is run on, and how it steps them. A new detector is one more `Case`."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from detectors import NBSR, Detector, Ears, Limit, Ratio, Verdict

MINUTE_MS, HOUR_MS = 60_000, 3_600_000


@dataclasses.dataclass(frozen=True)
class Case:
    """A detector, and the levels (reports per bin) that it must judge as said."""

    id: str
    bin_ms: int
    make: Callable[[], Detector]
    #: The same detector with other parameters.
    make_other: Callable[[], Detector]
    #: How many observed bins it learns from before it judges.
    learning_bins: int
    #: The highest constant level that it must hold to be normal.
    highest_normal: float = 1e7


CASES = [
    Case("nbsr", MINUTE_MS, lambda: NBSR(MINUTE_MS), lambda: NBSR(MINUTE_MS, 10_000), 2880),
    Case("nbsr, 5 min", 5 * MINUTE_MS, lambda: NBSR(5 * MINUTE_MS), lambda: NBSR(MINUTE_MS), 576),
    Case("nbsr, 1 h", HOUR_MS, lambda: NBSR(HOUR_MS), lambda: NBSR(HOUR_MS, 10_000), 48),
    Case("limit", MINUTE_MS, lambda: Limit(MINUTE_MS, 100), lambda: Limit(MINUTE_MS, 99), 0, highest_normal=100),
    Case("ratio", MINUTE_MS, lambda: Ratio(MINUTE_MS), lambda: Ratio(MINUTE_MS, above=4), 1440),
    Case("ratio, 5 min", 5 * MINUTE_MS, lambda: Ratio(5 * MINUTE_MS), lambda: Ratio(MINUTE_MS), 288),
    Case("ratio, 1 h", HOUR_MS, lambda: Ratio(HOUR_MS), lambda: Ratio(HOUR_MS, min_excess=4), 24),
    # A day of blocks, and two that are held back.
    Case("ears", MINUTE_MS, lambda: Ears(MINUTE_MS), lambda: Ears(MINUTE_MS, above=4), 1440 + 30),
    Case("ears, 5 min", 5 * MINUTE_MS, lambda: Ears(5 * MINUTE_MS), lambda: Ears(MINUTE_MS), 288 + 6),
]
every_detector = pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
NORMAL = 10.0
OUTAGE = 20 * NORMAL


def step(
    case: Case,
    detector: Detector,
    number: int,
    counts: Sequence[float],
    observed: Sequence[bool] | bool = True,
    is_open: Sequence[bool] | bool = False,
    *,
    covered: Sequence[bool] | bool | None = None,
    threshold_rise: Sequence[float] | float | None = None,
) -> Verdict:
    """Step bin `number`; a single flag or figure goes for every key."""
    k = detector.keys
    return detector.step(
        number * case.bin_ms,
        np.array(counts, np.float64),
        np.array(np.broadcast_to(observed, k)),
        np.array(np.broadcast_to(is_open, k)),
        np.zeros(k, np.int64),
        covered=None if covered is None else np.array(np.broadcast_to(covered, k)),
        threshold_rise=None if threshold_rise is None else np.full(k, threshold_rise, np.float64),
    )


@cache
def _learnt(case: Case, k: int, level: float) -> Detector:
    detector = case.make()
    detector.resize(k)
    for number in range(case.learning_bins):
        step(case, detector, number, [level] * k)
    return detector


def learnt(case: Case, k: int = 1, level: float = NORMAL) -> Detector:
    """Return a detector that has just finished learning a constant level; its next bin is `case.learning_bins`."""
    return copy.deepcopy(_learnt(case, k, level))


def raises(case: Case, detector: Detector, counts: Sequence[float]) -> list[bool]:
    """Step a detector of one key that has learnt; return in which bins it raised."""
    return [bool(step(case, detector, case.learning_bins + i, [count]).raised[0]) for i, count in enumerate(counts)]


def everything(detector: Detector) -> bytes:
    return detector.snapshot(slice(0, detector.keys))


def arrays(verdict: Verdict) -> dict[str, NDArray[Any]]:
    """Return every array of a verdict by name, its further figures included."""
    own = {field.name: getattr(verdict, field.name) for field in dataclasses.fields(verdict)}
    figures = own.pop("figures")
    return own | {f"figures.{name}": array for name, array in figures.items()}


def contents(verdict: Verdict, keys: slice | list[int] = slice(None)) -> dict[str, bytes]:
    return {name: array[keys].tobytes() for name, array in arrays(verdict).items()}
