"""How incidents of a backtest open and close, where a detector weighs what speaks for the end, and where bins are lost.

Incidents that clear by level are compared with the workers' in tests/properties/test_backtest_incident_properties.py.
"""

from __future__ import annotations

import math

import numpy as np

from detectors import Verdict
from detectors.backtest import Incidents

NAN = math.nan
WINDOW_BINS = 5


def verdict(*, raised: bool = False, clear_score: float = 0.0, rebaselined: bool = False) -> Verdict:
    """Return the verdict on one key of a detector that clears by a score of 5."""
    return Verdict(
        expected=np.array([NAN]),
        score=np.array([NAN]),
        score_threshold=np.array([NAN]),
        raised=np.array([raised]),
        clear_level=np.array([NAN]),
        clear_score=np.array([clear_score]),
        clear_threshold=np.array([5.0]),
        rebaselined=np.array([rebaselined]),
        learning=np.array([False]),
    )


class OneKey:
    """Incidents of one key: `step` says `+` where one opens, `-` where one closes, else whether one is open."""

    def __init__(self) -> None:
        self.incidents = Incidents(1, WINDOW_BINS)

    def step(self, count: float = 1.0, *, observed: bool = True, **seen: float) -> str:
        opened, closed = self.incidents.step(
            verdict(**seen),  # type: ignore[arg-type]  # flags are numbers
            np.array([count]),
            np.array([observed]),
        )
        return "+" if opened[0] else "-" if closed[0] else "o" if self.incidents.is_open[0] else "."


def test_a_raise_opens_and_the_clear_score_closes() -> None:
    key = OneKey()
    told = [key.step(), key.step(raised=True), key.step(raised=True), key.step(clear_score=4.9)]
    assert "".join([*told, key.step(clear_score=5.0), key.step()]) == ".+oo-."


def test_no_incident_closes_before_its_third_bin() -> None:
    key = OneKey()
    assert "".join([key.step(raised=True), key.step(clear_score=9.0), key.step(clear_score=9.0)]) == "+o-"


def test_a_raise_in_an_empty_window_opens_nothing() -> None:
    key = OneKey()
    assert key.step(0.0, raised=True) == "."
    assert key.step(1.0, raised=True) == "+"


def test_a_new_level_taken_for_the_usual_one_closes_at_once() -> None:
    key = OneKey()
    assert "".join([key.step(raised=True), key.step(raised=True, rebaselined=True)]) == "+-"


def test_more_than_a_window_without_an_observed_bin_closes_and_fewer_do_not() -> None:
    for missing, last in ((WINDOW_BINS, "o"), (WINDOW_BINS + 1, "-")):
        key = OneKey()
        key.step(raised=True)
        told = [key.step(observed=False) for _ in range(missing)]
        assert told[-1] == last
        assert set(told[:-1]) == {"o"}


def test_the_window_forgets_and_a_missing_bin_holds_nothing() -> None:
    key = OneKey()
    for count in (7.0, 1.0, 1.0, 1.0, 1.0):
        key.step(count)
    assert key.incidents.window.tolist() == [11]
    key.step(100.0, observed=False)
    assert key.incidents.window.tolist() == [4]


def test_a_copy_of_some_keys_goes_its_own_way() -> None:
    incidents = Incidents(2, WINDOW_BINS)
    both = np.array([True, True])
    nan, no = np.array([NAN, NAN]), np.array([False, False])
    raised = Verdict(nan, nan, nan, both, nan, nan, nan, no, no)
    incidents.step(raised, np.array([3.0, 4.0]), both)
    taken = incidents.take(np.array([1, 1, 0]))
    assert taken.window.tolist() == [4, 4, 3]
    assert taken.is_open.tolist() == [True, True, True]
    incidents.step(raised, np.array([1.0, 1.0]), both)
    assert taken.window.tolist() == [4, 4, 3]
