"""Report logs simulated from scenarios.

The scenario fixes how many reports of each service, region and kind fall into each bin. The seed only decides when in
its bin a report is made, how long it travels, and who sends it; nobody sends two within an epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

import numpy as np
import numpy.typing as npt

from streams.events import TICK_KEY
from streams.reportlog import IDLE_MS, LogRecord, with_ticks
from streams.scenarios.scenario import BIN_MS, EPOCH_MS, Scenario, ScenarioError, Series, kinds_of

#: A report is appended less than this long after it was made.
MAX_DELAY_MS = 2_000

_BINS_PER_EPOCH = EPOCH_MS // BIN_MS
_REPORTER_DIGITS = 6
_REPORTERS = 16**_REPORTER_DIGITS
_HEX = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)

Bytes = npt.NDArray[np.uint8]
Times = npt.NDArray[np.int64]


def reports(scenario: Scenario, seed: int = 0, partitions: int = 4, lateness_ms: int = 30_000) -> Iterator[LogRecord]:
    """Yield the report log of a scenario in append order, ticks included.

    Parameters
    ----------
    scenario
        What is reported.
    seed
        Places arrivals and picks reporters; the counts per bin do not depend on it.
    partitions
        Number of partitions of the reports topic; a report goes to the one of its reporter.
    lateness_ms
        Allowed lateness of the deployment: the log ticks on until the scenario's last bin is complete, and no longer,
        so that no bin after the scenario is judged as if nobody had reported in it.

    Raises
    ------
    ScenarioError
        If more reports fall into an epoch than there are reporters (16,777,216).
    """
    return with_ticks(_from_start_to_end(scenario, seed, partitions), partitions, closing_ms=lateness_ms + IDLE_MS)


def _from_start_to_end(scenario: Scenario, seed: int, partitions: int) -> Iterator[LogRecord]:
    last_ms = scenario.end_ms
    for partition in range(partitions):
        yield LogRecord(scenario.start_ms, partition, TICK_KEY, None)
    for block in _blocks(scenario, seed, partitions):
        yield from map(LogRecord, block.append_ms.tolist(), block.partition.tolist(), block.key, block.value)
        last_ms = int(block.append_ms.max(initial=last_ms))
    for partition in range(partitions):
        yield LogRecord(last_ms, partition, TICK_KEY, None)


@dataclass(frozen=True)
class _Columns:
    """Reports as columns, one element a report."""

    append_ms: Times
    partition: npt.NDArray[np.int64]
    key: npt.NDArray[np.object_]
    value: npt.NDArray[np.object_]

    def __getitem__(self, chosen: npt.NDArray[np.int64]) -> _Columns:
        return _Columns(self.append_ms[chosen], self.partition[chosen], self.key[chosen], self.value[chosen])


def _blocks(scenario: Scenario, seed: int, partitions: int) -> Iterator[_Columns]:
    """Yield the reports in append order, an epoch at a time."""
    sent = dict.fromkeys(scenario.counts, 0)
    travelling: list[_Columns] = []
    for start_ms in range(scenario.start_ms, scenario.end_ms, EPOCH_MS):
        rng = np.random.Generator(np.random.PCG64([seed, start_ms // EPOCH_MS]))
        reports = _joined([*travelling, _made(scenario, start_ms, rng, sent, partitions)])
        order = np.argsort(reports.append_ms, kind="stable")
        # What arrives in the next epoch waits for the reports that are made in it.
        cut = int(np.searchsorted(reports.append_ms[order], start_ms + EPOCH_MS))
        yield reports[order[:cut]]
        travelling = [reports[order[cut:]]]
    yield from travelling


def _joined(parts: list[_Columns]) -> _Columns:
    return _Columns(
        np.concatenate([part.append_ms for part in parts]),
        np.concatenate([part.partition for part in parts]),
        np.concatenate([part.key for part in parts]),
        np.concatenate([part.value for part in parts]),
    )


def _made(
    scenario: Scenario, start_ms: int, rng: np.random.Generator, sent: dict[Series, int], partitions: int
) -> _Columns:
    """Return the reports made in the epoch from `start_ms` on, series by series; `sent` counts them."""
    first_bin = (start_ms - scenario.start_ms) // BIN_MS
    epoch = slice(first_bin, first_bin + _BINS_PER_EPOCH)
    total = sum(int(counts[epoch].sum()) for counts in scenario.counts.values())
    if total > _REPORTERS:
        raise ScenarioError(f"{scenario.name}: {total} reports within an epoch, but there are {_REPORTERS} reporters")
    reporters = _reporters(rng, total)
    values: list[bytes] = []
    event_ms = np.empty(total, dtype=np.int64)
    for (service, region), counts in scenario.counts.items():
        arriving = counts[epoch]
        many = int(arriving.sum())
        place = slice(len(values), len(values) + many)
        bins_ms = start_ms + np.repeat(np.arange(_BINS_PER_EPOCH), arriving) * BIN_MS
        event_ms[place] = bins_ms + rng.integers(0, BIN_MS, many)
        kinds = kinds_of(scenario.file.kinds, sent[service, region], many)
        sent[service, region] += many
        values += _values(service, region, list(scenario.file.kinds), kinds, reporters[place], event_ms[place])
    return _Columns(
        event_ms + rng.integers(0, MAX_DELAY_MS, total),
        _partitions(reporters, partitions),
        reporters.view(f"S{_REPORTER_DIGITS}").ravel().astype(object),
        np.array(values, dtype=object),
    )


def _reporters(rng: np.random.Generator, many: int) -> Bytes:
    """Return `many` different reporters as rows of hexadecimal digits."""
    # Steps of an odd number through a power of two meet every number once before they meet one again.
    first, step = rng.integers(0, _REPORTERS), 2 * rng.integers(0, _REPORTERS // 2) + 1
    numbers = (first + step * np.arange(many, dtype=np.int64)) % _REPORTERS
    shifts = np.arange(4 * (_REPORTER_DIGITS - 1), -1, -4)
    return np.ascontiguousarray(_HEX[numbers[:, None] >> shifts & 15])


def _values(
    service: str, region: str, kinds: list[str], kind: npt.NDArray[np.int64], reporters: Bytes, event_ms: Times
) -> list[bytes]:
    """Return the reports as JSON, in the order of `event_ms`."""
    values = np.empty(len(event_ms), dtype=object)
    times = np.datetime_as_string(event_ms.astype("datetime64[ms]")).astype("S23")
    for index, name in enumerate(kinds):
        chosen = np.flatnonzero(kind == index)
        head = f'{{"service": "{service}", "region": "{region}", "kind": "{name}", "reporter": "'.encode()
        columns = (
            np.full(len(chosen), head),
            reporters[chosen].view(f"S{_REPORTER_DIGITS}").ravel(),
            np.full(len(chosen), b'", "time": "'),
            times[chosen],
            np.full(len(chosen), b'Z"}'),
        )
        rows = np.concatenate(
            [column.view(np.uint8).reshape(len(chosen), column.dtype.itemsize) for column in columns], axis=1
        )
        values[chosen] = rows.view(f"S{rows.shape[1]}").ravel()
    return cast("list[bytes]", values.tolist())


def _partitions(reporters: Bytes, partitions: int) -> npt.NDArray[np.int64]:
    """Return `streams.partitions.partition_for` of all reporters at once."""
    multiplier = np.uint32(0x5BD1E995)
    words = reporters.astype(np.uint32)
    # Six bytes: one little-endian word and a tail of two.
    k = (words[:, 0] | words[:, 1] << 8 | words[:, 2] << 16 | words[:, 3] << 24) * multiplier
    seeded = (0x9747B28C ^ _REPORTER_DIGITS) * 0x5BD1E995 & 0xFFFFFFFF
    h = np.uint32(seeded) ^ (k ^ k >> 24) * multiplier
    h = (h ^ (words[:, 4] | words[:, 5] << 8)) * multiplier
    h = (h ^ h >> 13) * multiplier
    h ^= h >> 15
    return (h & np.uint32(0x7FFFFFFF)).astype(np.int64) % partitions
