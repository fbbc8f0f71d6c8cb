"""However often detection is killed, restarted and tidied up after: what it states is what one undisturbed run states.

`undisturbed` judges a random history in one go. `Lives` judges it in lives that end anywhere, even between two records;
all that one leaves to the next is what Kafka would keep: baselines, with tombstones, and a committed floor.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streams import detection
from streams.bins import Bin
from streams.detection import Detection, Judgement
from streams.events import SENSOR, Incident, Levels, SettingsChange, decode
from streams.inforce import InForce
from streams.replay import backfill
from streams.settings import Settings
from streams.snapshots import SnapshotBook, complete

HOUR_MS = 3_600_000
DAY_BINS = 24
START_MS = 1_748_088_000_000
BINS = 80
KEYS = [("alpha", f"R{number}") for number in range(5)] + [("beta", "R0"), ("beta", "R1"), ("gamma", "R0")]

Name = tuple[str, str, int]
BaselineRecord = tuple[bytes, bytes | None]


@pytest.fixture(autouse=True, scope="module")
def _two_regions_in_a_part() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(detection, "REGIONS_PER_PART", 2)
        yield


def deployment(**detect: Any) -> Settings:
    """Return settings with bins of an hour, so that a key is forgotten after 24 bins, and windows of three."""
    return Settings.model_validate(
        {
            "kafka": {"reports_partitions": 2, "counts_partitions": 1},
            "count": {"bin_s": 3600, "epoch_s": 3600, "window_bins": 3},
            "detect": {"forget_days": 1, "snapshot_every_bins": 4, "unknown_after_minutes": 180, **detect},
            "policy": [
                {"min_open_minutes": 0},
                {"service": "alpha", "raise_above": 60, "clear_below": 45, "clear_windows": 1},
                {"service": "alpha", "region": "R3", "enabled": False},
                {"service": "gamma", "raise_above": 60},
            ],
        }
    )


DEPLOYMENTS = {
    "limit": deployment(detector="limit", limit={"above": 20}, born_reports=3, merge_gap_minutes=300),
    "ratio": deployment(detector="ratio", ratio={"above": 2, "min_excess": 2}, merge_gap_minutes=0),
    "nbsr": deployment(detector="nbsr", fleet_keys=1, false_alarms_per_30_days=5, merge_gap_minutes=0),
}


def stretches(rng: np.random.Generator, chance: float, shortest: int, longest: int) -> list[bool]:
    """Return whether each bin is in a stretch; one begins in a bin with that chance, if none goes on."""
    lengths = np.where(rng.random(BINS) < chance, rng.integers(shortest, longest + 1, BINS), 0).tolist()
    left = accumulate(lengths, lambda left, length: left - 1 if left > 1 else length)
    return [bins > 0 for bins in left]


def history(seed: int) -> list[Bin]:
    """Return bins with outages, births, deaths, rebirths, silences, bins that no or not every source covers, skips."""
    rng = np.random.default_rng(seed)
    counts = {}
    for name in KEYS:
        level = np.where(stretches(rng, 0.1, 3, 9), rng.uniform(10, 150, BINS), rng.uniform(4, 12))
        counts[name] = np.where(stretches(rng, 0.03, 20, 45), 0, rng.poisson(level))
    absent = {service: stretches(rng, 0.02, 20, 50) for service, _ in KEYS}
    silent, unobserved, partial, skipped = (
        stretches(rng, chance, 1, longest) for chance, longest in ((0.03, 6), (0.03, 5), (0.05, 3), (0.02, 30))
    )
    bins = []
    for index in range(BINS):
        if skipped[index]:
            continue
        present = {name: int(own[index]) for name, own in counts.items() if own[index] and not absent[name[0]][index]}
        kinds = {name: {"app": count - count // 3, "web": count // 3} for name, count in present.items()}
        if silent[index]:
            kinds = {}
        bins.append(
            Bin(
                bin_ms=START_MS + index * HOUR_MS,
                kinds=kinds,
                arrived=sum(sum(own.values()) for own in kinds.values()),
                covered=0 if unobserved[index] else 1 if partial[index] else 2,
                sources=2,
            )
        )
    return bins


def baselines(policy: Settings) -> list[BaselineRecord]:
    """Return what `tocsin backfill` would write of the 60 bins before a history."""
    rng = np.random.default_rng(7)
    usual = dict.fromkeys(KEYS[:6], 8)
    past = [
        (START_MS + index * HOUR_MS, {name: int(rng.poisson(level)) for name, level in usual.items()})
        for index in range(-60, 0)
    ]
    return [(packed.key, packed.value) for packed in backfill(policy, past)[0]]


@dataclass
class Stated:
    """What has been stated, by what it is about: facts by topic, key and bin, snapshots by key."""

    facts: dict[Name, bytes] = field(default_factory=dict)
    snapshots: dict[bytes, bytes] = field(default_factory=dict)

    def fact(self, bin_ms: int, fact: detection.Fact) -> None:
        # levels have their service for a key: the last one counts, and each is about one bin
        name = fact.topic, fact.key.decode(), bin_ms if fact.topic == "levels" else 0
        assert self.facts.setdefault(name, fact.value) == fact.value, name

    def snapshot(self, key: bytes, value: bytes) -> None:
        assert self.snapshots.setdefault(key, value) == value, key


def undisturbed(
    policy: Settings,
    bins: list[Bin],
    records: list[BaselineRecord],
    after: Settings | None = None,
    change_ms: int | None = None,
) -> tuple[Stated, list[Judgement]]:
    stated = Stated()
    running = Detection(policy, complete(records))
    judgements = []
    for bin_ in bins:
        if after is not None and bin_.bin_ms == change_ms:
            running = running.under(after)
        judgements.append(running.judge(bin_))
    for judgement in judgements:
        for fact in judgement.facts:
            stated.fact(judgement.bin_ms, fact)
        for packed in judgement.snapshots:
            stated.snapshot(packed.key, packed.value)
    return stated, judgements


def note(book: SnapshotBook, judgement: Judgement) -> None:
    """Enter into a book what is in the log by now."""
    for service in judgement.born:
        book.born(service, judgement.bin_ms)
    for service in judgement.gone:
        book.gone(service, judgement.bin_ms)
    for packed in judgement.snapshots:
        book.acknowledged(packed.service, packed.bin_ms, packed.parts)


def change(settings: Settings) -> SettingsChange:
    """Return the record with which a worker asks for its settings."""
    return SettingsChange(counting=settings.counting, detecting=settings.detecting, settings=settings.detection_tables)


class KilledError(Exception):
    """A life has ended."""


class Lives:
    """Lives of a worker over one history, ended by chance; `floor_ms`, `detecting` and `records` are what Kafka keeps.

    One of the lives may ask for other settings, `after`: they hold from the bin `change_ms` on, which none before it
    has judged.
    """

    def __init__(
        self,
        policy: Settings,
        bins: list[Bin],
        records: list[BaselineRecord],
        seed: int,
        after: Settings | None = None,
    ) -> None:
        self._policy = policy
        self._after = after
        self._bins = bins
        self.change_ms: int | None = None
        self.detecting: str | None = None
        self._rng = np.random.default_rng(seed)
        self.records = list(records)
        self.floor_ms: int | None = None
        self.stated = Stated()
        self.lives = 0
        self._judged_ms = 0

    def run(self, longest_life_records: int, lives: int) -> None:
        """Live until the history has been judged to its end; the last of the lives is not ended."""
        while True:
            self.lives += 1
            last = self.lives == lives
            self._records_left = 1 << 60 if last else int(self._rng.integers(longest_life_records))
            try:
                self._live()
                return
            except KilledError:
                pass

    def _live(self) -> None:
        snapshots = complete(self.records)
        book = SnapshotBook(HOUR_MS, snapshots, self.floor_ms)
        living = {service: snapshots[service] for service in book.services}
        if self._after is not None and self.change_ms is None and SENSOR in living and self._rng.random() < 0.3:
            new = [bin_.bin_ms for bin_ in self._bins if bin_.bin_ms > self._judged_ms]
            self.change_ms = int(self._rng.choice(new)) if new else None
        own = self._policy if self._after is None or self.change_ms is None else self._after
        in_force = InForce(own, self.detecting, living)
        running = Detection(in_force.settings, living, apply_settings=True)
        todo = [bin_ for bin_ in self._bins if self.floor_ms is None or bin_.bin_ms >= self.floor_ms]
        offered_ms: int | None = None
        while todo:
            size = int(self._rng.integers(1, 8))
            judgements = []
            for bin_ in todo[:size]:
                if bin_.bin_ms == self.change_ms and in_force.change(change(own), bin_.bin_ms):
                    running = running.under(in_force.settings)
                judgements.append(running.judge(bin_))
                self._judged_ms = max(self._judged_ms, bin_.bin_ms)
            todo = todo[size:]
            self._publish(judgements)
            for judgement in judgements:
                note(book, judgement)
            # What was offered may be committed only when there is something newer.
            newer_ms = book.floor_ms(judgements[-1].bin_ms + HOUR_MS)
            assert offered_ms is None or newer_ms >= offered_ms, "a floor does not sink"
            match int(self._rng.integers(4)):
                case 0:
                    self._commit(book, newer_ms, in_force)
                case 1 if offered_ms is not None:
                    self._commit(book, offered_ms, in_force)
            offered_ms = newer_ms

    def _publish(self, judgements: list[Judgement]) -> None:
        for judgement in judgements:
            for fact in judgement.facts:
                self._record()
                self.stated.fact(judgement.bin_ms, fact)
        for packed in [packed for judgement in judgements for packed in judgement.snapshots]:
            self._record()
            self.stated.snapshot(packed.key, packed.value)
            self.records.append((packed.key, packed.value))

    def _commit(self, book: SnapshotBook, floor_ms: int, in_force: InForce) -> None:
        self._record()
        self.floor_ms, self.detecting = floor_ms, in_force.at(floor_ms)
        for _, key in book.obsolete(floor_ms):
            self._record()
            self.records.append((key, None))

    def _record(self) -> None:
        self._records_left -= 1
        if self._records_left < 0:
            raise KilledError


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    detector=st.sampled_from(["limit", "ratio", "nbsr"]),
    world=st.integers(0, 2**32),
    backfilled=st.booleans(),
    fate=st.integers(0, 2**32),
    longest_life_records=st.integers(20, 1500),
)
def test_restarts_state_what_one_undisturbed_run_states(
    detector: str, world: int, backfilled: bool, fate: int, longest_life_records: int
) -> None:
    policy = DEPLOYMENTS[detector]
    bins = history(world)
    records = baselines(policy) if backfilled else []
    truth, _ = undisturbed(policy, bins, records)
    lives = Lives(policy, bins, records, fate)
    lives.run(longest_life_records, lives=8)
    for name, value in lives.stated.facts.items():
        assert value == truth.facts[name], name
    for key, value in lives.stated.snapshots.items():
        assert value == truth.snapshots[key], key
    assert lives.stated.facts.keys() == truth.facts.keys()
    assert lives.stated.snapshots.keys() == truth.snapshots.keys()


AFTER: dict[str, dict[str, Any]] = {
    "limits": {"policy": []},
    "the same detector": {"detect": {"detector": "limit", "limit": {"above": 35}}},
    "another detector": {"detect": {"detector": "ratio", "ratio": {"above": 3}, "snapshot_every_bins": 3}},
}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    changed=st.sampled_from(sorted(AFTER)),
    world=st.integers(0, 2**32),
    backfilled=st.booleans(),
    fate=st.integers(0, 2**32),
    longest_life_records=st.integers(20, 1500),
)
def test_changed_settings_hold_from_one_bin_on_however_often_it_is_judged(
    changed: str, world: int, backfilled: bool, fate: int, longest_life_records: int
) -> None:
    before = DEPLOYMENTS["limit"]
    tables = AFTER[changed] | {"detect": before.detection_tables["detect"] | AFTER[changed].get("detect", {})}
    after = before.detecting_as(before.detection_tables | tables)
    bins = history(world)
    records = baselines(before) if backfilled else []
    lives = Lives(before, bins, records, fate, after)
    lives.run(longest_life_records, lives=12)
    truth, _ = undisturbed(before, bins, records, after, lives.change_ms)
    assert lives.stated.facts == truth.facts
    assert lives.stated.snapshots == truth.snapshots


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(["limit", "ratio", "nbsr"]), st.integers(0, 2**32))
def test_a_commit_leaves_no_more_snapshots_than_a_restart_from_its_floor_may_need(detector: str, world: int) -> None:
    policy = DEPLOYMENTS[detector]
    running, book = Detection(policy, {}), SnapshotBook(HOUR_MS)
    records: list[BaselineRecord] = []
    gone_ms: dict[str, int] = {}
    for bin_ in history(world):
        judgement = running.judge(bin_)
        note(book, judgement)
        gone_ms |= dict.fromkeys(judgement.gone, judgement.bin_ms)
        records += [(packed.key, packed.value) for packed in judgement.snapshots]
        floor_ms = book.floor_ms(bin_.bin_ms + HOUR_MS)
        records += [(key, None) for _, key in book.obsolete(floor_ms)]
        left = complete(records)
        assert sum(bin_ms < floor_ms for bin_ms in left.pop(SENSOR, {})) <= 1
        for service, by_bin in left.items():
            assert service in running.services or gone_ms[service] >= floor_ms
            assert len(by_bin) == 1 or gone_ms.get(service, 0) >= floor_ms


def test_histories_hold_all_that_can_happen() -> None:
    transitions: Counter[str] = Counter()
    rules: Counter[str] = Counter()
    states: Counter[str] = Counter()
    happened: Counter[str] = Counter()
    for seed in range(60):
        policy = DEPLOYMENTS[("limit", "ratio", "nbsr")[seed % 3]]
        bins = history(seed)
        stated, judgements = undisturbed(policy, bins, baselines(policy))
        for (topic, *_), value in stated.facts.items():
            if topic == "incidents":
                incident = decode(value, Incident)
                transitions[incident.transition] += 1
                rules[incident.decision.rule] += 1
            elif topic == "levels":
                states.update(level.state for level in decode(value, Levels).regions)
        born = [service for judgement in judgements for service in judgement.born]
        happened["born"] += len(born)
        happened["born again"] += len(born) - len(set(born))
        happened["gone"] += sum(len(judgement.gone) for judgement in judgements)
        happened["in parts"] += any(packed.parts > 1 for judgement in judgements for packed in judgement.snapshots)
        lives = Lives(policy, bins, baselines(policy), seed)
        lives.run(1500, lives=8)
        happened["restarts"] += lives.lives - 1
        happened["tombstones"] += sum(value is None for _, value in lives.records)
    assert transitions.keys() == {"opened", "grew", "held", "resumed", "cleared", "unknown"}
    assert rules.keys() - {"rebaselined"} == {  # which takes a day, and is rare in so short a history
        *("raise", "grow", "silent", "incomplete", "complete", "sensor-lost", "gap"),
        *("clear_below", "clear_level", "clear_learning", "clear_score"),
    }
    assert states.keys() == {"learning", "normal", "open", "held", "unobserved", "sensor-lost"}
    assert min(transitions.values()) >= 10, transitions
    assert min(happened.values()) >= 10, happened
