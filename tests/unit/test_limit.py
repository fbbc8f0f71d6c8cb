from __future__ import annotations

import math

import numpy as np
import pytest

from detectors import Limit, Verdict

MINUTE_MS = 60_000
MISSING = None


def judge(counts: list[float | None], above: float = 100) -> list[Verdict]:
    """Step one key through a bin a minute, some of them missing."""
    detector = Limit(MINUTE_MS, above)
    detector.resize(1)
    return [
        detector.step(
            minute * MINUTE_MS,
            np.array([0.0 if count is MISSING else float(count)]),
            observed=np.array([count is not MISSING]),
            is_open=np.array([False]),
            local_offset_s=np.array([0]),
        )
        for minute, count in enumerate(counts)
    ]


def raised(counts: list[float | None]) -> list[int]:
    return [minute for minute, verdict in enumerate(judge(counts)) if verdict.raised[0]]


def test_golden_verdicts() -> None:
    counts: list[float | None] = [10, 500, 10, 10, 10, 10, 150, 150, 150, 150, 10, 10, 10, 101, 101, 100, 101, 10, 10]
    #                             a burst               an outage                        100 is not above 100
    assert raised(counts) == [8, 9, 10, 11, 16, 17]
    scores = [verdict.score[0] for verdict in judge(counts)]
    assert scores == [0, 0, *[10] * 6, *[150] * 4, 10, 10, 10, 100, 101, 101, 100]


def test_the_verdict_is_in_reports_per_bin_and_has_no_baseline() -> None:
    verdict = judge([300, 300, 300], above=250)[-1]
    assert verdict.score.tolist() == [300]
    assert verdict.score_threshold.tolist() == [250]
    assert verdict.clear_level.tolist() == [250]
    assert np.isnan(verdict.expected).all()
    assert verdict.learning.tolist() == [False]


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([500, 500, 500], [2]),
        ([500, MISSING, 500, 500], [3]),
        ([500, MISSING, 500, MISSING, 500], [4]),
        # The first of three bins in excess is older than the last five bins.
        ([500, MISSING, 500, MISSING, MISSING, 500], []),
        # Three of the last five were in excess: holds until the evidence has aged.
        ([500, 500, 500, MISSING, MISSING, MISSING], [2, 3, 4]),
    ],
)
def test_missing_bins_age_the_evidence_and_add_none(counts: list[float | None], expected: list[int]) -> None:
    assert raised(counts) == expected


def test_each_key_is_judged_on_its_own() -> None:
    detector = Limit(MINUTE_MS, 100)
    detector.resize(3)
    yes, no, utc = np.ones(3, np.bool_), np.zeros(3, np.bool_), np.zeros(3, np.int64)
    for minute in range(3):
        verdict = detector.step(minute * MINUTE_MS, np.array([99.0, 101.0, 0.0]), yes, no, utc)
    assert verdict.raised.tolist() == [False, True, False]


@pytest.mark.parametrize("above", [0.0, -1.0, math.inf, math.nan])
def test_a_limit_that_makes_no_sense_is_named(above: float) -> None:
    with pytest.raises(ValueError, match=f"above is {above}"):
        Limit(MINUTE_MS, above)


@pytest.mark.parametrize("bin_ms", [0, -60_000])
def test_a_bin_without_length_is_named(bin_ms: int) -> None:
    with pytest.raises(ValueError, match=f"bin_ms is {bin_ms}"):
        Limit(bin_ms)
