"""The charts of the study: reports and incidents of the three shutoffs, and how late reports are."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime, time, timedelta
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from benchmarks.pge.runs import PACIFIC, SHUTOFF_DAYS, WHOLE, Reports, Run, pacific
from streams.display import duration

#: Readable on white as on black, and told apart without seeing colours by their lightness and by the style of lines.
_INK, _BLUE, _ORANGE, _GREEN, _RED = "#7b7b7b", "#2f86d1", "#e0861a", "#1c9e77", "#d9534a"
_LINES = ((_BLUE, "-"), (_ORANGE, "--"), (_GREEN, "-."), (_RED, ":"), (_INK, (0, (1, 3))))
_HOUR_MS = 3_600_000
#: Of each shutoff.
_SHOWN_H = 48
_MARKS = {60: "1 min", 600: "10 min", 3600: "1 h", 21_600: "6 h", 86_400: "1 d", 604_800: "7 d"}


def draw_reports(reports: Reports, run: Run, file: Path) -> None:
    """Write the chart of all reports: the month, and two days around each shutoff with its incidents."""
    with _drawn(file, (8.5, 6.2), "Outages of Pacific Gas and Electric first seen, October 2019") as figure:
        grid = figure.add_gridspec(2, len(SHUTOFF_DAYS))
        _draw_month(figure.add_subplot(grid[0, :]), reports)
        panels = [figure.add_subplot(grid[1, number]) for number in range(len(SHUTOFF_DAYS))]
        highest = 50 * math.ceil(1.05 * int(run.windows.max()) / 50)
        for axes, day in zip(panels, SHUTOFF_DAYS, strict=True):
            _draw_shutoff(axes, reports, run, day)
            axes.set_ylim(0, highest)
            axes.tick_params(labelleft=axes is panels[0])
        panels[0].set_ylabel("reports in 60 minutes")
        handles, labels = panels[0].get_legend_handles_labels()
        once = dict(zip(labels, handles, strict=True))
        figure.legend(list(once.values()), list(once), loc="outside lower center", ncols=len(once), frameon=False)


def draw_lateness(reports: Reports, allowed_s: Sequence[int], file: Path) -> None:
    """Write the chart of how long after their start outages were first seen, by kind."""
    with _drawn(file, (8.5, 4.2), "How long after its start an outage was first seen, October 2019") as figure:
        axes = figure.add_subplot()
        shares = np.linspace(0, 100, 401)
        kinds = [kind for kind, _ in Counter(reports.kind.tolist()).most_common(len(_LINES))]
        for kind, (colour, style) in zip(kinds, _LINES, strict=False):
            late_s = reports.late_s[reports.kind == kind]
            reached_s = np.percentile(late_s, shares)
            axes.plot(reached_s, shares, color=colour, linestyle=style, label=f"{kind} ({len(late_s):,})")
        axes.axvspan(60, allowed_s[-1], color=_INK, alpha=0.13, linewidth=0)
        axes.text(66, 91, f"allowed lateness takes\n{duration(allowed_s[-1] * 1000)} at most", color=_INK)
        axes.set(xscale="log", xlim=(60, 14 * 86_400), ylim=(0, 100))
        axes.set_xticks(list(_MARKS), list(_MARKS.values()))
        axes.set_xticks([], minor=True)
        axes.set(xlabel="from the start of an outage to its report", ylabel="% of the outages reported by then")
        axes.legend(loc="lower right", frameon=False)


def _draw_month(axes: Axes, reports: Reports) -> None:
    parts = {
        "public-safety shutoffs": reports.seen_ms[reports.is_shutoff],
        "all others": reports.seen_ms[~reports.is_shutoff],
    }
    first = pacific(int(reports.seen_ms.min())).date()
    days = (pacific(int(reports.seen_ms.max())).date() - first).days + 1
    bottom = np.zeros(days)
    for (name, seen_ms), colour in zip(parts.items(), (_ORANGE, _BLUE), strict=True):
        counts = np.bincount([(pacific(each).date() - first).days for each in seen_ms.tolist()], minlength=days)
        axes.bar(np.arange(days), counts, 0.8, bottom, color=colour, label=name)
        bottom += counts
    axes.set_xticks(range(days), [_day(first + timedelta(days=each)) if each % 2 == 0 else "" for each in range(days)])
    axes.grid(axis="x", visible=False)
    axes.margins(x=0.01)
    axes.set_ylabel("reports a day")
    axes.legend(loc="upper center", frameon=False)


def _draw_shutoff(axes: Axes, reports: Reports, run: Run, day: date) -> None:
    begin_ms = int(datetime.combine(day, time(), PACIFIC).timestamp() * 1000)
    end_ms = begin_ms + _SHOWN_H * _HOUR_MS

    def hours(time_ms: int | NDArray[np.int64]) -> NDArray[np.float64]:
        return (np.asarray(time_ms) - begin_ms) / _HOUR_MS

    shown = (run.ends_ms >= begin_ms) & (run.ends_ms <= end_ms)
    ends_ms, windows = run.ends_ms[shown], run.windows[shown]
    seen_ms = np.sort(reports.seen_ms[reports.is_shutoff])
    shutoffs = np.searchsorted(seen_ms, ends_ms) - np.searchsorted(seen_ms, ends_ms - WHOLE.count.window_ms)
    axes.step(hours(ends_ms), windows, where="pre", color=_BLUE, linewidth=1.4, label="reports in 60 minutes")
    axes.fill_between(
        hours(ends_ms), shutoffs, step="pre", color=_ORANGE, alpha=0.75, linewidth=0, label="of them shutoffs"
    )
    for opened, *_, last in run.incidents:
        span = hours(np.array([opened.opened_ms, last.below_since_ms or end_ms]))
        if span[0] < _SHOWN_H and span[1] > 0:
            axes.axvspan(span[0], min(span[1], _SHOWN_H), color=_RED, alpha=0.2, linewidth=0, label="incident")
    limit = WHOLE.policy[0].raise_above
    assert limit is not None
    axes.axhline(limit, color=_INK, linestyle="--", linewidth=1, label=f"raise_above = {limit}")
    axes.set_xlim(0, _SHOWN_H)
    axes.set_xticks([0, 12, 24, 36, 48], [_day(day), "12:00", _day(day + timedelta(days=1)), "12:00", ""])


def _day(day: date) -> str:
    return f"{day.day} {day:%b}"


@contextmanager
def _drawn(file: Path, size: tuple[float, float], title: str) -> Iterator[Figure]:
    """Yield a figure and write it to a file; the same figure gives the same file."""
    with mpl.rc_context(
        {
            "svg.hashsalt": "tocsin",
            "svg.fonttype": "none",
            "font.size": 9,
            "text.color": _INK,
            "axes.facecolor": "none",
            "axes.labelcolor": _INK,
            "axes.edgecolor": _INK,
            "xtick.color": _INK,
            "ytick.color": _INK,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.color": _INK,
            "grid.alpha": 0.25,
            "grid.linewidth": 0.6,
        }
    ):
        figure = Figure(figsize=size, layout="constrained", facecolor="none")
        yield figure
        figure.savefig(file, metadata={"Date": None, "Title": title})
