"""`tocsin export`: the reports of a cluster as a log that can be replayed elsewhere."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from typer.testing import CliRunner, Result

from streams.app import count_app
from streams.broker import EmbeddedBroker
from streams.cli import app
from streams.events import TICK_KEY
from streams.intake import Intake
from streams.reportlog import LogRecord, read
from streams.settings import Settings, load
from streams.topics import Cluster, Topics
from tests.support.eventfullog import eventful_log
from tests.support.pipeline import Pipeline, incident_log, read_topic
from tests.support.waiting import comes, until

SETTINGS = """
version = 1
[kafka]
bootstrap_servers = "{servers}"
prefix = "{prefix}"
clock = "{clock}"
counts_partitions = 2
session_timeout_s = 3.0
[count]
bin_s = 10
window_bins = 6
epoch_s = 60
allowed_lateness_s = 10
flush_s = 0.5
idle_tick_s = 0.5
[detect]
detector = "limit"
limit = {{ above = 12.0 }}
[worker]
http_port = 0
"""
START_MS = 1_748_088_000_000  # 2025-05-24T12:00:00Z
_numbers = itertools.count()


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty directory, and an environment without settings."""
    monkeypatch.chdir(tmp_path)
    for variable in os.environ:
        if variable.startswith("TOCSIN_") or variable == "KAFKA_BOOTSTRAP_SERVERS":
            monkeypatch.delenv(variable)


def tocsin(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def deployment(broker: EmbeddedBroker, clock: str = "log") -> Settings:
    """Write the settings into the directory, and create the topics."""
    prefix = f"export-{next(_numbers)}"
    Path("tocsin.toml").write_text(SETTINGS.format(servers=broker.bootstrap_servers, prefix=prefix, clock=clock))
    settings = load(None)
    with Cluster(settings) as cluster:
        cluster.create()
    return settings


def write(settings: Settings, records: list[LogRecord]) -> None:
    with Intake(settings) as intake:
        intake.reports(records)


def test_the_replay_of_what_is_exported_gives_the_incidents_of_the_cluster(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    settings = deployment(broker)
    log = eventful_log(seed=3, minutes=12, bin_s=10, partitions=4, per_second=22)
    write(settings, log)
    assert tocsin("export", "-o", "log.jsonl.gz").exit_code == 0
    replayed = [json.loads(line) for line in tocsin("replay", "log.jsonl.gz", "--json").stdout.splitlines()]
    assert len(replayed) > 10

    with Pipeline(tmp_path / "tocsin.toml", tmp_path, workers=1):
        until(lambda: len(incident_log(settings)) >= len(replayed), "as many facts as the replay has", 120)
    stated = {(topic, key.decode()): values for (topic, key), values in incident_log(settings).items()}
    assert {key: [json.loads(value) for value in values] for key, values in stated.items()} == {
        (line["topic"], line["key"]): [line["value"]] for line in replayed
    }


def test_every_record_comes_back_as_it_was_written_each_partition_in_its_order(broker: EmbeddedBroker) -> None:
    settings = deployment(broker)
    log = [
        LogRecord(START_MS, 3, b"a", b'{"service":"x","region":"US"}'),
        LogRecord(START_MS + 9000, 1, None, b"not \xff json"),
        LogRecord(START_MS + 5000, 3, b"\xff", b' {"a": 1}'),
        LogRecord(START_MS + 6000, 1, b"goes back", None),
        LogRecord(START_MS + 7000, 0, TICK_KEY, None),
        LogRecord(START_MS + 8000, 3, b"", b""),
    ]
    write(settings, log)
    result = tocsin("export", "-o", "log.jsonl")
    assert result.exit_code == 0
    assert result.stderr == (
        f"wrote 6 records of {Topics(settings.kafka.prefix).reports} to log.jsonl, "
        "appended 2025-05-24T12:00Z to 2025-05-24T12:00:09Z\n"
    )
    exported = list(read(Path("log.jsonl")))
    for partition in range(4):
        assert [each for each in exported if each.partition == partition] == [
            each for each in log if each.partition == partition
        ]
    assert [each.timestamp_ms - START_MS for each in exported] == [0, 5000, 7000, 8000, 9000, 6000]


def test_a_stretch_of_time_is_exported(broker: EmbeddedBroker) -> None:
    settings = deployment(broker)
    value = b'{"service":"x","region":"US"}'
    write(settings, [LogRecord(START_MS + 1000 * each, each % 3, None, value) for each in range(600)])
    result = tocsin("export", "--since", "2025-05-24T12:01Z", "--until", "2025-05-24T12:02Z")
    assert [json.loads(line)["timestamp_ms"] for line in result.stdout.splitlines()] == [
        START_MS + 1000 * each for each in range(60, 120)
    ]
    none = tocsin("export", "--since", "2025-05-25")
    assert (none.exit_code, none.stdout) == (0, "")
    assert none.stderr == f"{Topics(settings.kafka.prefix).reports} holds no such records\n"


def test_ticks_of_the_workers_are_exported_so_that_the_log_closes(broker: EmbeddedBroker) -> None:
    settings = deployment(broker, clock="broker")
    reports = Topics(settings.kafka.prefix).reports

    async def count() -> None:
        stage = count_app(settings, CollectorRegistry())
        await stage.start()
        try:
            await comes(ticked, "ticks in every partition of the reports topic")
        finally:
            await stage.stop()

    async def ticked() -> bool:
        return len(await asyncio.to_thread(read_topic, settings, reports)) >= 8

    asyncio.run(count())
    lines = [json.loads(line) for line in tocsin("export").stdout.splitlines()]
    assert {line["key"] for line in lines} == {TICK_KEY.decode()}
    assert {line["partition"] for line in lines} == {0, 1, 2, 3}
