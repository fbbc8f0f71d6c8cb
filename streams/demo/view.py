"""How the demo looks: a live screen in a terminal, lines of text elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.live import Live
from rich.measure import Measurement
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from streams.demo.story import Point, Series, Story
from streams.display import STYLES, clock, incident_line
from streams.events import MINUTE_MS, Incident, Outage
from streams.names import region_name
from streams.scenarios import Scenario
from streams.settings import Settings

_BLOCKS = "▁▂▃▄▅▆▇█"
#: A curve fills its line at this multiple of the usual level at least, so that ordinary noise stays low.
_CALM = 4
_FRAMES_PER_S = 5
#: Lines of the screen beside regions and transitions.
_OTHER_LINES = 11
#: How much of the simulated day lies between two summaries in plain text.
_SUMMARY_MS = 30 * MINUTE_MS
#: Regions in such a summary.
_LISTED = 3

_STATES = {
    "learning": ("learning", "dim"),
    "normal": ("normal", "green"),
    "open": ("OUTAGE", "bold red"),
    "held": ("held", "yellow"),
    "unobserved": ("not observed", "yellow"),
    "sensor-lost": ("no reports", "magenta"),
}


@dataclass(frozen=True)
class Setting:
    """What does not change while the demo runs.

    `begin_ms` to `end_ms` is what is streamed at `speed`; `url` is the page.
    """

    scenario: Scenario
    settings: Settings
    begin_ms: int
    end_ms: int
    speed: float
    url: str

    def name(self, series: Series | Incident) -> str:
        """Return what people call a region; with its service, where there are several."""
        region = region_name(series.region, self.settings)
        return region if len(self.scenario.services) == 1 else f"{series.service}, {region}"


class View(Protocol):
    """Something that shows the story; a context manager."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def show(self, story: Story, waiting: str | None) -> None:
        """Show the story as it is; `waiting` says what is waited for before it begins."""


def view(setting: Setting, console: Console) -> View:
    """Return the screen for a terminal, text for everything else."""
    return Screen(setting, console) if console.is_terminal else Lines(setting, console)


class Screen:
    """The live screen."""

    def __init__(self, setting: Setting, console: Console) -> None:
        self._setting = setting
        self._console = console
        self._live = Live(console=console, refresh_per_second=_FRAMES_PER_S, vertical_overflow="crop")

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def show(self, story: Story, waiting: str | None) -> None:
        """Draw the screen anew."""
        self._live.update(self._screen(story, waiting))

    def _screen(self, story: Story, waiting: str | None) -> RenderableType:
        heading = Table.grid(expand=True)
        heading.add_column()
        heading.add_column(justify="right")
        heading.add_row(
            Text(self._setting.scenario.title, style="bold"),
            Text(f"{self._setting.speed:g} times faster than life", style="dim"),
        )
        heading.add_row(
            Text("as people will see it: ", style="dim").append(
                self._setting.url, style=f"not dim underline link {self._setting.url}"
            )
        )
        if waiting is not None or story.clock_ms is None:
            return Group(heading, Text(), Text(f"{waiting or ''} ...", style="italic"))
        room = max(2, self._console.height - _OTHER_LINES - len(story.series))
        return Group(
            heading,
            self._clock(story.clock_ms),
            _outage_line(story, self._setting),
            Text(),
            self._regions(story),
            Text(),
            *[self._transition(each) for each in story.transitions[-room:]],
        )

    def _clock(self, clock_ms: int) -> RenderableType:
        begin_ms, end_ms = self._setting.begin_ms, self._setting.end_ms
        line = Table.grid(padding=(0, 1), expand=True)
        line.add_column(no_wrap=True)
        line.add_column(ratio=1)
        line.add_column(no_wrap=True)
        line.add_row(
            Text(f"{clock(clock_ms)} UTC", style="bold cyan"),
            ProgressBar(end_ms - begin_ms, max(0, min(clock_ms, end_ms) - begin_ms)),
            Text(clock(end_ms), style="dim"),
        )
        return line

    def _regions(self, story: Story) -> RenderableType:
        begin_ms, end_ms = self._setting.begin_ms, self._setting.end_ms
        minutes = self._setting.settings.count.window_ms // MINUTE_MS
        table = Table(box=None, pad_edge=False, expand=True, header_style="dim")
        table.add_column("reports in", no_wrap=True)
        table.add_column(f"{minutes} min", justify="right", no_wrap=True)
        table.add_column("usual", justify="right", no_wrap=True)
        table.add_column("state", no_wrap=True)
        table.add_column(f"{clock(begin_ms)} to {clock(end_ms)} UTC", ratio=1, no_wrap=True)
        usual = {name: _usual(series, self._setting.settings) for name, series in story.series.items()}
        for name, series in sorted(story.series.items(), key=lambda item: -(usual[item[0]] or 0)):
            state, style = _state(series)
            table.add_row(
                self._setting.name(series),
                Text(f"{series.level.window:,}", style="bold" if style == "bold red" else ""),
                "" if usual[name] is None else f"{usual[name]:,.0f}",
                Text(state, style=style),
                _Curve(series.points, begin_ms, end_ms, _CALM * (usual[name] or 0.0)),
            )
        return table

    def _transition(self, incident: Incident) -> Text:
        line = Text(no_wrap=True, overflow="ellipsis")
        line.append(f"{clock(incident.at_ms)} ", style="cyan")
        line.append(f"{incident.transition:8}", style=STYLES[incident.transition])
        line.append(f"{self._setting.name(incident)}: ", style="bold")
        line.append(incident.reason)
        return line


@dataclass(frozen=True)
class _Curve:
    """Windows from begin to end as a line of blocks, the highest of each stretch; red where all is not well."""

    points: Sequence[Point]
    begin_ms: int
    end_ms: int
    least_scale: float

    def __rich_console__(self, _: Console, options: ConsoleOptions) -> RenderResult:
        highest: dict[int, int] = {}
        abnormal: set[int] = set()
        for point in self.points:
            column = (point.end_ms - self.begin_ms) * options.max_width // (self.end_ms - self.begin_ms + 1)
            if 0 <= column < options.max_width:
                highest[column] = max(point.reports, highest.get(column, 0))
                abnormal |= {column} if point.abnormal else set()
        scale = max([self.least_scale, 1.0, *highest.values()])
        curve = Text()
        for column in range(max(highest, default=-1) + 1):
            height = int(highest.get(column, 0) / scale * len(_BLOCKS))
            curve.append(_BLOCKS[min(height, len(_BLOCKS) - 1)], style="red" if column in abnormal else "green")
        yield curve

    def __rich_measure__(self, _: Console, options: ConsoleOptions) -> Measurement:
        return Measurement(1, options.max_width)


class Lines:
    """Text for pipes and files: each transition, and now and then how things are."""

    def __init__(self, setting: Setting, console: Console) -> None:
        self._setting = setting
        self._console = console
        self._shown = 0
        self._due_ms = setting.begin_ms
        self._waiting: str | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def show(self, story: Story, waiting: str | None) -> None:
        """Print what is new."""
        if waiting is not None and waiting != self._waiting:
            self._print(Text(waiting))
        self._waiting = waiting
        for incident in story.transitions[self._shown :]:
            self._print(incident_line(incident, self._setting.settings))
        self._shown = len(story.transitions)
        if story.clock_ms is not None and story.clock_ms >= self._due_ms:
            numbers = ", ".join(
                f"{self._setting.name(series)} {series.level.window:,}"
                for series in sorted(story.series.values(), key=lambda each: -each.level.window)[:_LISTED]
            )
            line = _outage_line(story, self._setting)
            self._print(Text.assemble(f"{clock(story.clock_ms)} UTC  ", line, f" (reports: {numbers})"))
            self._due_ms = story.clock_ms // _SUMMARY_MS * _SUMMARY_MS + _SUMMARY_MS

    def _print(self, line: Text) -> None:
        self._console.print(line, soft_wrap=True)


def _outage_line(story: Story, setting: Setting) -> Text:
    """Return how things are, in one line."""
    ongoing = [outage for outage in story.outages.values() if outage.state == "open"]
    if ongoing:
        return Text("; ".join(_in_words(outage, setting) for outage in ongoing), "red", overflow="ellipsis")
    over = [outage for outage in story.outages.values() if outage.restored_ms is not None]
    if over:
        restored_ms = max(outage.restored_ms or 0 for outage in over)
        return Text(f"restored at {clock(restored_ms)} UTC", style="green")
    return Text("nothing unusual", style="green")


def _in_words(outage: Outage, setting: Setting) -> str:
    where = ", ".join(region_name(region, setting.settings) for region in outage.most_affected)
    return f"{outage.service} is failing since {clock(outage.opened_ms)}, worst in {where}"


def _usual(series: Series, settings: Settings) -> float | None:
    return None if series.level.expected is None else series.level.expected * settings.count.window_bins


def _state(series: Series) -> tuple[str, str]:
    word, style = _STATES[series.level.state]
    incident = series.incident
    if series.level.state == "open" and incident is not None:
        return f"{word} since {clock(incident.opened_ms)}", style
    if series.level.state == "normal" and incident is not None and incident.below_since_ms is not None:
        return f"restored {clock(incident.below_since_ms)}", style
    return word, style
