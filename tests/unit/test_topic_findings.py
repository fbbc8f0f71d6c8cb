"""What is said of a topic that differs from what it should be; no broker is needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from streams.events import DAY_MS
from streams.settings import Kafka, Settings
from streams.topicfindings import Actual, Finding, Severity, Topic, compare
from streams.topics import layout

#: What a broker says of a topic that was made with nothing but its defaults.
DEFAULTS = {
    "cleanup.policy": "delete",
    "max.message.bytes": "1048588",
    "message.timestamp.type": "CreateTime",
    "message.timestamp.before.max.ms": str(2**63 - 1),
    "message.timestamp.after.max.ms": str(2**63 - 1),
    "min.insync.replicas": "1",
    "retention.bytes": "-1",
    "retention.ms": str(7 * DAY_MS),
    "unclean.leader.election.enable": "false",
}


def settings(**kafka: Any) -> Settings:
    return Settings(kafka=Kafka(**kafka))


def wanted(name: str, of: Settings) -> Topic:
    return next(topic for topic in layout(of) if topic.name == f"tocsin.{name}")


def compared(name: str, of: Settings, replicas: int = 1, config: Mapping[str, str] = {}) -> list[Finding]:
    """Compare a topic that is as it should be but for `config`."""
    topic = wanted(name, of)
    return list(compare(topic, Actual([replicas] * topic.partitions, {**DEFAULTS, **topic.config, **config}), of))


@pytest.mark.parametrize("clock", ["broker", "log"])
def test_topics_as_they_should_be_have_no_findings(clock: str) -> None:
    of = settings(clock=clock)
    assert [each for topic in layout(of) for each in compared(topic.name.removeprefix("tocsin."), of)] == []


def test_a_topic_that_is_not_there_must_be_created() -> None:
    of = settings()
    [finding] = compare(wanted("counts", of), Actual(), of)
    assert finding.severity is Severity.MUST
    assert str(finding) == "topic tocsin.counts does not exist: run `tocsin topics create`"


MUST = [
    ("reports", {"message.timestamp.type": "CreateTime"}, "takes append times from there"),
    ("reports", {"cleanup.policy": "compact"}, "one record of each key"),
    ("baselines", {"cleanup.policy": "delete"}, "what quiet services have taught"),
    ("incidents", {"cleanup.policy": "compact"}, "stay for ever"),
]
SHOULD = [
    ("reports", {"retention.ms": str(DAY_MS)}, "records go after 1 d, not 7 d: workers that stand still for longer"),
    ("reports", {"retention.ms": "-1"}, "personal data, and are to be kept for 7 days"),
    ("reports.dlq", {"retention.ms": str(31 * DAY_MS)}, "personal data, and are to be kept for 30 days"),
    ("reports", {"retention.bytes": "1000000"}, "records go however new they are"),
    ("reports", {"max.message.bytes": str(2 << 20)}, "too large for a dead letter"),
    ("reports.dlq", {"max.message.bytes": "1048588"}, "count would stand still"),
    ("levels", {"max.message.bytes": "999999"}, "a fact that is too large"),
    ("incidents", {"retention.ms": str(7 * DAY_MS)}, "the incident log ends there"),
]


@pytest.mark.parametrize(
    ("severity", "topic", "config", "why"),
    [(Severity.MUST, *case) for case in MUST] + [(Severity.SHOULD, *case) for case in SHOULD],
)
def test_each_difference_says_what_is_what_should_be_why_and_the_command_that_mends_it(
    severity: Severity, topic: str, config: dict[str, str], why: str
) -> None:
    [finding] = compared(topic, settings(), config=config)
    [(name, actual)] = config.items()
    assert (finding.severity, finding.setting, finding.actual) == (severity, name, actual)
    assert why in finding.why
    value = f"'{name}=[{finding.wanted}]'" if "," in finding.wanted else f"{name}={finding.wanted}"
    assert finding.remedy.startswith(
        "kafka-configs.sh --bootstrap-server 127.0.0.1:9092 --alter --entity-type topics "
        f"--entity-name tocsin.{topic} --add-config {value}"
    )


def test_what_is_mended_as_told_is_no_finding_any_more() -> None:
    for topic, config, _ in MUST + SHOULD:
        [finding] = compared(topic, settings(), config=config)
        assert compared(topic, settings(), config={finding.setting: finding.wanted}) == []


def test_facts_may_be_kept_for_longer() -> None:
    assert compared("incidents", settings(), config={"retention.ms": "-1"}) == []


def test_on_a_real_cluster_one_acknowledgement_is_too_few_and_all_are_too_many() -> None:
    of = settings(replication_factor=3)
    [too_few] = compared("incidents", of, replicas=3, config={"min.insync.replicas": "1"})
    [too_many] = compared("incidents", of, replicas=3, config={"min.insync.replicas": "3"})
    assert (too_few.severity, too_few.wanted) == (Severity.MUST, "2")
    assert (too_many.severity, too_many.wanted) == (Severity.SHOULD, "2")
    assert compared("incidents", of, replicas=3, config={"min.insync.replicas": "2"}) == []


def test_on_a_real_cluster_unclean_election_and_missing_replicas_must_be_mended() -> None:
    of = settings(replication_factor=3)
    config = {"min.insync.replicas": "2", "unclean.leader.election.enable": "true"}
    found = compared("incidents", of, replicas=2, config=config)
    assert [(each.severity, each.setting) for each in found] == [
        (Severity.MUST, "replicas"),
        (Severity.MUST, "unclean.leader.election.enable"),
    ]


def test_of_two_replicas_both_have_to_acknowledge() -> None:
    of = settings(replication_factor=2)
    assert compared("incidents", of, replicas=2, config={"min.insync.replicas": "2"}) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("retention.ms", str(7 * DAY_MS)),
        ("message.timestamp.before.max.ms", str(DAY_MS)),
        ("message.timestamp.after.max.ms", "3600000"),
    ],
)
def test_a_replayed_log_needs_a_topic_without_limits_on_time(name: str, value: str) -> None:
    [finding] = compared("reports", settings(clock="log"), config={name: value})
    assert (finding.severity, finding.setting) == (Severity.SHOULD, name)
    assert "replay" in finding.why


def test_the_gravest_findings_come_first() -> None:
    found = compared("incidents", settings(), config={"retention.ms": "1", "cleanup.policy": "delete"})
    assert [each.severity for each in found] == [Severity.MUST, Severity.SHOULD]
