"""What a worker says, and how it ends, where the set-up is wrong; and how it stands the absence of Kafka."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, TopicPartition
from kafka.admin import ConfigResource, ConfigResourceType
from kafka.structs import OffsetAndMetadata

from streams.broker import EmbeddedBroker
from streams.counting import Rebuild
from streams.events import Frame, decode_counts
from streams.replay import Replay
from streams.settings import Kafka, Settings
from streams.topics import Cluster, Topics
from tests.support.pipeline import read_topic
from tests.support.processes import Process, processes
from tests.support.reports import record, report
from tests.support.waiting import until

START_MS = 1_748_088_000_000
_numbers = itertools.count()


@pytest.fixture
def tocsin(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Starts processes that end with the test."""
    with processes(tmp_path) as start:
        yield start


class Deployment:
    """Topics of its own, of one partition each."""

    def __init__(self, broker: EmbeddedBroker, clock: str = "log", create: bool = True) -> None:
        kafka = {
            "bootstrap_servers": broker.bootstrap_servers,
            "prefix": f"wrong-{next(_numbers)}",
            "clock": clock,
            "reports_partitions": 1,
            "counts_partitions": 1,
            "session_timeout_s": 2,
        }
        self.settings = Settings(kafka=Kafka(**kafka))  # type: ignore[arg-type]  # values of several types
        self.topics = Topics(self.settings.kafka.prefix)
        self.options = {f"kafka__{key}": value for key, value in kafka.items()} | {
            "worker__http_port": 0,
            "count__flush_s": 0.2,
        }
        if create:
            with Cluster(self.settings) as cluster:
                cluster.create()

    def produce(self, topic: str, *records: tuple[bytes | None, bytes | None]) -> None:
        with KafkaProducer(bootstrap_servers=self.settings.kafka.bootstrap_servers, acks="all") as producer:
            for sent in [producer.send(topic, value, key, partition=0) for key, value in records]:
                sent.get(timeout=30)

    def commit(self, stage: str, topic: str, metadata: str) -> None:
        consumer: Any = KafkaConsumer(
            bootstrap_servers=self.settings.kafka.bootstrap_servers,
            group_id=f"{self.settings.kafka.prefix}-{stage}",
            enable_auto_commit=False,
        )
        partition = TopicPartition(topic, 0)
        consumer.assign([partition])
        consumer.commit({partition: OffsetAndMetadata(0, metadata, -1)})
        consumer.close()

    def counted(self) -> int:
        """Return how many reports of service x the frames tell of."""
        cells: dict[int, int] = {}
        for _, value in read_topic(self.settings, self.topics.counts):
            stated = decode_counts(value or b"")
            for cell in stated.cells if isinstance(stated, Frame) else []:
                if cell.service == "x":
                    cells[cell.bin_ms] = max(cells.get(cell.bin_ms, 0), cell.count)
        return sum(cells.values())


# --- Settings that cannot be right ----------------------------------------------------------------------------------


def test_every_wrong_setting_is_named(tocsin: Callable[..., Process]) -> None:
    worker = tocsin("worker", "count", kafka__clock="brocker", kafka__bootstrap_servers="localhost:port", count__bin=60)
    assert worker.exit_code() == 2
    assert [line.split(" = ")[0] for line in worker.said.splitlines()] == [
        "kafka.bootstrap_servers",
        "kafka.clock",
        "count.bin",
    ]
    assert "must be host:port" in worker.said


def test_a_port_that_is_taken_is_named(tocsin: Callable[..., Process]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        worker = tocsin("worker", "count", worker__http_port=port)
        assert worker.exit_code() == 2
    assert f"cannot listen on 127.0.0.1:{port} (worker.http_host, worker.http_port): Address already" in worker.said


# --- Topics that do not fit -----------------------------------------------------------------------------------------


def test_missing_topics_are_named_and_the_parent_of_the_stages_ends_too(
    broker: EmbeddedBroker, tocsin: Callable[..., Process]
) -> None:
    deployment = Deployment(broker, create=False)
    worker = tocsin("worker", **deployment.options)
    assert worker.exit_code() == 2
    names = (deployment.topics.reports, deployment.topics.counts, deployment.topics.alerts)
    assert {f"topic {name} does not exist: run `tocsin topics create`" for name in names} <= set(worker.errors())


def test_other_partition_numbers_and_another_clock_are_named(
    broker: EmbeddedBroker, tocsin: Callable[..., Process]
) -> None:
    deployment = Deployment(broker, clock="log")
    options = deployment.options | {"kafka__clock": "broker", "kafka__reports_partitions": 7}
    worker = tocsin("worker", "count", **options)
    assert worker.exit_code() == 2
    reports, letters = deployment.topics.reports, deployment.topics.dead_letters
    assert [line.split(":")[0] for line in worker.errors()] == [
        f"topic {reports} has partitions=1, not 7",
        f"topic {reports} has message.timestamp.type=CreateTime, not LogAppendTime",
        f"topic {letters} has partitions=1, not 7",
    ]
    assert worker.errors()[0].endswith("set kafka.reports_partitions = 1, or drain to a new kafka.prefix")


def test_a_topic_that_is_altered_to_the_producers_clock_ends_the_worker(
    broker: EmbeddedBroker, tocsin: Callable[..., Process]
) -> None:
    deployment = Deployment(broker, clock="broker")
    worker = tocsin("worker", "count", **deployment.options)
    until(worker.is_ready, "the worker is ready")
    with KafkaAdminClient(bootstrap_servers=broker.bootstrap_servers) as admin:
        configs = {"message.timestamp.type": "CreateTime"}
        admin.alter_configs([ConfigResource(ConfigResourceType.TOPIC, deployment.topics.reports, configs=configs)])

    def ended() -> bool:
        deployment.produce(deployment.topics.reports, (None, report()))
        return worker.process.poll() is not None

    until(ended, "the worker has ended")
    assert worker.exit_code() == 70
    [error] = worker.errors()
    assert 'StageError: kafka.clock = "broker", but the record at offset' in error


# --- Settings that are not those of before --------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["count", "detect"])
def test_other_counting_settings_are_refused_and_named(
    broker: EmbeddedBroker, tocsin: Callable[..., Process], stage: str
) -> None:
    deployment = Deployment(broker)
    before = deployment.settings.counting
    if stage == "count":
        rebuild = Rebuild(offset=0, counting=before, floor_ms=START_MS, append_ms=START_MS)
        deployment.commit("count", deployment.topics.reports, msgspec.json.encode(rebuild).decode())
    else:
        mark = {"type": "mark", "counting": before, "source": 0, "watermark_ms": START_MS}
        deployment.produce(deployment.topics.counts, (b"0", msgspec.json.encode(mark)))
    worker = tocsin("worker", stage, **deployment.options, count__allowed_lateness_s=31)
    assert worker.exit_code() == 2
    [error] = worker.errors()
    assert error.startswith("CountingChangedError: ")
    assert f"counted under settings {before}" in error
    assert "drain to a new kafka.prefix" in error


def test_other_detection_settings_are_refused_until_they_are_applied(
    broker: EmbeddedBroker, tocsin: Callable[..., Process]
) -> None:
    deployment = Deployment(broker)
    log = [record(START_MS + 1000 * second, report(reporter=str(second))) for second in range(1200)]
    snapshots = [each for judgement in Replay(deployment.settings).run(log) for each in judgement.snapshots]
    assert snapshots
    deployment.produce(deployment.topics.baselines, *((each.key, each.value) for each in snapshots))

    worker = tocsin("worker", "detect", **deployment.options, detect__ratio__above=4)
    assert worker.exit_code() == 2
    [error] = worker.errors()
    assert error.startswith("DetectionChangedError: ")
    assert "start the worker with --apply-settings" in error

    worker = tocsin("worker", "detect", "--apply-settings", **deployment.options, detect__ratio__above=4)
    until(worker.is_ready, "the worker goes on under the new settings")
    worker.process.terminate()
    assert worker.exit_code() == 0
    assert worker.errors() == []


# --- Records of another version -------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", ["count", "detect", "notify"])
def test_a_record_of_a_newer_version_stops_the_worker_before_it_writes(
    broker: EmbeddedBroker, tocsin: Callable[..., Process], stage: str
) -> None:
    deployment = Deployment(broker)
    topics = deployment.topics
    if stage == "count":
        deployment.produce(topics.reports, *[(None, report())] * 50)
        rebuild = {"version": 2, "offset": 0, "epochs": []}
        deployment.commit("count", topics.reports, msgspec.json.encode(rebuild).decode())
        place = f"{topics.reports} partition 0, committed offset 0: commit"
        written = [topics.counts, topics.dead_letters]
    elif stage == "detect":
        deployment.produce(topics.counts, (b"0", b'{"type":"sketch","version":2}'))
        place = f"{topics.counts} partition 0 offset 0: counts"
        written = [topics.baselines, topics.incidents, topics.outages, topics.levels]
    else:
        deployment.produce(topics.incidents, (b"x.US.20250524T1202Z/1", b'{"version":2}'))
        place = f"{topics.incidents} partition 0 offset 0: incident"
        written = [topics.alerts]
    worker = tocsin("worker", stage, **deployment.options)
    assert worker.exit_code() == 2
    [error] = worker.errors()
    assert error.startswith(f"VersionError: {place} version 2, but this Tocsin knows version 1: run the Tocsin that")
    assert [record for topic in written for record in read_topic(deployment.settings, topic)] == []


@pytest.mark.parametrize("stage", ["count", "detect", "notify"])
def test_a_worker_for_whom_no_partition_is_left_is_ready_in_reserve(
    broker: EmbeddedBroker, tocsin: Callable[..., Process], stage: str
) -> None:
    deployment = Deployment(broker)
    workers = [tocsin("worker", stage, **deployment.options) for _ in range(2)]
    for worker in workers:
        until(worker.is_ready, "both are ready")


# --- Kafka away -----------------------------------------------------------------------------------------------------


def test_a_worker_waits_for_kafka_and_stands_its_absence(tmp_path: Path, tocsin: Callable[..., Process]) -> None:
    with EmbeddedBroker(data=tmp_path / "kafka") as broker:
        deployment = Deployment(broker)
        broker.stop_node(1)

        worker = tocsin("worker", "count", **deployment.options)
        address = broker.bootstrap_servers
        assert worker.get("/livez") == (200, "alive\n")
        assert worker.get("/readyz") == (503, f"count: waiting for Kafka at {address}\n")
        until(lambda: f"cannot reach Kafka at {address} (kafka.bootstrap_servers)" in worker.said, "it says why")

        broker.start_node(1)
        until(worker.is_ready, "the worker has begun")
        deployment.produce(deployment.topics.reports, *[(None, report()) for _ in range(50)])

        broker.stop_node(1)
        until(lambda: worker.get("/readyz")[0] == 503, "the worker is not ready")
        assert worker.get("/readyz") == (503, f"{deployment.settings.kafka.prefix}-count: no contact with Kafka\n")
        assert worker.get("/livez") == (200, "alive\n")

        broker.start_node(1)
        until(worker.is_ready, "the worker goes on")
        deployment.produce(deployment.topics.reports, *[(None, report()) for _ in range(50)])
        until(lambda: deployment.counted() == 100, "all reports are counted")
        worker.process.terminate()
        assert worker.exit_code() == 0
