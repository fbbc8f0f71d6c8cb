"""Records of the incidents and outages topics, as detect reads them at a start and notify turns them into alerts."""

from __future__ import annotations

import msgspec

from streams.detection import Detection, Judgement
from streams.events import Decision, Incident, Outage, OutageRegion, decode, encode
from streams.notify.alert import alert
from streams.orphans import Orphans
from streams.settings import Settings
from streams.stages import StageError, reading
from streams.versions import VersionError
from tests.fuzz.target import SEPARATOR, parts, require

SETTINGS = Settings()
AT_MS = 1_748_090_580_000

OPENED = Incident(
    id="x.US.20250524T1202Z",
    sequence=1,
    service="x",
    region="US",
    transition="opened",
    state="open",
    held=False,
    reason="1,134 reports in 15 minutes",
    at_ms=AT_MS,
    opened_ms=AT_MS - 60_000,
    peak=1134,
    peak_ms=AT_MS,
    total=542,
    kinds={"app": 374, "website": 168},
    decision=Decision(
        rule="raise",
        detector="ratio",
        bin_ms=AT_MS - 60_000,
        count=542,
        window=1134,
        window_bins=15,
        expected=4.433,
        score=61.5,
        score_threshold=5.0,
        clear_level=None,
        raise_above=750,
        clear_below=650,
    ),
)
CLEARED = msgspec.structs.replace(
    OPENED, sequence=2, transition="cleared", state="cleared", below_since_ms=AT_MS + 60_000, closed_ms=AT_MS + 120_000
)
OUTAGE = Outage(
    id="x.20250524T1202Z",
    sequence=1,
    service="x",
    state="open",
    at_ms=AT_MS,
    opened_ms=AT_MS - 60_000,
    restored_ms=None,
    number_of_reports=1134,
    peak_region="US",
    peak_ms=AT_MS,
    most_affected=["US"],
    total=542,
    kinds={"app": 0.69},
    regions=[
        OutageRegion(
            region="US",
            state="open",
            peak=1134,
            peak_ms=AT_MS,
            total=542,
            opened_ms=AT_MS - 60_000,
            closed_ms=None,
            incidents=[OPENED.id],
        )
    ],
    time_to_restore_ms=None,
    peak_to_clear_ms=None,
)


class Target:
    """Any bytes: an error that names the record, or an alert, and facts that end what lost state has forgotten."""

    together = 1
    tokens = (
        SEPARATOR,
        *(b'"opened"', b'"grew"', b'"held"', b'"resumed"', b'"cleared"', b'"unknown"', b'"open"', b'"sequence":2'),
        *(b'"x.US.20250524T1202Z"', b'"at_ms":', b'"peak":', b"1748090580000", b'"decision":{', b'"service":"y"'),
    )
    seeds = (
        *(encode(record) for record in [OPENED, CLEARED, OUTAGE]),
        SEPARATOR.join([encode(OPENED), encode(OUTAGE), encode(CLEARED)]),
    )

    def __init__(self) -> None:
        self._empty = Detection(SETTINGS, {})

    def judge(self, data: bytes) -> None:
        """Read the records of `data` in both ways."""
        values = parts(data)
        for offset, value in enumerate(values):
            try:
                with reading(f"tocsin.incidents partition 0 offset {offset}"):
                    incident = decode(value, Incident)
                    due = alert(incident, SETTINGS)
            except (StageError, VersionError) as error:
                require(f"offset {offset}", error)
                continue
            assert (due is None) == (incident.transition in ("held", "resumed"))
            assert decode(encode(incident), Incident) == incident, "not read back as it was written"
        records = [(b"k", value) for value in values]
        try:
            with reading("tocsin.incidents partition 0"):
                orphans = Orphans(records, records[:1])
        except (StageError, VersionError):
            return
        judgement = Judgement(AT_MS)
        orphans.settle(judgement, AT_MS + 60_000, self._empty)
        for fact in judgement.facts:
            ended = decode(fact.value, Incident) if fact.topic == "incidents" else decode(fact.value, Outage)
            assert ended.state == "unknown"
