"""Run the simulation study from the command line."""

from __future__ import annotations

import argparse
import importlib
import pickle
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from benchmarks.study.clairvoyant import bound
from benchmarks.study.generator import MINUTE_MS
from benchmarks.study.runs import Result, conditions, run
from benchmarks.study.scenarios import SCENARIOS
from benchmarks.study.tables import lines
from detectors import Detector

#: Seeds that parameters were looked at with; a reported run has another one.
TUNING_SEED = 1


def maker(text: str) -> Callable[[], Detector]:
    """Return what makes the detector that `text` names: `ratio`, or `ratio:above=4,min_excess=3`, or `module.Class`."""
    name, _, rest = text.partition(":")
    module, _, kind = name.rpartition(".")
    if not module:
        found = importlib.import_module(f"detectors.{name}")
        kind = next(each for each in dir(found) if getattr(getattr(found, each), "name", None) == name)
    made = getattr(importlib.import_module(module or f"detectors.{name}"), kind)
    parameters = {key: float(value) for key, _, value in (each.partition("=") for each in rest.split(",") if each)}
    return lambda: made(MINUTE_MS, **parameters)


def part(arguments: argparse.Namespace, seed: int) -> Result:
    """Run one process's share."""
    started_s = time.monotonic()

    def progress(share: float) -> None:
        if seed == arguments.seed and sys.stderr.isatty():
            print(f"\r{share:4.0%} {time.monotonic() - started_s:5.0f} s", end="", file=sys.stderr)

    under = conditions(arguments.learn_days, arguments.watch_days)
    if arguments.conditions is not None:
        wanted = arguments.conditions.split(",")
        under = under[:1] + tuple(each for each in under[1:] if any(name in each.name for name in wanted))
    return run(
        maker(arguments.detector),
        seed,
        arguments.keys_per_cell,
        learn_days=arguments.learn_days,
        watch_days=arguments.watch_days,
        branch_days=arguments.branch_days,
        under=under,
        scenarios=() if arguments.no_outages else SCENARIOS,
        progress=progress,
    )


def clairvoyant(seed: int, cache: Path) -> Result:
    """Return the bound, from `cache` if it is there for this seed."""
    file = cache / f"tocsin-study-clairvoyant-{seed}.pickle"
    if not file.exists():
        file.write_bytes(pickle.dumps(bound(seed, SCENARIOS)))
    found = pickle.loads(file.read_bytes())
    assert isinstance(found, Result)
    return found


def main(argv: Sequence[str] | None = None) -> None:
    """Print the figures of a detector."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.study", description=__doc__)
    parser.add_argument("--detector", default="nbsr", help="name or module.Class, with :parameter=value,...")
    parser.add_argument("--seed", type=int, default=TUNING_SEED)
    parser.add_argument("--quick", action="store_true", help="few keys, 14 days to learn and 7 watched")
    parser.add_argument("--keys-per-cell", type=int, default=None)
    parser.add_argument("--learn-days", type=int, default=None)
    parser.add_argument("--watch-days", type=int, default=None)
    parser.add_argument("--branch-days", type=int, default=None, help="outages start again after so many days")
    parser.add_argument("--conditions", default=None, help="parts of their names, with commas; always with clean")
    parser.add_argument("--no-outages", action="store_true")
    parser.add_argument("--no-bound", action="store_true")
    parser.add_argument("--cells", action="store_true", help="print the figures of every cell too")
    parser.add_argument(
        "--processes", type=int, default=1, help="each runs a seed of its own; their figures are joined"
    )
    arguments = parser.parse_args(argv)
    quick = arguments.quick
    for name, short, whole in (
        ("keys_per_cell", 8, 24),
        ("learn_days", 14, 28),
        ("watch_days", 7, 28),
        ("branch_days", 2 if quick else 7, 7),
    ):
        if getattr(arguments, name) is None:
            setattr(arguments, name, short if quick else whole)
    started_s = time.monotonic()
    seeds = [arguments.seed + 1000 * place for place in range(arguments.processes)]
    if len(seeds) == 1:
        result = part(arguments, seeds[0])
    else:
        with ProcessPoolExecutor(len(seeds)) as pool:
            result = Result.joined(list(pool.map(part, [arguments] * len(seeds), seeds)))
    limit = None
    if not (arguments.no_bound or arguments.no_outages):
        limit = clairvoyant(arguments.seed, Path("/tmp"))
    print(
        f"{arguments.detector}, seeds {seeds}, {arguments.keys_per_cell} keys a cell, "
        f"{arguments.learn_days} + {arguments.watch_days} days, {time.monotonic() - started_s:.0f} s"
    )
    print("\n".join(lines(result, limit, arguments.cells)))


if __name__ == "__main__":
    main()
