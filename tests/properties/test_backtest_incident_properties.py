"""The incidents of a backtest of many keys open and close in the bins in which the workers' state machine would."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from detectors import Verdict
from detectors.backtest import Incidents
from streams.incidents import Machine, Observation
from streams.policy import Limits

WINDOW_BINS = 4
CLEAR_THRESHOLD = 5.0
NO_LIMITS = Limits(enabled=True, raise_above=None, clear_below=None, min_open_bins=3, clear_windows=2)


class Seen(NamedTuple):
    """Of one bin of one key: its count, and the verdict; NaN as the clear score where the detector weighs none."""

    reports: int
    raised: bool
    clear_level: float
    clear_score: float
    rebaselined: bool


bins = st.builds(
    Seen,
    st.integers(0, 6),
    st.booleans(),
    st.sampled_from([0.0, 1.0, 2.0, 3.5]),
    st.sampled_from([0.0, 4.0, CLEAR_THRESHOLD, 6.0]),
    st.sampled_from([False] * 9 + [True]),
)


def verdict(row: list[Seen]) -> Verdict:
    nan = np.full(len(row), np.nan)
    return Verdict(
        expected=nan,
        score=nan,
        score_threshold=nan,
        raised=np.array([each.raised for each in row]),
        clear_level=np.array([each.clear_level for each in row]),
        clear_score=np.array([each.clear_score for each in row]),
        clear_threshold=np.full(len(row), CLEAR_THRESHOLD),
        rebaselined=np.array([each.rebaselined for each in row]),
        learning=np.zeros(len(row), np.bool_),
    )


def of_machine(column: list[Seen]) -> list[tuple[bool, bool]]:
    """Return for each bin of a key whether an incident opened and whether one closed."""
    machine, windows, found = Machine(), [0] * WINDOW_BINS, []
    for number, seen in enumerate(column):
        windows = [*windows[1:], seen.reports]
        observation = Observation(
            bin_ms=number * 60_000,
            bin_end_ms=(number + 1) * 60_000,
            count=seen.reports,
            window=sum(windows),
            kinds={},
            raised=seen.raised,
            expected=np.nan,
            score=np.nan,
            score_threshold=np.nan,
            clear_level=seen.clear_level,
            clear_score=seen.clear_score,
            clear_threshold=CLEAR_THRESHOLD,
            rebaselined=seen.rebaselined,
            detector="any",
            whole_bins=WINDOW_BINS,
            silent=False,
        )
        told = [each.transition for each in machine.step(observation, NO_LIMITS, "x", "US", WINDOW_BINS)]
        found.append(("opened" in told, bool({"cleared", "unknown"} & set(told))))
    return found


@given(
    st.booleans(),
    st.integers(1, 3).flatmap(lambda k: st.lists(st.lists(bins, min_size=k, max_size=k), min_size=1, max_size=60)),
)
def test_incidents_open_and_close_as_the_workers_do(by_level: bool, rows: list[list[Seen]]) -> None:
    if by_level:
        rows = [[each._replace(clear_score=math.nan) for each in row] for row in rows]
    incidents = Incidents(len(rows[0]), WINDOW_BINS)
    observed = np.ones(len(rows[0]), np.bool_)
    found = [
        incidents.step(verdict(row), np.array([each.reports for each in row], np.float64), observed) for row in rows
    ]
    for key in range(len(rows[0])):
        own = [(bool(opened[key]), bool(closed[key])) for opened, closed in found]
        assert own == of_machine([row[key] for row in rows])
