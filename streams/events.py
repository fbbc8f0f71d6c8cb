"""The records that Tocsin reads and writes, and how they look on the wire.

Every record but the baselines is JSON. All times are integer milliseconds since the Unix epoch and say so in
their names. Facts (everything behind the counts topic) hold no field from a wall clock, so the same reports give
the same bytes. What a field means is said at its type, which `streams.schemas` makes schemas of.
"""

from __future__ import annotations

import math
from collections import abc
from datetime import UTC, datetime
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from streams.fields import (
    KIND_PATTERN,
    REGION_PATTERN,
    SERVICE_PATTERN,
    TIME_PATTERN,
    Fingerprint,
    Kind,
    Region,
    ReportsByKind,
    SequenceNumber,
    Service,
    ShareByKind,
    Source,
    Version,
    said,
    time_ms,
    whole,
)
from streams.versions import JSON_STAMP, known_version, read

#: The key of a record that carries nothing but an append time.
TICK_KEY = b"tocsin.tick"
#: Service and region of the coverage cells; not a legal name, so no report can collide with it.
SENSOR = "*"
#: The region that stands for the whole service; not a legal name either.
WHOLE_SERVICE = "_all"
#: The names that a report is folded into once its epoch has no room for another name.
FOLDED = "other"

DAY_MS = 86_400_000
MINUTE_MS = 60_000


class Report(msgspec.Struct, forbid_unknown_fields=False, gc=False):
    """One person (or one producer on their behalf) saying that a service fails for them, as it arrives."""

    service: Annotated[str, said("The service that fails.", pattern=whole(SERVICE_PATTERN))]
    region: Annotated[
        str, said("Where: a code of ISO 3166 or a name of the operator's own.", pattern=whole(REGION_PATTERN))
    ]
    kind: Annotated[str | None, said("What fails, such as `app`; without it `other`.", pattern=whole(KIND_PATTERN))] = (
        None
    )
    reporter: Annotated[
        str | None,
        said(
            "Who reports; counts once per service and epoch. At most 256 bytes of UTF-8. Without it, or with the empty "
            "string, nothing is deduplicated. Personal data: better a pseudonym of the producer's.",
            maxLength=256,
        ),
    ] = None
    time: Annotated[
        str | None,
        said(
            "When the failure was noticed: RFC 3339 with at most 9 digits of a fraction, without leap seconds; without "
            "it, when the report is appended.",
            format="date-time",
            pattern=whole(TIME_PATTERN),
        ),
    ] = None


class Cell(msgspec.Struct, array_like=True, frozen=True):
    """How many reports of one kind a source partition has counted in one bin so far.

    With the service and region `*` it tells of all records, by append time; its kind is `reports` or `ticks`.
    """

    service: Annotated[str, said("The service.", pattern=whole(rf"({SERVICE_PATTERN}|\*)"))]
    region: Annotated[str, said("The region.", pattern=whole(rf"({REGION_PATTERN}|\*)"))]
    kind: Kind
    bin_ms: Annotated[int, time_ms("Start of the bin")]
    count: Annotated[int, said("Reports counted so far.", minimum=1)]


class Frame(msgspec.Struct, tag="frame", tag_field="type", kw_only=True):
    """Fact: in source partition `source` these cells have reached these cumulative counts."""

    version: Version = 1
    counting: Fingerprint
    source: Source
    cells: Annotated[abc.Sequence[Cell], said("Only those that have grown since the last frame.", minItems=1)]


class Mark(msgspec.Struct, tag="mark", tag_field="type", kw_only=True):
    """Fact: no further report of `source` with an event time before `watermark_ms` will be binned."""

    version: Version = 1
    counting: Fingerprint
    source: Source
    watermark_ms: Annotated[int, time_ms("The watermark")]


class Gap(msgspec.Struct, tag="gap", tag_field="type", kw_only=True):
    """Fact: reports of `source` with event times in `[since_ms, until_ms)` may be missing from the counts."""

    version: Version = 1
    counting: Fingerprint
    source: Source
    since_ms: Annotated[int, time_ms("First event time that may be missing")]
    until_ms: Annotated[int, time_ms("First event time after the gap")]


class SettingsChange(msgspec.Struct, tag="settings", tag_field="type", kw_only=True):
    """Fact: the bins of this partition that records behind this one complete are judged under these settings."""

    version: Version = 1
    counting: Fingerprint
    detecting: Fingerprint
    settings: Annotated[dict[str, Any], said("The tables `detect`, `policy` and `regions`.")]


CountsRecord = Frame | Mark | Gap | SettingsChange

IncidentState = Literal["open", "cleared", "unknown"]
Transition = Literal["opened", "grew", "held", "resumed", "cleared", "unknown"]
LevelState = Literal["learning", "normal", "open", "held", "unobserved", "sensor-lost"]


class Decision(msgspec.Struct, kw_only=True):
    """The numbers behind one transition: enough to check it by hand."""

    rule: Annotated[str, said("The rule that led to it, such as `raise`, `grow` or `clear_below`.")]
    detector: Annotated[str, said("The detector.")]
    bin_ms: Annotated[int, time_ms("Start of the bin that decided")]
    count: Annotated[int, said("Reports of that bin.", minimum=0)]
    window: Annotated[int, said("Reports of the window that ends with it.", minimum=0)]
    window_bins: Annotated[int, said("Length of a window in bins.", minimum=1)]
    expected: Annotated[float | None, said("The baseline's mean, in reports per bin; null while there is none.")]
    score: Annotated[float | None, said("The evidence, in the detector's own unit.")]
    score_threshold: Annotated[float | None, said("Where the detector raises, in the unit of the score.")]
    clear_level: Annotated[float | None, said("Below it the detector clears, in reports per bin.")]
    clear_score: Annotated[
        float | None, said("The evidence for the end, in the detector's own unit; null where it weighs none.")
    ] = None
    clear_threshold: Annotated[float | None, said("Where the detector clears, in the unit of the clear score.")] = None
    figures: Annotated[
        dict[str, float | None], said("What else it takes to recompute the score, under the detector's own names.")
    ] = {}
    raise_above: Annotated[int | None, said("The policy's limit to open, in reports per window; null without one.")]
    clear_below: Annotated[int | None, said("The policy's limit to clear, in reports per window; null without one.")]


class Incident(msgspec.Struct, kw_only=True):
    """One service failing in one region: the whole document after one transition."""

    version: Version = 1
    id: Annotated[str, said("The incident, by service, region and opening: `x.US.20250524T1202Z`.")]
    sequence: SequenceNumber
    service: Service
    region: Region
    transition: Annotated[Transition, said("What has just happened to it.")]
    state: Annotated[IncidentState, said("What it is after that; `unknown`: whether it is over cannot be known.")]
    held: Annotated[bool, said("Its window holds a bin that may lack reports: it can grow, but not clear.")]
    reason: Annotated[str, said("The decision in words.")]
    at_ms: Annotated[int, time_ms("End of the bin that decided the transition")]
    opened_ms: Annotated[int, time_ms("Start of the opening bin")]
    below_since_ms: Annotated[
        int | None, time_ms("End of the first of the windows, or of the bins, in a row that cleared it")
    ] = None
    closed_ms: Annotated[int | None, time_ms("End of the bin that closed it")] = None
    peak: Annotated[int, said("The highest count of a window, in reports.", minimum=0)]
    peak_ms: Annotated[int, time_ms("End of that window")]
    total: Annotated[int, said("Reports of the bins from the opening one to the last one judged.", minimum=0)]
    kinds: Annotated[ReportsByKind, said("The same by kind.")]
    decision: Decision


class OutageRegion(msgspec.Struct, kw_only=True):
    """What one region contributed to an outage."""

    region: Region
    state: Annotated[IncidentState, said("Of its last incident.")]
    peak: Annotated[int, said("The highest count of a window, in reports.", minimum=0)]
    peak_ms: Annotated[int, time_ms("End of that window")]
    total: Annotated[int, said("Reports of its incidents.", minimum=0)]
    opened_ms: Annotated[int, time_ms("Start of the first incident's opening bin")]
    closed_ms: Annotated[int | None, time_ms("End of the bin that closed the last one")]
    incidents: Annotated[list[str], said("Ids of its incidents, first opened first.")]


class Outage(msgspec.Struct, kw_only=True):
    """The incidents of one service that overlap or follow each other within the merge gap."""

    version: Version = 1
    id: Annotated[str, said("The outage, by service and opening: `x.20250524T1202Z`.")]
    sequence: SequenceNumber
    service: Service
    state: Annotated[IncidentState, said("Open while one region is, else unknown if one region's end is.")]
    at_ms: Annotated[int, time_ms("End of the bin that changed it")]
    opened_ms: Annotated[int, time_ms("Start of the first opening bin")]
    restored_ms: Annotated[int | None, time_ms("When the last region's window fell below its limit")]
    number_of_reports: Annotated[
        int, said("The number newsrooms print: the highest window of the most affected region.", minimum=0)
    ]
    peak_region: Annotated[str, said("That region.")]
    peak_ms: Annotated[int, time_ms("End of that window")]
    most_affected: Annotated[list[str], said("Up to three regions, most affected first.")]
    total: Annotated[int, said("Reports of all regions.", minimum=0)]
    kinds: Annotated[ShareByKind, said("Shares of `total`, largest first.")]
    regions: Annotated[list[OutageRegion], said("All regions, most affected first.")]
    time_to_restore_ms: Annotated[
        int | None, said("Milliseconds from the first opening to `restored_ms`; null until every region has cleared.")
    ]
    peak_to_clear_ms: Annotated[
        int | None, said("Milliseconds from the peak to `restored_ms`; null until every region has cleared.")
    ]


class Level(msgspec.Struct, kw_only=True):
    """One region of one service in one bin."""

    region: Region
    count: Annotated[int, said("Reports of the bin.", minimum=0)]
    window: Annotated[int, said("Reports of the window that ends with it.", minimum=0)]
    expected: Annotated[float | None, said("The baseline's mean, in reports per bin; null while there is none.")]
    score: Annotated[float | None, said("The evidence, in the detector's own unit.")]
    score_threshold: Annotated[float | None, said("Where the detector raises, in the unit of the score.")]
    clear_score: Annotated[
        float | None, said("The evidence for the end of an outage; null where the detector weighs none.")
    ] = None
    clear_threshold: Annotated[float | None, said("Where the detector clears, in the unit of the clear score.")] = None
    raise_above: Annotated[int | None, said("The policy's limit to open, in reports per window; null without one.")]
    clear_below: Annotated[int | None, said("The policy's limit to clear, in reports per window; null without one.")]
    state: Annotated[LevelState, said("What is known of the region in this bin.")]
    incident: Annotated[str | None, said("Id of the open incident.")] = None


class Levels(msgspec.Struct, kw_only=True):
    """All regions of one service in one bin."""

    version: Version = 1
    service: Service
    bin_ms: Annotated[int, time_ms("Start of the bin")]
    regions: Annotated[list[Level], said("All regions that have state, by name.")]


class QuarterLevel(msgspec.Struct, kw_only=True):
    """One region of one service in one quarter of an hour."""

    region: Region
    bins: Annotated[int, said("Bins that were judged.", minimum=1)]
    count: Annotated[int, said("Reports of those bins.", minimum=0)]
    window: Annotated[int, said("Reports of the window that ends with the last of them.", minimum=0)]
    peak: Annotated[int, said("The highest count of a window that ends in the quarter, in reports.", minimum=0)]
    expected: Annotated[
        float | None, said("What the baseline expected of those bins, in reports; null unless it knew each of them.")
    ]
    state: Annotated[LevelState, said("The gravest state of those bins: open, held, then what hides incidents.")]


class QuarterLevels(msgspec.Struct, kw_only=True):
    """All regions of one service in one quarter of an hour, of the bins that begin in it."""

    version: Version = 1
    service: Service
    start_ms: Annotated[int, time_ms("Start of the quarter")]
    regions: Annotated[list[QuarterLevel], said("The regions with a judged bin, by name.")]


class Series(msgspec.Struct, kw_only=True):
    """A piece of what was counted in one region around an outage, bin by bin: at most an hour and a bin.

    The pieces of a region run from an hour before it joined the outage to an hour after the outage's end, and on where
    the outage goes on after that. No bin is in two of them.
    """

    version: Version = 1
    outage: Annotated[str, said("Id of the outage.")]
    service: Service
    region: Region
    start_ms: Annotated[int, time_ms("Start of the first bin")]
    bin_length_ms: Annotated[int, said("Length of a bin in milliseconds.", minimum=1)]
    count: Annotated[list[int | None], said("Reports of each bin; null where it was not judged.")]
    window: Annotated[list[int | None], said("Reports of the window that ends with each bin.")]
    expected: Annotated[list[float | None], said("The baseline's mean, in reports per bin; null while there is none.")]
    state: Annotated[list[LevelState | None], said("What is known of the region in each bin.")]
    last: Annotated[bool, said("Whether the hour after the outage's end is over with this piece.")]


AlertKind = Literal["opened", "grew", "cleared", "unknown"]


class Alert(msgspec.Struct, kw_only=True):
    """What a pager should hear."""

    version: Version = 1
    id: Annotated[str, said("The fact that caused it, incident id/sequence number: deliver each id once.")]
    kind: Annotated[AlertKind, said("The transition.")]
    service: Service
    region: Region
    incident: Annotated[str, said("Id of the incident.")]
    at_ms: Annotated[int, time_ms("End of the bin that decided")]
    text: Annotated[str, said("One line for people.")]
    peak: Annotated[int, said("The incident's highest count of a window, in reports.", minimum=0)]
    window: Annotated[int, said("Reports of the window that decided.", minimum=0)]


_encoder = msgspec.json.Encoder()
_counts_decoder: msgspec.json.Decoder[CountsRecord] = msgspec.json.Decoder(CountsRecord)
#: All records of the counts topic are of one version.
_COUNTS_VERSION = known_version(Frame)
Event = TypeVar("Event", Incident, Outage, Levels, QuarterLevels, Series, Alert)


def encode(event: msgspec.Struct) -> bytes:
    """Return the JSON of an event; the same event always gives the same bytes."""
    return _encoder.encode(event)


def decode(data: bytes, kind: type[Event]) -> Event:
    """Return the event of type `kind` that `data` holds.

    Raises
    ------
    VersionError
        If it is of a version that this Tocsin does not know.
    msgspec.DecodeError
        If `data` is not such an event.
    """
    return read(data, msgspec.json.Decoder(kind), JSON_STAMP, known_version(kind), kind.__name__.lower())


def decode_counts(data: bytes) -> CountsRecord:
    """Return what a record of the counts topic holds; raises as `decode` does."""
    return read(data, _counts_decoder, JSON_STAMP, _COUNTS_VERSION, "counts")


def figure(value: float) -> float | None:
    """Return `value` to four significant digits, as facts publish it; None where there is no number."""
    return float(f"{value:.4g}") if math.isfinite(value) else None


def instant(time_ms: int) -> str:
    """Return a time as it is written for people: `2025-05-24T12:02Z`, with seconds only where there are any.

    A time that no calendar holds is written as its number.
    """
    try:
        moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    except (OverflowError, ValueError, OSError):
        return f"{time_ms} ms"
    return moment.strftime("%Y-%m-%dT%H:%MZ" if time_ms % MINUTE_MS == 0 else "%Y-%m-%dT%H:%M:%SZ")


def _stamp(time_ms: int) -> str:
    moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    return moment.strftime("%Y%m%dT%H%MZ" if time_ms % MINUTE_MS == 0 else "%Y%m%dT%H%M%SZ")


def incident_id(service: str, region: str, opened_ms: int) -> str:
    """Return the id of an incident, such as `x.US.20250524T1202Z`; names cannot contain dots."""
    return f"{service}.{region}.{_stamp(opened_ms)}"


def outage_id(service: str, opened_ms: int) -> str:
    """Return the id of an outage, such as `x.20250524T1202Z`."""
    return f"{service}.{_stamp(opened_ms)}"
