"""What counting and detection hold in memory and need of the processor; a function measures the process it runs in."""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from typing import NamedTuple

import msgspec
import numpy as np
import psutil

from streams.bins import Bin, BinMerger
from streams.counting import SourceCounter, begin_of_log
from streams.detection import Detection
from streams.events import MINUTE_MS, SENSOR, Cell, Frame
from streams.replay import backfill
from streams.settings import Count, Detect, Settings
from streams.snapshots import REGIONS_PER_PART, Packed, complete, pack, unpack

START_MS = 1_748_088_000_000  # 24 May 2025, 12:00 UTC: the start of an epoch
_CHUNK = 8192
_WEEK_BINS = 7 * 24 * 60


class Footprint(NamedTuple):
    """What `many` things take: bytes for each when all are there, and at the highest on the way."""

    many: int
    bytes_each: float
    peak_bytes_each: float


class Judging(NamedTuple):
    """What judging the bins of `keys` keys takes: seconds of processor time for a bin, on average and at most."""

    keys: int
    memory_bytes: float
    bin_s: float
    longest_bin_s: float
    levels_bytes: float


class Restoring(NamedTuple):
    """What a start with the snapshots of `keys` keys takes, in seconds of processor time; the snapshots' bytes."""

    keys: int
    snapshot_bytes: int
    read_s: float
    first_bin_s: float


class _Rss:
    """Resident memory of this process beyond what it was at first."""

    def __init__(self) -> None:
        gc.collect()
        self._process = psutil.Process()
        self._before = self._process.memory_info().rss
        self._highest = 0

    def look(self) -> int:
        rss: int = self._process.memory_info().rss - self._before
        self._highest = max(self._highest, rss)
        return rss

    def footprint(self, many: int) -> Footprint:
        gc.collect()
        return Footprint(many, self.look() / many, self._highest / many)


async def of_reporters(many: int) -> Footprint:
    """Measure distinct reporters of one source partition in one epoch."""
    counter = SourceCounter(Settings(), 0, begin_of_log(Settings()))
    _count(counter, 0, [_report("warm", "US", "app", number) for number in range(_CHUNK)])
    rss = _Rss()
    for first in range(_CHUNK, _CHUNK + many, _CHUNK):
        _count(counter, first, [_report("x", "US", "app", number) for number in range(first, first + _CHUNK)])
        rss.look()
    return rss.footprint(many)


async def of_cells(many: int) -> Footprint:
    """Measure the cells of one source partition in one epoch: names, each in all 15 bins, stated by frames."""
    settings = Settings(count=Count(max_names=1_000_000))
    counter = SourceCounter(settings, 0, begin_of_log(settings))
    _count(counter, 0, [_report("warm", "US", "app")] * _CHUNK)
    counter.flush()
    rss = _Rss()
    names = many // 15
    offset = _CHUNK
    for minute in range(15):
        at_ms = START_MS + minute * MINUTE_MS
        for first in range(0, names, _CHUNK):
            numbers = range(first, min(first + _CHUNK, names))
            values = [_report(f"service{each // 200}", f"region{each % 200}", "app") for each in numbers]
            _count(counter, offset, values, at_ms)
            offset += len(values)
            rss.look()
        counter.flush()
    return rss.footprint(names * 15)


async def of_merged_cells(many: int) -> Footprint:
    """Measure the cells that detect holds of the bins that a restart would judge again."""
    settings = Settings()
    merger = BinMerger(settings)
    rss = _Rss()
    sources, bins = settings.kafka.reports_partitions, 6
    names = many // sources // bins
    for number in range(bins):
        bin_ms = START_MS + number * MINUTE_MS
        for source in range(sources):
            cells = [Cell(f"service{each // 200}", f"region{each % 200}", "app", bin_ms, each) for each in range(names)]
            # as from the wire: every text is an object of its own
            frame = msgspec.json.decode(
                msgspec.json.encode(Frame(counting=settings.counting, source=source, cells=cells)), type=Frame
            )
            merger.add(number * sources + source, frame)
            del frame, cells
            rss.look()
    return rss.footprint(names * sources * bins)


async def of_keys(detector: str, keys: int) -> Judging:
    """Measure the keys of one counts partition over 20 minutes, snapshots and levels included."""
    settings = Settings(detect=Detect.model_validate({"detector": detector}))
    detection = Detection(settings, {})
    rng = np.random.default_rng(0)
    names = list(_names(keys))
    rss = _Rss()
    seconds: list[float] = []
    levels_bytes = 0
    for number in range(20):
        counts = rng.poisson(10, keys).tolist()
        bin_ = Bin(START_MS + number * MINUTE_MS, _kinds(names, counts), sum(counts), covered=4, sources=4)
        start_s = time.process_time()
        judgement = detection.judge(bin_)
        seconds.append(time.process_time() - start_s)
        levels_bytes += sum(len(fact.value) for fact in judgement.facts if fact.topic == "levels")
        del bin_, judgement
    gc.collect()
    return Judging(keys, rss.look() / keys, float(np.mean(seconds)), max(seconds), levels_bytes / keys / len(seconds))


async def of_snapshot(detector: str, mean_per_bin: float) -> float:
    """Return the bytes of a snapshot for each key, after a week of reports at that mean."""
    return len(_week(detector, mean_per_bin).value) / REGIONS_PER_PART


async def of_restoring(keys: int) -> Restoring:
    """Measure what detect does at a start with a week's state of that many keys in one partition."""
    records = [(each.key, each.value) for each in snapshots(keys)]
    settings = Settings()
    start_s = time.process_time()
    detection = Detection(settings, complete(records))
    read_s = time.process_time() - start_s
    bin_ = Bin(START_MS, {}, 0, covered=4, sources=4)
    start_s = time.process_time()
    detection.judge(bin_)
    size = sum(len(value) for _, value in records)
    return Restoring(keys, size, read_s, time.process_time() - start_s)


def snapshots(keys: int) -> Iterator[Packed]:
    """Yield a week's state of the ratio detector, as of the bin before `START_MS`, of services of 200 regions each."""
    week = unpack(b"", _week("ratio", mean_per_bin=10).value)
    for number in range(keys // REGIONS_PER_PART):
        yield pack(msgspec.structs.replace(week, service=f"service{number}"))


def _week(detector: str, mean_per_bin: float) -> Packed:
    settings = Settings(detect=Detect.model_validate({"detector": detector}))
    rng = np.random.default_rng(0)
    names = list(_names(REGIONS_PER_PART))

    def history() -> Iterator[tuple[int, dict[tuple[str, str], int]]]:
        for before in range(_WEEK_BINS, 0, -1):
            counts = rng.poisson(mean_per_bin, len(names)).tolist()
            counts = [max(1, count) for count in counts] if before == _WEEK_BINS else counts  # all begin at once
            yield START_MS - before * MINUTE_MS, dict(zip(names, counts, strict=True))

    packed = backfill(settings, history())
    (found,) = [each for own in packed.values() for each in own if each.service != SENSOR]
    return found


def _names(keys: int) -> Iterator[tuple[str, str]]:
    return ((f"service{each // REGIONS_PER_PART}", f"region{each % REGIONS_PER_PART}") for each in range(keys))


def _kinds(names: list[tuple[str, str]], counts: list[int]) -> dict[tuple[str, str], dict[str, int]]:
    return {name: {"app": count} for name, count in zip(names, counts, strict=True) if count}


def _report(service: str, region: str, kind: str, reporter: int | None = None) -> bytes:
    who = "" if reporter is None else f',"reporter":"{reporter:010x}"'
    return f'{{"service":"{service}","region":"{region}","kind":"{kind}"{who}}}'.encode()


def _count(counter: SourceCounter, offset: int, values: list[bytes], at_ms: int = START_MS) -> None:
    many = len(values)
    end = offset + many
    counter.add_records(end, np.arange(offset, end), np.full(many, at_ms), [None] * many, list(values))
