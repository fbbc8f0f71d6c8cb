"""A log in which everything happens: incidents come and go; reports are late, repeated, anonymous, broken."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from streams.partitions import partition_for
from streams.reportlog import LogRecord, with_ticks

START_MS = 1_748_088_000_000
SERVICES = {"x": 4, "mail": 3, "bank": 2, "maps": 5, "chat": 1}
BROKEN = (b"", b"{}", b"not json", b'{"service":"X","region":"US"}', b'{"service":"x","region":"_all"}', b"\xff\xfe")


def eventful_log(seed: int, minutes: int, bin_s: int, partitions: int, per_second: float) -> list[LogRecord]:
    """Return a log of `minutes` of event time in append order, ticks included."""
    rng = np.random.default_rng(seed)
    end_ms = START_MS + minutes * 60_000
    records: list[LogRecord] = []
    keys = [(service, f"R{region}") for service, regions in SERVICES.items() for region in range(regions)]
    share = per_second * bin_s / len(keys) / 2
    for service, region in keys:
        level = np.ones(minutes * 60 // bin_s)
        at = int(rng.integers(5, 40))
        while at < len(level):
            length = int(rng.integers(4, 30))
            level[at : at + length] = rng.uniform(3, 12)
            at += length + int(rng.integers(10, 120))
        for number, count in enumerate(rng.poisson(share * level).tolist()):
            first_ms = START_MS + number * bin_s * 1000
            offsets_ms = rng.integers(0, bin_s * 1000, count).tolist()
            records += [_report(rng, service, region, first_ms + each, partitions) for each in offsets_ms]
    for at_ms in rng.integers(START_MS, end_ms, len(records) // 100).tolist():
        value = BROKEN[int(rng.integers(len(BROKEN)))]
        records.append(LogRecord(at_ms, int(rng.integers(partitions)), None, value))
    records.sort(key=lambda record: record.timestamp_ms)
    # the producers' clocks disagree a little: timestamps go backwards at times
    jitter = rng.integers(0, 200, len(records)).tolist()
    jittered = [
        LogRecord(record.timestamp_ms - back, record.partition, record.key, record.value)
        for record, back in zip(records, jitter, strict=True)
    ]
    return list(with_ticks(jittered, partitions, closing_ms=10 * 60_000))


def _report(rng: np.random.Generator, service: str, region: str, time_ms: int, partitions: int) -> LogRecord:
    delay_ms = int(rng.exponential(800))
    if rng.random() < 0.03:
        delay_ms += int(rng.integers(5_000, 60_000))
    reporter = None if rng.random() < 0.1 else f"{int(rng.integers(4_000)):x}"
    kind = ("app", "website", None)[int(rng.integers(3))]
    parts = [f'"service":"{service}"', f'"region":"{region}"']
    parts += [f'"kind":"{kind}"'] if kind else []
    parts += [f'"reporter":"{reporter}"'] if reporter else []
    time = datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="milliseconds")
    parts += [f'"time":"{time}"'] if rng.random() < 0.95 else []
    key = reporter.encode() if reporter else None
    partition = partition_for(key, partitions) if key else int(rng.integers(partitions))
    return LogRecord(time_ms + delay_ms, partition, key, ("{" + ",".join(parts) + "}").encode())
