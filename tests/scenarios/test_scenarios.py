"""Given the reports of a scenario, these incidents. All times are event times, in UTC.

The golden incident logs beside this file are what `Replay` states of every scenario, byte for byte; after a change that
is meant to change them, `pytest tests/scenarios --update-golden` writes them anew.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from itertools import groupby
from pathlib import Path

import pytest

from streams.events import Incident, Levels, Outage, decode, instant
from streams.names import region_name
from streams.replay import FLUSH_RECORDS, Replay, backfill, distinct
from streams.scenarios import history, load, names
from streams.scenarios.simulate import reports
from streams.settings import Settings

GOLDEN = Path(__file__).parent / "golden"


def deployment(sources: int = 4, counts_partitions: int = 1) -> Settings:
    """Return settings with the limits that the press figures of X in the United States call for."""
    return Settings.model_validate(
        {
            "kafka": {"reports_partitions": sources, "counts_partitions": counts_partitions},
            "policy": [{"service": "x", "region": "US", "raise_above": 750, "clear_below": 650}],
        }
    )


@dataclass
class Run:
    """What a replay of a scenario stated: the incident log, and the levels of all bins."""

    log: bytes
    incidents: list[Incident]
    outages: list[Outage]
    levels: list[Levels]

    def of(self, region: str) -> list[Incident]:
        return [incident for incident in self.incidents if incident.region == region]

    @property
    def opened(self) -> list[Incident]:
        return [incident for incident in self.incidents if incident.transition == "opened"]

    @property
    def last_outages(self) -> list[Outage]:
        """The last document of every outage."""
        return list({outage.id: outage for outage in self.outages}.values())

    def level(self, service: str, region: str, clock: str) -> tuple[int, str]:
        """Return window count and state in the bin that begins at `clock`."""
        (level,) = [
            level
            for levels in self.levels
            if levels.service == service and instant(levels.bin_ms)[-6:-1] == clock
            for level in levels.regions
            if level.region == region
        ]
        return level.window, level.state


@cache
def baseline(name: str, counts_partitions: int) -> dict[int, list[tuple[bytes, bytes | None]]]:
    learnt = backfill(deployment(counts_partitions=counts_partitions), history(load(name)))
    return {partition: [(packed.key, packed.value) for packed in snapshots] for partition, snapshots in learnt.items()}


@cache
def run(
    name: str, seed: int = 0, sources: int = 4, counts_partitions: int = 1, flush_records: int = FLUSH_RECORDS
) -> Run:
    settings = deployment(sources, counts_partitions)
    # the baseline knows nothing of sources: one serves them all
    taken_over = {
        partition: [(key, value) for key, value in records]
        for partition, records in baseline(name, counts_partitions).items()
    }
    replay = Replay(settings, taken_over)
    judgements = list(replay.run(reports(load(name), seed=seed, partitions=sources), flush_records))
    assert not replay.rejected
    log = distinct(judgements)
    return Run(
        log=b"".join(
            b'{"topic":"%b","key":"%b","value":%b}\n' % (topic.encode(), key, value)
            for (topic, key), value in log.items()
        ),
        incidents=[decode(value, Incident) for (topic, _), value in log.items() if topic == "incidents"],
        outages=[decode(value, Outage) for (topic, _), value in log.items() if topic == "outages"],
        levels=[
            decode(fact.value, Levels)
            for judgement in judgements
            for fact in judgement.facts
            if fact.topic == "levels"
        ],
    )
