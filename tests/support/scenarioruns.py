"""What a replay states of a scenario, and what the committed incident log of it says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import msgspec

from streams.bins import Bin
from streams.detection import Detection, Judgement
from streams.events import Incident, Levels, Outage, decode, instant
from streams.replay import FLUSH_RECORDS, Replay, backfill, distinct
from streams.reportlog import LogRecord
from streams.scenarios import Scenario, history, load
from streams.scenarios.scenario import BIN_MS
from streams.scenarios.simulate import reports
from streams.settings import Settings
from streams.snapshots import complete

GOLDEN = Path(__file__).parents[1] / "scenarios" / "golden"


def deployment(scenario: Scenario, sources: int = 4, counts_partitions: int = 1) -> Settings:
    """Return settings with the scenario's limits, or with those that the press figures of X call for."""
    policies = scenario.file.policies
    founding = {"service": "x", "region": "US", "raise_above": 750, "clear_below": 650}
    return Settings.model_validate(
        {
            "kafka": {"reports_partitions": sources, "counts_partitions": counts_partitions},
            "policy": [msgspec.to_builtins(policy) for policy in policies] or [founding],
            "regions": {code: msgspec.to_builtins(region) for code, region in scenario.file.regions.items()},
        }
    )


@dataclass
class Run:
    """What a replay of a scenario stated: the incident log, and the levels of all bins."""

    log: bytes
    incidents: list[Incident]
    outages: list[Outage]
    levels: list[Levels] = field(default_factory=list)

    def of(self, region: str, service: str = "x") -> list[Incident]:
        return [incident for incident in self.incidents if (incident.service, incident.region) == (service, region)]

    @property
    def opened(self) -> list[Incident]:
        return [incident for incident in self.incidents if incident.transition == "opened"]

    @property
    def last_outages(self) -> list[Outage]:
        """The last document of every outage."""
        return list({outage.id: outage for outage in self.outages}.values())

    def outage(self, service: str) -> Outage:
        """Return the last document of the only outage of a service."""
        (outage,) = [outage for outage in self.last_outages if outage.service == service]
        return outage

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
def run(
    name: str, seed: int = 0, sources: int = 4, counts_partitions: int = 1, flush_records: int = FLUSH_RECORDS
) -> Run:
    """Replay a scenario that comes with Tocsin."""
    scenario = load(name)
    log = reports(scenario, seed=seed, partitions=sources)
    return replayed(scenario, log, deployment(scenario, sources, counts_partitions), flush_records)


def replayed(
    scenario: Scenario, log: Iterator[LogRecord], settings: Settings, flush_records: int = FLUSH_RECORDS
) -> Run:
    """Replay a log after the usual days of a scenario."""
    learnt = backfill(settings, history(scenario))
    replay = Replay(
        settings, {partition: [(each.key, each.value) for each in own] for partition, own in learnt.items()}
    )
    judgements = list(replay.run(log, flush_records))
    assert not replay.rejected
    return _run(judgements)


@cache
def judged(name: str) -> Run:
    """Judge the bins that a scenario's counts come to, without a single report: what `run` gives if none is silent."""
    scenario = load(name)
    settings = deployment(scenario)
    (learnt,) = backfill(settings, history(scenario)).values()
    detection = Detection(settings, complete((each.key, each.value) for each in learnt))
    cells = scenario.cells()
    judgements = []
    for number in range((scenario.end_ms - scenario.start_ms) // BIN_MS):
        kinds: dict[tuple[str, str], dict[str, int]] = {}
        for (service, region, kind), counts in sorted(cells.items()):
            if count := int(counts[number]):
                kinds.setdefault((service, region), {})[kind] = count
        arrived = sum(sum(own.values()) for own in kinds.values())
        bin_ = Bin(scenario.start_ms + number * BIN_MS, kinds, arrived, covered=1, sources=1)
        judgements.append(detection.judge(bin_))
    return _run(judgements)


def _run(judgements: list[Judgement]) -> Run:
    facts = distinct(judgements)
    return Run(
        log=b"".join(
            b'{"topic":"%b","key":"%b","value":%b}\n' % (topic.encode(), key, value)
            for (topic, key), value in facts.items()
        ),
        incidents=[decode(value, Incident) for (topic, _), value in facts.items() if topic == "incidents"],
        outages=[decode(value, Outage) for (topic, _), value in facts.items() if topic == "outages"],
        levels=[
            decode(fact.value, Levels) for judgement in judgements for fact in judgement.facts if fact.topic == "levels"
        ],
    )


class _Line(msgspec.Struct):
    topic: str
    key: str
    value: msgspec.Raw


@cache
def golden(name: str) -> Run:
    """Return what the committed incident log of a scenario says: what `run` states of it, but for the levels."""
    log = (GOLDEN / f"{name}.jsonl").read_bytes()
    lines = [msgspec.json.decode(line, type=_Line) for line in log.splitlines()]
    return Run(
        log=log,
        incidents=[decode(bytes(line.value), Incident) for line in lines if line.topic == "incidents"],
        outages=[decode(bytes(line.value), Outage) for line in lines if line.topic == "outages"],
    )


def at(incidents: Sequence[Incident]) -> list[tuple[str, str]]:
    """Return transition and time of day of each document."""
    return [(incident.transition, instant(incident.at_ms)[-6:-1]) for incident in incidents]
