"""The incidents of a backtest of many keys open and close in the bins in which the workers' state machine would."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from detectors import Verdict
from detectors.backtest import Incidents
from streams.incidents import Machine, Observation
from streams.policy import Limits

WINDOW_BINS = 4
NO_LIMITS = Limits(enabled=True, raise_above=None, clear_below=None, min_open_bins=3, clear_windows=2)
#: Of one bin of one key: its count, whether the detector has raised, the level below which it clears.
Bin = tuple[int, bool, float]
bins = st.tuples(st.integers(0, 6), st.booleans(), st.sampled_from([0.0, 1.0, 2.0, 3.5]))


def verdict(row: list[Bin]) -> Verdict:
    k = len(row)
    nan = np.full(k, np.nan)
    return Verdict(
        expected=nan,
        score=nan,
        score_threshold=nan,
        raised=np.array([raised for _, raised, _ in row]),
        clear_level=np.array([level for _, _, level in row]),
        clear_score=nan,
        clear_threshold=nan,
        rebaselined=np.zeros(k, np.bool_),
        learning=np.zeros(k, np.bool_),
    )


def of_machine(column: list[Bin]) -> list[tuple[bool, bool]]:
    """Return for each bin of a key whether an incident opened and whether one closed."""
    machine, windows, found = Machine(), [0] * WINDOW_BINS, []
    for number, (count, raised, level) in enumerate(column):
        windows = [*windows[1:], count]
        observation = Observation(
            bin_ms=number * 60_000,
            bin_end_ms=(number + 1) * 60_000,
            count=count,
            window=sum(windows),
            kinds={},
            raised=raised,
            expected=np.nan,
            score=np.nan,
            score_threshold=np.nan,
            clear_level=level,
            detector="any",
            whole_bins=WINDOW_BINS,
            silent=False,
        )
        told = [each.transition for each in machine.step(observation, NO_LIMITS, "x", "US", WINDOW_BINS)]
        found.append(("opened" in told, "cleared" in told))
    return found


@given(st.integers(1, 3).flatmap(lambda k: st.lists(st.lists(bins, min_size=k, max_size=k), min_size=1, max_size=60)))
def test_incidents_open_and_close_as_the_workers_do(rows: list[list[Bin]]) -> None:
    incidents = Incidents(len(rows[0]), WINDOW_BINS)
    observed = np.ones(len(rows[0]), np.bool_)
    found = [
        incidents.step(verdict(row), np.array([count for count, _, _ in row], np.float64), observed) for row in rows
    ]
    for key in range(len(rows[0])):
        own = [(bool(opened[key]), bool(closed[key])) for opened, closed in found]
        assert own == of_machine([row[key] for row in rows])
