"""Why an incident opened, went on and ended: its transitions and the levels around it, in words and numbers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import msgspec

from streams.display import duration
from streams.events import Decision, Incident, IncidentState, Level, Levels, Transition, instant
from streams.names import region_name
from streams.settings import Settings

#: How much of the time before and after an incident is shown, as a share of its length, and at least so many bins.
AROUND_SHARE, AROUND_BINS = 0.2, 15
#: Eighths of a character cell, from below.
_EIGHTHS = " ▁▂▃▄▅▆▇█"
_EXPECTED = "┄"
CHART_COLUMNS, CHART_ROWS = 72, 8


class Moment(msgspec.Struct, kw_only=True):
    """One bin of the region, as it was judged."""

    bin_ms: int
    level: Level


class Explained(msgspec.Struct, kw_only=True):
    """One transition: what happened, why in words, and the numbers to check it by."""

    transition: Transition
    at_ms: int
    text: str
    decision: Decision


class Explanation(msgspec.Struct, kw_only=True):
    """Everything that is to be said of an incident.

    `between` says why it went on between its transitions; `levels` are the bins around it that are still held.
    """

    version: int = 1
    incident: str
    service: str
    region: str
    state: IncidentState
    opened_ms: int
    closed_ms: int | None
    peak: int
    peak_ms: int
    total: int
    transitions: list[Explained]
    between: list[str]
    levels: list[Moment]


@dataclass(frozen=True)
class Chart:
    """Reports per bin over time: lines of text, highest first, and the labels of both axes."""

    lines: list[str]
    legend: str


def explain(documents: Sequence[Incident], levels: Iterable[Levels], settings: Settings) -> Explanation:
    """Return the explanation of an incident.

    Parameters
    ----------
    documents
        All its transitions, in order; at least one.
    levels
        Levels of its service, in any order, repeated or not; bins that lie far from it are left out.
    settings
        The deployment's.
    """
    last = documents[-1]
    bin_ms = settings.count.bin_ms
    ended_ms = last.at_ms if last.closed_ms is None else last.closed_ms
    around_ms = max(AROUND_BINS * bin_ms, int(AROUND_SHARE * (ended_ms - last.opened_ms)))
    begin_ms, end_ms = last.opened_ms - around_ms, ended_ms + around_ms
    own: dict[int, Level] = {}
    for each in levels:
        # an incident that is still open is shown up to now
        if begin_ms <= each.bin_ms and (last.closed_ms is None or each.bin_ms < end_ms):
            own.update((each.bin_ms, level) for level in each.regions if level.region == last.region)
    moments = [Moment(bin_ms=at_ms, level=own[at_ms]) for at_ms in sorted(own)]
    return Explanation(
        incident=last.id,
        service=last.service,
        region=last.region,
        state=last.state,
        opened_ms=last.opened_ms,
        closed_ms=last.closed_ms,
        peak=last.peak,
        peak_ms=last.peak_ms,
        total=last.total,
        transitions=[
            Explained(transition=each.transition, at_ms=each.at_ms, text=_said(each, settings), decision=each.decision)
            for each in documents
        ],
        between=_between(last, moments, bin_ms),
        levels=moments,
    )


def headline(explanation: Explanation, settings: Settings) -> str:
    """Return one line: what it was, where, and for how long."""
    where = f"{explanation.service} in {region_name(explanation.region, settings)}"
    since = instant(explanation.opened_ms)
    if explanation.closed_ms is None:
        return f"{where}: open since {since}"
    lasted = duration(explanation.closed_ms - explanation.opened_ms)
    end = "cleared" if explanation.state == "cleared" else "end unknown"
    return f"{where}: {since} to {instant(explanation.closed_ms)}, {lasted}, {end}"


def chart(explanation: Explanation, settings: Settings) -> Chart | None:
    """Return the counts of the bins around an incident against what was expected; None if no levels are held."""
    if not explanation.levels:
        return None
    bin_ms = settings.count.bin_ms
    first_ms, last_ms = explanation.levels[0].bin_ms, explanation.levels[-1].bin_ms
    bins = (last_ms - first_ms) // bin_ms + 1
    per_column = -(-bins // CHART_COLUMNS)
    columns = -(-bins // per_column)
    counts: list[list[int]] = [[] for _ in range(columns)]
    expected: list[list[float]] = [[] for _ in range(columns)]
    for moment in explanation.levels:
        place = (moment.bin_ms - first_ms) // bin_ms // per_column
        counts[place].append(moment.level.count)
        if moment.level.expected is not None:
            expected[place].append(moment.level.expected)
    heights = [sum(own) / len(own) if own else 0.0 for own in counts]
    usual = [sum(own) / len(own) if own else None for own in expected]
    top = max([*heights, *(each for each in usual if each is not None), 1.0])
    rows = [_row(row, heights, usual, top) for row in reversed(range(CHART_ROWS))]
    width = len(f"{top:,.0f}")
    labels = {0: f"{top:,.0f}", CHART_ROWS - 1: "0"}
    lines = [f"{labels.get(number, ''):>{width}} ┤{row}" for number, row in enumerate(rows)]
    within = ["─"] * columns
    marks = {"▲": explanation.opened_ms, "▼": explanation.closed_ms}
    for mark, at_ms in marks.items():
        if at_ms is not None and first_ms <= at_ms <= last_ms + bin_ms:
            within[min((at_ms - first_ms) // bin_ms // per_column, columns - 1)] = mark
    lines.append(f"{'':>{width}} └{''.join(within)}")
    ends = instant(first_ms), instant(last_ms + bin_ms)
    gap = max(1, columns - sum(map(len, ends)))
    lines.append(f"{'':>{width}}  {ends[0]}{'':{gap}}{ends[1]}")
    known = [each for each in usual if each is not None]
    level = f"{_EXPECTED} expected, {_short(min(known))} to {_short(max(known))}; " if known else ""
    legend = (
        f"█ reports in {duration(bin_ms)}, the mean of each {duration(per_column * bin_ms)}; {level}▲ opened, ▼ ended"
    )
    return Chart(lines, legend)


def _row(row: int, heights: Sequence[float], usual: Sequence[float | None], top: float) -> str:
    cells = []
    for height, own in zip(heights, usual, strict=True):
        eighths = round(max(0.0, min(1.0, height / top * CHART_ROWS - row)) * 8)
        if height > 0 and row == 0:
            eighths = max(1, eighths)
        line = own is not None and min(int(own / top * CHART_ROWS), CHART_ROWS - 1) == row
        cells.append(_EXPECTED if line and eighths == 0 else _EIGHTHS[eighths])
    return "".join(cells)


def _said(incident: Incident, settings: Settings) -> str:
    """Return why a transition happened, for people who know nothing of rules."""
    decision = incident.decision
    span = duration(decision.window_bins * settings.count.bin_ms)
    window = f"{decision.window:,} reports in the {span} up to then"
    match decision.rule:
        case "raise":
            return f"{_raised(decision, settings)} {_floor(decision, window)}"
        case "grow":
            return f"There were {window}: at least twice as many as had been announced."
        case "incomplete":
            return f"Some reports of the last {span} may be missing, so it may grow but cannot end."
        case "silent":
            return f"No report came from anywhere, which says nothing of {incident.service}: it cannot end meanwhile."
        case "complete":
            return f"All bins of the last {span} hold all their reports again: from now on it can end."
        case "clear_below":
            return (
                f"There were {window}. The policy lets it end below {decision.clear_below:,}, or below 1.3 times what "
                f"is expected where that is more ({_figure(decision.expected)} a bin)."
            )
        case "clear_level":
            level = _figure(decision.clear_level)
            return f"There were {window}. {decision.detector} takes it for over below {level} a bin."
        case "clear_learning":
            return (
                f"There were {window}. While the usual level is being learnt it ends where the reports fall below "
                f"raise_above, {decision.raise_above:,}, over 1.15."
            )
        case "clear_score":
            score, enough = _figure(decision.clear_score), _figure(decision.clear_threshold)
            return (
                f"The reports have looked like the usual level for long enough: the evidence for the end is {score}, "
                f"and {decision.detector} takes {enough} for enough. The bin held {decision.count:,} reports, "
                f"{_figure(decision.expected)} expected."
            )
        case "rebaselined":
            return (
                "The reports have been on this level for 24 hours. It is taken for the usual one from now on. "
                "Whether the outage is over cannot be known."
            )
        case _:
            return f"{incident.reason[:1].upper()}{incident.reason[1:]}."


def _raised(decision: Decision, settings: Settings) -> str:
    at = f"The bin from {instant(decision.bin_ms)} on held {decision.count:,} reports"
    score, threshold = _figure(decision.score), _figure(decision.score_threshold)
    if decision.detector == "limit":
        return f"{at}. Three of the last five bins had at least {score}; {threshold} was enough (an absolute limit)."
    usual = (
        "with no usual level known" if decision.expected is None else f"where {_figure(decision.expected)} are usual"
    )
    length = duration(settings.count.bin_ms)
    return f"{at} in {length}, {usual}. The score of {decision.detector} was {score}; it raises from {threshold} on."


def _floor(decision: Decision, window: str) -> str:
    if decision.raise_above is None:
        return f"There were {window}; no policy asks for a number."
    return f"There were {window}; the policy asks for at least {decision.raise_above:,}."


def _between(last: Incident, moments: Sequence[Moment], bin_ms: int) -> list[str]:
    """Return why the incident did not end before it did, from the bins while it was open."""
    ended_ms = (
        last.closed_ms if last.closed_ms is not None else (moments[-1].bin_ms + bin_ms if moments else last.at_ms)
    )
    open_ = [moment for moment in moments if last.opened_ms <= moment.bin_ms < ended_ms]
    if not open_:
        return ["The levels of that time are no longer held."]
    lines = []
    highest = max(open_, key=lambda moment: moment.level.count)
    usual = highest.level.expected
    compared = "" if not usual else f", {highest.level.count / usual:.3g} times what was expected"
    lines.append(f"The busiest bin began at {instant(highest.bin_ms)}, with {highest.level.count:,} reports{compared}.")
    limit = open_[-1].level.clear_below
    weighed = [moment for moment in open_ if moment.level.clear_score is not None]
    if limit is not None:
        above = [moment for moment in open_ if moment.level.window >= limit]
        lines.append(_row_of(above, open_, f"the window held {limit:,} reports or more (clear_below)"))
    elif weighed:
        against = [moment for moment in weighed if not moment.level.clear_score]
        lines.append(_row_of(against, open_, "nothing spoke for the end"))
    held = [moment for moment in open_ if moment.level.state in ("held", "unobserved", "sensor-lost")]
    if held:
        lines.append(_row_of(held, open_, "it was held, for reports may have been missing"))
    return lines


def _row_of(found: Sequence[Moment], of: Sequence[Moment], what: str) -> str:
    last = f", the last one from {instant(found[-1].bin_ms)} on" if found else ""
    return f"In {len(found):,} of its {len(of):,} bins {what}{last}."


def _short(value: float) -> str:
    return f"{float(f'{value:.3g}'):,.12g}"


def _figure(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,.12g}"
