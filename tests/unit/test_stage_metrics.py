from __future__ import annotations

import time

import pytest
from faust.types import TP
from prometheus_client import CollectorRegistry

from streams.metrics import NotifyMetrics, StageMetrics, WorkerMetrics
from streams.settings import Kafka, Settings
from streams.transport import Committed
from tests.support.series import series

SETTINGS = Settings(kafka=Kafka(prefix="here"))


def assign(metrics: StageMetrics, **positions: tuple[int, int]) -> None:
    """Assign partitions `p<number>`, each with the position that reading begins at and the end of its log."""
    tps = {TP("here.incidents", int(name[1:])): each for name, each in positions.items()}
    known = {tp: Committed(position, "", 0, end) for tp, (position, end) in tps.items()}
    metrics.assigned(known, {tp: position for tp, (position, _) in tps.items()})


def of_notify(registry: CollectorRegistry, name: str) -> dict[str, float]:
    """Return the values of a metric by partition."""
    head, tail = f'{name}{{partition="', '",stage="notify"}'
    found = series(registry)
    return {each.removeprefix(head).removesuffix(tail): value for each, value in found.items() if each.startswith(head)}


def test_lag_is_the_end_of_the_partition_less_what_is_processed_also_when_nothing_comes() -> None:
    ends: dict[int, int | None] = {0: None, 1: 40}
    registry = CollectorRegistry()
    metrics = NotifyMetrics(registry, SETTINGS, ends.get)
    assign(metrics, p0=(10, 12), p1=(0, 40))
    assert of_notify(registry, "tocsin_lag_records") == {"0": 2, "1": 40}

    metrics.processed(0, 12)
    metrics.processed(1, 40)
    assert of_notify(registry, "tocsin_lag_records") == {"0": 0, "1": 0}
    assert of_notify(registry, "tocsin_position") == {"0": 12, "1": 40}

    ends.update({0: 15, 1: 39})  # a fetch that is older than the chunk
    assert of_notify(registry, "tocsin_lag_records") == {"0": 3, "1": 0}


def test_a_partition_is_rebuilt_until_what_was_there_at_the_start_has_been_processed() -> None:
    registry = CollectorRegistry()
    metrics = NotifyMetrics(registry, SETTINGS)
    assign(metrics, p0=(0, 5), p1=(5, 5))
    assert of_notify(registry, "tocsin_rebuilding") == {"0": 1, "1": 0}
    metrics.processed(0, 4)
    assert of_notify(registry, "tocsin_rebuilding") == {"0": 1, "1": 0}
    metrics.processed(0, 5)
    assert of_notify(registry, "tocsin_rebuilding") == {"0": 0, "1": 0}


def test_the_age_of_a_commit_is_known_from_the_assignment_on(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = CollectorRegistry()
    metrics = NotifyMetrics(registry, SETTINGS)
    monkeypatch.setattr(time, "time", lambda: 1000.0)
    assign(metrics, p0=(0, 0), p1=(0, 0))
    monkeypatch.setattr(time, "time", lambda: 1500.0)
    metrics.committed(1)
    assert of_notify(registry, "tocsin_commit_timestamp_seconds") == {"0": 1000, "1": 1500}


def test_series_of_partitions_that_are_gone_vanish() -> None:
    registry = CollectorRegistry()
    metrics = NotifyMetrics(registry, SETTINGS)
    assign(metrics, p0=(0, 5), p1=(0, 5))
    metrics.revoked()
    assert [each for each in series(registry) if "partition=" in each] == []

    assign(metrics, p1=(3, 5))
    names = {each.partition("{")[0] for each in series(registry) if 'partition="1"' in each}
    assert names == {"tocsin_position", "tocsin_lag_records", "tocsin_commit_timestamp_seconds", "tocsin_rebuilding"}
    assert not any('partition="0"' in each for each in series(registry))
    assert series(registry)['tocsin_rebalances_total{stage="notify"}'] == 2


def test_facts_are_counted_by_topic_without_the_prefix() -> None:
    registry = CollectorRegistry()
    metrics = NotifyMetrics(registry, SETTINGS)
    metrics.published({"here.alerts": 3, "here.reports.dlq": 1})
    metrics.published({"here.alerts": 1})
    found = series(registry)
    assert found['tocsin_facts_published_total{stage="notify",topic="alerts"}'] == 4
    assert found['tocsin_facts_published_total{stage="notify",topic="reports.dlq"}'] == 1


def test_alerts_are_counted_by_kind_and_facts_that_come_again_by_whether_they_are_the_same() -> None:
    registry = CollectorRegistry()
    metrics = NotifyMetrics(registry, SETTINGS)
    for kind in ("opened", "cleared", "opened"):
        metrics.alerted(kind)
    for contradicted in (False, True, False):
        metrics.repeated(contradicted=contradicted)
    found = series(registry)
    assert found['tocsin_notify_alerts_total{kind="opened"}'] == 2
    assert found['tocsin_notify_alerts_total{kind="cleared"}'] == 1
    assert found["tocsin_facts_repeated_total"] == 2
    assert found["tocsin_facts_contradicted_total"] == 1


def test_readiness_is_what_readyz_says_at_the_scrape() -> None:
    registry = CollectorRegistry()
    troubles = ["no contact with Kafka"]
    WorkerMetrics(registry, "notify", lambda: troubles)
    assert series(registry)['tocsin_ready{stage="notify"}'] == 0
    troubles.clear()
    assert series(registry)['tocsin_ready{stage="notify"}'] == 1
