"""NB-SR on series written by hand: bins of five minutes, 10 reports each with a little scatter, two weeks to learn."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Sequence
from functools import cache

import numpy as np
import pytest

from detectors import NBSR, Verdict
from detectors.nbsr.evidence import CLEAR_THRESHOLD, JUMPS, SPIKE_CAP
from detectors.nbsr.negativebinomial import log_likelihood_ratio

BIN_MS = 300_000
HOUR, DAY = 12, 288
LEARNT = 14 * DAY
NORMAL, OUTAGE = 10.0, 100.0


def scattered(number: int, mean: float) -> float:
    """Return a count around the mean: the same for the same bin on every machine."""
    return float(round(mean + (number * 7919 % 13 - 6) * math.sqrt(mean) / 4))


def flat(_number: int) -> float:
    return NORMAL


def by_day(number: int) -> float:
    """Twenty times as many reports in the afternoon as at night."""
    return 21.0 + 20.0 * math.sin(2 * math.pi * (number % DAY) / DAY)


def by_weekend(number: int) -> float:
    """A fifth fewer reports on the first two days of each week of the Unix epoch."""
    return 50.0 if number // DAY % 7 >= 2 else 40.0


def step(
    detector: NBSR, number: int, count: float, *, observed: bool = True, is_open: bool = False, offset_s: int = 0
) -> Verdict:
    return detector.step(
        number * BIN_MS, np.array([count]), np.array([observed]), np.array([is_open]), np.array([offset_s])
    )


@cache
def _learnt(mean: Callable[[int], float], bins: int) -> NBSR:
    detector = NBSR(BIN_MS)
    detector.resize(1)
    for number in range(bins):
        step(detector, number, scattered(number, mean(number)))
    return detector


def learnt(mean: Callable[[int], float] = flat, bins: int = LEARNT) -> NBSR:
    """Return a detector that has learnt for so many bins; its next one is `bins`."""
    return copy.deepcopy(_learnt(mean, bins))


def expected(detector: NBSR, number: int, offset_s: int = 0) -> float:
    """Return what a detector expects of a bin; it is left as it was."""
    return float(step(copy.deepcopy(detector), number, 0.0, observed=False, offset_s=offset_s).expected[0])


def followed(detector: NBSR, first: int, counts: Iterable[float]) -> list[Verdict]:
    """Step a detector with an incident that opens when it raises and closes when it says so."""
    verdicts, is_open = [], False
    for number, count in enumerate(counts, start=first):
        verdict = step(detector, number, count, is_open=is_open)
        verdicts.append(verdict)
        over = verdict.clear_score[0] >= verdict.clear_threshold[0] or verdict.rebaselined[0]
        is_open = not over if is_open else bool(verdict.raised[0])
    return verdicts


def raised(verdicts: Sequence[Verdict]) -> list[int]:
    return [place for place, verdict in enumerate(verdicts) if verdict.raised[0]]


# The baseline


@pytest.mark.parametrize("mean", [flat, by_day, by_weekend])
def test_the_baseline_knows_day_and_week(mean: Callable[[int], float]) -> None:
    detector = learnt(mean)
    for hour in range(2, 24 * 7, 5):
        number = LEARNT + hour * HOUR
        assert expected(detector, number) == pytest.approx(mean(number), rel=0.25, abs=1.0)


def test_the_baseline_follows_the_clock_of_the_people() -> None:
    # the clock was put back by an hour: what they did at 9 they do at what was 10
    detector = learnt(by_day)
    for hour in (6, 9, 15):
        later = LEARNT + (hour + 1) * HOUR
        assert expected(detector, later, offset_s=-3600) == pytest.approx(expected(detector, later - HOUR), rel=0.01)
        assert expected(detector, later) != pytest.approx(expected(detector, later - HOUR), rel=0.01)


def test_nothing_is_expected_before_two_days_are_known() -> None:
    detector = learnt(bins=2 * DAY - 1)
    before, after = (step(detector, number, NORMAL) for number in (2 * DAY - 1, 2 * DAY))
    assert before.learning[0]
    assert math.isnan(before.expected[0])
    assert not after.learning[0]
    assert after.expected[0] == pytest.approx(NORMAL, rel=0.1)


def test_the_null_lies_further_above_the_mean_while_little_is_known() -> None:
    ratios = []
    for days in (3, 8, 15):
        verdict = step(learnt(bins=days * DAY), days * DAY, NORMAL)
        ratios.append(verdict.figures["null_mean"][0] / verdict.expected[0])
    assert ratios[0] > 2 > ratios[1] > 1.25 > ratios[2] > 1


# What does not teach


def test_half_a_day_of_outage_teaches_nothing() -> None:
    detector = learnt()
    before = expected(detector, LEARNT + DAY)
    verdicts = followed(detector, LEARNT, [OUTAGE] * (DAY // 2) + [NORMAL] * (DAY // 2))
    assert raised(verdicts)
    assert expected(detector, LEARNT + DAY) == pytest.approx(before, rel=0.02)


def test_what_an_incident_began_with_is_not_learnt_either() -> None:
    # reports grow for 25 minutes before the detector is told of an incident: none of these bins is 30 minutes old
    detector = learnt()
    level = detector.snapshot(slice(0, 1))
    for place in range(5):
        step(detector, LEARNT + place, NORMAL * (1 + place / 20))
    for place in range(5, 40):
        step(detector, LEARNT + place, OUTAGE, is_open=True)
    assert expected(detector, LEARNT + 40) == pytest.approx(NORMAL, rel=0.05)
    assert detector.snapshot(slice(0, 1)) != level


def test_a_burst_teaches_little() -> None:
    detector = learnt()
    followed(detector, LEARNT, [1000 * NORMAL] + [NORMAL] * HOUR)
    assert expected(detector, LEARNT + HOUR + 1) == pytest.approx(NORMAL, rel=0.05)


def test_silence_teaches_nothing_and_raises_nothing() -> None:
    detector = learnt()
    assert not raised(followed(detector, LEARNT, [0.0] * (DAY // 2)))
    assert expected(detector, LEARNT + DAY // 2) == pytest.approx(NORMAL, rel=0.05)


def test_a_gap_makes_the_level_rest_on_less_and_ends_the_evidence() -> None:
    detector, lost = learnt(), learnt()
    for each in (detector, lost):
        assert not step(each, LEARNT, OUTAGE).raised[0]
    assert step(detector, LEARNT + 3, OUTAGE).raised[0], "the second bin of the outage"
    after_gap = step(lost, LEARNT + DAY, OUTAGE)
    assert not after_gap.raised[0], "the first bin of which anything is known"
    sums = np.frombuffer(lost.snapshot(slice(0, 1)).partition(b"\n")[2], "<f4", 2, offset=8)
    before = np.frombuffer(learnt().snapshot(slice(0, 1)).partition(b"\n")[2], "<f4", 2, offset=8)
    assert sums == pytest.approx(before / 2, rel=0.01), "what the level rests on has a half-life of a day"


# Evidence


def test_the_threshold_is_that_of_the_budget() -> None:
    one, ten = (step(learnt_for(bins), 0, 0.0).score_threshold[0] for bins in (43_200.0, 432_000.0))
    assert ten - one == pytest.approx(math.log(10))
    assert step(learnt_for(1e300), 0, 0.0).score_threshold[0] == 60


def learnt_for(mean_bins: float) -> NBSR:
    detector = NBSR(BIN_MS, mean_bins)
    detector.resize(1)
    return detector


def test_a_budget_of_less_than_a_few_bins_is_refused() -> None:
    with pytest.raises(ValueError, match="mean_bins_between_false_alarms is 2"):
        NBSR(BIN_MS, 2.0)


@pytest.mark.parametrize("times", [20, 1000, 10**9])
def test_one_burst_raises_nothing(times: int) -> None:
    assert not raised(followed(learnt(), LEARNT, [NORMAL * times] + [NORMAL] * 30))


@pytest.mark.parametrize(("times", "within"), [(10, 2), (3, 4), (2, 12)])
def test_an_outage_is_raised_the_sooner_the_larger_it_is(times: int, within: int) -> None:
    counts = [scattered(LEARNT + place, NORMAL * times) for place in range(within)]
    assert raised(followed(learnt(), LEARNT, counts))


def test_the_score_can_be_recomputed_from_what_is_published() -> None:
    detector = learnt()
    for place, count in enumerate([NORMAL, 25.0, 30.0, 28.0]):
        verdict = step(detector, LEARNT + place, count)
        figures = {name: value[:1] for name, value in verdict.figures.items()}
        size = figures["null_mean"] / (figures["dispersion"] - 1)
        after = np.zeros(1)
        for jump in JUMPS:
            ratio = log_likelihood_ratio(np.array([count]), size, jump * size, np.log(figures["dispersion"]))
            most = SPIKE_CAP * verdict.score_threshold[:1]
            after += (1 + figures[f"evidence_x{jump:g}"]) * np.exp(np.minimum(ratio, most))
        assert verdict.score[0] == pytest.approx(math.log1p(after[0] / len(JUMPS)))


# The end


def test_an_incident_is_over_soon_after_the_reports_are_back_to_normal_and_not_before() -> None:
    length = 2 * HOUR
    verdicts = followed(learnt(), LEARNT, [OUTAGE] * length + [NORMAL] * HOUR)
    over = [place for place, verdict in enumerate(verdicts) if verdict.clear_score[0] >= CLEAR_THRESHOLD]
    assert length <= over[0] <= length + 8


def test_a_key_without_an_incident_has_no_evidence_of_an_end() -> None:
    assert step(learnt(), LEARNT, NORMAL).clear_score[0] == 0


def test_a_level_that_lasts_for_a_day_becomes_the_usual_one() -> None:
    detector = learnt()
    verdicts = followed(detector, LEARNT, [OUTAGE] * (DAY + 5))
    rebaselined = [place for place, verdict in enumerate(verdicts) if verdict.rebaselined[0]]
    assert len(rebaselined) == 1
    assert DAY <= rebaselined[0] <= DAY + 3
    assert expected(detector, LEARNT + DAY + 5) == pytest.approx(OUTAGE, rel=0.1)
    assert not raised(followed(detector, LEARNT + DAY + 5, [OUTAGE] * DAY))


@pytest.mark.parametrize("level", [0.0, OUTAGE])
def test_also_without_an_incident(level: float) -> None:
    detector = learnt()
    for number in range(LEARNT, LEARNT + 2 * DAY):
        verdict = step(detector, number, level)
        assert not verdict.rebaselined[0]
    assert expected(detector, LEARNT + 2 * DAY) == pytest.approx(level, rel=0.1, abs=0.1)


# State


def test_a_key_takes_at_most_2500_bytes_with_bins_of_a_minute() -> None:
    detector = NBSR(60_000)
    detector.resize(200)
    assert len(detector.snapshot(slice(0, 200))) <= 2500 * 200
