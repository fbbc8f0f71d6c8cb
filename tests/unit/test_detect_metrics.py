from __future__ import annotations

import time
from collections.abc import Iterable

from faust.types import TP
from prometheus_client import CollectorRegistry

from streams.bins import Bin, BinMerger
from streams.detection import Detection, Fact, Judgement
from streams.events import Level, Levels, Mark, encode
from streams.metrics import DetectMetrics
from streams.replay import Replay
from streams.reportlog import LogRecord
from streams.settings import Detect, Kafka, Limit, Policy, Region, Settings, Worker
from streams.transport import Committed
from tests.support.reports import record, report, tick
from tests.support.series import series

START_MS = 1_748_088_000_000
SETTINGS = Settings(
    kafka=Kafka(reports_partitions=1, counts_partitions=1),
    detect=Detect(detector="limit", limit=Limit(above=30)),
    policy=[Policy(service="x", region="US", clear_below=1)],
)


def metrics(settings: Settings = SETTINGS, partitions: Iterable[int] = (0,)) -> tuple[DetectMetrics, CollectorRegistry]:
    registry = CollectorRegistry()
    made = DetectMetrics(registry, settings)
    tps = [TP("tocsin.counts", each) for each in partitions]
    made.assigned({tp: Committed(None, "", 0, 0) for tp in tps}, dict.fromkeys(tps, 0))
    return made, registry


def judged(*names: tuple[str, str], minutes: int = 10, settings: Settings = SETTINGS) -> list[Judgement]:
    """Return what is judged where each name is reported once a second."""
    log: list[LogRecord] = []
    for second in range(minutes * 60):
        log += [record(START_MS + 1000 * second, report(*name)) for name in names]
    log.append(tick(START_MS + minutes * 60_000 + settings.count.lateness_ms))
    return list(Replay(settings).run(log))


def shown(registry: CollectorRegistry) -> set[tuple[str, str]]:
    """Return the services and regions with series of their own."""
    return {
        (sample.labels["service"], sample.labels["region"])
        for family in registry.collect()
        if family.name == "tocsin_window_reports"
        for sample in family.samples
    }


def test_the_levels_of_the_last_bin_are_shown_by_service_and_region() -> None:
    made, registry = metrics()
    judgements = judged(("x", "US"), ("x", "DE"))
    made.closed(0, judgements)
    found = series(registry)
    key = 'region="US",service="x"'
    assert found[f"tocsin_window_reports{{{key}}}"] == 600
    assert found[f"tocsin_score{{{key}}}"] == 60
    assert found[f"tocsin_score_threshold{{{key}}}"] == 30
    assert f"tocsin_expected_reports{{{key}}}" not in found  # the absolute limit expects nothing
    states = {
        each: found[f'tocsin_state{{{key},state="{each}"}}']
        for each in ("learning", "normal", "open", "held", "unobserved", "sensor-lost")
    }
    assert states == dict.fromkeys(states, 0) | {"open": 1}
    assert found['tocsin_incidents_open{partition="0"}'] == 2
    assert found['tocsin_sensor_lost{partition="0"}'] == 0
    assert found['tocsin_incident_transitions_total{transition="opened"}'] == 2


def test_a_lost_sensor_is_shown() -> None:
    made, registry = metrics()
    held = Level(
        region="US",
        count=0,
        window=600,
        expected=60,
        score=0,
        score_threshold=30,
        raise_above=None,
        clear_below=None,
        state="sensor-lost",
        incident="x.US.20250524T1200Z",
    )
    levels = Levels(service="x", bin_ms=START_MS, regions=[held])
    made.closed(0, [Judgement(START_MS, [Fact("levels", "x", b"x", encode(levels))])])
    found = series(registry)
    assert found['tocsin_sensor_lost{partition="0"}'] == 1
    assert found['tocsin_incidents_open{partition="0"}'] == 1


def test_what_has_no_level_any_more_vanishes() -> None:
    made, registry = metrics(partitions=(0, 1))
    made.closed(0, judged(("x", "US"), ("x", "DE")))
    made.closed(1, judged(("y", "US")))
    assert shown(registry) == {("x", "US"), ("x", "DE"), ("y", "US")}
    made.closed(0, judged(("x", "US")))
    assert shown(registry) == {("x", "US"), ("y", "US")}
    made.revoked()
    assert shown(registry) == set()
    assert not any("partition=" in each for each in series(registry) if "_total" not in each)


def test_beyond_the_cap_names_of_the_settings_come_first_then_who_came_first() -> None:
    settings = SETTINGS.model_copy(update={"worker": Worker(max_metric_series=2), "regions": {"FR": Region()}})
    made, registry = metrics(settings, partitions=(0, 1))
    made.closed(0, judged(("a", "US"), ("b", "US"), ("c", "US")))
    assert shown(registry) == {("a", "US"), ("b", "US")}
    assert series(registry)["tocsin_series_hidden_total"] == 1

    made.closed(1, judged(("x", "FR"), ("x", "ZZ")))
    assert shown(registry) == {("a", "US"), ("x", "FR")}
    assert series(registry)["tocsin_series_hidden_total"] == 2

    made.closed(0, judged(("b", "US")))
    assert shown(registry) == {("b", "US"), ("x", "FR")}


def test_of_several_partitions_the_one_that_knows_least_of_a_source_says_its_watermark() -> None:
    made, registry = metrics(partitions=(0, 1))
    for partition, seconds in ((0, 50), (1, 40), (0, 70)):
        merger = BinMerger(SETTINGS)
        merger.add(0, Mark(counting=SETTINGS.counting, source=0, watermark_ms=seconds * 1000))
        made.merged(partition, merger)
    assert series(registry)['tocsin_detect_watermark_seconds{source="0"}'] == 40


def test_a_bin_is_measured_from_its_judging_until_its_facts_are_acknowledged() -> None:
    made, registry = metrics()
    judgements = judged(("x", "US"), minutes=2)
    detection = Detection(SETTINGS, {})
    detection.judge(Bin(START_MS, {("x", "US"): {"": 1}}, arrived=1, covered=1, sources=1))
    for judgement in judgements:
        made.judged(0, judgement.bin_ms + 60_000, covered=1, detection=detection, begun_s=time.monotonic() - 8)
    found = series(registry)
    assert found['tocsin_detect_bins_total{partition="0"}'] == 2
    assert found['tocsin_detect_judged_seconds{partition="0"}'] == START_MS / 1000 + 120
    assert found['tocsin_detect_covered_sources{partition="0"}'] == found["tocsin_detect_sources"] == 1
    assert found['tocsin_detect_keys{partition="0"}'] == 2
    assert found["tocsin_detect_bin_close_seconds_count"] == 0

    made.closed(0, judgements)
    found = series(registry)
    assert found["tocsin_detect_bin_close_seconds_count"] == 2
    assert found['tocsin_detect_bin_close_seconds_bucket{le="5.0"}'] == 0
    made.closed(0, [])
    assert series(registry) == found


def test_the_rate_of_raises_stands_next_to_the_one_that_was_asked_for() -> None:
    made, registry = metrics()
    detection = Detection(SETTINGS, {})
    for number in range(3):
        detection.judge(Bin(START_MS + number * 60_000, {("x", "US"): {"": 50}}, arrived=50, covered=1, sources=1))
    made.judged(0, START_MS + 180_000, covered=1, detection=detection, begun_s=time.monotonic())
    found = series(registry)
    assert found['tocsin_detect_raises_monthly{partition="0"}'] == 30, "one in a day at most"
    assert found["tocsin_detect_false_alarms_asked_monthly"] == 10
    assert found["tocsin_detect_fleet_keys"] == 100


def test_the_committed_floor_and_gaps_are_shown_by_partition() -> None:
    made, registry = metrics()
    made.floor(0, START_MS)
    made.gap(0)
    found = series(registry)
    assert found['tocsin_detect_snapshot_floor_seconds{partition="0"}'] == START_MS / 1000
    assert found['tocsin_detect_gaps_total{partition="0"}'] == 1
