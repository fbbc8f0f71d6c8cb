"""Given these complete bins of one counts partition, these facts."""

import pytest

from streams.bins import Bin
from streams.detection import Detection
from streams.events import SENSOR, Incident, Level, Levels, Outage, decode
from streams.settings import Policy
from tests.support.judgedbins import (
    HOUR_MS,
    HOURLY,
    LEARNING,
    MINUTE_MS,
    START_MS,
    US,
    bin_of,
    deployment,
    facts,
    found,
    incidents,
    judge,
    levels,
    of_us,
)

# Facts


def test_an_incident_opens_and_clears_and_its_outage_with_it() -> None:
    judgements = judge(Detection(deployment(), {}), of_us([5, 40, 30, 20, 5, 4, 3, 2, 1]))
    assert incidents(judgements) == [("opened", "12:04"), ("cleared", "12:07")]
    keys = [fact.key for fact in facts(judgements, "incidents") + facts(judgements, "outages")]
    assert keys == [b"x.US.20250524T1203Z/1", b"x.US.20250524T1203Z/2", b"x.20250524T1203Z/1", b"x.20250524T1203Z/2"]
    outage = decode(facts(judgements, "outages")[-1].value, Outage)
    assert (outage.state, outage.number_of_reports) == ("cleared", 90)


def test_facts_come_in_the_order_incidents_outages_levels_and_by_service_and_region() -> None:
    counts = {("x", "US"): 20, ("mail", "US"): 20, ("x", "DE"): 20}
    *_, opening = judge(Detection(deployment(), {}), [bin_of(number, counts) for number in range(3)])
    assert [(fact.topic, fact.service, fact.key.decode()) for fact in opening.facts] == [
        ("incidents", "mail", "mail.US.20250524T1202Z/1"),
        ("outages", "mail", "mail.20250524T1202Z/1"),
        ("incidents", "x", "x.DE.20250524T1202Z/1"),
        ("incidents", "x", "x.US.20250524T1202Z/1"),
        ("outages", "x", "x.20250524T1202Z/1"),
        ("levels", "mail", "mail"),
        ("levels", "x", "x"),
    ]


def test_an_outage_holds_what_its_other_incidents_have_come_to() -> None:
    us, de = ("x", "US"), ("x", "DE")
    bins = [bin_of(number, {us: 20}) for number in range(3)]
    bins += [bin_of(number, {us: 21, de: 30}) for number in range(3, 6)]
    judgements = judge(Detection(deployment(), {}), bins)
    outage = decode(facts(judgements, "outages")[-1].value, Outage)
    assert {region.region: (region.peak, region.total) for region in outage.regions} == {
        "DE": (90, 30),
        "US": (63, 20 + 3 * 21),
    }


def test_levels_state_every_region_of_a_service_in_every_bin() -> None:
    detection = Detection(deployment(), {})
    judge(detection, of_us([1, 2, 3, 4]))
    judgement = detection.judge(bin_of(4, {}))
    (value,) = facts([judgement], "levels")
    stated = decode(value.value, Levels)
    assert (stated.service, stated.bin_ms) == ("x", START_MS + 4 * MINUTE_MS)
    assert stated.regions == [
        Level(
            region="US",
            count=0,
            window=7,
            expected=None,
            score=2.0,
            score_threshold=10.0,
            raise_above=None,
            clear_below=None,
            state="normal",
        )
    ]


def test_the_sensor_has_no_levels_and_opens_no_incident() -> None:
    judgements = judge(Detection(deployment(), {}), [bin_of(number, {}, arrived=1000) for number in range(5)])
    assert [fact for judgement in judgements for fact in judgement.facts] == []


# Windows


def test_a_window_holds_nothing_of_bins_that_were_skipped() -> None:
    detection = Detection(deployment(), {})
    judge(detection, of_us([1, 10, 100]))
    assert levels(detection.judge(bin_of(4, {US: 1000})))[US].window == 1100, "bins 2 and 4; 3 was skipped"
    assert levels(detection.judge(bin_of(7, {US: 5})))[US].window == 5
    assert levels(detection.judge(bin_of(1007, {US: 6})))[US].window == 6


def test_the_window_of_a_restored_service_holds_nothing_of_bins_skipped_since_its_snapshot() -> None:
    first = Detection(deployment(snapshot_every_bins=1), {})
    judgements = judge(first, of_us([1, 10, 100]))
    for next_bin, window in ((3, 1000 + 110), (4, 1000 + 100), (5, 1000), (9, 1000)):
        restored = Detection(deployment(snapshot_every_bins=1), found(judgements))
        assert levels(restored.judge(bin_of(next_bin, {US: 1000})))[US].window == window


# What is missing


def test_a_bin_that_not_every_source_covers_may_raise_but_does_not_clear() -> None:
    detection = Detection(deployment(), {})
    opened = judge(detection, of_us([20, 20, 20], covered=3))
    assert incidents(opened) == [("opened", "12:03"), ("held", "12:03")]
    assert incidents(judge(detection, of_us([0, 0, 0, 0], first=3, covered=3))) == []
    assert incidents(judge(detection, of_us([0, 0, 0], first=7))) == [("resumed", "12:10"), ("cleared", "12:10")]


def test_a_bin_that_no_source_covers_does_not_raise_though_the_detector_holds_on_to_what_it_has_seen() -> None:
    limited = deployment().model_copy(update={"policy": [Policy(raise_above=70)]})
    detection = Detection(limited, {})
    judge(detection, of_us([20, 20, 20]))
    judgement = detection.judge(bin_of(3, {US: 40}, covered=0))
    assert levels(judgement)[US].window == 80
    assert incidents([judgement]) == []
    assert incidents([detection.judge(bin_of(4, {US: 40}))])[0] == ("opened", "12:05")


def test_a_bin_that_no_source_covers_neither_raises_nor_clears() -> None:
    detection = Detection(deployment(unknown_after_minutes=60), {})
    assert incidents(judge(detection, of_us([50, 50, 50, 50], covered=0))) == []
    assert incidents(judge(detection, of_us([50, 50, 50], first=4))) == [("opened", "12:07")]
    blind = judge(detection, of_us([0, 0, 0, 0], first=7, covered=0))
    assert incidents(blind) == [("held", "12:08")]
    assert levels(blind[-1])[US].state == "unobserved"


@pytest.mark.parametrize(("covered", "taught"), [(4, True), (3, False), (0, False)])
def test_only_a_bin_that_every_source_covers_teaches(covered: int, taught: bool) -> None:
    detection = Detection(LEARNING, {})
    judge(detection, of_us([8] * 23, bin_ms=HOUR_MS))
    detection.judge(bin_of(23, {US: 8}, bin_ms=HOUR_MS, covered=covered))
    state = levels(detection.judge(bin_of(24, {US: 8}, bin_ms=HOUR_MS)))[US].state
    assert state == ("normal" if taught else "learning")


def test_silence_where_many_are_expected_holds_an_incident_and_ends_it_as_unknown() -> None:
    detection = Detection(LEARNING, {})
    everywhere = {US: 8, ("mail", "US"): 30}
    judge(detection, [bin_of(number, everywhere, bin_ms=HOUR_MS) for number in range(25)])
    raised = [bin_of(number, everywhere | {US: 80}, bin_ms=HOUR_MS) for number in range(25, 28)]
    assert [transition for transition, _ in incidents(judge(detection, raised))] == ["opened"]
    silent = judge(detection, [bin_of(number, {}, bin_ms=HOUR_MS) for number in range(28, 31)])
    assert [transition for transition, _ in incidents(silent)] == ["held", "unknown"]
    assert [levels(judgement)["mail", "US"].state for judgement in silent] == ["sensor-lost"] * 3
    back = detection.judge(bin_of(31, everywhere, bin_ms=HOUR_MS))
    assert levels(back)[US].state == "normal"
    assert levels(back)[US].expected == 8, "silence has taught nothing"


def test_a_skip_that_is_too_long_makes_an_open_incident_unknown() -> None:
    detection = Detection(deployment(unknown_after_minutes=5), {})
    judge(detection, of_us([20, 20, 20]))
    assert incidents(judge(detection, of_us([20, 20, 20], first=9))) == [("unknown", "12:10"), ("opened", "12:12")]


def test_the_states_of_a_level() -> None:
    detection = Detection(LEARNING, {})
    assert levels(detection.judge(bin_of(0, {US: 8}, bin_ms=HOUR_MS)))[US].state == "learning"
    judge(detection, of_us([8] * 23, first=1, bin_ms=HOUR_MS))
    assert levels(detection.judge(bin_of(24, {US: 8}, bin_ms=HOUR_MS)))[US].state == "normal"
    *_, opened = judge(detection, of_us([80, 80, 80], first=25, bin_ms=HOUR_MS))
    assert (levels(opened)[US].state, levels(opened)[US].incident) == ("open", "x.US.20250525T1500Z")
    assert levels(detection.judge(bin_of(28, {US: 80}, bin_ms=HOUR_MS, covered=1)))[US].state == "held"
    assert levels(detection.judge(bin_of(29, {US: 80}, bin_ms=HOUR_MS, covered=0)))[US].state == "unobserved"


# Cold start

COLD = LEARNING.model_copy(update={"policy": [Policy(raise_above=90, min_open_minutes=0)]})


@pytest.mark.parametrize(
    ("counts", "opened"),
    [
        ([30, 30, 30], ["15:00"]),
        ([0, 29, 31, 31, 0, 0], []),
        ([500, 0, 0, 0, 0], []),
        ([0, 40, 0, 40, 40, 0], []),
        ([50, 50, 0, 50, 50], []),
    ],
)
def test_while_a_key_is_learning_a_policys_limit_raises_where_three_of_the_last_bins_have_their_share(
    counts: list[int], opened: list[str]
) -> None:
    judgements = judge(Detection(COLD, {}), of_us(counts, bin_ms=HOUR_MS))
    assert [at for transition, at in incidents(judgements) if transition == "opened"] == opened


def test_three_of_the_last_five_bins_where_a_window_holds_so_many() -> None:
    wide = COLD.model_copy(update={"count": COLD.count.model_copy(update={"window_bins": 5})})
    opened = judge(Detection(wide, {}), of_us([18, 0, 40, 0, 40], bin_ms=HOUR_MS))
    assert incidents(opened) == [("opened", "17:00")]
    assert incidents(judge(Detection(wide, {}), of_us([18, 0, 90, 0, 17], bin_ms=HOUR_MS))) == []


def test_what_the_limit_raises_says_so_and_clears_by_the_limit() -> None:
    detection = Detection(COLD, {})
    judgements = judge(detection, of_us([30, 40, 35, 30, 3, 2, 1], bin_ms=HOUR_MS))
    opened, cleared = [decode(fact.value, Incident) for fact in facts(judgements, "incidents")]
    assert opened.reason == (
        "105 reports in 180 minutes, at least 90; 35 in the last bin; raised by limit, score 30, threshold 30"
    )
    assert (opened.decision.detector, opened.decision.rule) == ("limit", "raise")
    assert (cleared.decision.rule, cleared.decision.window) == ("clear_learning", 35)
    assert "below 78.26 (what raises, over 1.15, while the usual level is learnt)" in cleared.reason


def test_nothing_relative_is_raised_while_learning() -> None:
    assert incidents(judge(Detection(LEARNING, {}), of_us([1, 1, 1, 900, 900, 900], bin_ms=HOUR_MS))) == []


# The budget


def test_an_outage_is_one_raise_however_many_regions_it_has() -> None:
    detection = Detection(deployment(), {})
    assert detection.raises_per_30_days == 0.0
    everywhere = {("x", f"R{number}"): 20 for number in range(9)}
    judge(detection, [bin_of(number, everywhere) for number in range(5)])
    judge(detection, [bin_of(number, everywhere | {("x", "US"): 20}) for number in range(5, 9)])
    assert detection.raises_per_30_days == 30.0
    judge(detection, [bin_of(number, everywhere | {("mail", "US"): 20}) for number in range(9, 14)])
    assert detection.raises_per_30_days == 60.0


def test_the_raises_of_a_service_are_in_its_snapshots() -> None:
    settings = deployment(snapshot_every_bins=1)
    truth = judge(Detection(settings, {}), of_us([20] * 9))
    restarted = Detection(settings, found(truth[:5]))
    assert [each.snapshots for each in judge(restarted, of_us([20] * 4, first=5))] == [
        each.snapshots for each in truth[5:]
    ]
    assert restarted.raises_per_30_days == 30.0


# Birth and death


def test_a_name_is_born_with_enough_reports_in_one_bin_and_is_judged_from_then_on() -> None:
    detection = Detection(deployment(born_reports=3), {})
    judgements = judge(detection, [bin_of(0, {US: 2}), bin_of(1, {US: 3}), bin_of(2, {US: 1, ("x", "DE"): 3})])
    assert [judgement.born for judgement in judgements] == [[SENSOR], ["x"], []]
    assert [sorted(region for _, region in levels(judgement)) for judgement in judgements] == [[], ["US"], ["DE", "US"]]
    assert detection.services == ["x"]
    assert detection.keys == 3


def quiet(first: int, last: int) -> list[Bin]:
    return [bin_of(number, {("mail", "US"): 1}, bin_ms=HOUR_MS) for number in range(first, last)]


def test_a_key_without_reports_is_forgotten_where_its_service_is_due_and_comes_back_fresh() -> None:
    detection = Detection(HOURLY, {})
    detection.judge(bin_of(0, {US: 5, ("x", "DE"): 5}, bin_ms=HOUR_MS))
    detection.judge(bin_of(1, {("x", "DE"): 5}, bin_ms=HOUR_MS))
    judgements = judge(detection, quiet(2, 32))
    present = {
        judgement.bin_ms: {region for service, region in levels(judgement) if service == "x"}
        for judgement in judgements
    }
    us_last = max(bin_ms for bin_ms, regions in present.items() if "US" in regions)
    snapshots = [packed.bin_ms for judgement in judgements for packed in judgement.snapshots if packed.service == "x"]
    due = {snapshots[0] + index * 4 * HOUR_MS for index in range(10)}
    assert us_last == min(bin_ms for bin_ms in due if bin_ms >= START_MS + 24 * HOUR_MS)
    assert [judgement.gone for judgement in judgements if judgement.gone] == [["x"]]
    assert detection.services == ["mail"]

    reborn = detection.judge(bin_of(32, {US: 7}, bin_ms=HOUR_MS))
    assert reborn.born == ["x"]
    assert levels(reborn)[US].window == 7


def test_a_key_with_an_open_incident_is_not_forgotten() -> None:
    never_clears = HOURLY.model_copy(update={"policy": []})
    detection = Detection(never_clears, {})
    judge(detection, of_us([20, 20, 20], bin_ms=HOUR_MS))
    blind = [bin_of(3 + number, {}, bin_ms=HOUR_MS, covered=3) for number in range(60)]
    judgements = judge(detection, blind)
    assert incidents(judgements)[:1] == [("held", "16:00")]
    assert US in levels(judgements[-1])
