"""The power shutoffs of October 2019 in Tocsin: which incidents open when, and how late real reports are.

    python benchmarks/pge.py FILE [--charts DIRECTORY]

FILE holds the outages as `tocsin import pge` reads them. Prints the figures of docs/studies/pge-2019-10.md as Markdown
tables and draws its charts. The same file gives the same figures.
"""

from __future__ import annotations

import argparse
import gzip
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks.pge_charts import draw_lateness, draw_reports
from streams.display import duration
from streams.events import Incident, Levels, decode
from streams.importers import ImportedReport, Table, report_log
from streams.importers.pge import Outages
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
    detect=Detect(unknown_after_minutes=180),
    policy=[Policy(service="pge", raise_above=300, clear_below=150)],
)
TOWNS = Settings(
    count=Count(bin_s=_TWENTY_MINUTES_S, window_bins=9, epoch_s=3600),
    detect=Detect(unknown_after_minutes=180),
    policy=[Policy(service="pge", raise_above=10)],
)
#: Settings of allowed lateness to look at, in seconds; the last one is the most that `count.allowed_lateness_s` takes.
ALLOWED_S = (30, 600, 1800, 3600)


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


@dataclass(frozen=True)
class Run:
    """What Tocsin makes of the reports: every incident with all its transitions, and the windows of one region."""

    incidents: list[list[Incident]]
    ends_ms: NDArray[np.int64]
    windows: NDArray[np.int64]


def imported(file: Path, region: str | None) -> Iterator[ImportedReport]:
    """Yield the reports that `tocsin import pge` makes of a file."""
    opened = gzip.open(file, "rt", newline="") if file.suffix == ".gz" else file.open(newline="")
    with opened as text:
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


def table(heading: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Return a Markdown table; all columns but the first are numbers."""
    lines = [heading, ["---", *["---:"] * (len(heading) - 1)], *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines) + "\n"


def incident_table(run: Run) -> str:
    """Return the incidents of one region: when they began, when Tocsin said so, their peak and end."""
    rows = []
    for opened, *_, last in run.incidents:
        ended = "open" if last.below_since_ms is None else f"{pacific(last.below_since_ms):%d %b %H:%M}"
        rows.append(
            [
                f"{pacific(opened.opened_ms):%d %b %H:%M}",
                f"{pacific(opened.at_ms):%d %b %H:%M}",
                f"{last.peak:,}",
                f"{pacific(last.peak_ms):%d %b %H:%M}",
                ended,
                f"{last.total:,}",
                *(f"{last.kinds.get(kind, 0) / last.total:.0%}" for kind in ("public-safety-power-shutoff", "unknown")),
            ]
        )
    return table(["began", "announced", "peak", "at", "over", "reports", "shutoff", "cause unknown"], rows)


def town_table(run: Run) -> str:
    """Return how many towns had an incident that began on each day."""
    days = Counter(pacific(opened.opened_ms).date() for opened, *_ in run.incidents)
    return table(["day", "incidents"], [[f"{each:%d %b}", count] for each, count in sorted(days.items())])


def day_table(reports: Reports) -> str:
    """Return the reports of each shutoff day, and of the median other day."""
    by_day = Counter(pacific(int(each)).date() for each in reports.seen_ms)
    shutoff = Counter(pacific(int(each)).date() for each in reports.seen_ms[_is_shutoff(reports)])
    rows: list[list[object]] = [[f"{day:%d %b}", f"{by_day[day]:,}", f"{shutoff[day]:,}"] for day in SHUTOFF_DAYS]
    others = [count for day, count in by_day.items() if day not in SHUTOFF_DAYS]
    return table(["day", "reports", "of them shutoffs"], [*rows, ["median other day", f"{np.median(others):,.0f}", ""]])


def lateness_table(reports: Reports) -> str:
    """Return percentiles of lateness by kind, the most frequent kinds first."""
    rows = []
    for kind, _ in [("all", 0), *Counter(reports.kind.tolist()).most_common()]:
        late_s = reports.late_s if kind == "all" else reports.late_s[reports.kind == kind]
        spans = [duration(int(each) * 1000) for each in np.percentile(late_s, (50, 90, 99))]
        rows.append([kind, f"{len(late_s):,}", *spans])
    return table(["kind", "reports", "p50", "p90", "p99"], rows)


def allowed_table(reports: Reports) -> str:
    """Return the share of reports that each allowed lateness would leave out, were `start` the event time."""
    shutoff = _is_shutoff(reports)
    rows = []
    for allowed_s in ALLOWED_S:
        shares = [np.mean(reports.late_s[which] > allowed_s) for which in (slice(None), shutoff, ~shutoff)]
        rows.append([duration(allowed_s * 1000), *(f"{share:.1%}" for share in shares)])
    return table(["allowed lateness", "late", "late shutoffs", "late others"], rows)


def _is_shutoff(reports: Reports) -> NDArray[np.bool_]:
    return reports.kind == "public-safety-power-shutoff"


def main() -> None:
    """Print the figures and draw the charts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--charts", type=Path, metavar="DIRECTORY")
    arguments = parser.parse_args()
    reports = columns(arguments.file)
    whole, towns = replayed(arguments.file, REGION, WHOLE), replayed(arguments.file, None, TOWNS)
    intervals_s = np.diff(np.unique(reports.seen_ms)) / 1000
    print(f"{len(reports.kind):,} reports; between two snapshots with new outages: median {np.median(intervals_s):.0f} s,")
    print(f"p90 {np.percentile(intervals_s, 90):.0f} s, longest {duration(int(intervals_s.max()) * 1000)}")
    print(f"first seen before their start: {np.count_nonzero(reports.late_s < 0)}\n")
    print(day_table(reports))
    print(incident_table(whole))
    on_days = sum(pacific(opened.opened_ms).date() in SHUTOFF_DAYS for opened, *_ in towns.incidents)
    print(f"towns: {len(towns.incidents)} incidents, {on_days} of them began on the three days\n")
    print(town_table(towns))
    print(lateness_table(reports))
    print(allowed_table(reports))
    if arguments.charts is not None:
        draw_reports(reports, whole, SHUTOFF_DAYS, PACIFIC, WHOLE, arguments.charts / "pge-2019-10-reports.svg")
        draw_lateness(reports, ALLOWED_S, arguments.charts / "pge-2019-10-lateness.svg")


if __name__ == "__main__":
    main()
