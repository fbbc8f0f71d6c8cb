"""The incident log is a function of the report log: undisturbed, replayed, or with workers killed at random."""

from __future__ import annotations

import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from streams.broker import EmbeddedBroker
from streams.events import Alert, Incident, Levels, decode
from streams.intake import Intake
from streams.replay import Replay, distinct
from streams.reportlog import LogRecord
from streams.settings import Settings, load
from streams.topics import Cluster, Topics
from tests.support.eventfullog import BROKEN, eventful_log
from tests.support.pipeline import ARCHIVE, Pipeline, archived, faults, incident_log, read_topic
from tests.support.waiting import until

SESSION_S = 3.0
SETTINGS = """
version = 1
[kafka]
bootstrap_servers = "{servers}"
prefix = "{prefix}"
clock = "log"
counts_partitions = 3
session_timeout_s = {session_s}
[count]
bin_s = 10
window_bins = 6
epoch_s = 60
allowed_lateness_s = 10
max_names = 25
flush_s = 0.5
[detect]
detector = "limit"
limit = {{ above = 12.0 }}
unknown_after_minutes = 2
merge_gap_minutes = 4
[worker]
http_port = 0
[[policy]]
service = "x"
raise_above = 120
clear_below = 90
"""


@pytest.fixture(scope="module")
def log() -> list[LogRecord]:
    return eventful_log(seed=7, minutes=90, bin_s=10, partitions=4, per_second=22)


def deployment(broker: EmbeddedBroker, folder: Path, prefix: str) -> tuple[Path, Settings]:
    file = folder / "tocsin.toml"
    file.write_text(SETTINGS.format(servers=broker.bootstrap_servers, prefix=prefix, session_s=SESSION_S))
    settings = load(file)
    with Cluster(settings) as cluster:
        cluster.create()
    return file, settings


def truth(settings: Settings, log: list[LogRecord]) -> tuple[dict[tuple[str, bytes], bytes], dict[str, int]]:
    """Return the incident log of a replay with what charts are made of, and the last bin of each service."""
    judgements = list(Replay(settings).run(log))
    levels = [decode(fact.value, Levels) for each in judgements for fact in each.facts if fact.topic == "levels"]
    archive: dict[tuple[str, bytes], bytes] = {
        (fact.topic, fact.key): fact.value for each in judgements for fact in each.facts if fact.topic in ARCHIVE
    }
    return {**distinct(judgements), **archive}, {level.service: level.bin_ms for level in levels}


def judged(settings: Settings) -> dict[str, int]:
    """Return the last bin of each service that the workers have published."""
    last: dict[str, int] = {}
    for _, value in read_topic(settings, Topics(settings.kafka.prefix).levels):
        assert value is not None
        levels = decode(value, Levels)
        last[levels.service] = max(levels.bin_ms, last.get(levels.service, 0))
    return last


def worth_telling(expected: dict[tuple[str, bytes], bytes]) -> set[str]:
    """Return the ids of the alerts that an incident log gives rise to."""
    return {
        key.decode()
        for (topic, key), value in expected.items()
        if topic == "incidents" and decode(value, Incident).transition not in ("held", "resumed")
    }


def told(settings: Settings) -> set[str]:
    """Return the ids of the alerts that went out."""
    return {decode(value or b"", Alert).id for _, value in read_topic(settings, Topics(settings.kafka.prefix).alerts)}


def dead_letters(settings: Settings) -> Counter[bytes | None]:
    """Return how often each dead letter was found, each place in the log once."""
    return Counter(dict(read_topic(settings, Topics(settings.kafka.prefix).dead_letters)).values())


def assert_same(settings: Settings, expected: dict[tuple[str, bytes], bytes]) -> None:
    stated = {**incident_log(settings), **archived(settings)}
    contradicted = {key: values for key, values in stated.items() if len(values) > 1}
    assert not contradicted
    assert {key: values.pop() for key, values in stated.items()} == expected


def test_the_log_has_everything_that_could_go_wrong(
    log: list[LogRecord], broker: EmbeddedBroker, tmp_path: Path
) -> None:
    _, settings = deployment(broker, tmp_path, "tocsin-eventful")
    replay = Replay(settings)
    facts = distinct(replay.run(log))
    transitions = [decode(value, Incident).transition for (topic, _), value in facts.items() if topic == "incidents"]

    assert len(log) > 100_000
    assert all(transitions.count(transition) > 20 for transition in ("opened", "grew", "cleared"))
    tallies = [counter.tally for counter in replay.counters]
    assert min(tally.late for tally in tallies) > 100
    assert min(tally.duplicate for tally in tallies) > 1_000
    assert replay.rejected.total() > 1_000


def test_two_undisturbed_workers_state_what_a_replay_states(
    broker: EmbeddedBroker, tmp_path: Path, log: list[LogRecord]
) -> None:
    file, settings = deployment(broker, tmp_path, "tocsin-undisturbed")
    expected, last = truth(settings, log)

    with Pipeline(file, tmp_path, workers=2) as pipeline:
        with Intake(settings) as intake:
            intake.reports(log)
        until(lambda: judged(settings) == last, "all bins judged", 90)
        assert pipeline.revive() == []

    assert_same(settings, expected)


@pytest.mark.timeout(400)
def test_workers_killed_frozen_and_restarted_at_random_state_the_same(
    broker: EmbeddedBroker, tmp_path: Path, log: list[LogRecord]
) -> None:
    file, settings = deployment(broker, tmp_path, "tocsin-disturbed")
    expected, last = truth(settings, log)

    with Pipeline(file, tmp_path, workers=2) as pipeline, Intake(settings) as intake:
        feeding = threading.Thread(target=intake.reports, args=(log,), kwargs={"rate": len(log) / 80})
        feeding.start()
        for strike in faults(pipeline, seed=11, count=15, frozen_s=SESSION_S + 1.5):
            strike()
            time.sleep(2)  # the time between two faults is part of the disturbance
            pipeline.revive()
        feeding.join()

        def all_judged_and_told() -> bool:
            pipeline.revive()
            return judged(settings) == last and told(settings) >= worth_telling(expected)

        until(all_judged_and_told, "all bins judged", 120)

    assert_same(settings, expected)
    assert told(settings) == worth_telling(expected)
    assert dead_letters(settings) == Counter(record.value for record in log if record.value in BROKEN)
