"""The power shutoffs of October 2019 in Tocsin: which incidents open when, and how late real reports are.

    python benchmarks/pge/study.py FILE [--charts DIRECTORY]

FILE holds the outages as `tocsin import pge` reads them. Prints the figures of docs/studies/pge-2019-10.md as Markdown
tables and draws its charts. The same file gives the same figures.
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.pge.charts import draw_lateness, draw_reports
from benchmarks.pge.runs import REGION, SHUTOFF, SHUTOFF_DAYS, TOWNS, WHOLE, Reports, Run, columns, pacific, replayed
from streams.display import duration

#: Settings of allowed lateness to look at, in seconds; the last one is the most that `count.allowed_lateness_s` takes.
ALLOWED_S = (30, 600, 1800, 3600)


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
                *(f"{last.kinds.get(kind, 0) / last.total:.0%}" for kind in (SHUTOFF, "unknown")),
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
    shutoff = Counter(pacific(int(each)).date() for each in reports.seen_ms[reports.is_shutoff])
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
    shutoff = reports.is_shutoff
    rows = []
    for allowed_s in ALLOWED_S:
        shares = [np.mean(reports.late_s[which] > allowed_s) for which in (slice(None), shutoff, ~shutoff)]
        rows.append([duration(allowed_s * 1000), *(f"{share:.1%}" for share in shares)])
    return table(["allowed lateness", "late", "late shutoffs", "late others"], rows)


def main() -> None:
    """Print the figures and draw the charts."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--charts", type=Path, metavar="DIRECTORY")
    arguments = parser.parse_args()
    reports = columns(arguments.file)
    whole, towns = replayed(arguments.file, REGION, WHOLE), replayed(arguments.file, None, TOWNS)
    intervals_s = np.diff(np.unique(reports.seen_ms)) / 1000
    print(
        f"{len(reports.kind):,} reports; between two snapshots with new outages: median {np.median(intervals_s):.0f} s,"
    )
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
        draw_reports(reports, whole, arguments.charts / "pge-2019-10-reports.svg")
        draw_lateness(reports, ALLOWED_S, arguments.charts / "pge-2019-10-lateness.svg")


if __name__ == "__main__":
    main()
