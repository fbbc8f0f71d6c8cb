"""Given the reports of a scenario, these incidents. All times are event times, in UTC.

The golden incident logs beside this file are what `Replay` states of every scenario, byte for byte; after a change that
is meant to change them, `pytest tests/scenarios --update-golden` writes them anew. Of the largest scenarios, of two
million reports each, the bins are judged without making the reports.
"""

import pytest

from streams.events import instant
from streams.names import region_name
from streams.replay import FLUSH_RECORDS
from streams.scenarios import load, names
from tests.support.scenarioruns import GOLDEN, at, deployment, golden, judged, run

LARGE = ["att-2024-02-22", "meta-2024-03-05"]
#: Another place and reporter for every arrival, other partitions, other flushes; the dear scenarios once.
CHEAP = ["dips-30", "dips-90", "prank-burst", "silent-sensor"]
VARIATIONS = [
    *((name, 1, 4, 1, FLUSH_RECORDS) for name in CHEAP),
    *((name, 0, 1, 1, FLUSH_RECORDS) for name in CHEAP),
    *((name, 0, 7, 3, FLUSH_RECORDS) for name in CHEAP),
    *((name, 0, 4, 1, 250) for name in CHEAP),
    ("cloudflare-2025-11-18", 2, 7, 1, 3000),
    ("ordinary-day", 2, 1, 3, 20_000),
    ("three-waves", 2, 7, 3, 3000),
    ("x-2025-05-24", 2, 7, 3, 1000),
]


# All scenarios


@pytest.mark.parametrize("name", names())
def test_the_incident_log_is_the_golden_one(name: str, request: pytest.FixtureRequest) -> None:
    path = GOLDEN / f"{name}.jsonl"
    told = judged(name) if name in LARGE else run(name)
    if request.config.getoption("--update-golden"):
        path.write_bytes(told.log)
    assert told.log == path.read_bytes()


@pytest.mark.parametrize("name", ["dips-30", "dips-90"])
def test_the_bins_of_a_scenario_lead_to_the_same_as_its_reports(name: str) -> None:
    assert judged(name).log == run(name).log


@pytest.mark.parametrize(("name", "seed", "sources", "counts_partitions", "flush_records"), VARIATIONS)
def test_the_incident_log_depends_on_nothing_but_the_reports_of_each_minute(
    name: str, seed: int, sources: int, counts_partitions: int, flush_records: int
) -> None:
    assert run(name, seed, sources, counts_partitions, flush_records).log == run(name).log


@pytest.mark.parametrize("name", names())
def test_every_decision_can_be_checked_by_hand(name: str) -> None:
    for incident in golden(name).incidents:
        decision = incident.decision
        match decision.rule:
            case "raise":
                assert decision.window >= (decision.raise_above or 1)
                assert (decision.score or 0) >= (decision.score_threshold or 0) > 0
            case "clear_below":
                assert decision.window < max(
                    decision.clear_below or 0, 1.3 * (decision.expected or 0) * decision.window_bins
                )
            case "clear_level":
                assert decision.window < (decision.clear_level or 0) * decision.window_bins


# X, 24 May 2025: the founding case

X = "x-2025-05-24"


def test_x_is_an_incident_in_the_united_states_from_its_third_minute_to_the_second_window_below_650() -> None:
    opened, *_, cleared = run(X).of("US")
    assert opened.id == "x.US.20250524T1202Z"
    assert (opened.transition, instant(opened.at_ms)) == ("opened", "2025-05-24T12:03Z")
    assert (cleared.transition, instant(cleared.at_ms)) == ("cleared", "2025-05-24T16:10Z")
    assert instant(cleared.below_since_ms or 0) == "2025-05-24T16:09Z"
    assert (cleared.peak, instant(cleared.peak_ms)) == (25_800, "2025-05-24T12:51Z")
    assert run(X).level("x", "US", "15:29")[0] == 690


def test_x_grows_with_each_doubling() -> None:
    grown = [incident for incident in run(X).of("US") if incident.transition == "grew"]
    assert [(incident.peak, instant(incident.at_ms)[-6:-1]) for incident in grown] == [
        (2999, "12:05"),
        (7381, "12:08"),
        (15_456, "12:13"),
    ]


def test_x_is_one_outage_with_one_incident_in_each_region() -> None:
    assert sorted(incident.region for incident in run(X).opened) == [
        *("AU", "CA", "DE", "ES", "FR", "GB", "IN", "US", "_all"),
    ]
    (outage,) = run(X).last_outages
    assert outage.state == "cleared"
    assert {region.region: len(region.incidents) for region in outage.regions} == dict.fromkeys(
        ["US", "GB", "DE", "IN", "CA", "FR", "ES", "AU", "_all"], 1
    )


def test_the_table_of_x_holds_what_the_press_printed() -> None:
    (outage,) = run(X).last_outages
    assert outage.number_of_reports == 25_800
    assert [region_name(code, deployment(load(X))) for code in outage.most_affected] == [
        "United States",
        "United Kingdom",
        "Germany",
    ]
    assert outage.peak_to_clear_ms == (3 * 60 + 18) * 60_000
    assert outage.time_to_restore_ms == (4 * 60 + 8) * 60_000
    assert {kind: round(100 * share) for kind, share in outage.kinds.items()} == {
        "app": 69,
        "website": 23,
        "server-connection": 8,
    }


# What raises nothing


def test_an_ordinary_day_raises_nothing_though_500_reports_a_minute_are_far_above_the_limit() -> None:
    assert run("ordinary-day").log == b""
    levels = [
        level
        for levels in run("ordinary-day").levels
        if levels.service == "x"
        for level in levels.regions
        if level.region == "US"
    ]
    assert len(levels) == 24 * 60
    assert {level.state for level in levels} == {"normal"}
    assert sum(level.window > 750 for level in levels) > 20 * 60


def test_a_burst_of_800_reports_in_one_minute_raises_nothing() -> None:
    assert run("prank-burst").log == b""
    for clock in ("14:37", "14:51"):
        window, state = run("prank-burst").level("x", "US", clock)
        assert window > 800
        assert state == "normal"


# The silent sensor: no report of anything arrives from 13:00 to 13:45 while X goes on failing


def test_silence_clears_nothing_but_holds_and_ends_in_unknown() -> None:
    silent = [each for each in run("silent-sensor").incidents if "13:00" <= instant(each.at_ms)[-6:-1] <= "13:45"]
    for region in ("US", "GB"):
        assert at([incident for incident in silent if incident.region == region]) == [
            ("held", "13:02"),
            ("unknown", "13:16"),
        ]
    assert [incident.decision.rule for incident in silent] == ["silent"] * 3 + ["sensor-lost"] * 3


def test_everything_says_that_the_sensor_is_lost() -> None:
    clocks = ("12:59", "13:01", "13:44", "13:45")
    assert [run("silent-sensor").level("mail", "GB", clock)[1] for clock in clocks] == [
        "normal",
        "sensor-lost",
        "sensor-lost",
        "normal",
    ]
    assert run("silent-sensor").level("x", "US", "13:20")[1] == "sensor-lost"


def test_when_reports_return_a_new_incident_of_the_same_outage_opens_held_until_its_window_is_complete() -> None:
    united_states = [each for each in run("silent-sensor").of("US") if instant(each.at_ms)[-6:-1] > "13:45"]
    assert {incident.id for incident in united_states} == {"x.US.20251118T1346Z"}
    assert at(united_states) == [
        ("opened", "13:47"),
        ("held", "13:47"),
        ("grew", "13:50"),
        ("grew", "13:56"),
        ("resumed", "14:00"),
        ("cleared", "15:21"),
    ]
    (outage,) = run("silent-sensor").last_outages
    assert [len(region.incidents) for region in outage.regions] == [2, 2, 2]
    assert (outage.state, outage.number_of_reports) == ("cleared", 12_000)


# Outages that come in waves


def test_three_waves_with_troughs_of_4000_are_one_outage_with_one_incident_in_each_region() -> None:
    assert sorted(incident.region for incident in run("three-waves").opened) == ["DE", "GB", "US", "_all"]
    (outage,) = run("three-waves").last_outages
    assert (outage.state, outage.number_of_reports) == ("cleared", 40_600)


def test_a_dip_of_30_minutes_below_650_makes_two_incidents_of_one_outage() -> None:
    assert len(run("dips-30").opened) == 2
    (outage,) = run("dips-30").last_outages
    assert outage.state == "cleared"
    assert len(outage.regions[0].incidents) == 2


def test_a_dip_of_90_minutes_below_650_makes_two_outages() -> None:
    assert len(run("dips-90").opened) == 2
    assert [(outage.state, len(outage.regions[0].incidents)) for outage in run("dips-90").last_outages] == [
        ("cleared", 1),
        ("cleared", 1),
    ]
