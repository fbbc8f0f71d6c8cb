"""Incidents that were open when the snapshots were lost end as unknown; those that the rebuilt state has go on."""

from __future__ import annotations

from streams.bins import Bin
from streams.detection import Detection, Judgement
from streams.events import MINUTE_MS, Incident, Outage, decode
from streams.orphans import Orphans
from streams.settings import Detect, Limit, Policy, Settings
from streams.snapshots import complete

Records = list[tuple[bytes, bytes | None]]

SETTINGS = Settings(
    detect=Detect(detector="limit", limit=Limit(above=10)), policy=[Policy(service="*", raise_above=30, clear_below=20)]
)
START_MS = 1_748_088_000_000


def bin_at(minute: int, count: int) -> Bin:
    kinds = {("x", "US"): {"app": count}} if count else {}
    return Bin(START_MS + minute * MINUTE_MS, kinds, arrived=max(count, 1), covered=1, sources=1)


def run(
    detection: Detection, minutes: range, count: int, orphans: Orphans | None = None
) -> tuple[list[Judgement], Records, Records]:
    judgements = []
    for minute in minutes:
        judgement = detection.judge(bin_at(minute, count))
        if orphans is not None:
            orphans.settle(judgement, judgement.bin_ms + MINUTE_MS, detection)
        judgements.append(judgement)
    facts = [fact for each in judgements for fact in each.facts]
    incidents: Records = [(fact.key, fact.value) for fact in facts if fact.topic == "incidents"]
    outages: Records = [(fact.key, fact.value) for fact in facts if fact.topic == "outages"]
    return judgements, incidents, outages


def test_an_open_incident_that_the_rebuilt_state_does_not_know_ends_as_unknown() -> None:
    _, incidents, outages = run(Detection(SETTINGS, {}), range(6), 50)
    rebuilt, orphans = Detection(SETTINGS, {}), Orphans(incidents, outages)

    _, ended, ended_outages = run(rebuilt, range(20, 22), 1, orphans)

    incident, outage = decode(ended[0][1] or b"", Incident), decode(ended_outages[0][1] or b"", Outage)
    assert len(ended) == len(ended_outages) == 1
    assert (incident.id, incident.sequence) == ("x.US.20250524T1202Z", len(incidents) + 1)
    assert (incident.transition, incident.decision.rule) == ("unknown", "superseded")
    assert incident.closed_ms == START_MS + 21 * MINUTE_MS
    assert (outage.id, outage.sequence, outage.state) == ("x.20250524T1202Z", len(outages) + 1, "unknown")


def test_what_a_snapshot_holds_is_no_orphan() -> None:
    judgements, incidents, outages = run(Detection(SETTINGS, {}), range(9), 50)
    snapshots = complete((packed.key, packed.value) for each in judgements for packed in each.snapshots)
    floor_ms = min(max(by_bin) for by_bin in snapshots.values()) + MINUTE_MS
    rebuilt, orphans = Detection(SETTINGS, snapshots), Orphans(incidents, outages)

    _, stated, _ = run(rebuilt, range((floor_ms - START_MS) // MINUTE_MS, 12), 50, orphans)

    assert {decode(value or b"", Incident).transition for _, value in stated} == {"grew"}


def test_an_incident_that_opens_again_on_the_way_is_no_orphan() -> None:
    _, incidents, outages = run(Detection(SETTINGS, {}), range(6), 50)

    _, restated, _ = run(Detection(SETTINGS, {}), range(6), 50, Orphans(incidents, outages))

    assert restated == incidents


def test_a_cleared_incident_is_no_orphan() -> None:
    detection = Detection(SETTINGS, {})
    _, opened, opened_outages = run(detection, range(6), 50)
    _, cleared, cleared_outages = run(detection, range(6, 30), 0)
    assert cleared

    orphans = Orphans(opened + cleared, opened_outages + cleared_outages)
    _, stated, _ = run(Detection(SETTINGS, {}), range(40, 42), 1, orphans)

    assert stated == []
