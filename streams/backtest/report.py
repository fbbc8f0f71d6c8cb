"""The report of a backtest: a table for the terminal, and a page with charts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from html import escape

import numpy as np

from detectors.backtest import Quiet
from streams.backtest.chart import Span, chart
from streams.backtest.figures import Figures
from streams.backtest.labels import Label
from streams.backtest.page import number, page, table
from streams.backtest.run import Judged
from streams.backtest.series import Key
from streams.events import DAY_MS

#: How many charts and lines a page has at most; the figures are of all.
MAX_OVERVIEWS, MAX_DETAILS, MAX_FALSE = 40, 40, 100
HEADING = (
    "detector",
    "false per key and 30 d",
    "95 % interval",
    "detected",
    "delay median, min",
    "delay p90, min",
    "to clear median, min",
    "to clear p90, min",
    "incidents per outage",
)
DEFINITIONS = (
    "An incident is true if it opens between the begin and the end of a label, else false. False incidents are counted "
    "per service and region over the time outside of labels in which the detector could judge: not while it learns, "
    "and not where nothing was observed. The interval is the exact one for a Poisson count.",
    "The delay runs from the label's begin to the end of the bin that opened the first true incident; a label that is "
    "not detected counts as infinite, so a p90 of ∞ says that more than one in ten was missed. The time to clear runs "
    "from the label's end to that of its last true incident, 0 if that was before.",
)


def rows(figures: Sequence[Figures]) -> list[list[str]]:
    """Return the figures as texts, a row for each detector, in the order of `HEADING`."""
    return [
        [
            each.detector,
            *_rate(each.regions),
            f"{np.isfinite(each.outages.delay_min).sum()} of {len(each.outcomes)}",
            *(number(each.outages.delay(percent)) if each.outcomes else "-" for percent in (50, 90)),
            *(number(each.outages.clear(percent)) for percent in (50, 90)),
            number(each.outages.incidents_per_outage()),
        ]
        for each in figures
    ]


def notes(figures: Sequence[Figures]) -> Iterator[str]:
    """Yield what else is to be said of the figures, for people."""
    for each in figures:
        if each.wholes.days.sum():
            rate, interval = _rate(each.wholes)
            yield f"{each.detector}: {rate} false per whole service (_all) and 30 d, 95 % interval {interval}"
        already_open = [one.label for one in each.outcomes if one.already_open]
        if already_open:
            yield f"{each.detector}: an incident was open already when {len(already_open)} of the labels began"
        days = each.regions.days.sum()
        yield f"{each.detector}: {len(each.false)} false incidents; watched {number(float(days))} days of keys"


def _rate(quiet: Quiet) -> tuple[str, str]:
    if not quiet.days.sum():
        return "-", "-"
    low, high = quiet.interval()
    return number(quiet.per_30_days()), f"{number(low)} to {number(high)}"


def html(
    title: str, figures: Sequence[Figures], judged: Mapping[str, Sequence[Judged]], labels: Sequence[Label]
) -> str:
    """Return the page.

    Parameters
    ----------
    title
        Its heading.
    figures
        Of each detector.
    judged
        What each detector made of each series, by its name.
    labels
        The outages that are known of.
    """
    return page(title, _parts(figures, judged, labels))


def _parts(
    figures: Sequence[Figures], judged: Mapping[str, Sequence[Judged]], labels: Sequence[Label]
) -> Iterator[str]:
    first = next(iter(judged.values()))
    for one in first:
        begin_ms, end_ms = min(one.series.bins), max(one.series.bins) + one.series.bin_ms
        yield (
            f"<p>{escape(one.series.name)}: {len(one.overviews):,} keys, {_day(begin_ms)} to {_day(end_ms)}, "
            f"{len(one.series.bins):,} observed bins of {one.series.bin_ms // 1000} s</p>"
        )
    yield table(HEADING, rows(figures))
    yield f"<ul>{''.join(f'<li>{escape(each)}</li>' for each in notes(figures))}</ul>"
    yield "".join(f'<p class="faint">{escape(each)}</p>' for each in DEFINITIONS)
    if figures[0].outcomes:
        yield "<h2>Labels</h2>"
        yield table(
            ["label", "begin, UTC", "end, UTC", *(f"{each.detector}: delay, min" for each in figures)],
            [
                [
                    _name(outcome.label),
                    _moment(outcome.label.begin_ms),
                    _moment(outcome.label.end_ms),
                    *(number(each.outcomes[place].delay_min) for each in figures),
                ]
                for place, outcome in enumerate(figures[0].outcomes)
            ],
        )
    yield "<h2>Series</h2>"
    yield (
        '<p class="faint">Blue: reports per bin, the highest of each point; orange: expected by '
        f"{escape(figures[0].detector)}; bands: labels; bars below: incidents, green true and red false. "
        "The vertical axis grows with the square root. Times are UTC.</p>"
    )
    yield from _overviews(judged, labels)
    yield from _details(judged, labels)
    yield from _false(figures)


def _overviews(judged: Mapping[str, Sequence[Judged]], labels: Sequence[Label]) -> Iterator[str]:
    first = next(iter(judged.values()))
    charts = [(place, key) for place, one in enumerate(first) for key in one.overviews]

    def interest(chart_of: tuple[int, Key]) -> tuple[int, int]:
        place, key = chart_of
        return sum(each.covers(key) for each in labels), sum(
            len(own[place].episodes.get(key, ())) for own in judged.values()
        )

    shown = sorted(charts, key=interest, reverse=True)[:MAX_OVERVIEWS]
    for place, key in shown:
        trace = first[place].overviews[key]
        bands = [(each.begin_ms, each.end_ms) for each in labels if each.covers(key)]
        yield f"<h3>{escape(_key(key))}</h3>"
        yield chart(_key(key), trace, bands, _spans(judged, place, key, labels), trace.expectation())
    if len(charts) > len(shown):
        yield f'<p class="faint">and {len(charts) - len(shown):,} more keys</p>'


def _details(judged: Mapping[str, Sequence[Judged]], labels: Sequence[Label]) -> Iterator[str]:
    first = next(iter(judged.values()))
    charts = [(place, label, key) for place, one in enumerate(first) for label, key in one.details]
    # Of a label of a whole service the key with the highest peak.
    peaks: dict[Label, tuple[float, int, Key]] = {}
    for place, label, key in charts:
        peak = float(np.nanmax(np.append(first[place].details[label, key].count, 0.0)))
        if label not in peaks or peak > peaks[label][0]:
            peaks[label] = (peak, place, key)
    if peaks:
        yield "<h2>Around the labels</h2>"
    for label, (_, place, key) in list(peaks.items())[:MAX_DETAILS]:
        trace = first[place].details[label, key]
        yield f"<h3>{escape(_name(label))}, {_moment(label.begin_ms)}: {escape(_key(key))}</h3>"
        bands = [(each.begin_ms, each.end_ms) for each in labels if each.covers(key)]
        yield chart(_name(label), trace, bands, _spans(judged, place, key, labels), trace.expectation())


def _false(figures: Sequence[Figures]) -> Iterator[str]:
    for each in figures:
        if each.false:
            yield f"<h2>False incidents of {escape(each.detector)}</h2>"
            yield table(
                ["service, region", "opened, UTC", "peak, reports per window", "why"],
                [
                    [_key(one.key), _moment(one.opened_ms), f"{one.peak:,}", one.reason]
                    for one in each.false[:MAX_FALSE]
                ],
            )
            if len(each.false) > MAX_FALSE:
                yield f'<p class="faint">and {len(each.false) - MAX_FALSE:,} more</p>'


def _spans(
    judged: Mapping[str, Sequence[Judged]], place: int, key: Key, labels: Sequence[Label]
) -> dict[str, list[Span]]:
    spans: dict[str, list[Span]] = {}
    for detector, own in judged.items():
        one = own[place]
        end_ms = max(one.series.bins) + one.series.bin_ms
        spans[detector] = [
            (
                each.opened_ms,
                end_ms if each.ended_ms is None else each.ended_ms,
                any(label.covers(key) and label.is_hit_by(each.opened_ms, each.known_ms) for label in labels),
            )
            for each in one.episodes.get(key, ())
        ]
    return spans


def _name(label: Label) -> str:
    place = label.service if label.region is None else f"{label.service} in {label.region}"
    return f"{label.name} ({place})" if label.name else place


def _key(key: Key) -> str:
    return f"{key[0]} in {key[1]}"


def _moment(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")


def _day(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms // DAY_MS * DAY_MS / 1000, UTC).strftime("%Y-%m-%d")
