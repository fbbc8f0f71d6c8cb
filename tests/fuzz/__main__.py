"""`python -m tests.fuzz`: try millions of inputs, good and broken, on everything that reads bytes from outside."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from tests.fuzz import engines
from tests.fuzz.outcome import Outcome
from tests.fuzz.target import SHARES, target

ALL_INPUTS = 10_000_000
FOLDER = Path("fuzz-findings")
#: What one process tries at most: atheris takes more and more memory.
ROUND_INPUTS = 250_000
#: How the variables begin that would decide what a settings file means.
SETTINGS = ("TOCSIN_", "KAFKA_")
#: Files that are written anew for each input need not reach a disk.
MEMORY = Path("/dev/shm")


def main(arguments: Sequence[str]) -> int:
    """Fuzz the targets, print a table and return 1 if anything was found."""
    options = _options(arguments)
    for variable in [name for name in os.environ if name.startswith(SETTINGS)]:
        del os.environ[variable]
    if options.replay is not None:
        target(options.target).judge(options.replay.read_bytes())
        _say(f"{options.target}: nothing is wrong with {options.replay}")
        return 0
    if options.child:
        _child(options)
        return 0
    if options.engine == "coverage" and not engines.has_coverage():
        sys.stderr.write("atheris is not installed (it is for Linux only): trying at random\n")
        options.engine = "random"
    shares = {options.target: 100} if options.target else SHARES
    _say(f"{'target':<12}{'inputs':>12}{'seconds':>9}{'inputs/s':>10}{'max RSS':>10}  findings")
    with ThreadPoolExecutor(options.jobs) as pool:
        outcomes = list(pool.map(lambda name: _fuzzed(name, options.inputs * shares[name] // 100, options), shares))
    found = [outcome for outcome in outcomes if outcome.trace]
    _say(f"{'all':<12}{sum(outcome.inputs for outcome in outcomes):>12,}{'':>29}  {len(found)}")
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
    options = parser.parse_args(arguments)
    if options.replay is not None and options.target is None:
        parser.error("--replay needs the --target that the input is for")
    return options


def _fuzzed(name: str, inputs: int, options: argparse.Namespace) -> Outcome:
    """Fuzz a target, one process after the other, and print the line about it."""
    whole = Outcome(target=name)
    with tempfile.TemporaryDirectory(prefix="fuzz-", dir=MEMORY if MEMORY.is_dir() else None) as scratch:
        seed = options.seed
        while whole.inputs < inputs and whole.seconds < options.seconds and not whole.trace:
            round_inputs = min(ROUND_INPUTS, inputs - whole.inputs)
            round_ = _round(name, round_inputs, options.seconds - whole.seconds, seed, options, Path(scratch))
            whole = msgspec.structs.replace(
                round_,
                inputs=whole.inputs + round_.inputs,
                seconds=whole.seconds + round_.seconds,
                max_rss_mb=max(whole.max_rss_mb, round_.max_rss_mb),
            )
            seed += 1
    rate = whole.inputs / max(whole.seconds, 1e-9)
    line = f"{name:<12}{whole.inputs:>12,}{whole.seconds:>9.0f}{rate:>10,.0f}{whole.max_rss_mb:>7.0f} MB"
    _say(f"{line}  {int(bool(whole.trace))}")
    if whole.trace:
        _say(whole.trace)
        _say(f"again: python -m tests.fuzz --target {name} --replay {whole.finding or 'the file named above'}")
    return whole


def _round(name: str, inputs: int, seconds: float, seed: int, options: argparse.Namespace, scratch: Path) -> Outcome:
    """Fuzz a target in a process of its own; what atheris has learnt stays in `scratch` for the next one."""
    command = [sys.executable, "-m", "tests.fuzz", "--child", "--target", name, "--engine", options.engine]
    command += ["--inputs", str(inputs), "--seconds", str(seconds), "--seed", str(seed)]
    command += ["--folder", str(options.folder)]
    ended = subprocess.run(command, capture_output=True, check=False, env={**os.environ, "TMPDIR": str(scratch)})
    try:
        return msgspec.json.decode(ended.stdout.splitlines()[-1], type=Outcome)
    except (IndexError, msgspec.DecodeError):
        # the interpreter has crashed, or an input takes too long or too much memory: atheris says where it has saved it
        trace = ended.stderr.decode(errors="replace")[-4000:]
        return Outcome(target=name, trace=f"the process has ended with {ended.returncode}\n{trace}")


def _child(options: argparse.Namespace) -> None:
    def tell(outcome: Outcome) -> None:
        _say(msgspec.json.encode(outcome).decode())

    if options.engine == "coverage":
        engines.by_coverage(options.target, options.inputs, options.seconds, options.seed, options.folder, tell)
    else:
        tell(engines.at_random(options.target, options.inputs, options.seconds, options.seed, options.folder))


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
