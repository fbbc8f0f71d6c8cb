"""How Tocsin shows things to people: durations, lines about incidents, the table of an outage, progress bars."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from streams.events import MINUTE_MS, TICK_KEY, Incident, Outage, Transition, instant
from streams.names import region_name
from streams.reportlog import LogRecord
from streams.settings import Settings

#: The colour of each transition.
STYLES: dict[Transition, str] = {
    "opened": "bold red",
    "grew": "red",
    "held": "yellow",
    "resumed": "yellow",
    "cleared": "green",
    "unknown": "magenta",
}
#: How many regions the table of an outage lists.
LISTED_REGIONS = 20
_REFRESH_S = 0.1
_HOUR_MS = 60 * MINUTE_MS

Records = Iterable[LogRecord]


def duration(length_ms: int) -> str:
    """Return a length of time as people say it: `3 h 18 min`, `45 min`, `1 min 30 s`."""
    hours, rest_ms = divmod(length_ms, _HOUR_MS)
    minutes, rest_ms = divmod(rest_ms, MINUTE_MS)
    amounts = ((hours, "h"), (minutes, "min"), (rest_ms // 1000, "s"))
    return " ".join(f"{amount} {unit}" for amount, unit in amounts if amount) or "0 min"


def clock(time_ms: int) -> str:
    """Return the time of day, UTC: `12:03`."""
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%H:%M")


def day(time_ms: int) -> str:
    """Return the date, UTC: `24 May 2025`."""
    moment = datetime.fromtimestamp(time_ms / 1000, UTC)
    return f"{moment.day} {moment:%B %Y}"


def plain(renderable: RenderableType) -> None:
    """Print to standard output without breaking lines; in colour on a terminal."""
    Console(highlight=False).print(renderable, soft_wrap=True)


def incident_line(incident: Incident, settings: Settings) -> Text:
    """Return one line about a transition: when, what, where, and why it was decided so."""
    return Text.assemble(
        instant(incident.at_ms),
        " ",
        (f"{incident.transition.upper():8}", STYLES[incident.transition]),
        f" {incident.service} in {region_name(incident.region, settings)}: {incident.reason}",
    )


def outage_table(outage: Outage, incidents: Mapping[str, Incident], settings: Settings) -> RenderableType:
    """Return what is to be said of an outage.

    Parameters
    ----------
    outage
        Its last document.
    incidents
        The last document of each of its incidents, by incident id.
    settings
        The deployment's; region names and the length of a window come from them.
    """

    def name(region: str) -> str:
        return region_name(region, settings)

    ended = {"open": "goes on", "cleared": "over", "unknown": "end unknown"}[outage.state]
    window = duration(settings.count.window_ms)
    facts = Table.grid(padding=(0, 3))
    facts.add_column(style="bold")
    facts.add_column()
    facts.add_row("Number of reports", f"{outage.number_of_reports:,} in {window} ({name(outage.peak_region)})")
    facts.add_row("Most affected", ", ".join(map(name, outage.most_affected)))
    facts.add_row("Time to restore", _time_to_restore(outage))
    facts.add_row("Peak", f"{_moment(outage.peak_ms, outage)} UTC")
    if outage.peak_to_clear_ms is not None:
        facts.add_row("Peak to clear", duration(outage.peak_to_clear_ms))
    facts.add_row("Reports in total", f"{outage.total:,}")
    facts.add_row("Kinds", ", ".join(f"{kind or 'none given'} {share:.0%}" for kind, share in outage.kinds.items()))

    regions = Table(box=SIMPLE_HEAD, pad_edge=False)
    regions.add_column("Region")
    for heading in ("Peak", "at", "In total", "Began", "Restored"):
        regions.add_column(heading, justify="right")
    for region in outage.regions[:LISTED_REGIONS]:
        below_ms = incidents[region.incidents[-1]].below_since_ms
        regions.add_row(
            name(region.region),
            f"{region.peak:,}",
            _moment(region.peak_ms, outage),
            f"{region.total:,}",
            _moment(region.opened_ms, outage),
            region.state if below_ms is None else _moment(below_ms, outage),
        )
    more = len(outage.regions) - LISTED_REGIONS
    title = Text(f"Outage of {outage.service}, {day(outage.opened_ms)}: {ended}", style="bold")
    return Group(Text(), title, Text(), facts, regions, *([Text(f"and {more} more regions")] if more > 0 else []))


def _time_to_restore(outage: Outage) -> str:
    began = _moment(outage.opened_ms, outage)
    if outage.restored_ms is None or outage.time_to_restore_ms is None:
        return f"not known: began at {began} UTC"
    return f"{duration(outage.time_to_restore_ms)} ({began} to {_moment(outage.restored_ms, outage)} UTC)"


def _moment(time_ms: int, outage: Outage) -> str:
    """Return a time of day, with its date if that is not the one on which the outage began."""
    same_day = day(time_ms) == day(outage.opened_ms)
    return clock(time_ms) if same_day else f"{clock(time_ms)} on {day(time_ms)}"


@contextmanager
def progress(what: str, total: int | None) -> Iterator[Callable[[Records], Records]]:
    """Show on standard error, if that is a terminal, how far the reading of a log has come.

    Parameters
    ----------
    what
        What is being done.
    total
        Number of records that are no ticks; None if it is not known.

    Yields
    ------
    Callable
        Put it around the records.
    """
    if not sys.stderr.isatty():
        yield lambda records: records
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("reports, at {task.fields[at]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(what, total=total, at="...")

        def watched(records: Records) -> Records:
            done, due_s = 0, 0.0
            for record in records:
                yield record
                done += record.key != TICK_KEY
                if time.monotonic() >= due_s:
                    bars.update(task, completed=done, at=instant(record.timestamp_ms // 1000 * 1000))
                    due_s = time.monotonic() + _REFRESH_S

        yield watched
