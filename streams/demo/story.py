"""What has happened so far, put together from the facts that the workers have published."""

from __future__ import annotations

from dataclasses import dataclass, field

from streams.events import Incident, Level, Levels, Outage, decode
from streams.settings import Settings
from streams.tail import Record
from streams.topics import Topics

#: States in which a region is not well, or nobody knows how it is.
ABNORMAL = {"open", "held", "unobserved", "sensor-lost"}


@dataclass(frozen=True, slots=True)
class Point:
    """The window of one region that ended at `end_ms`."""

    end_ms: int
    reports: int
    abnormal: bool


@dataclass(slots=True)
class Series:
    """One service in one region: how it is now, and how it was."""

    service: str
    region: str
    level: Level
    points: list[Point] = field(default_factory=list)
    incident: Incident | None = None


class Story:
    """Facts in, the state of things out.

    Parameters
    ----------
    settings
        The deployment's settings.
    """

    def __init__(self, settings: Settings) -> None:
        self._bin_ms = settings.count.bin_ms
        topics = Topics(settings.kafka.prefix)
        self._takers = {
            topics.levels: self._take_levels,
            topics.incidents: self._take_incident,
            topics.outages: self._take_outage,
        }
        self.series: dict[tuple[str, str], Series] = {}
        #: Transitions in the order in which they became known, each once.
        self.transitions: list[Incident] = []
        #: The last document of each incident and of each outage, by id.
        self.incidents: dict[str, Incident] = {}
        self.outages: dict[str, Outage] = {}
        self._judged_ms: dict[str, int] = {}
        self._seen: set[tuple[str, bytes]] = set()

    @property
    def topics(self) -> list[str]:
        """The topics whose records `take` wants."""
        return list(self._takers)

    @property
    def clock_ms(self) -> int | None:
        """End of the last bin that is judged for every service; None before the first."""
        return min(self._judged_ms.values(), default=None)

    def take(self, record: Record) -> None:
        """Take in a record of one of `topics`; repeated ones do no harm."""
        self._takers[record.topic](record)

    def _take_levels(self, record: Record) -> None:
        levels = decode(record.value, Levels)
        end_ms = levels.bin_ms + self._bin_ms
        if end_ms <= self._judged_ms.get(levels.service, 0):
            return
        self._judged_ms[levels.service] = end_ms
        for level in levels.regions:
            name = levels.service, level.region
            series = self.series.setdefault(name, Series(*name, level))
            series.level = level
            series.points.append(Point(end_ms, level.window, level.state in ABNORMAL))

    def _take_incident(self, record: Record) -> None:
        if (record.topic, record.key) in self._seen:
            return
        self._seen.add((record.topic, record.key))
        incident = decode(record.value, Incident)
        self.transitions.append(incident)
        self.incidents[incident.id] = incident
        series = self.series.get((incident.service, incident.region))
        if series is not None:
            series.incident = incident

    def _take_outage(self, record: Record) -> None:
        outage = decode(record.value, Outage)
        known = self.outages.get(outage.id)
        if known is None or known.sequence < outage.sequence:
            self.outages[outage.id] = outage
