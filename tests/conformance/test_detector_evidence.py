"""What every detector must take for evidence, of an outage and of its end, and what for none."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.detectorcases import (
    HOUR_MS,
    NORMAL,
    OUTAGE,
    Case,
    contents,
    every_detector,
    everything,
    learnt,
    raises,
    step,
)


@every_detector
def test_reports_of_a_bin_that_was_not_observed_are_no_evidence(case: Case) -> None:
    detector = learnt(case)
    for i in range(10):
        assert not step(case, detector, case.learning_bins + i, [1e7], observed=False).raised[0]


@every_detector
def test_missing_bins_do_not_wipe_out_the_evidence(case: Case) -> None:
    detector = learnt(case)
    for i in range(3):
        step(case, detector, case.learning_bins + i, [OUTAGE])
    assert step(case, detector, case.learning_bins + 3, [0.0], observed=False).raised[0]
    assert step(case, detector, case.learning_bins + 5, [OUTAGE]).raised[0]


@every_detector
def test_every_observed_bin_is_covered_and_no_threshold_rises_unless_said(case: Case) -> None:
    said, unsaid = learnt(case), learnt(case)
    for number, count in enumerate([NORMAL, OUTAGE, OUTAGE, OUTAGE, 0.0], case.learning_bins):
        verdicts = [
            step(case, said, number, [count], covered=True, threshold_rise=0.0),
            step(case, unsaid, number, [count]),
        ]
        assert contents(verdicts[0]) == contents(verdicts[1])
    assert everything(said) == everything(unsaid)


@every_detector
def test_a_bin_that_is_not_covered_may_raise(case: Case) -> None:
    detector = learnt(case)
    verdicts = [step(case, detector, case.learning_bins + i, [OUTAGE], covered=False) for i in range(5)]
    assert any(verdict.raised[0] for verdict in verdicts)


@every_detector
def test_only_covered_bins_speak_for_the_end_of_an_outage(case: Case) -> None:
    """Where a detector weighs evidence for the end: a lull that all sources cover is enough, another one is none."""
    detector = learnt(case, 2)
    for i in range(10):
        step(case, detector, case.learning_bins + i, [OUTAGE] * 2, is_open=i > 5)
    over = []
    for i in range(10, 70):
        bins = step(case, detector, case.learning_bins + i, [NORMAL] * 2, is_open=True, covered=[True, False])
        assert (np.isnan(bins.clear_score) == np.isnan(bins.clear_threshold)).all()
        over.append(bins.clear_score >= bins.clear_threshold)
    assert not any(of_key[1] for of_key in over)
    assert any(of_key[0] for of_key in over) or np.isnan(bins.clear_score[0])


@every_detector
def test_nothing_speaks_for_the_end_of_an_outage_that_goes_on(case: Case) -> None:
    detector = learnt(case)
    # Less than a day: after one, a detector may take an incident's level for the usual one.
    for i in range(min(60, 20 * HOUR_MS // case.bin_ms)):
        verdict = step(case, detector, case.learning_bins + i, [OUTAGE], is_open=i > 5)
        assert not verdict.clear_score[0] > 0


@every_detector
def test_what_a_raise_takes_on_top_is_in_the_threshold_or_ignored(case: Case) -> None:
    usual, raised = (
        step(case, learnt(case), case.learning_bins, [NORMAL], threshold_rise=rise).score_threshold[0]
        for rise in (0.0, 2.0)
    )
    assert raised - usual in (0.0, 2.0)


@every_detector
def test_only_open_incidents_are_ended_by_a_new_baseline(case: Case) -> None:
    detector = learnt(case, 2)
    for i in range(30 * HOUR_MS // case.bin_ms):
        verdict = step(case, detector, case.learning_bins + i, [OUTAGE] * 2, is_open=[False, i > 5])
        assert not verdict.rebaselined[0]
        assert not verdict.rebaselined[1] or i * case.bin_ms >= 20 * HOUR_MS


@every_detector
@pytest.mark.parametrize("level", [0.0, 0.4, 1.0, 37.0, 100.0, 1e7])
def test_a_constant_level_raises_nothing(case: Case, level: float) -> None:
    level = min(level, case.highest_normal)
    detector = case.make()
    detector.resize(1)
    for number in range(case.learning_bins + 100):
        verdict = step(case, detector, number, [level])
        assert not verdict.raised[0]
    assert np.isfinite(verdict.score[0])


@every_detector
@pytest.mark.parametrize("level", [0.0, 0.4, NORMAL])
def test_a_burst_of_one_bin_raises_nothing(case: Case, level: float) -> None:
    assert not any(raises(case, learnt(case, level=level), [level] * 5 + [1e7] + [level] * 30))


@every_detector
@pytest.mark.parametrize("level", [0.0, 0.4, NORMAL])
def test_a_lasting_outage_is_raised_within_five_bins_and_stays_raised(case: Case, level: float) -> None:
    raised = raises(case, learnt(case, level=level), [level] * 20 + [OUTAGE] * 20)
    assert not any(raised[:20])
    assert any(raised[20:25])
    assert all(raised[25:])


@every_detector
@pytest.mark.parametrize("level", [0.0, NORMAL, 1e7])
def test_scores_and_levels_are_numbers_at_any_level(case: Case, level: float) -> None:
    detector = learnt(case, level=level)
    for i, count in enumerate([0.0, 1.0, 1e7, 1e7, 1e7, 2.0**53]):
        verdict = step(case, detector, case.learning_bins + i, [count])
        assert np.isfinite(verdict.score[0])
        assert np.isfinite(verdict.score_threshold[0])
        # A level of 0 could never be undercut: the incident would stay open for ever.
        assert np.isnan(verdict.clear_level[0]) or verdict.clear_level[0] > 0
