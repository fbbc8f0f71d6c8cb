"""What is published of every region in every bin, whether anything happens there or not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from detectors import Verdict
from streams.events import SENSOR, Level, Levels, LevelState, figure
from streams.incidents import Machine
from streams.keytable import KeyTable
from streams.sensor import Sensing


def levels(
    table: KeyTable,
    bin_ms: int,
    sensing: Sensing,
    verdict: Verdict,
    counts: NDArray[np.int64],
    windows: NDArray[np.int64],
) -> Iterator[Levels]:
    """Yield the levels of each service in one bin, by name.

    Parameters
    ----------
    table
        The keys, after the bin has been judged.
    bin_ms
        Start of the bin.
    sensing
        What the bin could be used for.
    verdict
        The detector's.
    counts, windows
        Reports of the bin and of the window that ends with it, shape (K,).
    """
    found: dict[str, list[Level]] = defaultdict(list)
    for (service, region), row in sorted(table.rows.items()):
        if service == SENSOR:
            continue
        key = table.keys[row]
        incident = key.machine.incident
        found[service].append(
            Level(
                region=region,
                count=int(counts[row]),
                window=int(windows[row]),
                expected=figure(float(verdict.expected[row])),
                score=figure(float(verdict.score[row])),
                score_threshold=figure(float(verdict.score_threshold[row])),
                clear_score=figure(float(verdict.clear_score[row])),
                clear_threshold=figure(float(verdict.clear_threshold[row])),
                raise_above=key.limits.raise_above,
                clear_below=key.limits.clear_below,
                state=_state(key.machine, sensing, learning=bool(verdict.learning[row])),
                incident=incident.id if incident is not None else None,
            )
        )
    return (Levels(service=service, bin_ms=bin_ms, regions=regions) for service, regions in found.items())


def _state(machine: Machine, sensing: Sensing, *, learning: bool) -> LevelState:
    if sensing.lost:
        return "sensor-lost"
    if not sensing.observed:
        return "unobserved"
    if machine.incident is not None:
        return "held" if machine.incident.held else "open"
    return "learning" if learning else "normal"
