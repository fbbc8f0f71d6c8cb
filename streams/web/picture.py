"""A picture of an outage for sharing: SVG, in English and UTC, for it leaves the page and its reader behind."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from xml.sax.saxutils import escape

from streams.display import clock, day, duration
from streams.events import MINUTE_MS, Outage
from streams.names import region_name
from streams.settings import Settings
from streams.web.shapes import OutageSeries, RegionSeries

#: What most places show of a shared picture.
_WIDTH, _HEIGHT = 1200, 630
_LEFT, _RIGHT, _TOP, _BOTTOM = 110, 1150, 300, 540
_STEPS_MS = [minutes * MINUTE_MS for minutes in (15, 30, 60, 120, 180, 360, 720, 1440, 2880, 7200, 14400)]
_MOST_TICKS = 9
_INK, _QUIET, _LINE, _USUAL, _PAPER = "#1b2430", "#5a6675", "#c2410c", "#2563a8", "#ffffff"


def draw(outage: Outage, series: OutageSeries, settings: Settings) -> str:
    """Return the picture.

    Parameters
    ----------
    outage
        The last document of the outage.
    series
        What was counted around it; the most affected region is drawn.
    settings
        The deployment's settings: names of regions and the length of a window come from them.
    """
    window = duration(settings.count.window_ms)
    region = region_name(outage.peak_region, settings)
    headline = f"{outage.service}: outage of {day(outage.opened_ms)}"
    number = f"{outage.number_of_reports:,} reports in {window}, {region}"
    places = ", ".join(region_name(each, settings) for each in outage.most_affected)
    own = next((each for each in series.regions if each.region == outage.peak_region), None)
    parts = [
        _text(_LEFT - 60, 84, 46, _INK, headline, bold=True),
        _text(_LEFT - 60, 142, 34, _LINE, number, bold=True),
        _text(_LEFT - 60, 192, 26, _INK, f"Most affected: {places}"),
        _text(_LEFT - 60, 232, 26, _INK, _course(outage)),
        _text(_LEFT - 60, _TOP - 22, 20, _QUIET, f"Reports in {window}, {region}; dashed: what is usual. UTC"),
        *(_chart(series, own) if own is not None and series.length > 1 else ()),
        _text(
            _LEFT - 60,
            _HEIGHT - 28,
            19,
            _QUIET,
            f"Reports of users: they tell that something fails for people, not why. {settings.web.title}, {outage.id}",
        ),
    ]
    described = f"{headline}. {number}. Most affected: {places}. {_course(outage)}"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" viewBox="0 0 {_WIDTH} {_HEIGHT}"'
        f' role="img" aria-label="{escape(described, {chr(34): "&quot;"})}" font-family="system-ui, sans-serif">'
        f"<title>{escape(described)}</title>"
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="{_PAPER}"/>{"".join(parts)}</svg>\n'
    )


def _course(outage: Outage) -> str:
    began = f"Began {clock(outage.opened_ms)} UTC"
    if outage.state == "open":
        return f"{began} and goes on, as of {clock(outage.at_ms)} UTC"
    if outage.restored_ms is None or outage.time_to_restore_ms is None:
        return f"{began}; whether it is over is not known"
    return f"{began}, restored {clock(outage.restored_ms)} UTC: {duration(outage.time_to_restore_ms)}"


def _chart(series: OutageSeries, own: RegionSeries) -> Iterator[str]:
    known = [each for each in (*own.window, *own.usual) if each is not None]
    top, rule = _scale(max(known, default=0))
    for count in range(0, top + 1, rule):
        y = _y(count, top)
        yield f'<line x1="{_LEFT}" x2="{_RIGHT}" y1="{y}" y2="{y}" stroke="#e2e6ea"/>'
        yield _text(_LEFT - 12, y + 6, 18, _QUIET, f"{count:,}", anchor="end")
    length_ms = series.length * series.step_ms
    step_ms = next((step for step in _STEPS_MS if length_ms / step <= _MOST_TICKS), _STEPS_MS[-1])
    for time_ms in range(-(-series.start_ms // step_ms) * step_ms, series.start_ms + length_ms, step_ms):
        x = round(_LEFT + (time_ms - series.start_ms) / length_ms * (_RIGHT - _LEFT), 1)
        yield _text(x, _BOTTOM + 28, 18, _QUIET, clock(time_ms), anchor="middle")
    yield _path(own.usual, top, f'stroke="{_USUAL}" stroke-width="2" stroke-dasharray="6 5"')
    yield _path(own.window, top, f'stroke="{_LINE}" stroke-width="3"')


def _scale(highest: float) -> tuple[int, int]:
    """Return the top of an axis and the distance of its rules: 1, 2 or 5 times a power of ten, at most five of them."""
    least = max(highest, 5) / 5
    power = 10 ** math.floor(math.log10(least))
    rule = int(next(factor * power for factor in (1, 2, 5, 10) if factor * power >= least))
    return -(-math.ceil(max(highest, 5)) // rule) * rule, rule


def _path(values: Sequence[float | None], top: int, style: str) -> str:
    """Return a line through values, broken where there is none."""
    steps, pen = [], "M"
    for number, value in enumerate(values):
        if value is None:
            pen = "M"
            continue
        x = _LEFT + number / (len(values) - 1) * (_RIGHT - _LEFT)
        steps.append(f"{pen}{x:.1f} {_y(value, top)}")
        pen = "L"
    return f'<path d="{" ".join(steps)}" fill="none" {style} stroke-linejoin="round"/>' if steps else ""


def _y(count: float, top: int) -> float:
    return round(_BOTTOM - count / top * (_BOTTOM - _TOP), 1)


def _text(x: float, y: float, size: int, colour: str, text: str, *, bold: bool = False, anchor: str = "start") -> str:
    weight = ' font-weight="600"' if bold else ""
    return (
        f'<text x="{x}" y="{y}" font-size="{size}" fill="{colour}" text-anchor="{anchor}"{weight}>{escape(text)}</text>'
    )
