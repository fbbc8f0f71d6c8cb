"""What the detectors take: processor time of a bin, memory, and time to restore, beside each other.

    python benchmarks/detect.py [--keys 100000] [--bins 60] [--detector nbsr ...] [--json FILE]

Each detector runs in a process of its own, on the same counts: negative binomial, four decades of levels, keys in
several time zones, one of a hundred with an open incident. Bins count once the state is that of a full queue, half an
hour in. Times are processor time of the process, memory is the highest resident set of the whole process.
"""

from __future__ import annotations

import argparse
import gc
import resource
import sys
import time
from pathlib import Path
from statistics import median

import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.child import in_child
from detectors import NBSR, Detector, Ears, Limit, Ratio

BIN_MS = 60_000
WARM_BINS = 32
#: A day of blocks ends with a bin that costs more in some detectors: such bins are among those measured.
FIRST_MS = 1_748_044_800_000
LEVELS = (0.5, 5.0, 50.0, 500.0)
OFFSETS_S = (-28_800, -18_000, 0, 3_600, 19_800, 34_200)
#: Keys of one snapshot record: what a worker restores at a time.
RESTORED_AT_ONCE = 200
DETECTORS = {"nbsr": NBSR, "ratio": Ratio, "limit": Limit, "ears": Ears}


class Figures(msgspec.Struct, frozen=True):
    """What one detector took for so many keys."""

    detector: str
    keys: int
    bin_ms_median: float
    bin_ms_most: float
    snapshot_bytes_a_key: float
    restore_s: float
    peak_mb: float


async def measure(detector: str, keys: int, bins: int) -> Figures:
    """Measure one detector in this process."""
    rng = np.random.default_rng(1)
    mean = rng.choice(LEVELS, keys)
    phi = rng.choice((1.2, 2.0, 5.0), keys)
    offset_s = rng.choice(OFFSETS_S, keys).astype(np.int64)
    is_open = rng.random(keys) < 0.01
    observed = np.ones(keys, np.bool_)
    judge: Detector = DETECTORS[detector](BIN_MS)
    judge.resize(keys)
    took_ms: list[float] = []
    for number in range(WARM_BINS + bins):
        counts = rng.poisson(rng.standard_gamma(mean / (phi - 1)) * (phi - 1)).astype(np.float64)
        begun_s = time.process_time()
        judge.step(FIRST_MS + number * BIN_MS, counts, observed, is_open, offset_s)
        took_ms.append((time.process_time() - begun_s) * 1000)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)
    parts = [slice(first, min(first + RESTORED_AT_ONCE, keys)) for first in range(0, keys, RESTORED_AT_ONCE)]
    state = [judge.snapshot(part) for part in parts]
    gc.collect()
    begun_s = time.process_time()
    restored: Detector = DETECTORS[detector](BIN_MS)
    restored.resize(keys)
    for part, own in zip(parts, state, strict=True):
        restored.restore(part, own)
    restore_s = time.process_time() - begun_s
    return Figures(
        detector=detector,
        keys=keys,
        bin_ms_median=median(took_ms[WARM_BINS:]),
        bin_ms_most=max(took_ms[WARM_BINS:]),
        snapshot_bytes_a_key=sum(map(len, state)) / keys,
        restore_s=restore_s,
        peak_mb=peak_mb,
    )


def main() -> None:
    """Measure the detectors that the command line names."""
    parser = argparse.ArgumentParser(description="Measure what the detectors take of processor and memory.")
    parser.add_argument("--keys", type=int, default=100_000, help="services times regions (default %(default)s)")
    parser.add_argument("--bins", type=int, default=60, help="bins to measure (default %(default)s)")
    parser.add_argument("--detector", action="append", choices=DETECTORS, help="only these; may be repeated")
    parser.add_argument("--json", type=Path, help="file to write the figures to as well")
    options = parser.parse_args()
    found = [in_child(measure, name, options.keys, options.bins) for name in options.detector or DETECTORS]
    table = Table(title=f"{options.keys:,} keys, bins of a minute")
    for heading in ("detector", "ms a bin, median", "most", "bytes a key", "restore, s", "highest memory, MB"):
        table.add_column(heading, justify="left" if heading == "detector" else "right")
    for each in found:
        table.add_row(
            each.detector,
            f"{each.bin_ms_median:.0f}",
            f"{each.bin_ms_most:.0f}",
            f"{each.snapshot_bytes_a_key:,.0f}",
            f"{each.restore_s:.2f}",
            f"{each.peak_mb:.0f}",
        )
    Console().print(table)
    if options.json:
        options.json.write_bytes(msgspec.json.encode(found))


if __name__ == "__main__":
    main()
