"""The simulation study: every detector over the same counts and outages, beside a clairvoyant bound.

    python -m benchmarks.study [--seed N] [--out DIRECTORY]

Prints the figures, and writes them with charts as study.json and study.html. `--quick` is for trying things out. The
seeds of a reported run are not those that parameters were chosen with (`TUNING_SEEDS`).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import secrets
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.study.generator import CELLS
from benchmarks.study.goals import Goal, goals
from benchmarks.study.page import study_page
from benchmarks.study.runs import Result
from benchmarks.study.scenarios import LONGEST_BINS
from benchmarks.study.shares import CLAIRVOYANT, Share, results
from benchmarks.study.tables import POOLED, delay_ratios, lines

DETECTORS = ("nbsr", "ratio", "ears")
#: Parameters were chosen with seeds below this one; a run that is reported takes others.
TUNING_SEEDS = 10_000
#: Seeds of the processes of one run are so far apart.
_APART = 1_000_000


def as_json(result: Result, limit: Result | None) -> dict[str, Any]:
    """Return the figures of a detector; infinite ones as null."""
    quiet = {
        name: {
            "rate": each.per_30_days(),
            "interval_95": each.interval(),
            "worst_cell": each.worst(),
            "incidents": each.incidents.tolist(),
            "key_days": each.days.tolist(),
        }
        for name, each in result.quiet.items()
    }
    outages = {}
    for name, every in result.outages.items():
        each = every.of(POOLED)
        outages[name] = {
            "outages": len(each.group),
            "detected": each.detected(),
            "delay_min": [_finite(each.delay(percent)) for percent in (50, 90)],
            "mean_delay_min": each.mean_delay(LONGEST_BINS),
            "clear_min": [_finite(each.clear(percent)) for percent in (50, 90)],
            "incidents_per_outage": _finite(each.incidents_per_outage()),
        }
    found: dict[str, Any] = {"false_per_key_30_days": quiet, "levels_from_5": outages}
    if limit is not None:
        found["mean_delay_over_clairvoyant"] = [
            {"outage": name, "level": CELLS[index].level, "dispersion": CELLS[index].dispersion, "ratio": value}
            for (name, index), value in delay_ratios(result, limit).items()
        ]
    return found


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def goal_lines(found: Sequence[Goal]) -> list[str]:
    """Return the goals as a table of text."""
    rows = [
        ("measure", "earlier", "goal", "measured", ""),
        *((*each[:4], "" if each.met else "missed") for each in found),
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(5)]
    return ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def parser() -> argparse.ArgumentParser:
    """Return what reads the command line."""
    asked = argparse.ArgumentParser(
        prog="python -m benchmarks.study", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    asked.add_argument(
        "--detector", action="append", help="name or module.Class, with :parameter=value,...; repeatable"
    )
    asked.add_argument("--seed", type=int, help="a fresh one if not given")
    asked.add_argument("--out", type=Path, metavar="DIRECTORY", help="write study.json and study.html there")
    asked.add_argument("--quick", action="store_true", help="few keys, 14 days to learn and 7 watched, a tuning seed")
    asked.add_argument("--keys-per-cell", type=int, help="of each process; 32, quick 8")
    asked.add_argument("--learn-days", type=int)
    asked.add_argument("--watch-days", type=int)
    asked.add_argument("--branch-days", type=int, help="outages start again after so many days")
    asked.add_argument("--calibration-days", type=int, default=28, help="to find the clairvoyant's thresholds on")
    asked.add_argument("--conditions", help="parts of their names, with commas; always with clean")
    asked.add_argument("--no-outages", action="store_true")
    asked.add_argument("--no-bound", action="store_true")
    asked.add_argument("--cells", action="store_true", help="print the figures of every cell too")
    asked.add_argument("--processes", type=int, help="each runs a seed of its own; 2, quick 1")
    return asked


def main(argv: Sequence[str] | None = None) -> None:
    """Run the study and tell of it."""
    arguments = parser().parse_args(argv)
    quick = arguments.quick
    defaults = {
        "keys_per_cell": (8, 32),
        "learn_days": (14, 28),
        "watch_days": (7, 28),
        "branch_days": (2, 7),
        "processes": (1, 2),
        "seed": (1, TUNING_SEEDS + secrets.randbelow(_APART - TUNING_SEEDS)),
    }
    for name, (short, whole) in defaults.items():
        if getattr(arguments, name) is None:
            setattr(arguments, name, short if quick else whole)
    detectors = arguments.detector or list(DETECTORS)
    with_outages = not arguments.no_outages
    asked = [CLAIRVOYANT] * (with_outages and not arguments.no_bound) + [
        name for name in detectors for _ in range(arguments.processes)
    ]
    seeds = {name: iter(range(arguments.seed, sys.maxsize, _APART)) for name in asked}
    shares = [
        Share(
            place,
            name,
            next(seeds[name]),
            arguments.keys_per_cell,
            arguments.learn_days,
            arguments.watch_days,
            arguments.branch_days,
            arguments.calibration_days,
            arguments.conditions.split(",") if arguments.conditions else None,
            with_outages,
        )
        for place, name in enumerate(asked)
    ]
    started_s = time.monotonic()
    by_detector = results(shares, max(2, arguments.processes) if len(asked) > 1 else 1)
    limit = by_detector.pop(CLAIRVOYANT, None)
    about = [
        f"Seed {arguments.seed}, {arguments.processes} times {arguments.keys_per_cell} keys for each of {len(CELLS)} "
        f"cells and condition; {arguments.learn_days} days to learn, {arguments.watch_days} watched.",
        f"{time.monotonic() - started_s:.0f} s on {os.cpu_count()} cores.",
    ]
    print(*about)
    for name, result in by_detector.items():
        print(f"\n{name}")
        print("\n".join(lines(result, limit, arguments.cells)))
    found: list[Goal] = []
    if limit is not None:
        print(f"\n{CLAIRVOYANT}")
        print("\n".join(lines(limit, None, arguments.cells)))
        if arguments.conditions is None:
            found = list(goals(by_detector[detectors[0]], limit))
            print(f"\ngoals of {detectors[0]}")
            print("\n".join(goal_lines(found)))
    if arguments.out is not None and limit is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
        title = "The simulation study"
        (arguments.out / "study.html").write_text(study_page(title, about, found, by_detector, limit), "utf-8")
        told = {
            "seed": arguments.seed,
            "processes": arguments.processes,
            "keys_per_cell": arguments.keys_per_cell,
            "learn_days": arguments.learn_days,
            "watch_days": arguments.watch_days,
            "goals": [each._asdict() for each in found],
            "detectors": {name: as_json(result, limit) for name, result in by_detector.items()},
            CLAIRVOYANT: as_json(limit, None),
        }
        (arguments.out / "study.json").write_text(json.dumps(told, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main()
