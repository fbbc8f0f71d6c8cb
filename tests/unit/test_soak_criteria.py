from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest

from benchmarks import criteria
from benchmarks.criteria import growth_mb_per_h
from benchmarks.feed import Fed
from benchmarks.incidentlog import compare
from benchmarks.samples import Metrics, Sample, sample

EPOCH_S = 900
TIMES = np.arange(10, 3600, 10.0)
SAWTOOTH_MB = 120 + 60 * (TIMES % EPOCH_S) / EPOCH_S


def rss(megabytes: np.ndarray[tuple[int], np.dtype[np.float64]]) -> list[int]:
    return [round(each * 1e6) for each in megabytes.tolist()]


def seen(**values: object) -> Sample:
    """A sample of metrics that are not there, but for `values`."""
    return msgspec.structs.replace(sample({}, {}, 0.0, 0.0, {}, {}), **values)


@pytest.mark.parametrize("phase_s", [0, 200, 600])
def test_what_fills_and_empties_with_the_epochs_is_no_growth(phase_s: int) -> None:
    shifted = 120 + 60 * ((TIMES + phase_s) % EPOCH_S) / EPOCH_S

    assert growth_mb_per_h(TIMES.tolist(), rss(shifted), EPOCH_S) == pytest.approx(0, abs=0.5)


@pytest.mark.parametrize("leak_mb_per_h", [7.0, 100.0, -30.0])
def test_growth_shows_under_the_epochs(leak_mb_per_h: float) -> None:
    leaking = SAWTOOTH_MB + leak_mb_per_h * TIMES / 3600

    assert growth_mb_per_h(TIMES.tolist(), rss(leaking), EPOCH_S) == pytest.approx(leak_mb_per_h, abs=0.5)


def test_what_grew_in_the_first_half_only_is_no_growth() -> None:
    warming = SAWTOOTH_MB + np.minimum(TIMES, 1700) / 10

    assert growth_mb_per_h(TIMES.tolist(), rss(warming), EPOCH_S) == pytest.approx(0, abs=0.5)


def test_less_than_four_epochs_say_nothing_of_growth() -> None:
    half = len(TIMES) // 2

    assert growth_mb_per_h(TIMES[:half].tolist(), rss(SAWTOOTH_MB[:half]), EPOCH_S) is None
    samples = [seen(at_s=at, rss_bytes={"count": 1}) for at in TIMES[:half].tolist()]
    assert [verdict.met for verdict in criteria.memory(samples, EPOCH_S)] == [None, None, None]


def test_a_leaking_stage_is_named() -> None:
    leaking = rss(SAWTOOTH_MB + 50 * TIMES / 3600)
    samples = [
        seen(at_s=at, rss_bytes={"count": 10**8, "detect": grown, "notify": 10**8})
        for at, grown in zip(TIMES.tolist(), leaking, strict=True)
    ]

    assert [verdict.met for verdict in criteria.memory(samples, EPOCH_S)] == [True, False, True]


def test_percentiles_are_values_that_were_seen() -> None:
    assert criteria.percentile([1, 2, 3, 100], 50) == 3
    assert criteria.percentile([1, 2, 3, 100], 100) == 100
    assert math.isnan(criteria.percentile([], 99))


@pytest.mark.parametrize(
    ("delays_s", "met"),
    [
        ([32.0] * 200, [True, True]),
        ([32.0] * 199 + [36.0], [True, True]),
        ([32.0] * 190 + [36.0] * 10, [False, True]),
        ([32.0] * 199 + [61.0], [True, False]),
        ([], [False, False]),
    ],
    ids=["low", "one peak", "often behind", "a high peak", "not shown"],
)
def test_counting_is_behind_by_little_nearly_always_and_by_some_never(delays_s: list[float], met: list[bool]) -> None:
    samples = [seen(watermark_delay_s=each) for each in delays_s]

    assert [verdict.met for verdict in criteria.lag(samples, bin_s=60, lateness_s=30)[:2]] == met


@pytest.mark.parametrize(("delay_s", "met"), [(104.0, True), (106.0, False), (None, False)])
def test_judging_may_be_a_bin_the_lateness_and_a_little_behind(delay_s: float | None, met: bool) -> None:
    assert criteria.lag([seen(judged_delay_s=delay_s)] * 100, bin_s=60, lateness_s=30)[2].met is met


@pytest.mark.parametrize(("silent", "met"), [(0, True), (1, True), (2, False)])
def test_a_stage_that_does_not_answer_is_named(silent: int, met: bool) -> None:
    everything = {"count": 0, "detect": 0, "notify": 0}
    without = {"count": 0, "notify": 0}
    samples = [seen(lag_records=everything)] * (100 - silent) + [seen(lag_records=without)] * silent
    (verdict,) = criteria.answers(samples)

    assert verdict.met is met
    assert ("detect" in verdict.measured) is (silent > 0)


def counted(read: int, accepted: int, duplicate: int, late: int, dead: int) -> Metrics:
    values = {
        "records_read_total": read,
        "ticks_total": 5,
        "reports_accepted_total": accepted,
        "reports_duplicate_total": duplicate,
        "reports_late_total": late,
        "dead_letters_total": dead,
    }
    return {f"tocsin_count_{name}": [({"partition": "0"}, float(value))] for name, value in values.items()}


@pytest.mark.parametrize(
    ("metrics", "met"),
    [
        (counted(1005, 880, 100, 15, 5), [True, True, True]),
        (counted(1004, 879, 100, 15, 5), [False, False, True]),
        (counted(1005, 881, 100, 14, 5), [True, True, False]),
        (counted(1005, 881, 100, 15, 5), [True, False, True]),
        ({}, [False, False, False]),
    ],
    ids=["all", "one lost", "one late not seen", "one twice", "nothing shown"],
)
def test_every_record_is_to_be_counted_once_as_what_it_is(metrics: Metrics, met: list[bool]) -> None:
    fed = Fed(records=1000, late=15, malformed=5, behind_s=0.0)

    assert [verdict.met for verdict in criteria.completeness(fed, metrics)] == met


A, B, C = ("incidents", "a/1"), ("outages", "b/1"), ("levels", "c/60000")


def test_facts_are_compared_by_name() -> None:
    stated = {A: {b"1"}, B: {b"2", b"3"}, C: {b"4"}}

    assert compare(stated, {A: b"1", B: b"2", C: b"4"})._asdict() == {
        "facts": 3,
        "contradicted": [B],
        "missing": [],
        "surplus": [],
        "differing": [],
    }
    assert compare({A: {b"1"}}, {A: b"1"}).same
    assert compare({A: {b"1"}}, {A: b"1", B: b"2"}).missing == [B]
    assert compare({A: {b"1"}, B: {b"2"}}, {A: b"1"}).surplus == [B]
    assert compare({A: {b"1"}}, {A: b"2"}).differing == [A]


def test_a_contradicted_and_a_missing_fact_are_told_apart() -> None:
    contradicted = compare({A: {b"1", b"2"}}, {A: b"1"})
    missing = compare({}, {A: b"1"})
    fine, shown = seen(contradicted=0.0), seen(contradicted=1.0)

    assert [verdict.met for verdict in criteria.facts(contradicted, [fine])] == [False, True]
    assert [verdict.met for verdict in criteria.facts(missing, [fine])] == [True, False]
    assert [verdict.met for verdict in criteria.facts(compare({}, {}), [shown])] == [False, True]
    assert [verdict.met for verdict in criteria.facts(compare({}, {}), [])] == [False, True]


def test_a_sample_is_of_the_slowest_partition() -> None:
    metrics: Metrics = {
        "tocsin_count_watermark_seconds": [({"partition": "0"}, 970.0), ({"partition": "1"}, 940.0)],
        "tocsin_detect_judged_seconds": [({"partition": "0"}, 900.0), ({"partition": "1"}, 960.0)],
        "tocsin_commit_timestamp_seconds": [
            ({"stage": "count", "partition": "0"}, 998.0),
            ({"stage": "count", "partition": "1"}, 995.0),
            ({"stage": "detect", "partition": "0"}, 990.0),
        ],
    }
    found = sample(metrics, {"count": 46}, at_s=10.0, now_s=1000.0, rss_bytes={}, cpu_s={})

    assert (found.watermark_delay_s, found.judged_delay_s) == (60.0, 100.0)
    assert found.commit_age_s == {"count": 5.0, "detect": 10.0}
    assert found.flushes is None


def test_the_mean_of_a_histogram_is_that_since_the_sample_before() -> None:
    samples = [
        seen(flushes=count, flush_s=sum_s) for count, sum_s in ((10.0, 1.0), (20.0, 1.1), (20.0, 1.1), (30.0, 3.1))
    ]

    assert criteria.delays(samples)["mean flush of 10 s, ms"] == pytest.approx([10.0, 200.0])
