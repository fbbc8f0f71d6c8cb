"""Detection in one counts partition: complete bins in, incidents, outages, levels and snapshots out.

Plain code without Kafka or clocks. A bin is judged once; the facts about it and the snapshots taken at it are
functions of the log of reports, whichever worker judges it and from whichever snapshots it began.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from detectors import Detector, Limit, Ratio, SnapshotError, Verdict
from streams.archive import Archive
from streams.bins import Bin
from streams.events import DAY_MS, SENSOR, Incident, Level, Levels, LevelState, encode, figure
from streams.incidents import Machine, Observation
from streams.keytable import KeyTable
from streams.outages import Ledger
from streams.partitions import murmur2
from streams.sensor import Sensing, Sensor
from streams.settings import Detect, Settings
from streams.snapshots import REGIONS_PER_PART, DetectionChangedError, Packed, Snapshot, complete, pack

FactTopic = Literal["incidents", "outages", "levels", "levels.15m", "series"]


@dataclass(frozen=True, slots=True)
class Fact:
    """One record to publish: the topic it goes to, the service that places it, its key and value."""

    topic: FactTopic
    service: str
    key: bytes
    value: bytes


@dataclass(slots=True)
class Judgement:
    """What judging one bin led to, in the order in which it is to be published."""

    bin_ms: int
    facts: list[Fact] = field(default_factory=list)
    snapshots: list[Packed] = field(default_factory=list)
    born: list[str] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)


def new_detector(settings: Detect, bin_ms: int) -> Detector:
    """Return the detector that the settings ask for, without keys."""
    if settings.detector == "limit":
        return Limit(bin_ms, **settings.limit.model_dump())
    return Ratio(bin_ms, **settings.ratio.model_dump())


class Detection:
    """Judges the bins of one counts partition, in order.

    Parameters
    ----------
    settings
        The deployment's settings.
    snapshots
        Complete snapshots to begin with, by service and bin, parts in order (see `snapshots.complete`). Each service
        begins with its newest one and is stepped from the next bin on; the sensor begins with its newest one from
        before the first bin.
    apply_settings
        Take over snapshots that were written under other detection settings.
    learn_anew
        Take over the incidents of snapshots whose detector state is of another version, and let it learn anew.

    Raises
    ------
    DetectionChangedError
        If a snapshot was written under other settings and `apply_settings` is not set; later, when the service's first
        bin is judged, if its detector state is of another version and `learn_anew` is not set.
    """

    def __init__(
        self,
        settings: Settings,
        snapshots: Mapping[str, Mapping[int, list[Snapshot]]],
        *,
        apply_settings: bool = False,
        learn_anew: bool = False,
    ) -> None:
        self._settings = settings
        self._bin_ms = settings.count.bin_ms
        self._window_bins = settings.count.window_bins
        self._unknown_after_bins = settings.detect.unknown_after_bins(self._bin_ms)
        self._forget_ms = settings.detect.forget_days * DAY_MS
        self._learn_anew = learn_anew
        self._table = KeyTable(settings, new_detector(settings.detect, self._bin_ms))
        self._ledgers: dict[str, Ledger] = {}
        self._archive = Archive()
        self._sensor = Sensor(whole_bins=self._window_bins)
        self._sensor_snapshots = dict(snapshots.get(SENSOR, {}))
        self._waiting = {service: by_bin[max(by_bin)] for service, by_bin in snapshots.items() if service != SENSOR}
        self._last_ms: int | None = None
        if not apply_settings:
            for parts in [*self._sensor_snapshots.values(), *self._waiting.values()]:
                self._check(parts[0])

    @property
    def services(self) -> list[str]:
        """The services that have state, the sensor not among them."""
        return [service for service in self._ledgers if service != SENSOR]

    @property
    def keys(self) -> int:
        """How many keys have state."""
        return len(self._table)

    def is_waiting(self, service: str) -> bool:
        """Return whether the service goes on from a snapshot of a bin that is not judged again yet."""
        return service in self._waiting

    def is_open(self, incident: Incident) -> bool:
        """Return whether that very incident is open."""
        row = self._table.rows.get((incident.service, incident.region))
        ongoing = None if row is None else self._table.keys[row].machine.incident
        return ongoing is not None and ongoing.id == incident.id

    def under(self, settings: Settings, *, learn_anew: bool = False) -> Detection:
        """Return the same state under other settings, which apply from the next bin on."""
        snapshots = {service: {parts[0].bin_ms: parts} for service, parts in self._waiting.items()}
        if self._last_ms is None:
            snapshots[SENSOR] = self._sensor_snapshots
        else:
            records = [(each.key, each.value) for each in self.snapshot([*self._ledgers], self._last_ms)]
            snapshots |= complete(records)
        return Detection(settings, snapshots, apply_settings=True, learn_anew=learn_anew)

    def judge(self, bin_: Bin, *, publish: bool = True) -> Judgement:
        """Judge the next bin.

        Parameters
        ----------
        bin_
            The bin; later than every one before it.
        publish
            Whether incidents may open: not while a baseline is taught from history.
        """
        result = Judgement(bin_.bin_ms)
        self._wake(bin_.bin_ms)
        if publish and self._last_ms is not None:
            result.facts += [Fact(*over) for over in self._archive.over(bin_.bin_ms, self._last_ms, self._table)]
        self._bear(bin_, result)
        counts = np.zeros(len(self._table), np.int64)
        for name, kinds in self._cells(bin_):
            counts[self._table.rows[name]] = sum(kinds.values())
        self._table.last_seen_ms[counts > 0] = bin_.bin_ms
        skipped_bins = 0 if self._last_ms is None else (bin_.bin_ms - self._last_ms) // self._bin_ms - 1
        sensing = self._sensor.sense(bin_, skipped_bins, self._unknown_after_bins)
        verdict = self._step(bin_, counts, sensing)
        windows = self._slide(bin_.bin_ms, counts)
        self._last_ms = bin_.bin_ms
        if publish:
            self._publish(bin_, sensing, verdict, counts, windows, result)
            self._forget(bin_.bin_ms, result)
            due = [service for service in sorted(self._ledgers) if self._due(service, bin_.bin_ms)]
            result.snapshots = self.snapshot(due, bin_.bin_ms) if due else []
        return result

    def snapshot(self, services: Iterable[str], bin_ms: int) -> list[Packed]:
        """Return the snapshots of some services, the sensor included if named, as of the last judged bin."""
        regions: dict[str, list[str]] = defaultdict(list)
        for service, region in sorted(self._table.rows):
            regions[service].append(region)
        return [
            pack(self._part(service, regions[service], part, bin_ms))
            for service in services
            for part in range(math.ceil(len(regions[service]) / REGIONS_PER_PART))
        ]

    def _check(self, snapshot: Snapshot) -> None:
        if snapshot.detecting != self._settings.detecting:
            raise DetectionChangedError(
                f"the state of service {snapshot.service!r} was built under detection settings {snapshot.detecting}, "
                f"this worker has {self._settings.detecting}: [detect], [[policy]] or [regions] has changed; "
                "start the worker with --apply-settings to go on from that state under the new settings"
            )

    def _wake(self, bin_ms: int) -> None:
        """Restore what has a snapshot as of an earlier bin."""
        if self._sensor_snapshots:
            older = [snapshot_ms for snapshot_ms in self._sensor_snapshots if snapshot_ms < bin_ms]
            if older:
                self._restore(self._sensor_snapshots[max(older)])
            self._sensor_snapshots = {}
        for service in [service for service, parts in self._waiting.items() if parts[0].bin_ms < bin_ms]:
            self._restore(self._waiting.pop(service))

    def _restore(self, parts: list[Snapshot]) -> None:
        for snapshot in parts:
            rows = self._table.add((snapshot.service, region) for region in snapshot.regions)
            self._table.windows[rows] = np.frombuffer(snapshot.windows, "<i8").reshape(len(rows), self._window_bins)
            self._table.last_seen_ms[rows] = snapshot.last_seen_ms
            for row, incident in zip(rows.tolist(), snapshot.incidents, strict=True):
                self._table.keys[row].machine = Machine(incident)
                self._table.is_open[row] = incident is not None
            try:
                self._table.detector.restore(rows, snapshot.detector)
            except SnapshotError as error:
                # under other settings another detector was to be expected
                if snapshot.detecting == self._settings.detecting and not self._learn_anew:
                    raise DetectionChangedError(
                        f"the state of service {snapshot.service!r} is of another version of the detector ({error}); "
                        "start the worker with --apply-settings to go on from its incidents, and to learn anew"
                    ) from error
            if snapshot.sensor is not None:
                self._sensor, self._last_ms = snapshot.sensor, snapshot.bin_ms
            self._table.recent.restore(rows, snapshot.recent)
            if snapshot.ledger is not None:
                self._ledgers[snapshot.service] = snapshot.ledger
                self._archive.restore(snapshot.service, snapshot.tapes)

    def _cells(self, bin_: Bin) -> Iterable[tuple[tuple[str, str], Mapping[str, int]]]:
        """Return the bin's counts by key and kind, the sensor's included, of keys that have state."""
        cells = {**bin_.kinds, (SENSOR, SENSOR): {SENSOR: bin_.arrived}}
        return [(name, kinds) for name, kinds in cells.items() if name in self._table.rows]

    def _bear(self, bin_: Bin, result: Judgement) -> None:
        """Add a key for the sensor and each name with its first reports, unless its service goes on at a later bin."""
        names = [
            name
            for name, kinds in bin_.kinds.items()
            if name not in self._table.rows
            and name[0] not in self._waiting
            and sum(kinds.values()) >= self._settings.detect.born_reports
        ]
        if (SENSOR, SENSOR) not in self._table.rows:
            names.append((SENSOR, SENSOR))
        if names:
            self._table.add(names)
        for service in sorted({service for service, _ in names} - self._ledgers.keys()):
            self._ledgers[service] = Ledger()
            result.born.append(service)

    def _step(self, bin_: Bin, counts: NDArray[np.int64], sensing: Sensing) -> Verdict:
        # a bin that not every source covers is judged, but teaches nothing: as if all keys were open
        untaught = self._table.is_open if sensing.covered else np.ones(len(self._table), np.bool_)
        verdict = self._table.detector.step(
            bin_.bin_ms,
            counts.astype(np.float64),
            np.full(len(self._table), sensing.observed),
            untaught,
            self._table.local_offsets_s(bin_.bin_ms),
        )
        self._sensor.expected = float(verdict.expected[self._table.rows[SENSOR, SENSOR]])
        return verdict

    def _slide(self, bin_ms: int, counts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Move the windows on to this bin and return their sums, shape (K,)."""
        number = bin_ms // self._bin_ms
        if self._last_ms is not None:
            skipped = range(self._last_ms // self._bin_ms + 1, number)[-self._window_bins :]
            self._table.windows[:, [each % self._window_bins for each in skipped]] = 0
            self._table.recent.skip(range(self._last_ms // self._bin_ms + 1, number))
        self._table.windows[:, number % self._window_bins] = counts
        sums: NDArray[np.int64] = self._table.windows.sum(axis=1)
        return sums

    def _publish(
        self,
        bin_: Bin,
        sensing: Sensing,
        verdict: Verdict,
        counts: NDArray[np.int64],
        windows: NDArray[np.int64],
        result: Judgement,
    ) -> None:
        table = self._table
        transitions: dict[str, list[Incident]] = defaultdict(list)
        for row in np.flatnonzero(table.is_open | (verdict.raised & (windows >= table.raise_from))).tolist():
            key = table.keys[row]
            observation = Observation(
                bin_ms=bin_.bin_ms,
                bin_end_ms=bin_.bin_ms + self._bin_ms,
                count=int(counts[row]),
                window=int(windows[row]),
                kinds=bin_.kinds.get((key.service, key.region), {}),
                raised=bool(verdict.raised[row]) and sensing.observed,
                expected=float(verdict.expected[row]),
                score=float(verdict.score[row]),
                score_threshold=float(verdict.score_threshold[row]),
                clear_level=float(verdict.clear_level[row]),
                detector=table.detector.name,
                whole_bins=sensing.whole_bins,
                silent=sensing.silent or sensing.lost,
                lost=sensing.loss,
            )
            documents = key.machine.step(observation, key.limits, key.service, key.region, self._window_bins)
            if documents:
                transitions[key.service] += documents
                table.is_open[row] = key.machine.incident is not None
        at_ms = bin_.bin_ms + self._bin_ms
        for service in sorted(transitions):
            for incident in sorted(transitions[service], key=lambda each: (each.id, each.sequence)):
                key_bytes = f"{incident.id}/{incident.sequence}".encode()
                result.facts.append(Fact("incidents", service, key_bytes, encode(incident)))
            outage = self._ledgers[service].apply(
                transitions[service], at_ms, self._settings.detect.merge_gap_ms, table.ongoing(service)
            )
            if outage is not None:
                result.facts.append(Fact("outages", service, f"{outage.id}/{outage.sequence}".encode(), encode(outage)))
                self._archive.follow(outage, table)
        self._publish_levels(bin_.bin_ms, sensing, verdict, counts, windows, result)

    def _publish_levels(
        self,
        bin_ms: int,
        sensing: Sensing,
        verdict: Verdict,
        counts: NDArray[np.int64],
        windows: NDArray[np.int64],
        result: Judgement,
    ) -> None:
        levels: dict[str, list[Level]] = defaultdict(list)
        expected: list[float | None] = [None] * len(self._table)
        states: list[LevelState | None] = [None] * len(self._table)
        for (service, region), row in sorted(self._table.rows.items()):
            if service == SENSOR:
                continue
            key = self._table.keys[row]
            incident = key.machine.incident
            expected[row] = figure(float(verdict.expected[row]))
            state = states[row] = _state(key.machine, sensing, learning=bool(verdict.learning[row]))
            levels[service].append(
                Level(
                    region=region,
                    count=int(counts[row]),
                    window=int(windows[row]),
                    expected=expected[row],
                    score=figure(float(verdict.score[row])),
                    score_threshold=figure(float(verdict.score_threshold[row])),
                    raise_above=key.limits.raise_above,
                    clear_below=key.limits.clear_below,
                    state=state,
                    incident=incident.id if incident is not None else None,
                )
            )
        self._table.recent.record(bin_ms, counts, windows, expected, states)
        for service, regions in levels.items():
            value = encode(Levels(service=service, bin_ms=bin_ms, regions=regions))
            result.facts.append(Fact("levels", service, service.encode(), value))

    def _due(self, service: str, bin_ms: int) -> bool:
        """Whether a service is snapshotted at this bin: a function of its name, so that the load is spread."""
        every = self._settings.detect.snapshot_every_bins
        return (bin_ms // self._bin_ms - murmur2(service.encode())) % every == 0

    def _forget(self, bin_ms: int, result: Judgement) -> None:
        """Drop the keys without a report for long, of the services that are about to be snapshotted."""
        stale = np.flatnonzero((self._table.last_seen_ms <= bin_ms - self._forget_ms) & ~self._table.is_open)
        for key in [self._table.keys[row] for row in stale.tolist()]:
            if key.service != SENSOR and self._due(key.service, bin_ms):
                self._table.drop(key.service, key.region)
        if len(stale):
            alive = {service for service, _ in self._table.rows}
            for service in sorted(self._ledgers.keys() - alive):
                del self._ledgers[service]
                self._archive.forget(service)
                result.gone.append(service)

    def _part(self, service: str, regions: list[str], part: int, bin_ms: int) -> Snapshot:
        own = regions[part * REGIONS_PER_PART : (part + 1) * REGIONS_PER_PART]
        rows = np.array([self._table.rows[service, region] for region in own], np.int64)
        return Snapshot(
            detecting=self._settings.detecting,
            settings=self._settings.detection_tables if service == SENSOR else None,
            service=service,
            bin_ms=bin_ms,
            part=part,
            parts=math.ceil(len(regions) / REGIONS_PER_PART),
            regions=own,
            last_seen_ms=self._table.last_seen_ms[rows].tolist(),
            windows=self._table.windows[rows].astype("<i8").tobytes(),
            incidents=[self._table.keys[row].machine.incident for row in rows.tolist()],
            ledger=self._ledgers[service] if part == 0 else None,
            sensor=self._sensor if service == SENSOR else None,
            detector=self._table.detector.snapshot(rows),
            tapes=self._archive.tapes(service) if part == 0 else [],
            recent=self._table.recent.snapshot(rows),
        )


def _state(machine: Machine, sensing: Sensing, *, learning: bool) -> LevelState:
    if sensing.lost:
        return "sensor-lost"
    if not sensing.observed:
        return "unobserved"
    if machine.incident is not None:
        return "held" if machine.incident.held else "open"
    return "learning" if learning else "normal"
