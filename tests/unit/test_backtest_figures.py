"""Incidents against labels, one figure at a time; and a whole backtest of a series with outages that are known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from streams.backtest.figures import Figures, figures
from streams.backtest.labels import Label
from streams.backtest.run import Episode, Judged, Trace, judge
from streams.backtest.series import Key, Series
from streams.events import DAY_MS, MINUTE_MS, Level
from streams.settings import Count, Detect, Limit, Settings

X: Key = ("x", "US")
LABEL = Label("x", "US", 100 * MINUTE_MS, 160 * MINUTE_MS)


def episode(opened_min: int, ended_min: int | None, key: Key = X) -> Episode:
    """Return an incident that opened with the bin of a minute and ended at one."""
    ended_ms = None if ended_min is None else ended_min * MINUTE_MS
    return Episode(key, opened_min * MINUTE_MS, (opened_min + 1) * MINUTE_MS, ended_ms, 1, "")


def found(*episodes: Episode, labels: tuple[Label, ...] = (LABEL,), days: int = 30) -> Figures:
    judged = Judged(Series("x.csv", "x", {}, Settings(), signs_of_life=True))
    for each in episodes:
        judged.episodes.setdefault(each.key, []).append(each)
    judged.watched_ms = {X: days * DAY_MS} | {each.key: days * DAY_MS for each in episodes}
    return figures("any", [judged], labels)


def test_an_incident_that_opens_within_a_label_is_true_and_its_delay_is_to_the_end_of_its_bin() -> None:
    result = found(episode(104, 170))
    assert (result.outages.delay(50), result.outages.clear(50), len(result.false)) == (5, 10, 0)
    assert result.regions.per_30_days() == 0


def test_an_incident_that_ends_before_the_label_does_took_no_time_to_clear() -> None:
    assert found(episode(104, 120)).outages.clear(50) == 0


def test_an_incident_before_or_after_a_label_is_false_and_the_label_missed() -> None:
    result = found(episode(50, 60), episode(160, 170))
    assert (result.outages.detected(), result.outages.delay(50)) == (0, math.inf)
    assert [each.opened_ms for each in result.false] == [50 * MINUTE_MS, 160 * MINUTE_MS]
    assert result.regions.per_30_days() == 2


def test_an_incident_that_goes_on_when_a_label_begins_is_false_and_is_said() -> None:
    result = found(episode(50, 130))
    assert (result.outages.detected(), len(result.false), result.outcomes[0].already_open) == (0, 1, True)
    assert not found(episode(50, 99)).outcomes[0].already_open


def test_the_bin_in_which_a_label_begins_may_be_the_one_that_opens() -> None:
    late = Label("x", "US", 100 * MINUTE_MS + 30_000, 160 * MINUTE_MS)
    assert found(episode(100, 170), labels=(late,)).outages.delay(50) == 0.5


def test_several_incidents_by_one_label_are_counted_and_the_last_one_clears() -> None:
    result = found(episode(104, 120), episode(140, 175))
    assert (result.outages.incidents_per_outage(), result.outages.clear(50)) == (2, 15)


def test_an_incident_that_never_ends_never_clears() -> None:
    assert found(episode(104, None)).outages.clear(50) == math.inf


def test_a_label_of_a_whole_service_is_met_by_any_of_its_regions_and_counts_incidents_of_one() -> None:
    whole = Label("x", None, LABEL.begin_ms, LABEL.end_ms)
    result = found(episode(104, 120), episode(102, 121, ("x", "DE")), episode(106, 150, ("x", "_all")), labels=(whole,))
    assert (result.outages.delay(50), result.outages.incidents_per_outage(), len(result.false)) == (3, 1, 0)
    assert found(episode(104, 120, ("y", "US")), labels=(whole,)).outages.detected() == 0


def test_false_incidents_of_whole_services_are_counted_apart() -> None:
    result = found(episode(10, 20), episode(10, 20, ("x", "_all")), episode(30, 40, ("x", "_all")), days=60)
    assert (result.regions.per_30_days(), result.wholes.per_30_days()) == (0.5, 1)


def test_a_label_of_what_is_not_in_the_data_is_left_out() -> None:
    assert len(found(episode(104, 120), labels=(LABEL, Label("z", None, 0, 1))).outcomes) == 1


def test_infinite_figures_are_null_in_json() -> None:
    told = found().as_json()
    assert told["delay_min"] == {"median": None, "p90": None}
    assert (told["labels"], told["detected"]) == (1, 0)
    assert told["false_per_key_30_days"]["interval_95"] == [0, pytest.approx(3.689, abs=1e-3)]
    assert told["false_per_service_30_days"] is None


def test_a_trace_keeps_the_highest_count_and_the_mean_of_what_was_expected() -> None:
    trace = Trace.over(0, 10 * MINUTE_MS, MINUTE_MS, points=5)
    for minute, (count, expected) in enumerate([(3, None), (9, 4.0), (1, 2.0), (0, 4.0)]):
        trace.add(minute * MINUTE_MS, level(count, expected))
    trace.add(99 * MINUTE_MS, level(7, None))
    assert trace.count[:2].tolist() == [9, 1]
    assert trace.expectation()[:2].tolist() == [4, 3]
    assert np.isnan(trace.count[2:]).all()
    assert np.isnan(trace.expectation()[2:]).all()


def level(count: int, expected: float | None) -> Level:
    return Level(
        region="US",
        count=count,
        window=count,
        expected=expected,
        score=None,
        score_threshold=None,
        raise_above=None,
        clear_below=None,
        state="normal",
    )


def test_a_backtest_is_judged_by_the_workers_detection() -> None:
    """Two outages of ten bins far above a limit, one of them labelled: three of five bins raise, two windows clear."""
    bins = {
        minute * MINUTE_MS: {X: 500 if minute in range(200, 210) or minute in range(400, 410) else 10}
        for minute in range(600)
    }
    settings = Settings(count=Count(window_bins=5, epoch_s=300))
    labels = [Label("x", "US", 200 * MINUTE_MS, 210 * MINUTE_MS)]
    progress: list[int] = []
    judged = judge(
        Series("x.csv", "x", bins, settings, signs_of_life=True),
        Detect(detector="limit", limit=Limit(above=100)),
        labels,
        progress.append,
    )
    own = [(each.opened_ms // MINUTE_MS, (each.ended_ms or 0) // MINUTE_MS) for each in judged.episodes[X]]
    # a window of five bins is below 500 once no more than none of the 500 are in it; the second such bin clears
    assert own == [(202, 216), (402, 416)]
    result = figures("limit", [judged], labels)
    assert (result.outages.delay(50), result.outages.clear(50), len(result.false)) == (3, 6, 1)
    assert result.regions.days.tolist() == [pytest.approx(590 / 1440)]
    assert progress[-1] == 600
    assert list(judged.details) == [(labels[0], X)]
