"""What the API answers: its JSON documents as types, which the OpenAPI document is made from.

Times are integer milliseconds since the Unix epoch, in UTC. `now` of all answers is the end of the newest judged bin,
never the wall clock, so a replay of last year looks as it did then. Incidents and outages are passed on as detect has
stated them.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from streams.events import Incident, IncidentState, LevelState, Outage
from streams.fields import said, time_ms

StatusState = Literal["catching-up", "live", "stale", "disconnected", "failed"]
Range = Literal["15m", "1h", "24h", "7d"]
Step = Literal["bin", "quarter"]

Usual = Annotated[float | None, said("What the baseline expects of a window, in reports; null while there is none.")]
Ratio = Annotated[float | None, said("`window` in multiples of `usual`; null where that is null or nought.")]
Window = Annotated[int, said("Reports of the window that ends with the bin.", minimum=0)]
Counts = Annotated[list[int | None], said("Reports of each step; null where nothing was judged.")]
Windows = Annotated[list[int | None], said("Reports of the window that ends with each step; null as above.")]
Usuals = Annotated[list[float | None], said("What the baseline expects of each window, in reports.")]
States = Annotated[list[LevelState | None], said("What is known in each step; of a quarter, its gravest state.")]


class Status(msgspec.Struct, kw_only=True):
    """How current the answers are."""

    version: Annotated[str, said("Version of Tocsin.")]
    model: Annotated[str, said("Name of the read model; another one after it was rebuilt.")]
    revision: Annotated[int, said("Number of the last change to the read model.", minimum=0)]
    state: Annotated[
        StatusState,
        said(
            "`catching-up`: what the topics held at the start is still being read; `stale`: no newer level for "
            "web.stale_after_s; `disconnected`: no broker answers; `failed`: reading cannot go on."
        ),
    ]
    reason: Annotated[str | None, said("Why the state is not `live`.")]
    judged_ms: Annotated[int | None, time_ms("End of the newest judged bin")]
    quiet_s: Annotated[float | None, said("Seconds since a newer level has arrived; null before the first.")]
    bin_ms: Annotated[int, said("Length of a bin in milliseconds.", minimum=1)]
    window_ms: Annotated[int, said("Length of a window in milliseconds.", minimum=1)]
    services: Annotated[int, said("Services that are watched.", minimum=0)]
    open_outages: Annotated[int, said("Outages that go on.", minimum=0)]


class Worst(msgspec.Struct, kw_only=True):
    """One of the regions of a service that are worst off."""

    region: str
    window: Window
    usual: Usual
    ratio: Ratio


class Service(msgspec.Struct, kw_only=True):
    """One service as it is now."""

    service: str
    state: Annotated[LevelState, said("Of all its regions: the gravest.")]
    end_ms: Annotated[int, time_ms("End of its last judged bin")]
    count: Annotated[int, said("Reports of that bin, of all regions.", minimum=0)]
    window: Window
    usual: Usual
    ratio: Ratio
    regions: Annotated[int, said("Regions that are watched.", minimum=0)]
    open_regions: Annotated[int, said("Regions with an open incident.", minimum=0)]
    learning_regions: Annotated[int, said("Regions whose baseline is not known yet.", minimum=0)]
    since_ms: Annotated[int | None, time_ms("Start of the outage that goes on; null without one")]
    outage: Annotated[str | None, said("Id of the outage that goes on.")]
    worst: Annotated[list[Worst], said("Up to three regions with open incidents, the highest window first.")]


class Services(msgspec.Struct, kw_only=True):
    """All services, the worst first."""

    judged_ms: Annotated[int | None, time_ms("End of the newest judged bin")]
    services: list[Service]


class Sparkline(msgspec.Struct, kw_only=True):
    """The last day of one service in quarters of an hour."""

    window: Annotated[list[int | None], said("Reports of each quarter; null where nothing was judged or known.")]
    usual: Annotated[list[float | None], said("What the baseline expects of each quarter, in reports.")]
    dispersion: Annotated[
        float | None,
        said("Variance over mean of normal quarters: a band is usual +- 2 sqrt(dispersion x usual). Null: not known."),
    ]


class Sparklines(msgspec.Struct, kw_only=True):
    """The last day of all services."""

    step_ms: Annotated[int, said("Length of a quarter in milliseconds.", minimum=1)]
    start_ms: Annotated[int | None, time_ms("Start of the first quarter")]
    length: Annotated[int, said("How many quarters.", minimum=0)]
    services: dict[str, Sparkline]


class RegionNow(msgspec.Struct, kw_only=True):
    """One region of a service as it is now."""

    region: Annotated[str, said("The region; `_all` is the whole service.")]
    state: LevelState
    end_ms: Annotated[int, time_ms("End of the bin")]
    count: Annotated[int, said("Reports of the bin.", minimum=0)]
    window: Window
    expected: Annotated[float | None, said("The baseline's mean, in reports per bin; null while there is none.")]
    usual: Usual
    ratio: Ratio
    score: Annotated[float | None, said("The evidence, in the detector's own unit.")]
    score_threshold: Annotated[float | None, said("Where the detector raises, in the unit of the score.")]
    clear_score: Annotated[
        float | None, said("The evidence for the end of an outage; null where the detector weighs none.")
    ]
    clear_threshold: Annotated[float | None, said("Where the detector clears, in the unit of the clear score.")]
    raise_above: Annotated[int | None, said("The policy's limit to open, in reports per window; null without one.")]
    clear_below: Annotated[int | None, said("The policy's limit to clear, in reports per window; null without one.")]
    incident: Annotated[str | None, said("Id of the open incident.")]


class ServiceDetail(msgspec.Struct, kw_only=True):
    """One service with its regions and what is open."""

    service: Service
    regions: Annotated[
        list[RegionNow], said("The whole service first if it is watched, then the highest window first.")
    ]
    incidents: Annotated[list[Incident], said("The open ones, first opened first.")]
    outage: Annotated[Outage | None, said("The one that goes on.")]


class LevelSeries(msgspec.Struct, kw_only=True):
    """One region over a stretch of time, step by step."""

    region: Annotated[str, said("The region; `_all` is the whole service.")]
    count: Counts
    window: Windows
    usual: Usuals
    low: Annotated[list[float | None], said("Lower end of the band of normal windows.")]
    high: Annotated[list[float | None], said("Upper end of the band of normal windows.")]
    state: States
    raise_above: Annotated[int | None, said("The policy's present limit to open, in reports per window.")]
    clear_below: Annotated[int | None, said("The policy's present limit to clear, in reports per window.")]


class Shade(msgspec.Struct, kw_only=True):
    """An incident that overlaps a stretch of time."""

    id: str
    region: str
    state: IncidentState
    opened_ms: Annotated[int, time_ms("Start of the opening bin")]
    closed_ms: Annotated[int | None, time_ms("End of the bin that closed it")]


class LevelRange(msgspec.Struct, kw_only=True):
    """A service over a stretch of time."""

    service: str
    range: Range
    step_ms: Annotated[int, said("Length of a step in milliseconds.", minimum=1)]
    start_ms: Annotated[int | None, time_ms("Start of the first step")]
    end_ms: Annotated[int | None, time_ms("End of the last step")]
    length: Annotated[int, said("How many steps.", minimum=0)]
    regions: list[LevelSeries]
    incidents: list[Shade]


class Incidents(msgspec.Struct, kw_only=True):
    """A page of incidents, newest first."""

    incidents: list[Incident]
    next: Annotated[str | None, said("The `cursor` of the next page; null on the last one.")]


class IncidentDetail(msgspec.Struct, kw_only=True):
    """One incident with all that has happened to it."""

    incident: Annotated[Incident, said("The last document.")]
    transitions: Annotated[list[Incident], said("All documents, by sequence number.")]


class Outages(msgspec.Struct, kw_only=True):
    """A page of outages, newest first."""

    outages: list[Outage]
    next: Annotated[str | None, said("The `cursor` of the next page; null on the last one.")]


class Change(msgspec.Struct, kw_only=True):
    """One document of an outage, in short."""

    sequence: Annotated[int, said("Number of the document, from 1 on.", minimum=1)]
    at_ms: Annotated[int, time_ms("End of the bin that changed it")]
    state: IncidentState
    number_of_reports: Annotated[int, said("The number newsrooms print, as of then.", minimum=0)]
    total: Annotated[int, said("Reports of all regions, as of then.", minimum=0)]
    regions: Annotated[int, said("How many regions, as of then.", minimum=0)]
    correction: Annotated[str | None, said("What it takes back of the document before it; null if nothing.")]


class OutageDetail(msgspec.Struct, kw_only=True):
    """One outage with all that has happened."""

    outage: Annotated[Outage, said("The last document.")]
    changes: Annotated[list[Change], said("All documents in short, by sequence number.")]
    timeline: Annotated[list[Incident], said("The transitions of its incidents, by time.")]


class RegionSeries(msgspec.Struct, kw_only=True):
    """One region around an outage, bin by bin."""

    region: str
    count: Counts
    window: Windows
    usual: Usuals
    state: States


class OutageSeries(msgspec.Struct, kw_only=True):
    """What was counted from an hour before an outage to an hour after it."""

    outage: str
    complete: Annotated[bool, said("Whether the hour after its end is over, and all is there.")]
    step_ms: Annotated[int, said("Length of a bin in milliseconds.", minimum=1)]
    start_ms: Annotated[int, time_ms("Start of the first bin")]
    length: Annotated[int, said("How many bins.", minimum=0)]
    regions: Annotated[list[RegionSeries], said("Most affected first.")]


class Download(msgspec.Struct, kw_only=True):
    """All there is about an outage in one file."""

    outage: Outage
    changes: list[Change]
    timeline: list[Incident]
    series: OutageSeries


class RegionNames(msgspec.Struct, kw_only=True):
    """What people call the regions."""

    language: str
    regions: Annotated[dict[str, str], said("Names by code.")]


class Problem(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What is wrong with a request, RFC 9457."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    instance: str


class StreamedServices(msgspec.Struct, kw_only=True):
    """Data of the event `services`: those that have changed."""

    services: list[Service]


class StreamedRegion(msgspec.Struct, kw_only=True):
    """One region in one bin."""

    region: str
    state: LevelState
    count: Annotated[int, said("Reports of the bin.", minimum=0)]
    window: Window
    expected: Annotated[float | None, said("The baseline's mean, in reports per bin; null while there is none.")]
    usual: Usual
    ratio: Ratio
    score: Annotated[float | None, said("The evidence, in the detector's own unit.")]


class StreamedLevels(msgspec.Struct, kw_only=True):
    """Data of the event `levels`: one service in one bin."""

    service: str
    end_ms: Annotated[int, time_ms("End of the bin")]
    regions: list[StreamedRegion]


class StreamedRevision(msgspec.Struct, kw_only=True):
    """Data of the event `revision`: all that came before belongs to it."""

    revision: int
    judged_ms: Annotated[int | None, time_ms("End of the newest judged bin")]


class StreamedReset(msgspec.Struct, kw_only=True):
    """Data of the event `reset`: what was missed cannot be told, so everything is to be fetched anew."""

    reason: str
