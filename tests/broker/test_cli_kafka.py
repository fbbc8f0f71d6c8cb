"""The commands that talk to Kafka, and the demo as a process of its own."""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer
from typer.testing import CliRunner, Result

from streams.broker import EmbeddedBroker
from streams.cli import app
from streams.events import TICK_KEY
from tests.support.waiting import until

ROOT = Path(__file__).parents[2]
SCENARIO = "dips-30"
numbers = itertools.count(1)


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty directory, and an environment without settings."""
    monkeypatch.chdir(tmp_path)
    for variable in os.environ:
        if variable.startswith("TOCSIN_") or variable == "KAFKA_BOOTSTRAP_SERVERS":
            monkeypatch.delenv(variable)


class Deployment:
    """The command line with settings of its own."""

    def __init__(self, address: str, clock: str) -> None:
        self.prefix = f"cli-{next(numbers)}"
        settings = {"bootstrap_servers": address, "prefix": self.prefix, "clock": clock, "counts_partitions": "2"}
        self.address = address
        self.options = [part for key, value in settings.items() for part in ("--set", f"kafka.{key}={value}")]

    def tocsin(self, *arguments: str) -> Result:
        return CliRunner().invoke(app, [*self.options, *arguments])

    def keys(self, topic: str, count: int) -> list[bytes | None]:
        """Return the keys of the first `count` records of a topic, and that there are no more."""
        consumer = KafkaConsumer(
            f"{self.prefix}.{topic}",
            bootstrap_servers=self.address,
            auto_offset_reset="earliest",
            consumer_timeout_ms=30_000,
        )
        with consumer:
            found = [record.key for record in itertools.islice(consumer, count)]
            ends = consumer.end_offsets(consumer.assignment())
            assert sum(ends.values()) == count == len(found)
            return found


@pytest.fixture
def deployment(broker: EmbeddedBroker, request: pytest.FixtureRequest) -> Deployment:
    """Topics of their own; with the log's clock, unless the test asks for the broker's."""
    deployed = Deployment(broker.bootstrap_servers, getattr(request, "param", "log"))
    created = deployed.tocsin("topics", "create")
    assert created.exit_code == 0, created.output
    return deployed


def test_missing_topics_are_named_by_every_command_that_needs_them(broker: EmbeddedBroker, tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    file.write_text('{"service": "x", "region": "US", "time": "2025-05-24T12:00:00Z"}\n')
    empty = Deployment(broker.bootstrap_servers, "log")
    needed = {
        "reports": [["produce", str(file)], ["simulate", SCENARIO]],
        "baselines": [["backfill", SCENARIO]],
        "incidents": [["incidents"]],
    }
    for topic, commands in needed.items():
        for command in commands:
            result = empty.tocsin(*command)
            assert result.exit_code == 2, command
            assert f"topic {empty.prefix}.{topic} does not exist: run `tocsin topics create`\n" in result.stderr


# --- produce --------------------------------------------------------------------------------------------------------

BARE = '{"service": "x", "region": "US", "reporter": "a", "time": "2025-05-24T12:00:00Z"}\n'


def test_produce_writes_a_log_as_it_is_with_its_ticks(deployment: Deployment, tmp_path: Path) -> None:
    file = tmp_path / "log.jsonl"
    file.write_text(
        '{"timestamp_ms": 1748088000000, "partition": 1, "key": "a", "value": {"service": "x", "region": "US"}}\n'
        '{"timestamp_ms": 1748088005000, "partition": 1, "key": "tocsin.tick", "value": null}\n'
    )
    result = deployment.tocsin("produce", str(file))
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"wrote 2 records to {deployment.prefix}.reports\n"
    assert deployment.keys("reports", 2) == [b"a", TICK_KEY]


@pytest.mark.parametrize("deployment", ["broker"], indirect=True)
def test_produce_leaves_the_ticks_to_the_workers_where_the_broker_keeps_the_time(
    deployment: Deployment, tmp_path: Path
) -> None:
    file = tmp_path / "bare.jsonl"
    file.write_text(BARE * 3)
    assert deployment.tocsin("produce", str(file), "--rate", "1000").exit_code == 0
    assert deployment.keys("reports", 3) == [b"a"] * 3


# --- backfill -------------------------------------------------------------------------------------------------------


def test_backfill_writes_baselines_once_and_replaces_them_only_when_told_to(
    deployment: Deployment, tmp_path: Path
) -> None:
    file = tmp_path / "bare.jsonl"
    file.write_text(BARE + BARE.replace("12:00", "12:20"))
    # the service, and the sensor in each of the two partitions
    topic = f"{deployment.prefix}.baselines"
    first = deployment.tocsin("backfill", str(file))
    assert (first.exit_code, first.stdout) == (0, f"wrote 3 baselines to {topic}, up to 2025-05-24T12:20Z\n")
    second = deployment.tocsin("backfill", SCENARIO)
    assert (second.exit_code, second.stderr) == (2, f"{topic} holds 3 baselines already; --force replaces them\n")
    forced = deployment.tocsin("backfill", SCENARIO, "--force")
    assert (forced.exit_code, forced.stdout) == (0, f"wrote 3 baselines to {topic}, up to 2025-05-20T11:00Z\n")
    again = deployment.tocsin("backfill", SCENARIO)
    assert "holds 3 baselines already" in again.stderr


# --- incidents ------------------------------------------------------------------------------------------------------


@pytest.fixture
def told(deployment: Deployment) -> Deployment:
    """Two transitions in two partitions, the later one first, and one of them twice."""
    replayed = deployment.tocsin("replay", SCENARIO, "--json").stdout.splitlines()
    first, second = [line for line in replayed if line.startswith('{"topic":"incidents"')][:2]
    with KafkaProducer(bootstrap_servers=deployment.address, acks="all") as producer:
        for partition, line in ((0, second), (1, first), (0, second)):
            key, value = line.split('"key":"')[1].split('","value":')
            producer.send(f"{deployment.prefix}.incidents", value[:-1].encode(), key=key.encode(), partition=partition)
        producer.flush()
    return deployment


def test_incidents_are_printed_by_time_and_each_once(told: Deployment) -> None:
    result = told.tocsin("incidents", "--no-follow")
    assert (result.exit_code, result.stderr) == (0, "")
    assert [line.split()[1] for line in result.stdout.splitlines()] == ["OPENED", "GREW"]


def test_incidents_since_a_time_as_json(told: Deployment) -> None:
    lines = told.tocsin("incidents", "--no-follow", "--json").stdout.splitlines()
    assert [line[:12] for line in lines] == ['{"version":1'] * 2
    late = told.tocsin("incidents", "--no-follow", "--json", "--since", "2025-05-20T12:06Z").stdout.splitlines()
    assert late == lines[1:]


# --- broker and demo, as processes ----------------------------------------------------------------------------------


class Process:
    """The command line as a process in a session of its own; its temporary files go to `folder`."""

    def __init__(self, folder: Path, *arguments: str, **environment: str) -> None:
        self.folder = folder / "temporary"
        self.folder.mkdir()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "streams.cli", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            env=os.environ | {"TMPDIR": str(self.folder), "PYTHONPATH": str(ROOT)} | environment,
        )
        assert self.process.stdout is not None
        self.output = self.process.stdout

    def interrupt(self) -> None:
        """Do what Ctrl-C in its terminal does, and see that nothing is left."""
        descendants = psutil.Process(self.process.pid).children(recursive=True)
        os.killpg(self.process.pid, signal.SIGINT)
        self.process.wait(timeout=60)
        _, alive = psutil.wait_procs(descendants, timeout=1)
        assert not alive
        assert not list(self.folder.iterdir())


@pytest.fixture
def processes() -> Iterator[list[Process]]:
    """Those that are in it at the end of the test are killed."""
    running: list[Process] = []
    yield running
    for each in running:
        each.process.kill()
        each.process.wait()


def test_the_broker_says_its_address_runs_until_ctrl_c_and_leaves_nothing(
    tmp_path: Path, processes: list[Process]
) -> None:
    running = Process(tmp_path, "broker")
    processes.append(running)
    address = running.output.readline().strip()
    with KafkaAdminClient(bootstrap_servers=address) as admin:
        assert len(admin.describe_cluster()["brokers"]) == 1
    running.interrupt()
    assert running.process.returncode == 0
    assert running.output.read() == ""


def heading(address: str) -> str:
    """Return the heading of a page."""
    with urllib.request.urlopen(address, timeout=10) as answer:
        found = re.search("<h1[^>]*>(.*?)</h1>", answer.read().decode(), re.DOTALL)
    assert found
    return " ".join(found[1].split())


def test_the_demo_shows_the_outage_of_x_and_deletes_its_topics_on_a_cluster_of_the_users(
    broker: EmbeddedBroker, tmp_path: Path, processes: list[Process]
) -> None:
    running = Process(tmp_path, "demo", "--speed", "3000", KAFKA_BOOTSTRAP_SERVERS=broker.bootstrap_servers)
    processes.append(running)
    lines, pages = [], []
    for line in running.output:
        lines.append(line.rstrip())
        if found := re.search(r"the page at (http://\S+)$", lines[-1]):
            pages.append(found[1])
        if "x is failing since" in line and len(pages) == 1:
            pages.append(until(lambda: [h for h in [heading(pages[0])] if h.startswith("1 ")], "it is shown")[0])
    assert pages[1:] == ["1 outage is going on"]
    assert running.process.wait() == 0, "\n".join(lines)
    assert "Number of reports   25,800 in 15 min (United States)" in lines
    assert "Most affected       United States, United Kingdom, Germany" in lines
    assert "Time to restore     4 h 8 min (12:01 to 16:09 UTC)" in lines
    with KafkaAdminClient(bootstrap_servers=broker.bootstrap_servers) as admin:
        assert not [name for name in admin.list_topics() if name.startswith("tocsin-demo")]
    assert os.listdir(tmp_path) == ["temporary"]
    assert os.listdir(running.folder) == []


def test_ctrl_c_ends_the_demo_with_its_own_broker_and_workers_and_leaves_nothing(
    tmp_path: Path, processes: list[Process]
) -> None:
    running = Process(tmp_path, "demo", "--scenario", SCENARIO, "--speed", "600")
    processes.append(running)
    assert any(" OPENED " in line for line in running.output)
    running.interrupt()
    assert running.process.returncode == 130
    assert "Traceback" not in running.output.read()
    assert os.listdir(tmp_path) == ["temporary"]
