"""Incidents against labels: how many are false, what is detected, how fast, and how it ends.

An incident is true if its opening bin is known to have raised after a label's begin and before its end; every other
one is false. A label is detected if an incident of what it covers is true by it; its delay runs from its begin to the
end of the bin that opened the first one, and its time to clear from its end to the last one's end. Time inside of
labels, and time in which the detector learns or nothing was observed, does not count as watched.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from detectors.backtest import Outages, Quiet
from streams.backtest.labels import Label
from streams.backtest.run import Episode, Judged
from streams.backtest.series import Key
from streams.events import DAY_MS, MINUTE_MS, WHOLE_SERVICE


@dataclass(frozen=True)
class Outcome:
    """What became of one label; `already_open` says that an incident went on when it began."""

    label: Label
    true: Sequence[Episode]
    already_open: bool

    @property
    def delay_min(self) -> float:
        """Minutes from the label's begin to the first true incident's being known; infinite if there is none."""
        return min(((each.known_ms - self.label.begin_ms) / MINUTE_MS for each in self.true), default=math.inf)

    @property
    def clear_min(self) -> float:
        """Minutes from the label's end to that of the last true incident, 0 if before; infinite while one goes on."""
        if not self.true:
            return math.nan
        ends_ms = [math.inf if each.ended_ms is None else each.ended_ms for each in self.true]
        return max(0.0, (max(ends_ms) - self.label.end_ms) / MINUTE_MS)

    @property
    def incidents(self) -> int:
        """The most true incidents of one key."""
        keys = [each.key for each in self.true]
        return max((keys.count(key) for key in set(keys)), default=0)


@dataclass(frozen=True)
class Figures:
    """The figures of merit of one detector.

    Parameters
    ----------
    detector
        As it was asked for.
    regions, wholes
        False incidents by key: of services in regions, and of whole services.
    outcomes
        What became of each label.
    false
        The false incidents, in order of time.
    """

    detector: str
    regions: Quiet
    wholes: Quiet
    outcomes: Sequence[Outcome]
    false: Sequence[Episode]

    @property
    def outages(self) -> Outages:
        """The labels as outages, all in one group."""
        return Outages(
            np.zeros(len(self.outcomes), np.int64),
            np.array([each.delay_min for each in self.outcomes]),
            np.array([each.clear_min for each in self.outcomes]),
            np.array([each.incidents for each in self.outcomes], np.int64),
        )

    def as_json(self) -> dict[str, Any]:
        """Return all figures; infinite ones and those that are not defined as null."""
        outages = self.outages
        return {
            "detector": self.detector,
            "false_per_key_30_days": _rates(self.regions),
            "false_per_service_30_days": _rates(self.wholes),
            "labels": len(self.outcomes),
            "detected": int(np.isfinite(outages.delay_min).sum()),
            "already_open": sum(each.already_open for each in self.outcomes),
            "delay_min": {"median": _finite(outages.delay(50)), "p90": _finite(outages.delay(90))},
            "clear_min": {"median": _finite(outages.clear(50)), "p90": _finite(outages.clear(90))},
            "incidents_per_outage": _finite(outages.incidents_per_outage()),
            "outcomes": [
                {
                    "service": each.label.service,
                    "region": each.label.region,
                    "name": each.label.name,
                    "begin_ms": each.label.begin_ms,
                    "end_ms": each.label.end_ms,
                    "delay_min": _finite(each.delay_min),
                    "clear_min": _finite(each.clear_min),
                    "incidents": each.incidents,
                    "already_open": each.already_open,
                }
                for each in self.outcomes
            ],
            "false": [
                {"service": each.key[0], "region": each.key[1], "opened_ms": each.opened_ms, "peak": each.peak}
                for each in self.false
            ],
        }


def figures(detector: str, judged: Sequence[Judged], labels: Sequence[Label]) -> Figures:
    """Return the figures of one detector over all series.

    Parameters
    ----------
    detector
        Its name.
    judged
        What it made of each series.
    labels
        The outages that are known of; one that covers nothing in the data is left out.
    """
    episodes = [each for one in judged for own in one.episodes.values() for each in own]
    watched: dict[Key, int] = {}
    for one in judged:
        for key, watched_ms in one.watched_ms.items():
            watched[key] = watched.get(key, 0) + watched_ms
    outcomes, true = [], set()
    for label in labels:
        own = [each for each in episodes if label.covers(each.key)]
        if any(label.covers(key) for key in watched):
            hits = [each for each in own if label.is_hit_by(each.opened_ms, each.known_ms)]
            before = [each for each in own if each.known_ms < label.begin_ms]
            is_open = any(each.ended_ms is None or each.ended_ms > label.begin_ms for each in before)
            outcomes.append(Outcome(label, hits, is_open))
            true.update(hits)
    false = sorted((each for each in episodes if each not in true), key=lambda each: (each.opened_ms, each.key))
    return Figures(detector, _quiet(false, watched, whole=False), _quiet(false, watched, whole=True), outcomes, false)


def _quiet(false: Sequence[Episode], watched: Mapping[Key, int], *, whole: bool) -> Quiet:
    keys = sorted(key for key in watched if (key[1] == WHOLE_SERVICE) == whole)
    incidents = [sum(each.key == key for each in false) for key in keys]
    return Quiet(np.array(incidents, np.int64), np.array([watched[key] / DAY_MS for key in keys]))


def _rates(quiet: Quiet) -> dict[str, Any] | None:
    if not quiet.days.sum():
        return None
    low, high = quiet.interval()
    return {
        "rate": quiet.per_30_days(),
        "interval_95": [low, high],
        "incidents": int(quiet.incidents.sum()),
        "days": float(quiet.days.sum()),
        "keys": len(quiet.days),
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
