"""The keys of one counts partition: what is held per (service, region) beside the detector's own state."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from detectors import Detector
from streams.events import SENSOR
from streams.incidents import Machine, Ongoing
from streams.policy import Limits, Policies
from streams.recent import Recent
from streams.settings import Region, Settings

#: A window count that nothing reaches.
UNREACHABLE = np.iinfo(np.int64).max


@dataclass(slots=True)
class Key:
    """One service in one region."""

    service: str
    region: str
    limits: Limits
    timezone: str
    machine: Machine = field(default_factory=Machine)


class KeyTable:
    """Rows of keys, in step with the rows of a detector.

    Parameters
    ----------
    settings
        The deployment's settings.
    detector
        A detector without keys; it is grown and shrunk together with this table.
    """

    def __init__(self, settings: Settings, detector: Detector) -> None:
        self._policies = Policies(settings.policy, settings.count.bin_ms)
        self._regions = settings.regions
        #: Held here, for the standard library keeps only eight zones and would read the others from disk every time.
        self._zones: dict[str, ZoneInfo] = {}
        self.detector = detector
        self.keys: list[Key] = []
        self.rows: dict[tuple[str, str], int] = {}
        #: Counts of the last window's bins, (K, window); bin b is in column b modulo the window.
        self.windows = np.zeros((0, settings.count.window_bins), np.int64)
        self.recent = Recent(settings.count.bin_ms)
        self.last_seen_ms = np.zeros(0, np.int64)
        self.is_open = np.zeros(0, np.bool_)
        #: The smallest window that may raise; none does for a disabled key or the sensor.
        self.raise_from = np.zeros(0, np.int64)

    def __len__(self) -> int:
        return len(self.keys)

    def add(self, names: Iterable[tuple[str, str]]) -> NDArray[np.int64]:
        """Add fresh keys at the end and return their rows."""
        first = len(self.keys)
        raise_from = []
        for service, region in names:
            limits = self._policies.limits(service, region)
            timezone = self._regions.get(region, Region()).timezone
            self._zones[timezone] = ZoneInfo(timezone)
            self.rows[service, region] = len(self.keys)
            self.keys.append(Key(service, region, limits, timezone))
            judged = limits.enabled and service != SENSOR
            raise_from.append((limits.raise_above or 1) if judged else UNREACHABLE)
        added = len(raise_from)
        self.windows = np.concatenate((self.windows, np.zeros((added, self.windows.shape[1]), np.int64)))
        self.last_seen_ms = np.concatenate((self.last_seen_ms, np.zeros(added, np.int64)))
        self.is_open = np.concatenate((self.is_open, np.zeros(added, np.bool_)))
        self.raise_from = np.concatenate((self.raise_from, np.array(raise_from, np.int64)))
        self.recent.add(added)
        self.detector.resize(len(self.keys))
        return np.arange(first, len(self.keys))

    def drop(self, service: str, region: str) -> None:
        """Remove a key; the last one takes its row."""
        row, last = self.rows.pop((service, region)), len(self.keys) - 1
        if row != last:
            self.detector.restore(np.array([row]), self.detector.snapshot(np.array([last])))
            self.keys[row] = self.keys[last]
            self.rows[self.keys[row].service, self.keys[row].region] = row
            for column in (self.windows, self.last_seen_ms, self.is_open, self.raise_from):
                column[row] = column[last]
        self.recent.drop(row)
        self.keys.pop()
        self.windows = self.windows[:last]
        self.last_seen_ms = self.last_seen_ms[:last]
        self.is_open = self.is_open[:last]
        self.raise_from = self.raise_from[:last]
        self.detector.resize(last)

    def ongoing(self, service: str) -> list[Ongoing]:
        """Return the open incidents of a service."""
        machines = [self.keys[row].machine for row in np.flatnonzero(self.is_open) if self.keys[row].service == service]
        return [machine.incident for machine in machines if machine.incident is not None]

    def local_offsets_s(self, bin_ms: int) -> NDArray[np.int64]:
        """Return how many seconds each key's civil time is ahead of UTC at `bin_ms`, shape (K,)."""
        moment = datetime.fromtimestamp(bin_ms / 1000, UTC)
        offsets = {name: _offset_s(zone, moment) for name, zone in self._zones.items()}
        return np.fromiter((offsets[key.timezone] for key in self.keys), np.int64, len(self.keys))


def _offset_s(zone: ZoneInfo, moment: datetime) -> int:
    offset = moment.astimezone(zone).utcoffset()
    return int(offset.total_seconds()) if offset else 0
