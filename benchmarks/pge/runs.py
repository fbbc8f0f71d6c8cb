"""The outages of a file as Tocsin reads them: columns of reports, and what the pipeline makes of them."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
from numpy.typing import NDArray

from streams.events import WHOLE_SERVICE, Incident, Levels, decode
from streams.importers import ImportedReport, Table, report_log
from streams.importers.pge import KINDS, Outages
from streams.replay import Replay, distinct
from streams.reporttime import parse_time
from streams.settings import Count, Detect, Policy, Settings

PACIFIC = ZoneInfo("America/Los_Angeles")
SHUTOFF_DAYS = (date(2019, 10, 9), date(2019, 10, 23), date(2019, 10, 26))
REGION = "california"
_TWENTY_MINUTES_S = 1200
#: Snapshots come every 10 minutes, so a bin takes two of them; see the study.
WHOLE = Settings(
    count=Count(bin_s=_TWENTY_MINUTES_S, window_bins=3, epoch_s=3600),
    detect=Detect(detector="ratio", unknown_after_minutes=180),
    policy=[Policy(service="pge", raise_above=300, clear_below=150)],
)
TOWNS = Settings(
    count=Count(bin_s=_TWENTY_MINUTES_S, window_bins=9, epoch_s=3600),
    detect=Detect(detector="ratio", unknown_after_minutes=180),
    policy=[Policy(service="pge", raise_above=10)],
)
SHUTOFF = KINDS["to protect public safety"]


class _Reported(msgspec.Struct):
    kind: str
    time: str
    start: str


@dataclass(frozen=True)
class Reports:
    """The reports of a file in columns: what happened, when it was first seen, and how long after its start."""

    kind: NDArray[np.str_]
    seen_ms: NDArray[np.int64]
    late_s: NDArray[np.float64]

    @property
    def is_shutoff(self) -> NDArray[np.bool_]:
        """Which reports are of shutoffs."""
        return np.equal(self.kind, SHUTOFF)


@dataclass(frozen=True)
class Run:
    """What Tocsin makes of the reports: every incident with all its transitions, and the windows of one region."""

    incidents: list[list[Incident]]
    ends_ms: NDArray[np.int64]
    windows: NDArray[np.int64]


def imported(file: Path, region: str | None) -> Iterator[ImportedReport]:
    """Yield the reports that `tocsin import pge` makes of a file."""
    with gzip.open(file, "rt", newline="") if file.suffix == ".gz" else file.open(newline="") as text:
        yield from (each for each in Outages(Table(text, str(file)), region) if isinstance(each, ImportedReport))


def columns(file: Path) -> Reports:
    """Return the reports of a file in columns."""
    reports = [msgspec.json.decode(each.value, type=_Reported) for each in imported(file, REGION)]
    seen_ms = np.array([parse_time(each.time) for each in reports], np.int64)
    start_ms = np.array([parse_time(each.start) for each in reports], np.int64)
    return Reports(np.array([each.kind for each in reports]), seen_ms, (seen_ms - start_ms) / 1000)


def replayed(file: Path, region: str | None, settings: Settings) -> Run:
    """Return what the pipeline makes of a file."""
    judgements = list(Replay(settings).run(report_log(imported(file, region), settings, str(file))))
    incidents: dict[str, list[Incident]] = {}
    for (topic, _), value in distinct(judgements).items():
        if topic == "incidents":
            incident = decode(value, Incident)
            if incident.region == WHOLE_SERVICE:
                continue
            incidents.setdefault(incident.id, []).append(incident)
    levels = [decode(fact.value, Levels) for each in judgements for fact in each.facts if fact.topic == "levels"]
    windows = {
        each.bin_ms + settings.count.bin_ms: own.window
        for each in levels
        for own in each.regions
        if own.region == region
    }
    ends_ms = sorted(windows)
    return Run(
        sorted(incidents.values(), key=lambda each: each[0].opened_ms),
        np.array(ends_ms, np.int64),
        np.array([windows[each] for each in ends_ms], np.int64),
    )


def pacific(time_ms: int) -> datetime:
    """Return a time by the clocks of California."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).astimezone(PACIFIC)
