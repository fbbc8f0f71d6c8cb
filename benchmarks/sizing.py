"""What Tocsin takes of memory, processor and disk, and how long it takes to recover: the figures behind sizing.

    python benchmarks/sizing.py [memory] [disk] [steady] [recovery] [restart] [--output DIR]

Without a name all of them, some 25 minutes. Prints a table each, what takes minutes line by line as well, and writes
NAME.json to DIR.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import psutil
from rich import print as say
from rich.console import Console
from rich.table import Table

from benchmarks import footprint
from benchmarks.child import in_child
from benchmarks.criteria import MB
from benchmarks.recovery import recovery, restart_s
from benchmarks.steadystate import on_disk, steady
from streams.broker import EmbeddedBroker
from streams.worker import STAGES

Figures = TypeVar("Figures")

REPORTERS = (100_000, 250_000, 500_000, 1_000_000, 2_000_000)
CELLS = 300_000
KEYS = (1_000, 10_000, 100_000)
MEANS = (0.1, 10.0, 1000.0)
RATES = (100, 1_000, 4_000, 10_000)
RECOVERY_RATES, RECOVERY_EPOCH_S = (1_000, 5_000, 15_000), 120
COMPRESSIONS, PER_BATCH = ("none", "gzip", "lz4"), (1, 10, 100)


def main() -> None:
    """Measure what the command line names."""
    parser = argparse.ArgumentParser(description="Measure memory, disk, processor time and recovery.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(MEASUREMENTS)}; all without one")
    parser.add_argument("--output", type=Path, default=Path("build/sizing"), help="folder for the figures")
    options = parser.parse_args()
    if unknown := set(options.names) - set(MEASUREMENTS):
        parser.error(f"there is no {', '.join(sorted(unknown))}; there are {', '.join(MEASUREMENTS)}")
    options.output.mkdir(parents=True, exist_ok=True)
    console = Console()
    for name in options.names or MEASUREMENTS:
        console.print(f"\n{name}, load {psutil.getloadavg()[0]:.1f} at the start", highlight=False)
        found, table = MEASUREMENTS[name]()
        console.print(table)
        (options.output / f"{name}.json").write_bytes(msgspec.json.format(msgspec.json.encode(found)))


def said(figures: Figures) -> Figures:
    """Print figures at once: should a later measurement fail, they are not lost."""
    say(figures)
    return figures


def memory() -> tuple[Any, Table]:
    """Measure what counting and detection hold."""
    table = Table("in memory", "how many", "bytes each", "highest on the way")
    found: dict[str, Any] = {"reporters": [in_child(footprint.of_reporters, many) for many in REPORTERS]}
    found["cells of count"] = [in_child(footprint.of_cells, CELLS)]
    found["cells of detect"] = [in_child(footprint.of_merged_cells, CELLS)]
    for what, measured in found.items():
        for many, each, peak in measured:
            table.add_row(what, f"{many:,}", f"{each:.0f}", f"{peak:.0f}")
    for detector in ("ratio", "limit"):
        judged = [in_child(footprint.of_keys, detector, keys) for keys in KEYS]
        found[f"keys, {detector}"] = judged
        for each in judged:
            times = f"{each.bin_s * 1000:.0f} ms of CPU a bin, {each.longest_bin_s * 1000:.0f} at most"
            table.add_row(f"keys, {detector}", f"{each.keys:,}", f"{each.memory_bytes:.0f}", times)
            table.add_row("  levels of a key and bin, JSON", "", f"{each.levels_bytes:.0f}", "")
        sizes = {mean: in_child(footprint.of_snapshot, detector, mean) for mean in MEANS}
        found[f"snapshot, {detector}"] = sizes
        for mean, size in sizes.items():
            table.add_row(f"  snapshot of a key, {mean:g} reports a bin", "", f"{size:.0f}", "")
    return found, table


def disk() -> tuple[Any, Table]:
    """Measure reports on disk."""
    table = Table("compression", "reports a batch", "bytes a report with its key")
    with EmbeddedBroker() as broker:
        found = on_disk(broker.bootstrap_servers, COMPRESSIONS, PER_BATCH)
    for each in found:
        table.add_row(each.compression, str(each.per_batch), f"{each.bytes_each:.1f}")
    return found, table


def steady_state() -> tuple[Any, Table]:
    """Measure the three stages at several rates."""
    with EmbeddedBroker() as broker, tempfile.TemporaryDirectory() as folder:
        found = [said(steady(Path(folder), broker.bootstrap_servers, rate)) for rate in RATES]
    table = Table("reports a second", *(f"{stage}, % of a core" for stage in STAGES), "broker", "bytes a second")
    for each in found:
        shares = [f"{100 * each.cpu[name]:.1f}" for name in (*STAGES, "broker")]
        written = ", ".join(f"{name} {size:,.0f}" for name, size in each.written.items() if size)
        table.add_row(f"{each.rate:,} of {each.keys} keys", *shares, written)
    return found, table


def recoveries() -> tuple[Any, Table]:
    """Measure count after a kill at several rates."""
    with EmbeddedBroker() as broker, tempfile.TemporaryDirectory() as folder:
        servers = broker.bootstrap_servers
        found = [said(recovery(Path(folder), servers, rate, RECOVERY_EPOCH_S)) for rate in RECOVERY_RATES]
    table = Table("reports a second", "assigned, s", "caught up, s", "read again", "read a second", "CPU-s")
    for each in found:
        table.add_row(
            f"{each.rate:,}",
            *(f"{seconds:.1f}" for seconds in (each.assigned_s, each.caught_up_s)),
            *(f"{records:,.0f}" for records in (each.again, each.reading_per_s)),
            f"{each.cpu_s:.1f}",
        )
    return found, table


def restarts() -> tuple[Any, Table]:
    """Measure detect's start by the keys that it has state of."""
    found = []
    table = Table("keys", "snapshots, MB", "ready after, s", "reading them, CPU-s", "first bin, CPU-s")
    with EmbeddedBroker() as broker, tempfile.TemporaryDirectory() as folder:
        for keys in KEYS:
            restoring = in_child(footprint.of_restoring, keys)
            ready_s = restart_s(Path(folder), broker.bootstrap_servers, footprint.snapshots(keys))
            found.append((restoring, ready_s))
            times = f"{restoring.read_s:.2f}", f"{restoring.first_bin_s:.2f}"
            table.add_row(f"{keys:,}", f"{restoring.snapshot_bytes / MB:.1f}", f"{ready_s:.1f}", *times)
    return found, table


MEASUREMENTS: dict[str, Callable[[], tuple[Any, Table]]] = {
    "memory": memory,
    "disk": disk,
    "steady": steady_state,
    "recovery": recoveries,
    "restart": restarts,
}

if __name__ == "__main__":
    main()
