"""Detection in one counts partition: complete bins in, incidents, outages, levels and snapshots out.

Plain code without Kafka or clocks. A bin is judged once; the facts about it and the snapshots taken at it are
functions of the log of reports, whichever worker judges it and from whichever snapshots it began.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from detectors import NBSR, Detector, Ears, Limit, Ratio, SnapshotError, Verdict
from streams.archive import Archive
from streams.bins import Bin
from streams.budget import Budget, raises_per_30_days
from streams.events import DAY_MS, SENSOR, WHOLE_SERVICE, Incident, encode
from streams.incidents import Machine, Observation
from streams.keytable import KeyTable, kinds_of
from streams.levels import levels
from streams.outages import Ledger
from streams.partitions import murmur2
from streams.sensor import Sensing, Sensor
from streams.settings import LEAST_BINS, Detect, Settings
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
    match settings.detector:
        case "nbsr":
            return NBSR(bin_ms, LEAST_BINS)  # the budget comes on top: another one keeps what has been learnt
        case "limit":
            return Limit(bin_ms, **settings.limit.model_dump())
        case "ears":
            return Ears(bin_ms, **settings.ears.model_dump())
        case "ratio":
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
        self._budgets: dict[str, Budget] = {}
        self._mean_bins = settings.detect.mean_bins_between_false_alarms(self._bin_ms)
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

    @property
    def raises_per_30_days(self) -> float:
        """The rate at which outages have begun, over all services, as far as their state goes back."""
        return (
            0.0 if self._last_ms is None else raises_per_30_days(self._budgets.values(), self._last_ms + self._bin_ms)
        )

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
        counts = self._table.counts(bin_)
        self._table.last_seen_ms[counts > 0] = bin_.bin_ms
        number = bin_.bin_ms // self._bin_ms
        skipped = range(0) if self._last_ms is None else range(self._last_ms // self._bin_ms + 1, number)
        sensing = self._sensor.sense(bin_, len(skipped), self._unknown_after_bins)
        verdict = self._step(bin_, counts, sensing)
        windows = self._table.slide(number, skipped, counts)
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
                self._budgets[snapshot.service] = snapshot.budget or Budget()
                self._archive.restore(snapshot.service, snapshot.tapes)

    def _bear(self, bin_: Bin, result: Judgement) -> None:
        """Add a key for the sensor and each name with its first reports, unless its service goes on at a later bin."""
        names = [
            name
            for name in self._table.unborn(bin_, self._settings.detect.born_reports)
            if name[0] not in self._waiting
        ]
        if names:
            self._table.add(names)
        if wholes := self._table.unborn_wholes():
            self._table.add(wholes)
        for service in sorted({service for service, _ in names} - self._ledgers.keys()):
            self._ledgers[service] = Ledger()
            self._budgets[service] = Budget()
            result.born.append(service)

    def _step(self, bin_: Bin, counts: NDArray[np.int64], sensing: Sensing) -> Verdict:
        k = len(self._table)
        verdict = self._table.detector.step(
            bin_.bin_ms,
            counts.astype(np.float64),
            np.full(k, sensing.observed),
            self._table.is_open,
            self._table.local_offsets_s(bin_.bin_ms),
            covered=np.full(k, sensing.teaches),
            threshold_rise=self._rises(),
        )
        self._sensor.expected = float(verdict.expected[self._table.rows[SENSOR, SENSOR]])
        return verdict

    def _rises(self) -> NDArray[np.float64]:
        """Return what a raise of each key takes on top of the detector's own threshold, shape (K,)."""
        budgeted = math.log(self._mean_bins / LEAST_BINS)
        rises = {service: budgeted + budget.rise for service, budget in self._budgets.items() if budget.rise}
        if not rises:
            return np.full(len(self._table), budgeted)
        return np.fromiter((rises.get(key.service, budgeted) for key in self._table.keys), np.float64, len(self._table))

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
        by_limit = table.raised_by_limit(bin_.bin_ms // self._bin_ms, verdict.learning, windows)
        raised = verdict.raised | by_limit
        for row in np.flatnonzero(table.is_open | (raised & (windows >= table.raise_from))).tolist():
            key = table.keys[row]
            observation = Observation(
                bin_ms=bin_.bin_ms,
                bin_end_ms=bin_.bin_ms + self._bin_ms,
                count=int(counts[row]),
                window=int(windows[row]),
                kinds=kinds_of(key, bin_),
                raised=bool(raised[row]) and sensing.observed,
                whole_bins=sensing.whole_bins,
                silent=sensing.silent or sensing.lost,
                lost=sensing.loss,
                **self._evidence(bin_.bin_ms, row, verdict),
            )
            documents = key.machine.step(observation, key.limits, key.service, key.region, self._window_bins)
            if documents:
                transitions[key.service] += documents
                table.is_open[row] = key.machine.incident is not None
        at_ms = bin_.bin_ms + self._bin_ms
        begun: set[str] = set()
        for service in sorted(transitions):
            for incident in sorted(transitions[service], key=lambda each: (each.id, each.sequence)):
                key_bytes = f"{incident.id}/{incident.sequence}".encode()
                result.facts.append(Fact("incidents", service, key_bytes, encode(incident)))
            outage = self._ledgers[service].apply(
                transitions[service], at_ms, self._settings.detect.merge_gap_ms, table.ongoing(service)
            )
            if outage is not None:
                begun |= {service} if outage.sequence == 1 else set()
                result.facts.append(Fact("outages", service, f"{outage.id}/{outage.sequence}".encode(), encode(outage)))
                self._archive.follow(outage, table)
        ongoing = {table.keys[row].service for row in np.flatnonzero(table.is_open).tolist()}
        for service, budget in self._budgets.items():
            keys = table.regions[service] + ((service, WHOLE_SERVICE) in table.rows)
            budget.step(bin_.bin_ms, at_ms, keys, self._mean_bins, raised=service in begun, ongoing=service in ongoing)
        stated = list(levels(table, bin_.bin_ms, sensing, verdict, counts, windows))
        table.record(bin_.bin_ms, counts, windows, stated)
        for each in stated:
            result.facts.append(Fact("levels", each.service, each.service.encode(), encode(each)))

    def _evidence(self, bin_ms: int, row: int, verdict: Verdict) -> dict[str, Any]:
        """Return what an observation says of how a key is judged."""
        limit = self._table.keys[row].limits.raise_above
        if verdict.learning[row] and limit is not None:
            third = self._table.persistent(np.array([row]), bin_ms // self._bin_ms)
            judged = {"score": float(third[0]), "score_threshold": limit / self._window_bins, "detector": Limit.name}
        else:
            judged = {
                "score": float(verdict.score[row]),
                "score_threshold": float(verdict.score_threshold[row]),
                "detector": self._table.detector.name,
                "figures": {name: float(array[row]) for name, array in verdict.figures.items()},
            }
        return judged | {
            "expected": float(verdict.expected[row]),
            "clear_level": float(verdict.clear_level[row]),
            "clear_score": float(verdict.clear_score[row]),
            "clear_threshold": float(verdict.clear_threshold[row]),
            "rebaselined": bool(verdict.rebaselined[row]),
            "learning": bool(verdict.learning[row]),
        }

    def _due(self, service: str, bin_ms: int) -> bool:
        """Whether a service is snapshotted at this bin: a function of its name, so that the load is spread."""
        every = self._settings.detect.snapshot_every_bins
        return (bin_ms // self._bin_ms - murmur2(service.encode())) % every == 0

    def _forget(self, bin_ms: int, result: Judgement) -> None:
        """Drop the keys without a report for long, of the services that are about to be snapshotted."""
        table = self._table
        stale = np.flatnonzero((table.last_seen_ms <= bin_ms - self._forget_ms) & ~table.is_open)
        due = [key for key in [table.keys[row] for row in stale.tolist()] if self._due(key.service, bin_ms)]
        for key in due:
            if key.service != SENSOR:
                table.drop(key.service, key.region)
        for service in [service for service in self._ledgers if self._due(service, bin_ms)]:
            row = table.rows.get((service, WHOLE_SERVICE))
            if row is not None and not table.is_open[row] and not table.is_kept(table.keys[row]):
                table.drop(service, WHOLE_SERVICE)
        alive = {service for service, _ in table.rows}
        for service in sorted(self._ledgers.keys() - alive):
            del self._ledgers[service], self._budgets[service]
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
            budget=self._budgets[service] if part == 0 else None,
            sensor=self._sensor if service == SENSOR else None,
            detector=self._table.detector.snapshot(rows),
            tapes=self._archive.tapes(service) if part == 0 else [],
            recent=self._table.recent.snapshot(rows),
        )
