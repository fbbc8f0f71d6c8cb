"""The keys of one counts partition: what is held per (service, region) beside the detector's own state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from detectors import Detector
from detectors.keyed import NEEDED_BINS, RECENT_BINS
from streams.bins import Bin
from streams.events import SENSOR, WHOLE_SERVICE, Levels, LevelState
from streams.incidents import Machine, Ongoing
from streams.policy import Limits, Policies
from streams.recent import Recent
from streams.settings import Region, Settings
from streams.timezones import default_timezone

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
        self._region_settings = settings.regions
        self._has_whole = settings.detect.has_whole_service
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
        #: The same for a key that is learning: there, only the policy's own limit raises.
        self.learning_raise_from = np.zeros(0, np.int64)
        #: How many regions of each service have state, the whole service not among them.
        self.regions: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self.keys)

    def add(self, names: Iterable[tuple[str, str]]) -> NDArray[np.int64]:
        """Add fresh keys at the end and return their rows."""
        first = len(self.keys)
        raise_from, learning_raise_from = [], []
        for service, region in names:
            limits = self._policies.limits(service, region)
            timezone = self._region_settings.get(region, Region()).timezone or default_timezone(region)
            self._zones[timezone] = ZoneInfo(timezone)
            self.rows[service, region] = len(self.keys)
            self.keys.append(Key(service, region, limits, timezone))
            judged = limits.enabled and service != SENSOR
            raise_from.append((limits.raise_above or 1) if judged else UNREACHABLE)
            learning_raise_from.append((limits.raise_above or UNREACHABLE) if judged else UNREACHABLE)
            self.regions[service] += region != WHOLE_SERVICE
        added = len(raise_from)
        self.windows = np.concatenate((self.windows, np.zeros((added, self.windows.shape[1]), np.int64)))
        self.last_seen_ms = np.concatenate((self.last_seen_ms, np.zeros(added, np.int64)))
        self.is_open = np.concatenate((self.is_open, np.zeros(added, np.bool_)))
        self.raise_from = np.concatenate((self.raise_from, np.array(raise_from, np.int64)))
        self.learning_raise_from = np.concatenate((self.learning_raise_from, np.array(learning_raise_from, np.int64)))
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
            for column in (
                self.windows,
                self.last_seen_ms,
                self.is_open,
                self.raise_from,
                self.learning_raise_from,
            ):
                column[row] = column[last]
        self.recent.drop(row)
        self.keys.pop()
        self.windows = self.windows[:last]
        self.last_seen_ms = self.last_seen_ms[:last]
        self.is_open = self.is_open[:last]
        self.raise_from = self.raise_from[:last]
        self.learning_raise_from = self.learning_raise_from[:last]
        self.regions[service] -= region != WHOLE_SERVICE
        self.detector.resize(last)

    def unborn(self, bin_: Bin, reports: int) -> list[tuple[str, str]]:
        """Return the names without a key of which a bin holds at least so many reports, and the sensor's."""
        names = [name for name, kinds in bin_.kinds.items() if name not in self.rows and sum(kinds.values()) >= reports]
        return names if (SENSOR, SENSOR) in self.rows else [*names, (SENSOR, SENSOR)]

    def unborn_wholes(self) -> list[tuple[str, str]]:
        """Return the names of the whole services that are to have a key: those of two regions at least."""
        if not self._has_whole:
            return []
        several = (service for service, regions in self.regions.items() if regions > 1)
        return [(service, WHOLE_SERVICE) for service in several if (service, WHOLE_SERVICE) not in self.rows]

    def is_kept(self, key: Key) -> bool:
        """Return whether a key need not be dropped: that of a whole service must, once it says nothing of its own."""
        return key.region != WHOLE_SERVICE or (self._has_whole and self.regions[key.service] > 1)

    def counts(self, bin_: Bin) -> NDArray[np.int64]:
        """Return the reports of a bin, shape (K,); those of a whole service are of all regions, with a key or not."""
        counts = np.zeros(len(self), np.int64)
        for (service, region), kinds in bin_.kinds.items():
            reports = sum(kinds.values())
            for name in ((service, region), (service, WHOLE_SERVICE)):
                row = self.rows.get(name)
                if row is not None:
                    counts[row] += reports
        counts[self.rows[SENSOR, SENSOR]] = bin_.arrived
        return counts

    def slide(self, number: int, skipped: range, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Move the windows on to the bin `number`, over those that were skipped, and return their sums, shape (K,)."""
        length = self.windows.shape[1]
        self.windows[:, [each % length for each in skipped[-length:]]] = 0
        self.windows[:, number % length] = counts
        self.recent.skip(skipped)
        sums: NDArray[np.int64] = self.windows.sum(axis=1)
        return sums

    def record(
        self, bin_ms: int, counts: NDArray[np.int64], windows: NDArray[np.int64], stated: Iterable[Levels]
    ) -> None:
        """Keep what has been stated of a bin with the last ones."""
        expected: list[float | None] = [None] * len(self)
        states: list[LevelState | None] = [None] * len(self)
        for service in stated:
            for level in service.regions:
                row = self.rows[service.service, level.region]
                expected[row], states[row] = level.expected, level.state
        self.recent.record(bin_ms, counts, windows, expected, states)

    def persistent(self, rows: NDArray[np.int64], number: int) -> NDArray[np.int64]:
        """Return the count that three of the last five bins of these keys have reached; `number` is the last bin's.

        A window of fewer than five bins holds no more of them.
        """
        length = self.windows.shape[1]
        columns = [each % length for each in range(number - min(RECENT_BINS, length) + 1, number + 1)]
        recent = np.sort(self.windows[rows][:, columns], axis=1)
        third: NDArray[np.int64] = recent[:, -min(NEEDED_BINS, length)]
        return third

    def raised_by_limit(
        self, number: int, learning: NDArray[np.bool_], windows: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Return which keys the policy's own limit raises, for want of a detector that knows them; shape (K,).

        As with the detector of that name, three of the last five bins must be in excess: of their share of the limit.

        Parameters
        ----------
        number
            The last bin's.
        learning, windows
            Which keys the detector does not know yet, and the reports of their windows; shape (K,).
        """
        raised = np.zeros(len(self), np.bool_)
        rows = np.flatnonzero(learning & (windows >= self.learning_raise_from))
        if len(rows):
            third = self.persistent(rows, number)
            raised[rows] = third * self.windows.shape[1] >= self.learning_raise_from[rows]
        return raised

    def ongoing(self, service: str) -> list[Ongoing]:
        """Return the open incidents of a service."""
        machines = [self.keys[row].machine for row in np.flatnonzero(self.is_open) if self.keys[row].service == service]
        return [machine.incident for machine in machines if machine.incident is not None]

    def local_offsets_s(self, bin_ms: int) -> NDArray[np.int64]:
        """Return how many seconds each key's civil time is ahead of UTC at `bin_ms`, shape (K,)."""
        moment = datetime.fromtimestamp(bin_ms / 1000, UTC)
        offsets = {name: _offset_s(zone, moment) for name, zone in self._zones.items()}
        return np.fromiter((offsets[key.timezone] for key in self.keys), np.int64, len(self.keys))


def kinds_of(key: Key, bin_: Bin) -> Mapping[str, int]:
    """Return the reports of a key in a bin by kind."""
    if key.region != WHOLE_SERVICE:
        return bin_.kinds.get((key.service, key.region), {})
    total: Counter[str] = Counter()
    for (service, _), kinds in bin_.kinds.items():
        if service == key.service:
            total.update(kinds)
    return total


def _offset_s(zone: ZoneInfo, moment: datetime) -> int:
    offset = moment.astimezone(zone).utcoffset()
    return int(offset.total_seconds()) if offset else 0
