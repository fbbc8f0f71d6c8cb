"""Given these judged bins of one service and region, these transitions."""

import math
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
import pytest

from streams import events
from streams.incidents import TABLE, Loss, Machine, Observation, superseded
from streams.policy import Limits

MINUTE_MS = 60_000
START_MS = int(datetime.fromisoformat("2025-05-24T16:00Z").timestamp()) * 1000
POLICY = Limits(enabled=True, raise_above=750, clear_below=650, min_open_bins=3, clear_windows=2)
BY_DETECTOR = Limits(enabled=True, raise_above=None, clear_below=None, min_open_bins=3, clear_windows=2)


def seen(
    minute: int,
    window: int,
    *,
    count: int = 10,
    kinds: dict[str, int] | None = None,
    raised: bool = False,
    expected: float = 4.2,
    clear_level: float = math.nan,
    clear_score: float = math.nan,
    rebaselined: bool = False,
    learning: bool = False,
    whole_bins: int = 15,
    silent: bool = False,
    lost: Loss | None = None,
) -> Observation:
    """Return the bin that ends `minute` minutes past 16:00, and its window."""
    return Observation(
        bin_ms=START_MS + (minute - 1) * MINUTE_MS,
        bin_end_ms=START_MS + minute * MINUTE_MS,
        count=count,
        window=window,
        kinds={"app": count} if kinds is None else kinds,
        raised=raised,
        expected=expected,
        score=97.62,
        score_threshold=5.0,
        clear_level=clear_level,
        clear_score=clear_score,
        clear_threshold=5.0,
        rebaselined=rebaselined,
        learning=learning,
        figures={"dispersion": 1.23456},
        detector="ratio",
        whole_bins=whole_bins,
        silent=silent,
        lost=lost,
    )


def run(observations: Sequence[Observation], limits: Limits = POLICY) -> list[events.Incident]:
    machine = Machine()
    return [
        document
        for observation in observations
        for document in machine.step(observation, limits, "x", "US", window_bins=15)
    ]


def windows(*counts: int, since: int = 1) -> list[Observation]:
    """Return consecutive bins with these windows; the first one raises."""
    return [seen(since + index, window, raised=index == 0) for index, window in enumerate(counts)]


def transitions(documents: Sequence[events.Incident]) -> list[tuple[str, str]]:
    return [(document.transition, events.instant(document.at_ms)[-6:-1]) for document in documents]


def test_a_quiet_key_publishes_nothing_and_remembers_nothing() -> None:
    machine = Machine()
    assert machine.step(seen(1, 5000), POLICY, "x", "US", 15) == []
    assert machine == Machine()


def test_opens_when_detector_and_window_say_so() -> None:
    (opened,) = run([seen(1, 700, raised=True), seen(2, 5000), seen(3, 1210, count=410, raised=True)])
    assert opened == events.Incident(
        id="x.US.20250524T1602Z",
        sequence=1,
        service="x",
        region="US",
        transition="opened",
        state="open",
        held=False,
        reason=(
            "1,210 reports in 15 minutes, at least 750; 410 in the last bin; "
            "raised by ratio, 4.2 expected, score 97.62, threshold 5"
        ),
        at_ms=START_MS + 3 * MINUTE_MS,
        opened_ms=START_MS + 2 * MINUTE_MS,
        peak=1210,
        peak_ms=START_MS + 3 * MINUTE_MS,
        total=410,
        kinds={"app": 410},
        decision=events.Decision(
            rule="raise",
            detector="ratio",
            bin_ms=START_MS + 2 * MINUTE_MS,
            count=410,
            window=1210,
            window_bins=15,
            expected=4.2,
            score=97.62,
            score_threshold=5.0,
            clear_level=None,
            clear_score=None,
            clear_threshold=5.0,
            figures={"dispersion": 1.235},
            raise_above=750,
            clear_below=650,
        ),
    )


def test_grows_with_each_doubling_of_the_announced_peak() -> None:
    documents = run(windows(1000, 1999, 2000, 3999, 9000, 17_000, 18_000))
    assert transitions(documents) == [("opened", "16:01"), ("grew", "16:03"), ("grew", "16:05"), ("grew", "16:07")]
    assert [document.peak for document in documents] == [1000, 2000, 9000, 18_000]
    assert documents[-1].reason == "18,000 reports in 15 minutes, at least twice the 9,000 last announced"


def test_clears_at_the_second_window_in_a_row_below_the_limit() -> None:
    opened, cleared = run(windows(1000, 900, 700, 690, 680, 660, 651, 650, 649, 640))
    assert transitions([opened, cleared]) == [("opened", "16:01"), ("cleared", "16:10")]
    assert cleared.state == "cleared"
    assert events.instant(cleared.below_since_ms or 0) == "2025-05-24T16:09Z"
    assert cleared.closed_ms == cleared.at_ms
    assert (cleared.decision.rule, cleared.decision.window) == ("clear_below", 640)
    assert cleared.reason == (
        "640 reports in 15 minutes, below 650; windows in a row: 2, the first ending 2025-05-24T16:09Z"
    )


def test_a_window_at_the_limit_breaks_the_row() -> None:
    *_, cleared = run(windows(1000, 900, 900, 649, 650, 649, 648))
    assert transitions([cleared]) == [("cleared", "16:07")]
    assert events.instant(cleared.below_since_ms or 0) == "2025-05-24T16:06Z"


def test_clears_late_where_much_is_expected() -> None:
    bins = [seen(1, 3000, raised=True)] + [
        seen(minute, window, expected=100.0) for minute, window in enumerate([2500, 2000, 1950, 1949, 1948], start=2)
    ]
    *_, cleared = run(bins)
    assert transitions([cleared]) == [("cleared", "16:06")]
    assert "below 1,950 (1.3 times the expected 100 a bin)" in cleared.reason


def test_without_clear_below_the_detectors_level_clears() -> None:
    bins = [seen(1, 300, raised=True)] + [
        seen(minute, window, clear_level=6.0) for minute, window in enumerate([200, 91, 90, 89, 88], start=2)
    ]
    *_, cleared = run(bins, BY_DETECTOR)
    assert transitions([cleared]) == [("cleared", "16:06")]
    assert cleared.decision.rule == "clear_level"
    assert "88 reports in 15 minutes, below 90 (6 a bin)" in cleared.reason


def test_without_any_level_nothing_clears() -> None:
    assert transitions(run(windows(300, 0, 0, 0, 0, 0), BY_DETECTOR)) == [("opened", "16:01")]


def by_evidence(*scores: float, limits: Limits = BY_DETECTOR, **bin_: Any) -> list[events.Incident]:
    """Return the transitions of an incident whose window stays high, with these clear scores from its second bin on."""
    bins = [seen(minute, 300, clear_score=score, **bin_) for minute, score in enumerate(scores, start=2)]
    return run([seen(1, 300, raised=True, clear_score=0.0), *bins], limits)


def test_where_the_detector_weighs_evidence_for_the_end_that_alone_clears() -> None:
    *_, cleared = by_evidence(0.0, 1.5, 0.0, 0.5, 4.9, 5.0, 7.0, clear_level=100.0)
    assert transitions([cleared]) == [("cleared", "16:07")]
    assert (cleared.decision.rule, cleared.decision.clear_score, cleared.decision.clear_threshold) == (
        *("clear_score", 5.0, 5.0),
    )
    assert events.instant(cleared.below_since_ms or 0) == "2025-05-24T16:05Z", "since when something has spoken for it"
    assert cleared.reason == (
        "300 reports in 15 minutes; evidence for the end 5, threshold 5, there since 2025-05-24T16:05Z"
    )


def test_evidence_clears_no_incident_before_its_minimum_duration_or_with_a_window_that_is_not_whole() -> None:
    assert transitions(by_evidence(9.0, 9.0)) == [("opened", "16:01"), ("cleared", "16:03")]
    assert transitions(by_evidence(9.0, 9.0, 9.0, whole_bins=14)) == [("opened", "16:01"), ("held", "16:02")]


def test_where_clear_below_is_set_evidence_clears_nothing() -> None:
    both = msgspec.structs.replace(POLICY, raise_above=230, clear_below=200)
    assert transitions(by_evidence(9.0, 9.0, 9.0, 9.0, limits=both)) == [("opened", "16:01")]


@pytest.mark.parametrize("limits", [POLICY, BY_DETECTOR])
def test_an_incident_whose_level_has_become_the_usual_one_ends_as_unknown(limits: Limits) -> None:
    bins = [seen(1, 1000, raised=True), seen(2, 5, clear_score=9.0), seen(3, 5, clear_score=9.0, rebaselined=True)]
    *_, ended = run(bins, limits)
    assert (ended.transition, ended.state, ended.decision.rule) == ("unknown", "unknown", "rebaselined")
    assert ended.below_since_ms is None
    assert ended.reason == (
        "5 reports in 15 minutes; the level of the last 24 hours is taken for the usual one from now on; whether the "
        "outage is over cannot be known"
    )


@pytest.mark.parametrize(
    ("limits", "windows", "rule", "cleared_at"),
    [
        # 750 / 1.15 is 652.2
        (msgspec.structs.replace(POLICY, clear_below=None), (800, 653, 652, 651), "clear_learning", "16:05"),
        (POLICY, (800, 653, 650, 649, 648), "clear_below", "16:06"),
    ],
)
def test_while_the_detector_is_learning_only_limits_clear(
    limits: Limits, windows: tuple[int, ...], rule: str, cleared_at: str
) -> None:
    bins = [
        seen(minute, window, raised=minute == 1, learning=True, expected=math.nan, clear_level=99.0, clear_score=9.0)
        for minute, window in enumerate((1000, *windows), start=1)
    ]
    *_, cleared = run(bins, limits)
    assert (transitions([cleared]), cleared.decision.rule) == ([("cleared", cleared_at)], rule)


def test_without_limits_nothing_clears_while_the_detector_is_learning() -> None:
    bins = [seen(minute, 0, raised=minute == 1, learning=True, clear_level=99.0, clear_score=9.0) for minute in (2, 3)]
    assert transitions(run([seen(1, 10, raised=True), *bins], BY_DETECTOR)) == [("opened", "16:01")]


def test_does_not_clear_before_its_minimum_duration() -> None:
    patient = msgspec.structs.replace(POLICY, min_open_bins=6)
    *_, cleared = run(windows(1000, 100, 90, 80, 70, 60), patient)
    assert transitions([cleared]) == [("cleared", "16:06")]
    assert events.instant(cleared.below_since_ms or 0) == "2025-05-24T16:02Z"


def test_a_window_that_would_raise_does_not_count_towards_clearing() -> None:
    bins = [seen(minute, 1000, expected=100.0, raised=minute <= 5) for minute in range(1, 8)]
    assert transitions(run(bins)) == [("opened", "16:01"), ("cleared", "16:07")]


def test_opens_a_new_incident_after_it_has_cleared() -> None:
    bins = [*windows(1000, 10, 10), *windows(900, 10, 10, since=4)]
    documents = run(bins)
    assert [(document.id, document.sequence) for document in documents] == [
        ("x.US.20250524T1600Z", 1),
        ("x.US.20250524T1600Z", 2),
        ("x.US.20250524T1603Z", 1),
        ("x.US.20250524T1603Z", 2),
    ]


def test_a_disabled_policy_opens_nothing_but_lets_an_open_incident_clear() -> None:
    disabled = msgspec.structs.replace(POLICY, enabled=False)
    assert run(windows(1000, 2000), disabled) == []
    machine = Machine()
    bins = [seen(1, 1000, raised=True), seen(2, 600), seen(3, 600)]
    policies = [POLICY, disabled, disabled]
    documents = [
        document
        for observation, limits in zip(bins, policies, strict=True)
        for document in machine.step(observation, limits, "x", "US", 15)
    ]
    assert transitions(documents) == [("opened", "16:01"), ("cleared", "16:03")]


def test_total_and_kinds_count_from_the_opening_bin_to_the_clearing_one() -> None:
    bins = [
        seen(1, 740, count=500, raised=True),
        seen(2, 1000, count=260, kinds={"website": 60, "app": 200}, raised=True),
        seen(3, 640, count=5, kinds={"server": 5, "app": 0}),
        seen(4, 640, count=7, kinds={"app": 7}),
    ]
    opened, cleared = run(bins)
    assert (opened.total, opened.kinds) == (260, {"app": 200, "website": 60})
    assert (cleared.total, cleared.kinds) == (272, {"app": 207, "server": 5, "website": 60})
    assert list(cleared.kinds) == ["app", "server", "website"]


def test_of_two_equal_peaks_the_first_one_is_named() -> None:
    *_, cleared = run(windows(1000, 1500, 1500, 10, 10))
    assert (cleared.peak, events.instant(cleared.peak_ms)) == (1500, "2025-05-24T16:02Z")


@pytest.mark.parametrize(("rule", "silent"), [("incomplete", False), ("silent", True)])
def test_is_held_until_the_whole_window_is_complete_again(rule: str, silent: bool) -> None:
    bins = [
        seen(1, 1000, raised=True),
        seen(2, 600),
        seen(3, 0, whole_bins=0, silent=silent),
        *(seen(minute, 5, whole_bins=minute - 3) for minute in range(4, 25)),
    ]
    documents = run(bins)
    assert transitions(documents) == [
        ("opened", "16:01"),
        ("held", "16:03"),
        ("resumed", "16:18"),
        ("cleared", "16:19"),
    ]
    assert [document.held for document in documents] == [False, True, False, False]
    assert documents[1].decision.rule == rule
    assert documents[1].state == "open"


def test_is_held_from_the_start_if_bins_before_the_opening_one_are_not_whole() -> None:
    documents = run(
        [seen(1, 1000, raised=True, whole_bins=13), *(seen(minute, 5, whole_bins=12 + minute) for minute in (2, 3, 4))]
    )
    assert transitions(documents) == [
        ("opened", "16:01"),
        ("held", "16:01"),
        ("resumed", "16:03"),
        ("cleared", "16:04"),
    ]
    assert documents[1].reason == (
        "reports of the last 15 minutes may be missing; cannot clear before all its bins are complete"
    )


def test_a_held_incident_grows() -> None:
    documents = run([seen(1, 1000, raised=True, whole_bins=0), seen(2, 2000, whole_bins=0)])
    assert transitions(documents) == [("opened", "16:01"), ("held", "16:01"), ("grew", "16:02")]
    assert documents[-1].held


@pytest.mark.parametrize("loss", ["sensor-lost", "gap"])
def test_becomes_unknown_when_nothing_can_be_known(loss: Loss) -> None:
    bins = [
        seen(1, 1000, raised=True),
        seen(2, 0, count=0, whole_bins=0, silent=True),
        seen(3, 0, count=0, whole_bins=0, silent=True, lost=loss),
        seen(4, 0),
    ]
    documents = run(bins)
    assert transitions(documents) == [("opened", "16:01"), ("held", "16:02"), ("unknown", "16:03")]
    assert documents[-1].decision.rule == loss
    assert documents[-1].closed_ms == documents[-1].at_ms
    assert documents[-1].below_since_ms is None


def test_nothing_opens_while_the_sensor_is_lost() -> None:
    assert run([seen(1, 1000, raised=True, lost="sensor-lost")]) == []


def test_an_incident_that_a_rebuilt_state_does_not_know_becomes_unknown() -> None:
    (opened,) = run(windows(1000))
    ended = superseded(opened, START_MS + 9 * MINUTE_MS)
    assert (ended.id, ended.sequence, ended.transition, ended.state) == (opened.id, 2, "unknown", "unknown")
    assert ended.closed_ms == ended.at_ms == START_MS + 9 * MINUTE_MS
    assert ended.decision == msgspec.structs.replace(opened.decision, rule="superseded")
    assert (ended.peak, ended.total) == (opened.peak, opened.total)


def test_numbers_of_a_decision_have_four_significant_digits_and_none_where_there_is_no_number() -> None:
    (opened,) = run([seen(1, 1000, raised=True, expected=12_345.678, clear_level=0.000123456)])
    assert opened.decision.expected == 12_350
    assert opened.decision.clear_level == 0.0001235
    (opened,) = run([seen(1, 1000, raised=True, expected=math.nan)])
    assert opened.decision.expected is None
    assert opened.reason.endswith("raised by ratio, score 97.62, threshold 5")


def test_table_leaves_cleared_and_unknown_incidents_alone() -> None:
    assert {state for state, _ in TABLE} == {"idle", "open"}
    assert {state for state, _ in TABLE.values()} == {"open", "cleared", "unknown"}
