"""Given what the press wrote of AT&T, Meta and Cloudflare, these incidents. All times are event times, in UTC.

What is read from `golden` is what a replay states: `test_scenarios.py` sees to that.
"""

from collections.abc import Iterator
from functools import cache

import pytest

from streams.events import MINUTE_MS, Incident, instant
from streams.names import region_name
from streams.reportlog import LogRecord
from streams.scenarios import load, reports
from streams.scenarios.scenario import time_ms
from tests.support.scenarioruns import Run, at, deployment, golden, replayed, run

ATT = "att-2024-02-22"
META = "meta-2024-03-05"
CLOUDFLARE = "cloudflare-2025-11-18"


# AT&T, 22 February 2024, and the neighbours whose users could not call its users


def test_att_opens_within_five_minutes_of_its_start_and_clears_when_it_falls_below_3000() -> None:
    opened, *_, cleared = golden(ATT).of("US", "att")
    assert at([opened, cleared]) == [("opened", "08:49"), ("cleared", "20:31")]
    assert instant(cleared.below_since_ms or 0) == "2024-02-22T20:30Z"


def test_att_peaks_at_no_less_than_73000_reports_and_no_more_than_75000_soon_after_it_passed_71000() -> None:
    *_, cleared = golden(ATT).of("US", "att")
    assert 73_000 <= cleared.peak <= 75_000
    assert instant(cleared.peak_ms) == "2024-02-22T13:15Z"
    windows = load(ATT).windows("att", "US")
    assert [windows[cleared.peak_ms - minutes * MINUTE_MS] for minutes in (255, 75)] == [32_000, 50_000]
    assert windows[cleared.peak_ms - 20 * MINUTE_MS] >= 71_000


def test_att_is_one_incident_although_reports_fall_by_half_while_most_people_sleep() -> None:
    windows = load(ATT).windows("att", "US")
    night = [count for end_ms, count in windows.items() if "09:00" < instant(end_ms)[-6:-1] < "12:00"]
    assert min(night) < 32_000 / 2
    assert [incident.transition for incident in golden(ATT).of("US", "att")].count("opened") == 1


def test_each_network_has_an_outage_of_its_own() -> None:
    outages = golden(ATT).last_outages
    assert {outage.service: outage.state for outage in outages} == dict.fromkeys(
        ["att", "verizon", "t-mobile"], "cleared"
    )
    assert len(outages) == 3


def test_what_spills_over_to_the_neighbours_is_small_later_shorter_and_within_the_outage_of_att() -> None:
    att = golden(ATT).outage("att")
    for service, reports_ in {"verizon": 3000, "t-mobile": 1100}.items():
        neighbour = golden(ATT).outage(service)
        assert neighbour.number_of_reports == reports_ < att.number_of_reports / 20
        assert neighbour.total < att.total / 50
        assert (neighbour.time_to_restore_ms or 0) < (att.time_to_restore_ms or 0) / 2
        assert att.opened_ms < neighbour.opened_ms < (neighbour.restored_ms or 0) < (att.restored_ms or 0)


def test_the_table_of_att_holds_what_the_press_printed() -> None:
    att = golden(ATT).outage("att")
    assert (att.number_of_reports, att.most_affected) == (74_000, ["US"])
    assert att.time_to_restore_ms == (11 * 60 + 42) * MINUTE_MS


# Meta, 5 March 2024: two services, one cause


def test_meta_is_an_outage_of_each_of_its_two_services_with_one_incident_in_each_region() -> None:
    assert {outage.service: outage.number_of_reports for outage in golden(META).last_outages} == {
        "facebook": 550_000,
        "instagram": 92_000,
    }
    assert sorted(incident.id for incident in golden(META).opened) == [
        "facebook.DE.20240305T1502Z",
        "facebook.GB.20240305T1502Z",
        "facebook.US.20240305T1504Z",
        "facebook._all.20240305T1501Z",
        "instagram.GB.20240305T1502Z",
        "instagram.US.20240305T1508Z",
        "instagram._all.20240305T1502Z",
    ]


def test_facebook_is_under_80000_an_hour_and_a_half_after_its_peak_and_still_an_incident() -> None:
    facebook = golden(META).outage("facebook")
    after_ms = facebook.peak_ms + 90 * MINUTE_MS
    assert load(META).windows("facebook", "US")[after_ms] < 80_000
    *_, cleared = golden(META).of("US", "facebook")
    assert cleared.transition == "cleared"
    assert cleared.at_ms > after_ms


def test_the_outages_of_meta_begin_together_and_rank_the_united_states_first() -> None:
    facebook, instagram = golden(META).outage("facebook"), golden(META).outage("instagram")
    assert abs(facebook.opened_ms - instagram.opened_ms) <= 5 * MINUTE_MS
    assert abs(facebook.peak_ms - instagram.peak_ms) <= 5 * MINUTE_MS
    settings = deployment(load(META))
    assert [region_name(code, settings) for code in facebook.most_affected] == [
        "United States",
        "United Kingdom",
        "Germany",
    ]


# Cloudflare, 18 November 2025: while all fails, no report of anything arrives, 11:38 to 11:48 and 12:05 to 13:10

SHORT, LONG = [(time_ms(silence.begins), time_ms(silence.ends)) for silence in load(CLOUDFLARE).file.silences]
FAILING = [("cloudflare", "US"), ("cloudflare", "GB"), ("x", "US"), ("x", "GB"), ("chatgpt", "US")]
FAILING += [("cloudflare", "_all"), ("x", "_all")]


def without_any_record(log: Iterator[LogRecord]) -> Iterator[LogRecord]:
    """Leave out the ticks of the silences too: not only the intake is dark, nothing at all is written."""
    for record in log:
        if not any(begins_ms <= record.timestamp_ms < ends_ms for begins_ms, ends_ms in (SHORT, LONG)):
            yield record


@cache
def cloudflare(what: str) -> Run:
    if what == "ticks go on":
        return run(CLOUDFLARE)
    scenario = load(CLOUDFLARE)
    return replayed(scenario, without_any_record(reports(scenario)), deployment(scenario))


either = pytest.mark.parametrize("dark", ["ticks go on", "nothing at all is written"])


def between(told: Run, service: str, region: str, first_ms: int, last_ms: int) -> list[Incident]:
    return [each for each in told.of(region, service) if first_ms < each.at_ms <= last_ms]


@either
def test_nothing_is_cleared_by_silence(dark: str) -> None:
    cleared = [each for each in cloudflare(dark).incidents if each.transition == "cleared"]
    assert len(cleared) == len(FAILING)
    # Nor by what is left of a silence in a window.
    whole_again_ms = LONG[1] + 15 * MINUTE_MS
    assert min(each.at_ms for each in cleared) > whole_again_ms


@either
def test_a_short_silence_holds_every_incident_until_its_window_is_whole_again(dark: str) -> None:
    for service, region in FAILING:
        told = between(cloudflare(dark), service, region, SHORT[0], LONG[0])
        first, *grown, last = told
        assert [(each.transition, each.held) for each in (first, last)] == [("held", True), ("resumed", False)]
        assert {each.transition for each in grown} <= {"grew"}
        assert last.at_ms == SHORT[1] + 15 * MINUTE_MS


@either
def test_a_long_silence_makes_every_incident_unknown_after_a_quarter_of_an_hour(dark: str) -> None:
    for service, region in FAILING:
        told = between(cloudflare(dark), service, region, LONG[0], LONG[1])
        assert [each.transition for each in told] == ["held", "unknown"]
        assert 15 * MINUTE_MS <= told[1].at_ms - LONG[0] <= 17 * MINUTE_MS


def test_a_silent_intake_is_told_from_one_that_is_not_there_at_all() -> None:
    for dark, rules in {
        "ticks go on": ["silent", "sensor-lost"],
        "nothing at all is written": ["incomplete", "gap"],
    }.items():
        told = between(cloudflare(dark), "x", "US", LONG[0], LONG[1])
        assert [each.decision.rule for each in told] == rules


@either
def test_when_reports_return_every_incident_opens_again_in_the_same_outage_and_clears_when_the_service_is_back(
    dark: str,
) -> None:
    for service, region in FAILING:
        told = between(cloudflare(dark), service, region, LONG[1], load(CLOUDFLARE).end_ms)
        transitions = [each.transition for each in told if each.transition != "grew"]
        assert transitions == ["opened", "held", "resumed", "cleared"]
        # evidence needs two bins; the limit of 500 for chatgpt is reached with the third
        assert told[0].at_ms == LONG[1] + (3 if service == "chatgpt" else 2) * MINUTE_MS
    for outage in cloudflare(dark).last_outages:
        assert outage.state == "cleared"
        assert {len(region.incidents) for region in outage.regions} == {2}
    assert len(cloudflare(dark).last_outages) == 3


@either
def test_cloudflare_is_over_at_1714_where_a_limit_says_so_and_once_reports_are_usual_elsewhere(dark: str) -> None:
    told = cloudflare(dark)
    ends = {each.region: each.below_since_ms for each in told.incidents if each.service == "cloudflare"}
    assert instant(ends["US"] or 0) == "2025-11-18T17:14Z"
    assert instant(ends["GB"] or 0) == instant(told.outage("cloudflare").restored_ms or 0) == "2025-11-18T17:38Z"
    assert told.outage("cloudflare").time_to_restore_ms == (6 * 60 + 16) * MINUTE_MS
    for service in ("x", "chatgpt"):
        assert (told.outage(service).restored_ms or 0) < (told.outage("cloudflare").restored_ms or 0)


@either
def test_a_service_that_goes_on_working_has_no_incident(dark: str) -> None:
    assert "mail" not in {incident.service for incident in cloudflare(dark).incidents}
    states = [cloudflare(dark).level("mail", "US", clock)[1] for clock in ("11:30", "12:30", "13:15")]
    assert states == ["normal", "sensor-lost" if dark == "ticks go on" else "unobserved", "normal"]
