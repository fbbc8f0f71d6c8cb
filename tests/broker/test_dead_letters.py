"""The whole circle: what is no report becomes a dead letter, is looked at, mended, sent back and counted."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition
from prometheus_client import CollectorRegistry
from typer.testing import CliRunner, Result

from streams import stageapp
from streams.app import count_app
from streams.broker import EmbeddedBroker
from streams.cli import app
from streams.events import DAY_MS, Frame, decode_counts
from streams.intake import Intake, IntakeError
from streams.settings import Count, Kafka, Settings
from streams.topics import Cluster, Topics
from tests.support.pipeline import read_topic
from tests.support.reports import report
from tests.support.waiting import comes

START_MS = 1_748_088_000_000  # 2025-05-24T12:00:00Z
MEND = 's/"X"/"x"/; s/United States/US/'
_numbers = itertools.count()


@pytest.fixture(autouse=True)
def commits_at_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Also an empty directory, and an environment without settings."""
    monkeypatch.setattr(stageapp, "COMMIT_S", 0.2)
    monkeypatch.chdir(tmp_path)
    for variable in os.environ:
        if variable.startswith("TOCSIN_") or variable == "KAFKA_BOOTSTRAP_SERVERS":
            monkeypatch.delenv(variable)


class Deployment:
    """Topics of its own, the command line for them, and a count stage that reads them when told to."""

    def __init__(self, broker: EmbeddedBroker) -> None:
        kafka: dict[str, Any] = {
            "bootstrap_servers": broker.bootstrap_servers,
            "prefix": f"letters-{next(_numbers)}",
            "clock": "log",
            "reports_partitions": 2,
            "counts_partitions": 1,
            "session_timeout_s": 2,
        }
        count: dict[str, Any] = {"bin_s": 10, "epoch_s": 60, "allowed_lateness_s": 10, "flush_s": 0.1}
        self.settings = Settings(kafka=Kafka(**kafka), count=Count(**count))
        tables = {"kafka": kafka, "count": count}
        self._options = [f"--set={table}.{key}={value}" for table, own in tables.items() for key, value in own.items()]
        self.topics = Topics(self.settings.kafka.prefix)
        with Cluster(self.settings) as cluster:
            cluster.create()

    def tocsin(self, *arguments: str) -> Result:
        return CliRunner().invoke(app, [*self._options, *arguments])

    def id(self, partition: int, offset: int) -> str:
        return f"{self.topics.reports}/{partition}/{offset}"

    def ids(self) -> list[str]:
        """Return the ids of all dead letters."""
        return [json.loads(line)["id"] for line in self.tocsin("dlq", "list", "--json").stdout.splitlines()]

    def append(self, value: bytes | None, after_s: float, partition: int, key: bytes | None = None) -> None:
        with KafkaProducer(bootstrap_servers=self.settings.kafka.bootstrap_servers, acks="all") as producer:
            at_ms = START_MS + int(after_s * 1000)
            headers = [("trace", b"7")]
            producer.send(self.topics.reports, value, key, headers, partition, at_ms).get(timeout=30)

    def count_until(self, source: int, bin_s: int, letters: int = 0) -> None:
        """Run the count stage until it has counted a report of that bin, and written so many dead letters in all."""

        async def run() -> None:
            stage = count_app(self.settings, CollectorRegistry())
            await stage.start()
            try:
                await comes(counted, "the last report counted")
                await comes(written, "the dead letters written")
            finally:
                await stage.stop()

        async def counted() -> bool:
            return (source, bin_s) in await asyncio.to_thread(self.counted)

        async def written() -> bool:
            return len(await asyncio.to_thread(read_topic, self.settings, self.topics.dead_letters)) >= letters

        asyncio.run(run())

    def counted(self) -> dict[tuple[int, int], int]:
        """Return the reports of service x by source and seconds of the bin."""
        cells: dict[tuple[int, int], int] = {}
        for _, value in read_topic(self.settings, self.topics.counts):
            stated = decode_counts(value or b"")
            if not isinstance(stated, Frame):
                continue
            for cell in stated.cells:
                if cell.service == "x":
                    key = stated.source, (cell.bin_ms - START_MS) // 1000
                    cells[key] = max(cells.get(key, 0), cell.count)
        return cells

    def reports(self, partition: int) -> list[Any]:
        """Return the records of a partition of the reports topic."""
        consumer: Any = KafkaConsumer(bootstrap_servers=self.settings.kafka.bootstrap_servers)
        try:
            tp = TopicPartition(self.topics.reports, partition)
            consumer.assign([tp])
            consumer.seek_to_beginning(tp)
            end = consumer.end_offsets([tp])[tp]
            found: list[Any] = []
            while consumer.position(tp) < end:
                found += itertools.chain.from_iterable(consumer.poll(timeout_ms=200).values())
            return found
        finally:
            consumer.close()


@pytest.fixture
def lettered(broker: EmbeddedBroker) -> Deployment:
    """Four dead letters. Source 1 has gone on for 100 s since, source 0 has not.

    source 0   bad region, with a time   1 s
    source 1   good 0 s, bad service without a time 1 s, no JSON 2 s, bad region with a time 3 s, good 100 s
    """
    deployment = Deployment(broker)
    deployment.append(report(region="United States", reporter="d", time_ms=START_MS + 1000), 1, 0, b"d")
    deployment.append(report(), 0, 1)
    deployment.append(report(service="X", reporter="c0ffee"), 1, 1, b"c0ffee")
    deployment.append(b"not json", 2, 1)
    deployment.append(report(region="United States", reporter="e", time_ms=START_MS + 3000), 3, 1, b"e")
    deployment.append(report(), 100, 1)
    deployment.count_until(1, 100, letters=4)
    assert deployment.ids() == [deployment.id(*at) for at in ((0, 0), (1, 1), (1, 2), (1, 3))]
    return deployment


def test_the_whole_circle_ends_with_mended_letters_counted_or_late_and_the_others_where_they_were(
    lettered: Deployment,
) -> None:
    result = lettered.tocsin("dlq", "redrive", "--through", f"sed '{MEND}'")
    assert result.exit_code == 1
    assert result.stderr.startswith(f"left {lettered.id(1, 2)}: malformed: ")
    assert result.stdout == f"sent back to {lettered.topics.reports}: 3, of them late: 2; left: 1\n"
    assert lettered.ids() == [lettered.id(1, 2)]

    _, back = lettered.reports(0)
    assert (back.key, back.value) == (b"d", report(reporter="d", time_ms=START_MS + 1000))
    assert list(back.headers) == [("trace", b"7"), ("tocsin.redriven", lettered.id(0, 0).encode())]
    untimed = lettered.reports(1)[5]
    assert untimed.key == b"c0ffee"
    assert json.loads(untimed.value)["time"] == "2025-05-24T12:00:01.000Z"

    lettered.append(report(), 200, 0)
    lettered.append(report(), 200, 1)
    lettered.count_until(1, 200)
    assert lettered.counted() == {(0, 0): 1, (1, 0): 1, (1, 100): 1, (0, 200): 1, (1, 200): 1}


def test_an_interruption_before_letters_are_taken_away_sends_again_and_a_reporter_counts_once(
    lettered: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    redrive = ["dlq", "redrive", "--id", lettered.id(0, 0), "--through", f"sed '{MEND}'"]
    acknowledged = Intake._acknowledged

    def interrupted(intake: Intake) -> None:
        acknowledged(intake)
        raise IntakeError("interrupted")

    with monkeypatch.context() as patched:
        patched.setattr(Intake, "_acknowledged", interrupted)
        assert lettered.tocsin(*redrive).stderr == "interrupted\n"
    assert lettered.id(0, 0) in lettered.ids()
    assert lettered.tocsin(*redrive).exit_code == 0
    assert len(lettered.reports(0)) == 3

    lettered.append(report(), 50, 0)
    lettered.count_until(0, 50)
    assert lettered.counted()[0, 0] == 1


def test_letters_are_counted_by_reason_listed_and_chosen(lettered: Deployment) -> None:
    everything = lettered.tocsin("dlq", "list").stdout.splitlines()
    assert [line.split() for line in everything[:3]] == [["2", "region"], ["1", "malformed"], ["1", "service"]]
    assert everything[4] == (
        f"{lettered.id(0, 0)}  2025-05-24T12:00:01.000Z  region: "
        "'United States' does not match [A-Za-z0-9-][A-Za-z0-9_-]{0,31}"
    )
    newest = lettered.tocsin("dlq", "list", "--limit", "1").stdout.splitlines()
    assert [line.split("  ")[0] for line in newest[4:]] == [lettered.id(1, 3), "and 3 older ones (--limit)"]
    chosen = lettered.tocsin("dlq", "list", "--json", "--reason", "region", "--since", "2025-05-24T12:00:02Z")
    assert [json.loads(line)["id"] for line in chosen.stdout.splitlines()] == [lettered.id(1, 3)]


def test_a_letter_is_shown_without_its_reporter_unless_told(lettered: Deployment) -> None:
    hidden = lettered.tocsin("dlq", "show", lettered.id(1, 1)).stdout
    assert "c0ffee" not in hidden
    assert '"reporter":"reporter ' in hidden
    shown = lettered.tocsin("dlq", "show", lettered.id(1, 1), "--personal-data").stdout
    assert report(service="X", reporter="c0ffee").decode() in shown
    assert "trace: 7" in shown
    malformed = lettered.tocsin("dlq", "show", lettered.id(1, 2)).stdout
    assert "8 bytes that are no JSON object, hidden (--personal-data)" in malformed
    as_hex = lettered.tocsin("dlq", "show", lettered.id(1, 2), "--personal-data", "--hex").stdout
    assert b"not json".hex() in as_hex
    missing = lettered.tocsin("dlq", "show", lettered.id(1, 99))
    assert (missing.exit_code, missing.stdout) == (2, "")
    assert missing.stderr.startswith(f"there is no dead letter '{lettered.id(1, 99)}'")


FILTERS = {
    "false": "the filter 'false' ended with 1; nothing was sent back",
    "head -n 3": "the filter 'head -n 3' gave 3 lines for 4 letters, not one for each; nothing was sent back",
    "no-such-filter": "no-such-filter: No such file or directory",
}


def test_a_filter_that_fails_or_loses_a_line_sends_nothing_back(lettered: Deployment) -> None:
    before = [len(lettered.reports(partition)) for partition in (0, 1)]
    for command, message in FILTERS.items():
        result = lettered.tocsin("dlq", "redrive", "--through", command)
        assert (result.exit_code, result.stderr) == (2, message + "\n")
    dry = lettered.tocsin("dlq", "redrive", "--through", f"sed '{MEND}'", "--dry-run")
    assert dry.stdout == f"would be sent back to {lettered.topics.reports}: 3, of them late: 2; left: 1\n"
    assert [len(lettered.reports(partition)) for partition in (0, 1)] == before
    assert len(lettered.ids()) == 4


def test_what_would_be_no_report_again_is_left_with_the_reason(lettered: Deployment) -> None:
    lettered.append(report(time_ms=START_MS + 8 * DAY_MS), 8 * DAY_MS / 1000, 1)
    script = "import sys; [print(line.replace('X', 'x').strip() if 'X' in line else '') for line in sys.stdin]"
    result = lettered.tocsin("dlq", "redrive", "--through", shlex.join([sys.executable, "-c", script]))
    assert result.exit_code == 1
    assert sorted(line.split(": ", 1)[1] for line in result.stderr.splitlines()) == [
        "ancient: event time 691199.000 s before the append time",
        *["the filter gave an empty line"] * 3,
    ]
    assert len(lettered.ids()) == 4
