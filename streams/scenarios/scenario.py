"""A scenario: what a file says about some hours of reports, and the counts per one-minute bin that follow from it.

A scenario file is TOML (the files beside this one are the examples). It gives the usual level of every service and
region (`level`, `baseline`), and, for a region with an outage, the figures that its counts were fitted to
(`figures`) and the counts themselves (`counts`, written by `streams.scenarios.fit`). A region without `counts` has
an ordinary day, drawn from its usual level. `bursts` and `silences` then change what arrives. `policies` are limits for
whoever has none.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import numpy.typing as npt

from streams.events import DAY_MS, MINUTE_MS
from streams.scenarios.baseline import Baseline, Level, usual_counts
from streams.settings import Settings

BIN_MS = MINUTE_MS
BIN = timedelta(milliseconds=BIN_MS)
#: Length of the default window in bins, and of the default epoch in milliseconds.
WINDOW_BINS = 15
EPOCH_MS = 15 * MINUTE_MS
SUFFIX = ".toml"

Counts = npt.NDArray[np.int64]
Series = tuple[str, str]
Name = Annotated[str, msgspec.Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,63}$")]
Instant = Annotated[datetime, msgspec.Meta(tz=True)]


class ScenarioError(Exception):
    """A scenario does not exist or its file is wrong; the message names the file and the entry."""


class Region(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """What people call a region, and the clock (IANA name) its people live by."""

    name: str
    timezone: str


class Figure(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Something known, or assumed, of the number of reports in the `bins` bins that end at `ends`.

    With `until` it holds of every such window from `ends` to `until`. `about` guides the fit; `exactly`, `at_least`
    and `at_most` bind it; `falling` says that no window holds more reports than the one a bin before it.
    """

    service: str = "x"
    region: str
    ends: Instant
    until: Instant | None = None
    bins: Annotated[int, msgspec.Meta(ge=1)] = WINDOW_BINS
    about: int | None = None
    exactly: int | None = None
    at_least: int | None = None
    at_most: int | None = None
    falling: bool = False
    basis: Literal["quoted", "assumed"]
    says: str = ""


class Outage(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """The stretch in which the reports of a region are not at their usual level; the fit leaves the rest alone."""

    service: str = "x"
    region: str
    begins: Instant
    ends: Instant


class Burst(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Reports on top of all others within the bin that starts at `at`."""

    service: str = "x"
    region: str
    at: Instant
    reports: Annotated[int, msgspec.Meta(ge=1)]


class Silence(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A stretch in which no report arrives from anywhere, whatever people send."""

    begins: Instant
    ends: Instant


class Policy(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """Limits in reports per window under which the scenario shows what it is about; as `[[policy]]` of the settings."""

    service: str = "x"
    region: str
    raise_above: Annotated[int, msgspec.Meta(ge=1)]
    clear_below: Annotated[int, msgspec.Meta(ge=1)]


class ScenarioFile(msgspec.Struct, forbid_unknown_fields=True, frozen=True, kw_only=True):
    """A scenario file as it is written."""

    title: str
    start: Instant
    end: Instant
    quoted: tuple[str, ...]
    assumed: tuple[str, ...]
    kinds: dict[Name, int]
    regions: dict[str, Region]
    baseline: Baseline
    levels: tuple[Level, ...]
    policies: tuple[Policy, ...] = ()
    outages: tuple[Outage, ...] = ()
    figures: tuple[Figure, ...] = ()
    bursts: tuple[Burst, ...] = ()
    silences: tuple[Silence, ...] = ()
    counts: dict[str, dict[str, list[int]]] = {}


@dataclass(frozen=True)
class Scenario:
    """Some hours of reports, as counts per one-minute bin.

    Attributes
    ----------
    name
        Name of the scenario.
    file
        What its file says.
    counts
        Reports that arrive, by service and region: one integer per bin, from `start_ms` on.
    """

    name: str
    file: ScenarioFile
    counts: dict[Series, Counts]

    @property
    def title(self) -> str:
        """One line that says what happens."""
        return self.file.title

    @property
    def start_ms(self) -> int:
        """Start of the first bin."""
        return time_ms(self.file.start)

    @property
    def end_ms(self) -> int:
        """End of the last bin."""
        return time_ms(self.file.end)

    @property
    def region_names(self) -> dict[str, str]:
        """What people call the regions."""
        return {code: region.name for code, region in self.file.regions.items()}

    @property
    def services(self) -> list[str]:
        """The services, in the order of the file."""
        return list(dict.fromkeys(service for service, _ in self.counts))

    def advice(self, settings: Settings) -> dict[str, str]:
        """Return what the scenario asks for where `settings` say nothing.

        Returns
        -------
        dict
            JSON by dotted key, as `streams.settings.load` takes it: its limits if there is no policy at all, and its
            regions as far as they are unknown.
        """
        regions = self.file.regions
        asked: dict[str, Any] = {f"regions.{code}": regions[code] for code in regions if code not in settings.regions}
        if self.file.policies and not settings.policy:
            asked["policy"] = self.file.policies
        return {key: msgspec.json.encode(value).decode() for key, value in asked.items()}

    @cached_property
    def total(self) -> int:
        """Number of reports of the whole scenario."""
        return int(sum(counts.sum() for counts in self.counts.values()))

    def cells(self) -> dict[tuple[str, str, str], Counts]:
        """Return the reports per bin by service, region and kind; they add up to `counts`."""
        cells = {}
        for (service, region), counts in self.counts.items():
            bins = np.repeat(np.arange(len(counts)), counts)
            kinds = kinds_of(self.file.kinds, 0, len(bins))
            for index, kind in enumerate(self.file.kinds):
                cells[service, region, kind] = np.bincount(bins[kinds == index], minlength=len(counts))
        return cells

    def windows(self, service: str, region: str, bins: int = WINDOW_BINS) -> dict[int, int]:
        """Return the number of reports of every window of `bins` bins by the window's end in milliseconds."""
        sums = np.convolve(self.counts[service, region], np.ones(bins, dtype=np.int64), "valid")
        first_end_ms = self.start_ms + bins * BIN_MS
        return {first_end_ms + index * BIN_MS: int(count) for index, count in enumerate(sums)}


def kinds_of(shares: dict[str, int], first: int, count: int) -> Counts:
    """Return the kinds (as indices into `shares`) of the reports number `first` and following of a region.

    The kinds follow a fixed cycle of 100 reports in which each has exactly its share, well mixed.
    """
    place = np.arange(first, first + count, dtype=np.int64) * 37 % 100
    return np.searchsorted(np.cumsum(list(shares.values())), place, side="right").astype(np.int64)


def history(scenario: Scenario, days: int = 8) -> Iterator[tuple[int, dict[Series, int]]]:
    """Yield `(bin_start_ms, reports by service and region)` for the `days` days before the scenario, bin by bin.

    The counts are drawn from the scenario's usual levels and are the same every time.
    """
    bins = DAY_MS // BIN_MS
    for day in range(-days, 0):
        start_ms = scenario.start_ms + day * DAY_MS
        drawn = {
            (level.service, level.region): _usual(scenario.file, level, start_ms, bins).tolist()
            for level in scenario.file.levels
        }
        for index in range(bins):
            yield start_ms + index * BIN_MS, {series: counts[index] for series, counts in drawn.items()}


def names() -> list[str]:
    """Return the names of the scenarios that come with Tocsin."""
    folder = resources.files(__package__)
    return sorted(entry.name.removesuffix(SUFFIX) for entry in folder.iterdir() if entry.name.endswith(SUFFIX))


def load(name_or_path: str | Path) -> Scenario:
    """Return a scenario by its name, or from a file of one's own (a path that ends in `.toml`).

    Raises
    ------
    ScenarioError
        If there is no such scenario, or its file is wrong.
    """
    if isinstance(name_or_path, str) and not name_or_path.endswith(SUFFIX):
        if name_or_path not in names():
            raise ScenarioError(f"no scenario {name_or_path!r}; there are {', '.join(names())}, and files (*{SUFFIX})")
        text = resources.files(__package__).joinpath(name_or_path + SUFFIX).read_text("utf-8")
        return build(name_or_path, parse(text, name_or_path + SUFFIX))
    path = Path(name_or_path)
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ScenarioError(f"{path}: cannot be read: {error}") from error
    return build(path.stem, parse(text, str(path)))


def parse(text: str, where: str) -> ScenarioFile:
    """Return what a scenario file says; `where` names it in errors."""
    try:
        file = msgspec.convert(tomllib.loads(text), ScenarioFile)
        _check(file)
    except (tomllib.TOMLDecodeError, msgspec.ValidationError, ValueError) as error:
        raise ScenarioError(f"{where}: {error}") from error
    return file


def build(name: str, file: ScenarioFile) -> Scenario:
    """Return the scenario that a file describes."""
    fitted_series = {(service, region) for service, regions in file.counts.items() for region in regions}
    if fitted_series != {(outage.service, outage.region) for outage in file.outages}:
        raise ScenarioError(f"{name}: `counts` is not of the regions in `outages`: fit it (streams.scenarios.fit)")
    start_ms, end_ms = time_ms(file.start), time_ms(file.end)
    bins = (end_ms - start_ms) // BIN_MS
    starts_ms = start_ms + np.arange(bins) * BIN_MS
    counts: dict[Series, Counts] = {}
    for level in file.levels:
        fitted = file.counts.get(level.service, {}).get(level.region)
        series = _usual(file, level, start_ms, bins) if fitted is None else np.array(fitted, dtype=np.int64)
        for burst in file.bursts:
            if (burst.service, burst.region) == (level.service, level.region):
                series[(time_ms(burst.at) - start_ms) // BIN_MS] += burst.reports
        for silence in file.silences:
            series[(starts_ms >= time_ms(silence.begins)) & (starts_ms < time_ms(silence.ends))] = 0
        counts[level.service, level.region] = series
    return Scenario(name, file, counts)


def time_ms(moment: datetime) -> int:
    """Return an instant of a scenario file in milliseconds."""
    return int(moment.timestamp()) * 1000


def _usual(file: ScenarioFile, level: Level, start_ms: int, bins: int) -> Counts:
    return usual_counts(file.baseline, level, file.regions[level.region].timezone, start_ms, bins)


def _check(file: ScenarioFile) -> None:
    start_ms, end_ms = time_ms(file.start), time_ms(file.end)
    if start_ms % EPOCH_MS or end_ms % EPOCH_MS or start_ms >= end_ms:
        raise ValueError("`start` and `end` must be quarter hours, `start` the earlier one")
    if sum(file.kinds.values()) != 100 or min(file.kinds.values()) < 0:
        raise ValueError("`kinds` must be whole percentages that add up to 100")
    for code, region in file.regions.items():
        try:
            ZoneInfo(region.timezone)
        except (KeyError, ValueError, OSError):
            raise ValueError(f"`regions.{code}`: {region.timezone!r} is not a time zone of the IANA database") from None
    if unknown := {level.region for level in file.levels} - set(file.regions):
        raise ValueError(f"`levels` names regions that `regions` does not: {', '.join(sorted(unknown))}")
    series = {(level.service, level.region) for level in file.levels}
    entries: tuple[Outage | Figure | Burst | Policy, ...]
    entries = (*file.outages, *file.figures, *file.bursts, *file.policies)
    for entry in entries:
        if (entry.service, entry.region) not in series:
            raise ValueError(f"service {entry.service!r}, region {entry.region!r} has no entry in `levels`")
    stretches = [(outage.begins, outage.ends) for outage in file.outages]
    stretches += [(figure.ends - figure.bins * BIN, figure.until or figure.ends) for figure in file.figures]
    stretches += [(burst.at, burst.at + BIN) for burst in file.bursts]
    stretches += [(silence.begins, silence.ends) for silence in file.silences]
    for first, last in stretches:
        if not file.start <= first < last <= file.end or time_ms(first) % BIN_MS or time_ms(last) % BIN_MS:
            stretch = f"from {first.isoformat()} to {last.isoformat()}"
            raise ValueError(f"{stretch} is not a stretch of whole minutes between `start` and `end`")
    bins = (end_ms - start_ms) // BIN_MS
    for outage in file.outages:
        fitted = file.counts.get(outage.service, {}).get(outage.region, [])
        if fitted and (len(fitted) != bins or min(fitted) < 0):
            raise ValueError(f"`counts.{outage.service}.{outage.region}` must be {bins} non-negative integers")
