"""`python -m tests.fuzz`: try millions of inputs, good and broken, on everything that reads bytes from outside."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from tests.fuzz import engines
from tests.fuzz.outcome import Outcome
from tests.fuzz.target import SHARES, target

ALL_INPUTS = 10_000_000
FOLDER = Path("fuzz-findings")


def main(arguments: Sequence[str]) -> int:
    """Fuzz the targets, print a table and return 1 if anything was found."""
    options = _options(arguments)
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.replay is not None:
        target(options.target).judge(options.replay.read_bytes())
        print(f"{options.target}: nothing is wrong with {options.replay}")
        return 0
    if options.child:
        _child(options)
        return 0
    if options.engine == "coverage" and not engines.has_coverage():
        print("atheris is not installed (for Linux only): trying at random", file=sys.stderr)
        options.engine = "random"
    shares = {options.target: 100} if options.target else SHARES
    print(f"{'target':<12}{'inputs':>12}{'seconds':>9}{'inputs/s':>10}{'max RSS':>10}  findings", flush=True)
    with ThreadPoolExecutor(options.jobs) as pool:
        outcomes = list(pool.map(lambda name: _told(name, shares[name], options), shares))
    total = sum(outcome.inputs for outcome in outcomes)
    found = [outcome for outcome in outcomes if outcome.trace]
    print(f"{'all':<12}{total:>12,}{'':>29}  {len(found)}")
    return 1 if found else 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=ALL_INPUTS, help="how many in all (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=float("inf"), help="the most for one target")
    parser.add_argument("--target", help=f"only this one: {', '.join(SHARES)}, or one of yours as module:class")
    parser.add_argument("--engine", choices=("coverage", "random"), default="coverage", help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="of the mutations (default: %(default)s)")
    parser.add_argument("--jobs", type=int, default=2, help="processes at a time (default: %(default)s)")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where findings are saved (default: %(default)s)")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="judge this one input of --target, and raise")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def _told(name: str, share: int, options: argparse.Namespace) -> Outcome:
    """Fuzz a target in a process of its own and print the line about it."""
    command = [sys.executable, "-m", "tests.fuzz", "--child", "--target", name, "--engine", options.engine]
    command += ["--inputs", str(options.inputs * share // 100), "--seconds", str(options.seconds)]
    command += ["--seed", str(options.seed), "--folder", str(options.folder)]
    ended = subprocess.run(command, capture_output=True, check=False)
    try:
        outcome = msgspec.json.decode(ended.stdout.splitlines()[-1], type=Outcome)
    except (IndexError, msgspec.DecodeError):
        # a crash of the interpreter, a time-out or too much memory: the engine says where it has saved the input
        trace = ended.stderr.decode(errors="replace")[-4000:]
        outcome = Outcome(target=name, trace=f"the process has ended with {ended.returncode}\n{trace}")
    rate = outcome.inputs / max(outcome.seconds, 1e-9)
    line = f"{name:<12}{outcome.inputs:>12,}{outcome.seconds:>9.0f}{rate:>10,.0f}{outcome.max_rss_mb:>7.0f} MB"
    print(f"{line}  {int(bool(outcome.trace))}", flush=True)
    if outcome.trace:
        print(outcome.trace)
        print(f"again: python -m tests.fuzz --target {name} --replay {outcome.finding or options.folder}", flush=True)
    return outcome


def _child(options: argparse.Namespace) -> None:
    def tell(outcome: Outcome) -> None:
        sys.stdout.write(msgspec.json.encode(outcome).decode() + "\n")
        sys.stdout.flush()

    limits = options.inputs, options.seconds, options.seed, options.folder
    if options.engine == "coverage":
        engines.by_coverage(options.target, *limits, tell)
    tell(engines.at_random(options.target, *limits))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
