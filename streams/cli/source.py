"""What the arguments FILE and SCENARIO stand for: reports, and history to learn from."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

from streams import reportlog, scenarios
from streams.events import TICK_KEY
from streams.replay import Replay
from streams.reportlog import IDLE_MS, LogRecord
from streams.scenarios import Scenario, ScenarioError
from streams.scenarios.scenario import BIN_MS, SUFFIX
from streams.settings import Settings, SettingsError

#: For the help of commands that take a scenario.
KNOWN = f"The scenarios are {', '.join(scenarios.names())}, or a file of your own ({SUFFIX})."

Source = Scenario | Path
History = Iterator[tuple[int, dict[tuple[str, str], int]]]


def source(argument: str) -> Source:
    """Return the scenario that an argument names, or the report log.

    Raises
    ------
    ScenarioError
        If it is neither, or the scenario's file is wrong.
    """
    path = Path(argument)
    if argument in scenarios.names() or path.suffix == SUFFIX:
        return scenarios.load(argument)
    if not path.exists():
        raise ScenarioError(f"{argument}: neither a file nor a scenario; there are {', '.join(scenarios.names())}")
    return path


def records(of: Source, settings: Settings, seed: int = 0) -> Iterator[LogRecord]:
    """Return the report log of a source, ticks included."""
    partitions = settings.kafka.reports_partitions
    if isinstance(of, Scenario):
        return scenarios.reports(of, seed, partitions, settings.count.lateness_ms)
    return reportlog.read(of, partitions)


def total(of: Source) -> int:
    """Return how many records of a source are no ticks."""
    if isinstance(of, Scenario):
        return of.total
    with gzip.open(of) if of.suffix == ".gz" else of.open("rb") as file:
        return sum(TICK_KEY not in line for line in file)


def history(of: Source, settings: Settings) -> History:
    """Return the reports per bin from which to learn baselines: a scenario's usual days, or what a report log holds.

    Raises
    ------
    SettingsError
        If the bins of the settings are not of whole minutes, as those of scenarios are.
    """
    if isinstance(of, Scenario):
        if settings.count.bin_ms % BIN_MS:
            raise SettingsError(
                f"count.bin_s = {settings.count.bin_s}: the usual days of a scenario are known by the minute; "
                "take a multiple of 60"
            )
        return _rebinned(scenarios.history(of), settings.count.bin_ms)
    # The bins after the last report are not there: nobody knows whether they are empty.
    closing_ms = settings.count.lateness_ms + IDLE_MS
    # A log may come from a topic with other partitions; what it teaches does not depend on them.
    partitions = reportlog.partitions_of(of) or settings.kafka.reports_partitions
    kafka = settings.kafka.model_copy(update={"reports_partitions": partitions})
    counted = Replay(settings.model_copy(update={"kafka": kafka}))
    return counted.history(reportlog.read(of, partitions, closing_ms))


def _rebinned(minutes: Iterable[tuple[int, dict[tuple[str, str], int]]], bin_ms: int) -> History:
    for number, group in groupby(minutes, key=lambda minute: minute[0] // bin_ms):
        counts: dict[tuple[str, str], int] = {}
        for _, own in group:
            for name, count in own.items():
                counts[name] = counts.get(name, 0) + count
        yield number * bin_ms, counts
