"""A whole service is a key beside its regions: it sees what is spread too thinly for any of them."""

import numpy as np
import pytest

from streams.detection import Detection
from streams.events import WHOLE_SERVICE, Incident, Outage, decode
from streams.replay import backfill
from streams.settings import Policy, Region, Settings
from streams.snapshots import complete
from tests.support.judgedbins import (
    HOUR_MS,
    LEARNING,
    START_MS,
    US,
    Counts,
    bin_of,
    deployment,
    facts,
    found,
    incidents,
    judge,
    levels,
)

DE, WHOLE = ("x", "DE"), ("x", WHOLE_SERVICE)
#: A dozen regions in which hardly anybody reports.
THIN = {("x", f"R{number:02}"): 2 for number in range(12)}


def hours(detection: Detection, first: int, last: int, counts: Counts) -> list[str]:
    """Judge hours in which these reports come; return the ids and transitions of incidents."""
    judgements = judge(detection, [bin_of(number, counts, bin_ms=HOUR_MS) for number in range(first, last)])
    documents = [decode(fact.value, Incident) for fact in facts(judgements, "incidents")]
    return [f"{document.region} {document.transition}" for document in documents]


def test_a_service_with_two_regions_is_a_key_itself_and_counts_all_its_reports() -> None:
    detection = Detection(LEARNING, {})
    assert WHOLE not in levels(detection.judge(bin_of(0, {US: 8, ("mail", "US"): 3}, bin_ms=HOUR_MS)))
    stated = levels(detection.judge(bin_of(1, {US: 7, DE: 5, ("mail", "US"): 3}, bin_ms=HOUR_MS)))
    assert (stated[WHOLE].count, stated[WHOLE].window) == (12, 12)
    assert ("mail", WHOLE_SERVICE) not in stated
    assert detection.keys == 5, "with the sensor"


def test_reports_of_regions_that_are_not_born_yet_are_the_services_all_the_same() -> None:
    detection = Detection(deployment(3600, detector="ratio", born_reports=5), {})
    detection.judge(bin_of(0, {US: 8, DE: 8}, bin_ms=HOUR_MS))
    stated = levels(detection.judge(bin_of(1, {US: 8, ("x", "FR"): 4}, bin_ms=HOUR_MS)))
    assert stated[WHOLE].count == 12
    assert ("x", "FR") not in stated


def test_an_outage_spread_thinly_over_many_regions_is_seen() -> None:
    detection = Detection(deployment(3600, detector="ratio", ratio={"above": 2.5, "min_excess": 10}), {})
    assert hours(detection, 0, 30, THIN) == []
    assert hours(detection, 30, 36, dict.fromkeys(THIN, 6)) == ["_all opened"]


def test_where_regions_are_affected_the_whole_service_is_not_counted_twice() -> None:
    detection = Detection(LEARNING, {})
    hours(detection, 0, 30, {US: 8, DE: 8})
    judgements = judge(detection, [bin_of(number, {US: 90, DE: 8}, bin_ms=HOUR_MS) for number in range(30, 33)])
    assert [transition for transition, _ in incidents(judgements)] == ["opened", "opened"]
    (outage,) = [decode(fact.value, Outage) for fact in facts(judgements, "outages")]
    assert [region.region for region in outage.regions] == ["US", WHOLE_SERVICE]
    assert (outage.number_of_reports, outage.most_affected, outage.total) == (270, ["US"], 90)


def test_an_absolute_limit_is_of_one_region() -> None:
    detection = Detection(deployment(3600), {})
    assert hours(detection, 0, 10, dict.fromkeys(THIN, 9)) == []
    assert WHOLE not in levels(detection.judge(bin_of(10, THIN, bin_ms=HOUR_MS)))


def test_its_incident_holds_the_kinds_of_all_regions() -> None:
    detection = Detection(LEARNING, {})
    hours(detection, 0, 30, THIN)
    judgements = judge(detection, [bin_of(30 + n, dict.fromkeys(THIN, 11), bin_ms=HOUR_MS) for n in range(3)])
    (opened,) = [
        each
        for each in (decode(fact.value, Incident) for fact in facts(judgements, "incidents"))
        if each.region == WHOLE_SERVICE
    ]
    assert (opened.id, opened.total, opened.kinds) == ("x._all.20250525T2000Z", 132, {"app": 132})


def test_it_is_forgotten_with_all_but_one_of_its_regions() -> None:
    detection = Detection(deployment(3600, detector="ratio", forget_days=1, snapshot_every_bins=4), {})
    hours(detection, 0, 5, {US: 8, DE: 8})
    hours(detection, 5, 40, {US: 8})
    assert sorted(levels(detection.judge(bin_of(40, {US: 8}, bin_ms=HOUR_MS)))) == [US]
    assert WHOLE in levels(detection.judge(bin_of(41, {US: 8, DE: 1}, bin_ms=HOUR_MS)))


def test_it_is_snapshotted_and_goes_on_like_any_region() -> None:
    settings = deployment(3600, detector="ratio", snapshot_every_bins=1)
    random = np.random.default_rng(2)
    bins = [
        bin_of(number, {US: int(random.poisson(8)), DE: int(random.poisson(5))}, bin_ms=HOUR_MS) for number in range(40)
    ]
    truth = judge(Detection(settings, {}), bins)
    restarted = judge(Detection(settings, found(truth[:31])), bins[31:])
    assert [judgement.facts for judgement in restarted] == [judgement.facts for judgement in truth[31:]]
    assert [judgement.snapshots for judgement in restarted] == [judgement.snapshots for judgement in truth[31:]]


def test_it_is_there_after_a_backfill() -> None:
    records = backfill(LEARNING, [(START_MS + number * HOUR_MS, {US: 8, DE: 5}) for number in range(-30, 0)])
    detection = Detection(LEARNING, complete((packed.key, packed.value) for packed in records[0]))
    assert levels(detection.judge(bin_of(0, {US: 8}, bin_ms=HOUR_MS)))[WHOLE].expected == 13


def test_once_an_absolute_limit_is_the_detector_it_is_dropped() -> None:
    before = deployment(3600, detector="ratio", snapshot_every_bins=1)
    detection = Detection(before, {})
    hours(detection, 0, 3, {US: 8, DE: 8})
    limited = detection.under(deployment(3600, snapshot_every_bins=1))
    limited.judge(bin_of(3, {US: 8, DE: 8}, bin_ms=HOUR_MS))
    assert sorted(levels(limited.judge(bin_of(4, {US: 8, DE: 8}, bin_ms=HOUR_MS)))) == [DE, US]


@pytest.mark.parametrize(
    ("policy", "opened"),
    [
        ([], ["_all opened"]),
        ([Policy(region="_all", enabled=False)], []),
        ([Policy(raise_above=100_000)], ["_all opened"]),
        ([Policy(region="_all", raise_above=100_000)], []),
    ],
)
def test_policies_that_name_it_apply_to_it(policy: list[Policy], opened: list[str]) -> None:
    settings = deployment(3600, detector="ratio", ratio={"above": 2.5, "min_excess": 10})
    detection = Detection(settings.model_copy(update={"policy": policy}), {})
    hours(detection, 0, 30, THIN)
    assert hours(detection, 30, 34, dict.fromkeys(THIN, 6)) == opened


def test_its_clock_is_of_the_settings_and_may_be_set() -> None:
    Settings(regions={WHOLE_SERVICE: Region(name="everywhere", timezone="America/New_York")})
