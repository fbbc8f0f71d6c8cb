"""A read model without Kafka: what detection states of the outage of X, of usual days before, and of other services.

`python -m tests.support.webdata --serve 6068` shows it as `tocsin web` does, and the outage unfolds.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from itertools import count
from pathlib import Path
from typing import get_args

import numpy as np
from prometheus_client import CollectorRegistry

from streams.bins import Bin
from streams.detection import Detection, Judgement
from streams.events import DAY_MS, MINUTE_MS, Level, Levels, LevelState, encode
from streams.metrics import WebMetrics
from streams.scenarios import Scenario, history, load
from streams.scenarios.scenario import BIN_MS
from streams.settings import Settings
from streams.topics import Topics
from streams.web import summary
from streams.web.downloads import csv, download, picture
from streams.web.feed import atom
from streams.web.hub import Hub
from streams.web.model import Fact, ReadModel
from streams.web.query import MOST, Filter
from streams.web.ranges import LENGTHS_MS
from streams.web.server import application, listen, serve
from streams.web.shapes import Step
from streams.web.site import Health, Site
from tests.support.scenarioruns import deployment

#: The scenario's history that is taught, and the part of it that is judged and shown too.
_TAUGHT_DAYS = 8
#: Start of the first bin of `level`.
LEVELS_START_MS = 1_748_044_800_000


def with_database(settings: Settings, database: Path, **web: object) -> Settings:
    """Return settings with another file for the read model."""
    changed = settings.web.model_copy(update={"database": str(database), **web})
    return settings.model_copy(update={"web": changed})


@dataclass
class World:
    """A scenario among other services, judged bin by bin.

    Parameters
    ----------
    scenario
        The outage.
    services
        How many other services there are, each in two regions.
    shown_days
        How many days before the scenario are shown, and not only taught.
    """

    scenario: Scenario = field(default_factory=lambda: load("x-2025-05-24"))
    services: int = 0
    shown_days: float = 1

    def __post_init__(self) -> None:
        self.settings = deployment(self.scenario)
        self._rng = np.random.default_rng(6)

    def judgements(self) -> Iterator[Judgement]:
        """Judge the days before without stating anything, then those that are shown, then the scenario."""
        detection = Detection(self.settings, {})
        shown_ms = self.scenario.start_ms - int(self.shown_days * DAY_MS)
        for bin_ms, counts in history(self.scenario, _TAUGHT_DAYS):
            kinds = {name: {"app": own} for name, own in sorted(counts.items()) if own}
            judgement = detection.judge(self._bin(bin_ms, kinds), publish=bin_ms >= shown_ms)
            if bin_ms >= shown_ms:
                yield judgement
        cells = self.scenario.cells()
        for number in range((self.scenario.end_ms - self.scenario.start_ms) // BIN_MS):
            kinds = {}
            for (service, region, kind), own in sorted(cells.items()):
                if reports := int(own[number]):
                    kinds.setdefault((service, region), {})[kind] = reports
            yield detection.judge(self._bin(self.scenario.start_ms + number * BIN_MS, kinds))

    def _bin(self, bin_ms: int, kinds: dict[tuple[str, str], dict[str, int]]) -> Bin:
        names = [(f"service-{number:04}", region) for number in range(self.services) for region in ("US", "GB")]
        drawn = self._rng.poisson(3, len(names)).tolist()
        kinds |= {name: {"app": reports} for name, reports in zip(names, drawn, strict=True) if reports}
        arrived = sum(sum(own.values()) for own in kinds.values())
        return Bin(bin_ms, kinds, arrived, covered=1, sources=1)


class Facts:
    """What judgements state, as records of the topics with their offsets."""

    def __init__(self, settings: Settings) -> None:
        topics = Topics(settings.kafka.prefix)
        self._topics = {
            "incidents": topics.incidents,
            "outages": topics.outages,
            "levels": topics.levels,
            "levels.15m": topics.levels_15m,
            "series": topics.series,
        }
        self._offsets = {topic: count() for topic in self._topics.values()}

    def of(self, judgement: Judgement) -> list[Fact]:
        """Return the records of a judgement."""
        found = []
        for fact in judgement.facts:
            topic = self._topics[fact.topic]
            found.append(Fact(topic, 0, next(self._offsets[topic]), fact.value))
        return found


@cache
def outage_of_x() -> tuple[Settings, list[Fact]]:
    """Return a deployment, and all that is stated of the outage of X and of two hours before it."""
    world = World(shown_days=1 / 12)
    facts = Facts(world.settings)
    return world.settings, [fact for judgement in world.judgements() for fact in facts.of(judgement)]


def level(service: str, number: int, state: LevelState, count: int) -> Fact:
    """Return the level of a service in one region in bin `number`; with an incident where it is open or held."""
    incident = f"{service}.US.20250524T0000Z" if state in ("open", "held") else None
    own = Level(
        region="US",
        count=count,
        window=15 * count,
        expected=None if state == "learning" else 2.0,
        score=0.5,
        score_threshold=5.0,
        raise_above=None,
        clear_below=None,
        state=state,
        incident=incident,
    )
    levels = Levels(service=service, bin_ms=LEVELS_START_MS + number * MINUTE_MS, regions=[own])
    return Fact(Topics("tocsin").levels, 0, 0, encode(levels))


def live() -> Health:
    """Return the health of a reader that has read everything."""
    return "live", None, 0.0


def answers(site: Site) -> dict[str, object]:
    """Return everything that can be asked of a read model, by what is asked."""
    query, ranges = site.query, site.ranges
    services = [each.service for each in query.services().services]
    outages = [each.id for each in query.outages(Filter(limit=MOST)).outages]
    incidents = [each.id for each in query.incidents(Filter(limit=MOST)).incidents]
    found: dict[str, object] = {
        "counts": query.counts(),
        "services": query.services(),
        "sparklines": ranges.sparklines(),
        "regions": query.regions(),
        "outages": query.outages(Filter(limit=MOST)),
        "incidents": query.incidents(Filter(limit=MOST)),
        "feed": atom(site, "http://status.example"),
    }
    if found["counts"] != (None, 0, 0):
        found["summary"] = summary.of(site, "http://status.example")
    for name in services:
        found[name] = query.service(name)
        for range_ in LENGTHS_MS:
            for step in get_args(Step):
                found[f"{name} {range_} {step}"] = ranges.levels(name, range_, step, ["*"])
    for id_ in outages:
        found |= {id_: download(site, id_), f"{id_}.csv": csv(site, id_), f"{id_}.svg": picture(site, id_)}
    return found | {id_: query.incident(id_) for id_ in incidents}


def enter(model: ReadModel, facts: list[Fact]) -> None:
    """Enter facts as the reader of the topics does."""
    model.apply(facts, {(fact.topic, fact.partition): fact.offset + 1 for fact in facts})


def _serve(world: World, port: int, speed: float, ahead_minutes: int, database: Path) -> None:
    settings = with_database(world.settings, database, port=port)
    model = ReadModel(settings)
    heard_s = [time.monotonic()]

    def health() -> Health:
        return "live", None, time.monotonic() - heard_s[0]

    registry = CollectorRegistry()
    metrics = WebMetrics(registry)
    site = Site(settings, health)
    hub = Hub(site.changes, site.status, metrics, settings.web.max_streams)
    stop = threading.Event()

    def unfold() -> None:
        facts = Facts(settings)
        live_ms = world.scenario.start_ms + ahead_minutes * MINUTE_MS
        waiting: list[Fact] = []
        for judgement in world.judgements():
            waiting += facts.of(judgement)
            if judgement.bin_ms < live_ms and len(waiting) < 5000:
                continue
            enter(model, waiting)
            waiting = []
            heard_s[0] = time.monotonic()
            hub.changed()
            if judgement.bin_ms >= live_ms and stop.wait(60 / speed):
                return
        enter(model, waiting)
        hub.changed()

    thread = threading.Thread(target=unfold, daemon=True)
    thread.start()
    try:
        serve(site, hub, application(site, hub, metrics, registry), listen(settings))
    finally:
        stop.set()
        thread.join()
        model.close()


def main() -> None:
    """Serve a world."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--serve", type=int, required=True, metavar="PORT")
    parser.add_argument("--services", type=int, default=0, help="other services beside x")
    parser.add_argument("--days", type=float, default=1, help="days before the scenario that are shown")
    parser.add_argument("--speed", type=float, default=60, help="times faster than life")
    parser.add_argument("--ahead", type=int, default=45, help="minutes of the scenario (from 11:00) told at once")
    parser.add_argument("--scenario", default="x-2025-05-24")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        world = World(load(asked.scenario), asked.services, asked.days)
        _serve(world, asked.serve, asked.speed, asked.ahead, Path(folder, "web.sqlite3"))


if __name__ == "__main__":
    main()
