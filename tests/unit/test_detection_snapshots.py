"""Given these snapshots, detection goes on as if nothing had happened, or says why it does not."""

import math
from typing import Any

import pytest

from detectors import Limit
from streams.detection import Detection
from streams.events import SENSOR
from streams.replay import backfill
from streams.settings import Settings
from streams.snapshots import DetectionChangedError, Snapshot, complete
from tests.support.judgedbins import (
    HOUR_MS,
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
    records,
)

# Snapshots


def test_every_service_is_snapshotted_at_bins_fixed_by_its_name() -> None:
    counts = {(f"s{number}", "US"): 1 for number in range(20)}
    one = judge(Detection(deployment(), {}), [bin_of(number, counts) for number in range(10)])
    at: dict[str, list[int]] = {}
    for judgement in one:
        for packed in judgement.snapshots:
            at.setdefault(packed.service, []).append((judgement.bin_ms - START_MS) // MINUTE_MS)
    assert set(at) == {service for service, _ in counts} | {SENSOR}
    assert all(second - first == 5 for first, second in at.values())
    assert {first for first, _ in at.values()} == set(range(5))
    later = judge(Detection(deployment(), {}), [bin_of(number, counts) for number in range(7, 10)])
    assert [[packed.service for packed in judgement.snapshots] for judgement in later] == [
        [packed.service for packed in judgement.snapshots] for judgement in one[7:]
    ]


def test_more_than_200_regions_make_parts() -> None:
    counts = {("x", f"R{number:03}"): number for number in range(1, 402)}
    judgements = judge(Detection(deployment(snapshot_every_bins=1), {}), [bin_of(0, counts)])
    (parts,) = found(judgements)["x"].values()
    assert [len(part.regions) for part in parts] == [200, 200, 1]
    assert [part.ledger is not None for part in parts] == [True, False, False]
    assert [record for record, _ in records(judgements)] == [
        f"*/{START_MS}/0".encode(),
        *(f"x/{START_MS}/{part}".encode() for part in range(3)),
    ]
    restored = Detection(deployment(snapshot_every_bins=1), found(judgements))
    windows = {region: level.window for (_, region), level in levels(restored.judge(bin_of(1, {}))).items()}
    assert windows == {region: count for (_, region), count in counts.items()}


def test_a_service_goes_on_after_the_bin_of_its_newest_snapshot_and_not_before() -> None:
    bins = [bin_of(number, {US: 5, ("mail", "US"): 5}) for number in range(20)]
    truth = judge(Detection(deployment(), {}), bins)
    snapshots = found(truth[:12])
    newest = {service: (max(by_bin) - START_MS) // MINUTE_MS for service, by_bin in snapshots.items()}
    assert newest["x"] != newest["mail"]
    restarted = judge(Detection(deployment(), snapshots), bins[5:])
    assert not any({"x", "mail"} & set(judgement.born) for judgement in restarted)
    for service in ("x", "mail"):
        after = newest[service] + 1
        assert [each for each in facts(restarted, "levels") if each.service == service] == [
            each for each in facts(truth[after:], "levels") if each.service == service
        ]


def test_the_sensor_goes_on_from_its_newest_snapshot_before_the_first_bin() -> None:
    bins = [bin_of(number, {}, arrived=number) for number in range(12)]
    truth = judge(Detection(deployment(snapshot_every_bins=2), {}), bins)
    at = sorted(found(truth)[SENSOR])
    first = (at[2] - START_MS) // MINUTE_MS + 1
    restarted = judge(Detection(deployment(snapshot_every_bins=2), found(truth)), bins[first:])
    assert records(restarted) == records(truth[first:])
    assert records(restarted)


def test_a_restart_right_before_a_skip_knows_that_bins_were_skipped() -> None:
    settings = deployment(snapshot_every_bins=1)
    bins = of_us([20, 20, 20, 20]) + of_us([1, 20, 20], first=5)
    truth = judge(Detection(settings, {}), bins)
    restarted = judge(Detection(settings, found(truth[:4])), bins[4:])
    assert records(restarted) == records(truth[4:])
    assert [judgement.facts for judgement in restarted] == [judgement.facts for judgement in truth[4:]]
    assert incidents(restarted)[0] == ("held", "12:06")


def test_a_sensor_without_a_snapshot_old_enough_begins_anew() -> None:
    bins = of_us([1] * 8)
    truth = judge(Detection(deployment(), {}), bins)
    restarted = judge(Detection(deployment(), {SENSOR: found(truth)[SENSOR]}), bins)
    assert records(restarted) == records(truth)


# Settings that have changed


def opened_with(settings: Settings) -> dict[str, dict[int, list[Snapshot]]]:
    """Return snapshots in which x has an open incident in the United States."""
    judgements = judge(Detection(settings, {}), of_us([20, 20, 20, 20, 20]))
    assert incidents(judgements) == [("opened", "12:03")]
    return found(judgements)


@pytest.mark.parametrize(
    "changed",
    [
        {"detect": {"detector": "limit", "limit": {"above": 11}}},
        {"policy": []},
        {"regions": {"US": {"timezone": "America/New_York"}}},
    ],
)
def test_snapshots_of_other_settings_are_refused_by_an_error_that_names_a_service(changed: dict[str, Any]) -> None:
    before = deployment(snapshot_every_bins=1)
    after = Settings.model_validate(before.model_dump() | changed)
    with pytest.raises(DetectionChangedError, match=r"service '[x*]' .*--apply-settings"):
        Detection(after, opened_with(before))
    Detection(before, opened_with(before))


def test_applied_settings_keep_the_incident_and_judge_it_by_the_new_limits() -> None:
    before = deployment(snapshot_every_bins=1)
    after = before.model_copy(update={"policy": []})  # three minutes, two windows
    detection = Detection(after, opened_with(before), apply_settings=True)
    judgements = judge(detection, of_us([0, 0, 0, 0], first=5))
    assert incidents(judgements) == [("cleared", "12:09")]
    assert facts(judgements, "incidents")[0].key == b"x.US.20250524T1202Z/2"
    assert {part.detecting for by_bin in found(judgements).values() for parts in by_bin.values() for part in parts} == {
        after.detecting
    }


def test_with_another_detector_the_incident_goes_on_and_the_detector_begins_to_learn() -> None:
    before = deployment(snapshot_every_bins=1)
    after = deployment(detector="ratio", snapshot_every_bins=1)
    detection = Detection(after, opened_with(before), apply_settings=True)
    judgement = detection.judge(bin_of(5, {US: 20}))
    level = levels(judgement)[US]
    assert (level.state, level.incident, level.window) == ("open", "x.US.20250524T1202Z", 60)
    assert (level.expected, level.score) == (None, None)


def test_a_detector_of_another_version_is_refused_and_begins_anew_if_told_to(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = deployment(snapshot_every_bins=1)
    snapshots = opened_with(settings)
    monkeypatch.setattr(Limit, "version", 2)
    with pytest.raises(DetectionChangedError, match=r"limit version 1 .*limit version 2 .*--apply-settings"):
        Detection(settings, snapshots).judge(bin_of(5, {US: 20}))
    judgement = Detection(settings, snapshots, learn_anew=True).judge(bin_of(5, {US: 20}))
    assert (levels(judgement)[US].incident, levels(judgement)[US].score) == ("x.US.20250524T1202Z", 0.0)


# Teaching from history


def test_while_a_baseline_is_taught_nothing_is_stated_and_nothing_opens() -> None:
    detection = Detection(deployment(snapshot_every_bins=1), {})
    judgements = [detection.judge(bin_, publish=False) for bin_ in of_us([50, 50, 50, 50])]
    assert all(not judgement.facts and not judgement.snapshots for judgement in judgements)
    assert levels(detection.judge(bin_of(4, {})))[US].state == "open", "the last bins are known, and too many"


def test_a_backfilled_service_is_no_longer_learning() -> None:
    past = [(START_MS + number * HOUR_MS, {US: 8}) for number in range(-24, 0)]
    packed = backfill(LEARNING, past)[0]
    assert {each.service for each in packed} == {"x", SENSOR}
    detection = Detection(LEARNING, complete((each.key, each.value) for each in packed))
    level = levels(detection.judge(bin_of(0, {US: 8}, bin_ms=HOUR_MS)))[US]
    assert (level.state, level.expected, level.window) == ("normal", 8, 24)


def test_another_budget_keeps_what_has_been_learnt_and_moves_the_threshold() -> None:
    before = deployment(3600, detector="nbsr", snapshot_every_bins=1, unknown_after_minutes=180)
    detection = Detection(before, {})
    judge(detection, of_us([8] * 50, bin_ms=HOUR_MS))
    usual = levels(detection.judge(bin_of(50, {US: 8}, bin_ms=HOUR_MS)))[US]
    frugal = detection.under(
        deployment(3600, detector="nbsr", snapshot_every_bins=1, unknown_after_minutes=180, fleet_keys=1000)
    )
    level = levels(frugal.judge(bin_of(51, {US: 8}, bin_ms=HOUR_MS)))[US]
    assert (usual.state, level.state) == ("normal", "normal")
    assert usual.expected == pytest.approx(level.expected, rel=0.01)
    assert (level.score_threshold or 0) - (usual.score_threshold or 0) == pytest.approx(math.log(10), abs=0.01)
