"""A chart of a series as inline SVG: reports, what was expected, labels as bands, incidents as bars below."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from html import escape
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from streams.backtest.run import Trace

WIDTH, HEIGHT = 960, 170
_LEFT, _RIGHT, _TOP, _BAR = 112, 16, 8, 14
_STEPS_S = (300, 900, 3600, 10_800, 21_600, 43_200, 86_400, 7 * 86_400, 28 * 86_400)
_TICKS = 9
_NAME_LETTERS = 18

#: An incident or label: its begin and end in milliseconds, and whether it is true.
Span = tuple[int, int, bool]


def chart(
    title: str,
    trace: Trace,
    labels: Sequence[tuple[int, int]],
    incidents: Mapping[str, Sequence[Span]],
    expected: NDArray[np.float64],
) -> str:
    """Return the SVG element.

    Parameters
    ----------
    title
        What a screen reader says.
    trace
        The points; the vertical axis grows with the square root, which makes noise of counts about equal everywhere.
    labels
        Begin and end of each, in milliseconds.
    incidents
        By detector: begin, end and whether it is true.
    expected
        What one of the detectors expected at each point.
    """
    end_ms = trace.begin_ms + trace.step_ms * len(trace.count)
    top = float(np.nanmax(np.append(trace.count, 1.0)))
    base = _TOP + HEIGHT
    height = base + 18 + _BAR * len(incidents)

    def x(at_ms: float) -> float:
        share = (min(max(at_ms, trace.begin_ms), end_ms) - trace.begin_ms) / (end_ms - trace.begin_ms)
        return _LEFT + share * (WIDTH - _LEFT - _RIGHT)

    def y(value: float) -> float:
        return base - HEIGHT * math.sqrt(min(value / top, 1.0))

    parts = [f'<svg viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">']
    for begin, end in labels:
        if end > trace.begin_ms and begin < end_ms:
            parts.append(_bar("label", x(begin), x(end), _TOP, HEIGHT))
    for value in _values(top):
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y(value) + 4:.1f}" text-anchor="end">{value:,g}</text>')
    for at_ms, text in _times(trace.begin_ms, end_ms):
        parts.append(f'<text x="{x(at_ms):.1f}" y="{base + 13}" text-anchor="middle">{text}</text>')
    middles = trace.begin_ms + trace.step_ms * (np.arange(len(trace.count)) + 0.5)
    for name, values in (("count", trace.count), ("expected", expected)):
        parts += _lines(name, [x(each) for each in middles], [y(each) for each in values], np.isfinite(values))
    for place, (detector, spans) in enumerate(incidents.items()):
        line = base + 18 + _BAR * place
        parts.append(
            f'<text x="{_LEFT - 6}" y="{line + 9}" text-anchor="end">{escape(detector[:_NAME_LETTERS])}</text>'
        )
        for begin, end, is_true in spans:
            if end > trace.begin_ms and begin < end_ms:
                parts.append(_bar("true" if is_true else "false", x(begin), x(end), line, _BAR - 4))
    return "".join([*parts, "</svg>"])


def _bar(name: str, left: float, right: float, top: float, height: float) -> str:
    width = max(right - left, 1.5)
    return f'<rect class="{name}" x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height}"/>'


def _lines(name: str, xs: Sequence[float], ys: Sequence[float], known: NDArray[np.bool_]) -> list[str]:
    """Return a polyline for each stretch without a gap."""
    places = np.flatnonzero(known)
    if not len(places):
        return []
    cuts = [0, *(np.flatnonzero(np.diff(places) > 1) + 1).tolist(), len(places)]
    lines = []
    for begin, end in pairwise(cuts):
        points = " ".join(f"{xs[place]:.1f},{ys[place]:.1f}" for place in places[begin:end])
        lines.append(f'<polyline class="{name}" points="{points}"/>')
    return lines


def _values(top: float) -> list[float]:
    """Return round values of the vertical axis, the largest below its top."""
    power = 10.0 ** np.floor(np.log10(top))
    largest = max(each * power for each in (1, 2, 5) if each * power <= top)
    return [0.0, largest / 5 if largest >= 5 else 0.0, largest][:: 1 if largest >= 5 else 2]


def _times(begin_ms: int, end_ms: int) -> list[tuple[int, str]]:
    """Return where the horizontal axis says the time, UTC, and how."""
    span_s = (end_ms - begin_ms) / 1000
    step_s = next((each for each in _STEPS_S if span_s / each <= _TICKS), _STEPS_S[-1])
    step = timedelta(seconds=step_s)
    begin = datetime.fromtimestamp(begin_ms / 1000, UTC)
    midnight = begin.replace(hour=0, minute=0, second=0, microsecond=0)
    at = midnight + step * -(-(begin - midnight) // step)
    found = []
    while at.timestamp() * 1000 <= end_ms:
        is_day = step_s >= 86_400 or (at.hour, at.minute) == (0, 0)
        found.append((int(at.timestamp() * 1000), f"{at.day} {at:%b}" if is_day else f"{at:%H:%M}"))
        at += step
    return found
