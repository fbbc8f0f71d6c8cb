"""`tocsin worker` with all three stages: one place to ask for the metrics and the readiness of its processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from streams.broker import EmbeddedBroker
from streams.intake import Intake
from streams.metrics import catalogue
from streams.replay import Replay
from streams.reportlog import LogRecord, with_ticks
from streams.settings import load
from streams.topics import Cluster
from streams.worker import STAGES
from tests.support.programs import program
from tests.support.reports import record, report
from tests.support.series import series
from tests.support.waiting import until

START_MS = 1_748_088_000_000
PARTITIONS = 2
SETTINGS = """
version = 1
[kafka]
bootstrap_servers = "{servers}"
prefix = "tocsin-measured"
clock = "log"
reports_partitions = 2
counts_partitions = 2
session_timeout_s = 2
[count]
flush_s = 0.2
[detect]
detector = "limit"
limit = {{ above = 30.0 }}
[worker]
http_port = 0
"""


def eight_minutes() -> list[LogRecord]:
    """Return a report a second, alternating between the partitions, and ticks behind them."""
    log = [record(START_MS + 1000 * each, report(reporter=str(each)), partition=each % 2) for each in range(480)]
    return list(with_ticks([*log, record(START_MS + 480_000, b"broken")], PARTITIONS, closing_ms=120_000))


class Parent:
    """A process that runs all stages; its temporary files go into a folder of its own."""

    def __init__(self, settings_file: Path, log: Path, temporary: Path) -> None:
        self.temporary = temporary
        self._log = log
        command = [sys.executable, "-m", "streams.cli", "--settings", str(settings_file), "worker"]
        with log.open("wb") as output:
            self.process = psutil.Popen(
                command, stdout=output, stderr=output, env={**os.environ, "TMPDIR": str(temporary)}
            )

    def get(self, path: str) -> tuple[int, str]:
        [port] = until(self._ports, "the parent listens")
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def series(self) -> dict[str, float]:
        return series(self.get("/metrics")[1])

    def child(self, stage: str) -> psutil.Process:
        [child] = [each for each in self.process.children() if stage in each.cmdline()]
        return child

    def _ports(self) -> list[int]:
        lines = [json.loads(line) for line in self._log.read_text().splitlines() if line.startswith("{")]
        return [line["http_port"] for line in lines if "http_port" in line]


def has_ended(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)  # whoever adopts orphans may not wait for them
    except psutil.NoSuchProcess:
        return True


@pytest.fixture(scope="module")
def parent(broker: EmbeddedBroker, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parent]:
    """A worker that has taken in the log, and told of its incident."""
    folder = tmp_path_factory.mktemp("parent")
    file = folder / "tocsin.toml"
    file.write_text(SETTINGS.format(servers=broker.bootstrap_servers))
    settings = load(file)
    with Cluster(settings) as cluster:
        cluster.create()
    with Intake(settings) as intake:
        intake.reports(eight_minutes())
    last_ms = max(judgement.bin_ms for judgement in Replay(settings).run(eight_minutes())) + 60_000
    # the paths of sockets must be short
    with tempfile.TemporaryDirectory() as temporary:
        running = Parent(file, folder / "worker.log", Path(temporary))

        def done() -> bool:
            found = running.series()
            judged = [found.get(f'tocsin_detect_judged_seconds{{partition="{each}"}}') for each in range(PARTITIONS)]
            told = found.get('tocsin_notify_alerts_total{kind="opened"}')
            return judged == [last_ms / 1000] * PARTITIONS and told == 1 and running.get("/readyz")[0] == 200

        try:
            until(done, "all bins judged and the incident told", 150)
            yield running
        finally:
            for each in [*running.process.children(), running.process]:
                each.kill()
            running.process.wait()


def test_one_scrape_shows_what_all_stages_measure(parent: Parent) -> None:
    found = parent.series()
    partitions = [(stage, partition) for stage in STAGES for partition in range(PARTITIONS)]
    for stage in STAGES:
        assert found[f'tocsin_stage_up{{stage="{stage}"}}'] == 1
        assert found[f'tocsin_ready{{stage="{stage}"}}'] == 1
        assert found[f'process_resident_memory_bytes{{stage="{stage}"}}'] > 1e6
    for stage, partition in partitions:
        labels = f'{{partition="{partition}",stage="{stage}"}}'
        assert found[f"tocsin_lag_records{labels}"] == 0
        assert found[f"tocsin_rebuilding{labels}"] == 0
        assert found[f"tocsin_commit_timestamp_seconds{labels}"] > 1.7e9

    log = eight_minutes()
    for partition in range(PARTITIONS):
        own = [each for each in log if each.partition == partition]
        watermark_s = own[-1].timestamp_ms / 1000 - 30
        assert found[f'tocsin_position{{partition="{partition}",stage="count"}}'] == len(own)
        assert found[f'tocsin_count_records_read_total{{partition="{partition}"}}'] == len(own)
        assert found[f'tocsin_count_reports_accepted_total{{partition="{partition}"}}'] == 240
        assert found[f'tocsin_count_watermark_seconds{{partition="{partition}"}}'] == watermark_s
        assert found[f'tocsin_detect_watermark_seconds{{source="{partition}"}}'] == watermark_s
        assert found[f'tocsin_detect_covered_sources{{partition="{partition}"}}'] == PARTITIONS
    assert found['tocsin_count_dead_letters_total{partition="0",reason="malformed"}'] == 1
    assert found['tocsin_facts_published_total{stage="count",topic="reports.dlq"}'] == 1
    assert found['tocsin_facts_published_total{stage="notify",topic="alerts"}'] >= 1
    assert found['tocsin_incident_transitions_total{transition="opened"}'] == 1
    assert found["tocsin_count_flush_seconds_count"] > 0
    assert found["tocsin_detect_bin_close_seconds_count"] > 0
    assert found["tocsin_facts_contradicted_total"] == 0


def test_what_is_shown_is_what_the_catalogue_describes(parent: Parent) -> None:
    _, text = parent.get("/metrics")
    types = {line.split()[2]: line.split()[3] for line in text.split("\n") if line.startswith("# TYPE ")}
    own = [family for family in catalogue() if not family.name.startswith("tocsin_web_")]
    assert types == {family.name: family.type for family in own}


def test_promtool_has_nothing_to_say_against_the_metrics(parent: Parent) -> None:
    _, text = parent.get("/metrics")
    checked = subprocess.run(
        [program("promtool"), "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, "")


def test_a_killed_stage_is_down_and_started_again_and_nothing_is_left_of_a_killed_parent(parent: Parent) -> None:
    assert parent.get("/readyz") == (200, "ready\n")
    parent.child("detect").kill()
    down = until(lambda: [each for each in [parent.series()] if not each['tocsin_stage_up{stage="detect"}']], "down")
    assert down[0]['tocsin_stage_up{stage="count"}'] == 1
    assert not any(each.startswith("tocsin_detect_") for each in down[0])
    status, lines = parent.get("/readyz")
    assert (status, lines) == (503, "detect: the process does not answer\n")
    assert parent.get("/livez") == (200, "alive\n")

    until(lambda: parent.series()['tocsin_stage_up{stage="detect"}'] == 1, "detect is up again", 60)
    found = parent.series()
    assert found['tocsin_stage_restarts_total{stage="detect"}'] == 1
    assert found['tocsin_stage_restarts_total{stage="count"}'] == 0
    until(lambda: parent.get("/readyz")[0] == 200, "detect is ready again", 60)

    children = parent.process.children()
    assert len(list(parent.temporary.glob("tocsin-worker-*/*"))) == len(STAGES)
    parent.process.kill()
    until(lambda: all(has_ended(each) for each in children), "the stages have ended", 60)
    assert list(parent.temporary.iterdir()) == []
