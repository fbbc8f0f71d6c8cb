"""The records that Tocsin reads and writes, and how they look on the wire.

Every record but the baselines is JSON. All times are integer milliseconds since the Unix epoch and say so in
their names. Facts (everything behind the counts topic) hold no field from a wall clock, so the same reports give
the same bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Literal, TypeVar

import msgspec

#: The key of a record that carries nothing but an append time.
TICK_KEY = b"tocsin.tick"
#: Service and region of the coverage cells; not a legal name, so no report can collide with it.
SENSOR = "*"
#: The names that a report is folded into once its epoch has no room for another name.
FOLDED = "other"
#: Version written into every record of Tocsin's own.
VERSION = 1

DAY_MS = 86_400_000
MINUTE_MS = 60_000


class Report(msgspec.Struct, forbid_unknown_fields=False, gc=False):
    """One person (or one producer on their behalf) saying that a service fails for them, as it arrives."""

    service: str
    region: str
    kind: str | None = None
    reporter: str | None = None
    time: str | None = None


class Cell(msgspec.Struct, array_like=True, frozen=True):
    """How many reports of one kind a source partition has counted in one bin so far."""

    service: str
    region: str
    kind: str
    bin_ms: int
    count: int


class Frame(msgspec.Struct, tag="frame", tag_field="type", kw_only=True):
    """Fact: in source partition `source` these cells have reached these cumulative counts."""

    version: int = VERSION
    counting: str
    source: int
    cells: Sequence[Cell]


class Mark(msgspec.Struct, tag="mark", tag_field="type", kw_only=True):
    """Fact: no further report of `source` with an event time before `watermark_ms` will be binned."""

    version: int = VERSION
    counting: str
    source: int
    watermark_ms: int


class Gap(msgspec.Struct, tag="gap", tag_field="type", kw_only=True):
    """Fact: reports of `source` with event times in `[since_ms, until_ms)` may be missing from the counts."""

    version: int = VERSION
    counting: str
    source: int
    since_ms: int
    until_ms: int


CountsRecord = Frame | Mark | Gap

IncidentState = Literal["open", "cleared", "unknown"]
Transition = Literal["opened", "grew", "held", "resumed", "cleared", "unknown"]
LevelState = Literal["learning", "normal", "open", "held", "unobserved", "sensor-lost"]


class Decision(msgspec.Struct, kw_only=True):
    """The numbers behind one transition: enough to check it by hand.

    Counts are reports; `expected`, `clear_level` are reports per bin; `window`, `raise_above`, `clear_below` are
    reports per window of `window_bins` bins; `score` and `score_threshold` are in the detector's own unit.
    """

    rule: str
    detector: str
    bin_ms: int
    count: int
    window: int
    window_bins: int
    expected: float | None
    score: float | None
    score_threshold: float | None
    clear_level: float | None
    raise_above: int | None
    clear_below: int | None


class Incident(msgspec.Struct, kw_only=True):
    """One service failing in one region: the whole document after one transition.

    `at_ms` is the end of the bin that decided the transition, `opened_ms` the start of the opening bin,
    `below_since_ms` the end of the first of the windows that cleared it, `closed_ms` the end of the bin that
    closed it. `peak` is the highest window count, `peak_ms` the end of that window; `total` and `kinds` count the
    reports of the bins from the opening one to the last one judged.
    """

    version: int = VERSION
    id: str
    sequence: int
    service: str
    region: str
    transition: Transition
    state: IncidentState
    held: bool
    reason: str
    at_ms: int
    opened_ms: int
    below_since_ms: int | None = None
    closed_ms: int | None = None
    peak: int
    peak_ms: int
    total: int
    kinds: dict[str, int]
    decision: Decision


class OutageRegion(msgspec.Struct, kw_only=True):
    """What one region contributed to an outage."""

    region: str
    state: IncidentState
    peak: int
    peak_ms: int
    total: int
    opened_ms: int
    closed_ms: int | None
    incidents: list[str]


class Outage(msgspec.Struct, kw_only=True):
    """The incidents of one service that overlap or follow each other within the merge gap.

    `number_of_reports` is the highest window count of the most affected region (the number newsrooms print),
    `total` the reports of all regions. `kinds` holds shares of `total`, to four significant digits.
    `time_to_restore_ms` runs from the first opening to the last clearing, `peak_to_clear_ms` from the peak to it;
    both end where the last region's window fell below its limit, and are None until every region has cleared.
    """

    version: int = VERSION
    id: str
    sequence: int
    service: str
    state: IncidentState
    at_ms: int
    opened_ms: int
    restored_ms: int | None
    number_of_reports: int
    peak_region: str
    peak_ms: int
    most_affected: list[str]
    total: int
    kinds: dict[str, float]
    regions: list[OutageRegion]
    time_to_restore_ms: int | None
    peak_to_clear_ms: int | None


class Level(msgspec.Struct, kw_only=True):
    """One region of one service in one bin."""

    region: str
    count: int
    window: int
    expected: float | None
    score: float | None
    score_threshold: float | None
    raise_above: int | None
    clear_below: int | None
    state: LevelState
    incident: str | None = None


class Levels(msgspec.Struct, kw_only=True):
    """All regions of one service in one bin."""

    version: int = VERSION
    service: str
    bin_ms: int
    regions: list[Level]


AlertKind = Literal["opened", "grew", "cleared", "unknown"]


class Alert(msgspec.Struct, kw_only=True):
    """What a pager should hear. `id` is the fact that caused it: deliver each id once."""

    version: int = VERSION
    id: str
    kind: AlertKind
    service: str
    region: str
    incident: str
    at_ms: int
    text: str
    peak: int
    window: int


_encoder = msgspec.json.Encoder()
_counts_decoder: msgspec.json.Decoder[CountsRecord] = msgspec.json.Decoder(CountsRecord)
Event = TypeVar("Event", bound=msgspec.Struct)


def encode(event: msgspec.Struct) -> bytes:
    """Return the JSON of an event; the same event always gives the same bytes."""
    return _encoder.encode(event)


def decode(data: bytes, kind: type[Event]) -> Event:
    """Return the event of type `kind` that `data` holds.

    Raises
    ------
    msgspec.ValidationError
        If `data` is not such an event.
    """
    return msgspec.json.decode(data, type=kind)


def decode_counts(data: bytes) -> CountsRecord:
    """Return the frame, mark or gap that a record of the counts topic holds."""
    return _counts_decoder.decode(data)


def figure(value: float) -> float | None:
    """Return `value` to four significant digits, as facts publish it; None where there is no number."""
    return float(f"{value:.4g}") if math.isfinite(value) else None


def instant(time_ms: int) -> str:
    """Return a time as it is written for people: `2025-05-24T12:02Z`, with seconds only where there are any."""
    moment = datetime.fromtimestamp(time_ms / 1000, UTC)
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
