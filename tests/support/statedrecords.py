"""Every record that a log of reports leads to, by topic, as the stages would write it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from streams.cloudevents import Headers, headers
from streams.counting import SourceCounter, begin_of_log
from streams.events import DAY_MS, Gap, Incident, Outage, SettingsChange, decode, encode
from streams.frames import facts, marks
from streams.notify.alert import alert
from streams.replay import FLUSH_RECORDS, Replay
from streams.reportlog import LogRecord
from streams.settings import Settings
from streams.snapshots import Packed, unpack
from tests.support.reports import feed


class Stated(NamedTuple):
    """One record; of a baseline, the value is the JSON of what it holds."""

    key: bytes
    value: bytes
    headers: Headers


def stated(
    settings: Settings, log: Sequence[LogRecord], learnt: Mapping[int, Iterable[Packed]]
) -> dict[str, list[Stated]]:
    """Return the records of every topic behind the reports, each topic in order; `learnt` is what `backfill` gives."""
    baselines = {partition: [(each.key, each.value) for each in own] for partition, own in learnt.items()}
    records: dict[str, list[Stated]] = defaultdict(list)
    records["counts"] = list(_counts(settings, log))
    for judgement in Replay(settings, baselines).run(log):
        for fact in judgement.facts:
            about: Headers = []
            if fact.topic == "incidents":
                incident = decode(fact.value, Incident)
                about = headers(incident, "tocsin.incidents")
                due = alert(incident, settings)
                if due is not None:
                    records["alerts"].append(Stated(due.service.encode(), encode(due), headers(due, "tocsin.alerts")))
            elif fact.topic == "outages":
                about = headers(decode(fact.value, Outage), "tocsin.outages")
            records[fact.topic].append(Stated(fact.key, fact.value, about))
        for packed in judgement.snapshots:
            snapshot = unpack(packed.key, packed.value)
            records["baselines"].append(Stated(packed.key, msgspec.json.encode(snapshot), []))
    return dict(records)


def _counts(settings: Settings, log: Sequence[LogRecord]) -> Iterable[Stated]:
    """Yield a gap, a change of settings, and the frames and marks of the log."""
    start_ms = log[0].timestamp_ms
    gap = Gap(counting=settings.counting, source=0, since_ms=start_ms - DAY_MS, until_ms=start_ms)
    change = SettingsChange(
        counting=settings.counting, detecting=settings.detecting, settings=settings.detection_tables
    )
    yield from (Stated(b"0", encode(record), []) for record in (gap, change))
    for source in range(settings.kafka.reports_partitions):
        counter = SourceCounter(settings, source, begin_of_log(settings))
        own = [record for record in log if record.partition == source]
        for first in range(0, len(own), FLUSH_RECORDS):
            feed(counter, own[first : first + FLUSH_RECORDS])
            flush = counter.flush()
            assert flush is not None
            for _, record in [*facts(flush, settings), *marks(flush, settings)]:
                yield Stated(str(source).encode(), encode(record), [])
