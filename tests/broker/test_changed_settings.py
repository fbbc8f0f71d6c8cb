"""Detection settings that change while incidents are open hold from one bin on, which the log itself names."""

from __future__ import annotations

import asyncio
import itertools
from pathlib import Path

from faust.types import TP

from streams.bins import BinMerger
from streams.broker import EmbeddedBroker
from streams.events import SENSOR, Levels, SettingsChange, decode, decode_counts
from streams.intake import Intake
from streams.replay import FLUSH_RECORDS, Replay
from streams.reportlog import LogRecord
from streams.settings import Settings, load
from streams.snapshots import complete
from streams.topicreader import TopicReader
from streams.topics import Cluster, Topics
from tests.support.eventfullog import eventful_log
from tests.support.pipeline import Pipeline, archived, incident_log, read_topic
from tests.support.waiting import until

SETTINGS = """
version = 1
[kafka]
bootstrap_servers = "{servers}"
prefix = "tocsin-changed"
clock = "log"
counts_partitions = 2
session_timeout_s = 3
[count]
bin_s = 10
window_bins = 6
epoch_s = 60
allowed_lateness_s = 10
flush_s = 0.5
[detect]
detector = "limit"
limit = {{ above = {above} }}
unknown_after_minutes = 2
merge_gap_minutes = 4
[worker]
http_port = 0
"""

LevelsByBin = dict[tuple[str, int], bytes]


def test_every_bin_before_the_change_is_judged_by_the_old_settings_and_every_later_one_by_the_new(
    broker: EmbeddedBroker, tmp_path: Path
) -> None:
    log = eventful_log(seed=11, minutes=24, bin_s=10, partitions=4, per_second=22)
    files = [tmp_path / "before.toml", tmp_path / "after.toml"]
    for file, above in zip(files, (12.0, 30.0), strict=True):
        file.write_text(SETTINGS.format(servers=broker.bootstrap_servers, above=above))
    before, after = (load(file) for file in files)
    with Cluster(before) as cluster:
        cluster.create()
    half = len(log) // 2

    with Pipeline(files[0], tmp_path, workers=1):
        with Intake(before) as intake:
            intake.reports(log[:half])
        until(lambda: all(snapshots(before)), "every partition has a snapshot", 60)
    with Pipeline(files[1], tmp_path, workers=1, options=["--apply-settings"]) as pipeline:
        [detect] = [worker for worker in pipeline.workers if worker.stage == "detect"]
        until(lambda: all(each is not None for each in changes(after)), "the change is in the log", 60)
        detect.kill()  # before any snapshot under the new settings
        with Intake(after) as intake:
            intake.reports(log[half:])
        detect.kill()
        facts, expected_levels = truth(before, after, log, changes(after))
        until(lambda: levels(after).keys() >= expected_levels.keys(), "all bins judged", 90)

    assert {**incident_log(after), **archived(after)} == {key: {value} for key, value in facts.items()}
    assert levels(after) == expected_levels
    assert facts != truth(before, after, log, [None, None])[0]


def snapshots(settings: Settings) -> list[int]:
    """Return how many snapshots of the sensor each counts partition has."""
    reader = TopicReader(settings)
    topic = Topics(settings.kafka.prefix).baselines
    partitions = range(settings.kafka.counts_partitions)
    return [len(complete(asyncio.run(reader.read(TP(topic, each)))).get(SENSOR, {})) for each in partitions]


def levels(settings: Settings) -> LevelsByBin:
    """Return what the workers have published of each service and bin; all statements about one are the same."""
    found: LevelsByBin = {(".", 0): b""}
    for _, value in read_topic(settings, Topics(settings.kafka.prefix).levels):
        assert value is not None
        about = decode(value, Levels)
        assert found.setdefault((about.service, about.bin_ms), value) == value
    return found


def changes(settings: Settings) -> list[int | None]:
    """Return the first bin that each counts partition judges under these settings, None where the log has no change."""
    reader = TopicReader(settings)
    found = []
    for partition in range(settings.kafka.counts_partitions):
        merger = BinMerger(settings)
        records = asyncio.run(reader.read(TP(Topics(settings.kafka.prefix).counts, partition)))
        for offset, (_, value) in zip(itertools.count(), records, strict=False):
            record = decode_counts(value or b"")
            if isinstance(record, SettingsChange):
                found.append(merger.next_ms)
                break
            merger.add(offset, record)
            for _bin in merger.complete():
                pass
        else:
            found.append(None)
    return found


def truth(
    before: Settings, after: Settings, log: list[LogRecord], change_ms: list[int | None]
) -> tuple[dict[tuple[str, bytes], bytes], LevelsByBin]:
    """Return the incident log and the levels of a replay in which the settings change at these bins."""
    replay = Replay(before)
    facts: dict[tuple[str, bytes], bytes] = {}
    found: LevelsByBin = {(".", 0): b""}
    for partition, bin_ in replay._bins(log, FLUSH_RECORDS):
        if bin_.bin_ms == change_ms[partition]:
            replay._detections[partition] = replay._detections[partition].under(after)
        for fact in replay._detections[partition].judge(bin_).facts:
            if fact.topic == "levels":
                found[fact.service, bin_.bin_ms] = fact.value
            else:
                facts[fact.topic, fact.key] = fact.value
    return facts, found
