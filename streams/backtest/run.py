"""What the production's detection makes of a series: its incidents, the time watched, and points for charts."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from streams.backtest.labels import Label
from streams.backtest.series import Key, Series
from streams.bins import Bin
from streams.detection import Detection
from streams.events import Incident, Level, Levels, decode
from streams.settings import Detect

#: How many points an overview of a series has at most.
OVERVIEW_POINTS = 800
#: States in which a bin could have raised without being wrong about a lack of data.
_WATCHED = frozenset({"normal", "open", "held"})


@dataclass(frozen=True)
class Episode:
    """One incident: when it began, when that was known, and when it ended; `ended_ms` is None while it goes on."""

    key: Key
    opened_ms: int
    known_ms: int
    ended_ms: int | None
    peak: int
    reason: str


@dataclass(eq=False)
class Trace:
    """Points of a chart: reports per bin as the highest of each point, and what was expected as the mean."""

    begin_ms: int
    step_ms: int
    count: NDArray[np.float64]
    expected: NDArray[np.float64]
    _expected_bins: NDArray[np.float64]

    @classmethod
    def over(cls, begin_ms: int, end_ms: int, bin_ms: int, points: int = OVERVIEW_POINTS) -> Trace:
        """Return one without points yet."""
        step_ms = bin_ms * max(1, math.ceil((end_ms - begin_ms) / bin_ms / points))
        length = max(1, math.ceil((end_ms - begin_ms) / step_ms))
        return cls(begin_ms, step_ms, np.full(length, np.nan), np.zeros(length), np.zeros(length))

    def add(self, bin_ms: int, level: Level) -> None:
        """Take in a bin; one that lies outside changes nothing."""
        place = (bin_ms - self.begin_ms) // self.step_ms
        if not 0 <= place < len(self.count):
            return
        self.count[place] = np.fmax(self.count[place], level.count)
        if level.expected is not None:
            self.expected[place] += level.expected
            self._expected_bins[place] += 1

    def expectation(self) -> NDArray[np.float64]:
        """Return the mean expected reports per bin of each point, NaN where nothing was."""
        bins = self._expected_bins
        return np.where(bins > 0, self.expected / np.maximum(bins, 1), np.nan)


@dataclass(eq=False)
class Judged:
    """What one detector made of one series.

    Parameters
    ----------
    series
        The series.
    episodes
        The incidents, by key, in order.
    watched_ms
        By key: the time in which the detector could judge, outside of labels.
    overviews, details
        Points for charts: of every key, and of each label around it.
    """

    series: Series
    episodes: dict[Key, list[Episode]] = field(default_factory=dict)
    watched_ms: dict[Key, int] = field(default_factory=dict)
    overviews: dict[Key, Trace] = field(default_factory=dict)
    details: dict[tuple[Label, Key], Trace] = field(default_factory=dict)


def judge(
    series: Series, detect: Detect, labels: Sequence[Label], progress: Callable[[int], None] = lambda _: None
) -> Judged:
    """Judge a series as a deployment would: detector, policy, windows and incidents are the production's.

    Parameters
    ----------
    series
        The counts.
    detect
        Which detector, with its parameters.
    labels
        The outages that are known of.
    progress
        Told the number of bins that are done.
    """
    detection = Detection(series.settings.model_copy(update={"detect": detect}), {})
    result = Judged(series)
    documents: defaultdict[str, list[Incident]] = defaultdict(list)
    bin_ms = series.bin_ms
    begin_ms, end_ms = min(series.bins), max(series.bins) + bin_ms
    for done, (at_ms, counts) in enumerate(series.bins.items()):
        kinds = {key: {"": count} for key, count in sorted(counts.items())}
        # A row says that somebody has looked, whatever it counts.
        arrived = sum(counts.values()) + series.signs_of_life
        judgement = detection.judge(Bin(at_ms, kinds, arrived, covered=1, sources=1))
        for fact in judgement.facts:
            if fact.topic == "incidents":
                incident = decode(fact.value, Incident)
                documents[incident.id].append(incident)
            elif fact.topic == "levels":
                levels = decode(fact.value, Levels)
                for level in levels.regions:
                    _watch(result, (levels.service, level.region), at_ms, level, labels, begin_ms, end_ms)
        progress(done + 1)
    for each in documents.values():
        first, last = each[0], each[-1]
        episode = Episode(
            (first.service, first.region), first.opened_ms, first.at_ms, last.closed_ms, last.peak, first.reason
        )
        result.episodes.setdefault(episode.key, []).append(episode)
    for own in result.episodes.values():
        own.sort(key=lambda episode: episode.opened_ms)
    return result


def _watch(
    result: Judged, key: Key, at_ms: int, level: Level, labels: Sequence[Label], begin_ms: int, end_ms: int
) -> None:
    bin_ms = result.series.bin_ms
    if key not in result.overviews:
        result.overviews[key] = Trace.over(begin_ms, end_ms, bin_ms)
        result.watched_ms[key] = 0
        for label in labels:
            if label.covers(key):
                around_ms = max((label.end_ms - label.begin_ms) // 2, 2 * result.series.settings.count.window_ms)
                result.details[label, key] = Trace.over(
                    (label.begin_ms - around_ms) // bin_ms * bin_ms, label.end_ms + around_ms, bin_ms
                )
    result.overviews[key].add(at_ms, level)
    is_quiet = True
    for label in labels:
        if label.covers(key):
            result.details[label, key].add(at_ms, level)
            is_quiet &= not (label.begin_ms < at_ms + bin_ms and at_ms < label.end_ms)
    if is_quiet and level.state in _WATCHED:
        result.watched_ms[key] += bin_ms
