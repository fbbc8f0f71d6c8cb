from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping
from typing import Any

import pytest
from aiokafka import AIOKafkaProducer
from faust.types import TP
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.errors import KafkaTimeoutError, TopicAuthorizationFailedError

from streams import topics
from streams.broker import EmbeddedBroker
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
    advice = "change the setting, or drain to a new kafka.prefix"
    assert findings(changed(created, reports_partitions=4)) == [
        f"topic {name} has 3 partitions, kafka.reports_partitions is 4: {advice}"
        for name in (names.reports, names.dead_letters)
    ]
    behind_counts = names.counts, names.baselines, names.incidents, names.outages, names.levels, names.alerts
    assert findings(changed(created, counts_partitions=1)) == [
        f"topic {name} has 2 partitions, kafka.counts_partitions is 1: {advice}" for name in behind_counts
    ]


def test_a_topic_of_another_clock_or_cleanup_policy_is_named(created: Settings) -> None:
    names = Topics(created.kafka.prefix)
    alter(created, names.reports, {"message.timestamp.type": "CreateTime"})
    alter(created, names.incidents, {"cleanup.policy": "delete"})
    expected = [
        f"topic {names.reports} has message.timestamp.type=CreateTime, not LogAppendTime, "
        'but kafka.clock = "broker" needs it: alter the topic or the setting',
        f"topic {names.incidents} has cleanup.policy=delete, not compact,delete",
    ]
    until(lambda: findings(created) == expected, "both are named")


def test_on_a_real_cluster_what_could_lose_facts_is_named(created: Settings) -> None:
    names = Topics(created.kafka.prefix)
    alter(created, names.alerts, {"unclean.leader.election.enable": "true"})
    replicated = changed(created, replication_factor=2)
    unclean = f"topic {names.alerts} allows unclean leader election: facts could be taken back"
    until(lambda: unclean in findings(replicated), "unclean leader election is named")
    assert findings(replicated) == [
        line
        for topic in layout(created)
        for line in (
            f"topic {topic.name} has 1 replicas, kafka.replication_factor is 2",
            f"topic {topic.name} has min.insync.replicas=1: facts could be lost",
            *([unclean] if topic.name == names.alerts else []),
        )
    ]


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
