"""The study as a page: goals, figures of every detector, and how its delays are spread."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from html import escape

import numpy as np

from benchmarks.study.generator import CELLS
from benchmarks.study.goals import Goal
from benchmarks.study.runs import Result
from benchmarks.study.scenarios import LASTING, LONGEST_BINS, SCENARIOS, Scenario
from benchmarks.study.tables import POOLED, delay_ratios, number
from detectors.backtest import Outages
from streams.backtest.page import page, table

_COLOURS = ("#2563a8", "#c77700", "#1a7f4b", "#8e44ad", "#b3261e")
_BOUND_COLOUR = "#808890"
_WIDTH, _HEIGHT = 460, 200
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 10, 8, 30


def study_page(
    title: str, about: Sequence[str], goals: Sequence[Goal], results: Mapping[str, Result], bound: Result
) -> str:
    """Return the page; `goals` are those of the first detector."""
    return page(title, _parts(about, goals, results, bound))


def _parts(about: Sequence[str], goals: Sequence[Goal], results: Mapping[str, Result], bound: Result) -> Iterator[str]:
    yield "".join(f"<p>{escape(each)}</p>" for each in about)
    if goals:
        yield f"<h2>Goals: {escape(next(iter(results)))}</h2>"
        yield table(
            ["measure", "earlier study", "goal", "measured", ""],
            [[each.measure, each.earlier, each.goal, each.measured, "met" if each.met else "missed"] for each in goals],
            [["", "", "", "", "good" if each.met else "bad"] for each in goals],
        )
    yield "<h2>False incidents per key and 30 days</h2>"
    names = list(next(iter(results.values())).quiet)
    yield table(
        ["condition", *(text for name in results for text in (name, "95 % interval", "worst cell"))],
        [[name, *(text for result in results.values() for text in _rates(result, name))] for name in names],
    )
    yield "<h2>Outages, levels of 5 a minute and more</h2>"
    everything = {**results, "clairvoyant": bound}
    for scenario in SCENARIOS:
        if scenario.is_outage and all(scenario.name in result.outages for result in results.values()):
            yield f"<h3>{escape(scenario.name)}</h3>"
            yield _outcomes(scenario, everything)
    yield "<h2>Share detected by minutes since the begin</h2>"
    yield f'<p>{_legend(list(everything))}</p><div style="display:flex;flex-wrap:wrap">'
    for scenario in SCENARIOS:
        if scenario.is_outage and scenario not in LASTING and scenario.name in bound.outages:
            yield f'<div style="width:{_WIDTH}px"><h3>{escape(scenario.name)}</h3>{_curves(scenario, everything)}</div>'
    yield "</div>"
    for name, result in results.items():
        yield f"<h2>{escape(name)} by cell</h2>"
        yield _cells(result, bound)


def _rates(result: Result, name: str) -> tuple[str, str, str]:
    quiet = result.quiet[name]
    low, high = quiet.interval()
    return f"{quiet.per_30_days():.2f}", f"{low:.2f} to {high:.2f}", f"{quiet.worst():.1f}"


def _outcomes(scenario: Scenario, results: Mapping[str, Result]) -> str:
    rows = []
    for name, result in results.items():
        own = result.outages[scenario.name].of(POOLED)
        rows.append(
            [
                name,
                f"{100 * own.detected():.1f} %",
                *(number(own.delay(percent)) for percent in (50, 90)),
                number(own.mean_delay(LONGEST_BINS)),
                *(number(own.clear(percent)) for percent in (50, 90)),
                f"{own.incidents_per_outage():.2f}",
                f"{len(own.group):,}",
            ]
        )
    heading = ["detector", "detected", "delay median, min", "p90", "mean", "to clear median, min", "p90"]
    return table([*heading, "incidents per outage", "outages"], rows)


def _cells(result: Result, bound: Result) -> str:
    ratios = delay_ratios(result, bound)
    quiet = [name for name in result.quiet if name in ("clean", "slow noise, sd 0.3")]
    rows = []
    for index, cell in enumerate(CELLS):
        own = {name: found.of(np.array([index])) for name, found in result.outages.items()}
        rows.append(
            [
                f"{cell.level:g} a minute, {cell.dispersion:g}",
                *(f"{30 * result.quiet[name].incidents[index] / result.quiet[name].days[index]:.2f}" for name in quiet),
                *(_short(own[each.name]) for each in SCENARIOS if each.is_outage and each not in LASTING),
                *(f"{ratios[each.name, index]:.2f}" for each in LASTING),
            ]
        )
    outages = [each.name for each in SCENARIOS if each.is_outage and each not in LASTING]
    lasting = [f"{each.name}: mean delay over the clairvoyant's" for each in LASTING]
    return table(["level, dispersion", *(f"false, {name}" for name in quiet), *outages, *lasting], rows)


def _short(outages: Outages) -> str:
    return f"{outages.detected():.0%} {number(outages.delay(50))}/{number(outages.delay(90))}"


def _colours(names: Sequence[str]) -> dict[str, str]:
    return dict(zip(names, [*itertools.islice(itertools.cycle(_COLOURS), len(names) - 1), _BOUND_COLOUR], strict=True))


def _legend(names: Sequence[str]) -> str:
    return " ".join(
        f'<span style="color:{colour}">&#9644; {escape(name)}</span>' for name, colour in _colours(names).items()
    )


def _curves(scenario: Scenario, results: Mapping[str, Result]) -> str:
    """Return the share of outages that are detected by each minute, on an axis that grows with the square root."""
    base, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT

    def x(minutes: float) -> float:
        return _LEFT + (right - _LEFT) * float(np.sqrt(minutes / scenario.bins))

    def y(share: float) -> float:
        return base - (base - _TOP) * share

    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(scenario.name)}">']
    for share in (0.0, 0.5, 1.0):
        parts.append(f'<line class="grid" x1="{_LEFT}" x2="{right}" y1="{y(share):.1f}" y2="{y(share):.1f}"/>')
        parts.append(f'<text x="{_LEFT - 5}" y="{y(share) + 4:.1f}" text-anchor="end">{share:.0%}</text>')
    parts += (
        f'<text x="{x(minutes):.1f}" y="{base + 15}" text-anchor="middle">{minutes}</text>'
        for minutes in (2, 5, 10, 20, 60, 120, 240, 420)
        if minutes <= scenario.bins
    )
    for name, colour in _colours(list(results)).items():
        delays = np.sort(results[name].outages[scenario.name].of(POOLED).delay_min)
        points = [(0.0, 0.0)]
        for minutes in range(1, scenario.bins + 1):
            share = float(np.searchsorted(delays, minutes, side="right")) / len(delays)
            points += [(minutes, points[-1][1]), (minutes, share)]
        text = " ".join(f"{x(minutes):.1f},{y(share):.1f}" for minutes, share in points)
        parts.append(f'<polyline points="{text}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
    return "".join([*parts, "</svg>"])
