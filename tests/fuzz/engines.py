"""Where inputs come from: real ones broken at random, or led by what code they reach (atheris)."""

from __future__ import annotations

import importlib.util
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from random import Random

from tests.fuzz.mutation import USUAL_BYTES, Mutator
from tests.fuzz.outcome import Judge, Outcome
from tests.fuzz.target import target

#: Longest input that coverage leads to; one record of the greatest length and others beside it fit in.
MAX_BYTES = 80_000
#: Of a hundred inputs so many are left to the fuzzer's own mutations.
OWN_MUTATIONS = 20
TIMEOUT_S = 60
RSS_LIMIT_MB = 2000


def has_coverage() -> bool:
    """Return whether the fuzzer that looks at coverage is installed."""
    return importlib.util.find_spec("atheris") is not None


def at_random(name: str, inputs: int, seconds: float, seed: int, folder: Path) -> Outcome:
    """Try broken copies of a target's seeds; the same seed gives the same inputs."""
    chosen = target(name)
    judge = Judge(chosen, name, inputs, seconds, folder)
    for data in chosen.seeds:
        judge.judge([data])
    mutator, random = Mutator(chosen.seeds, chosen.tokens), Random(seed)
    while not judge.done:
        judge.judge([mutator.fresh(random) for _ in range(chosen.together)])
    return judge.end()


def by_coverage(
    name: str, inputs: int, seconds: float, seed: int, folder: Path, tell: Callable[[Outcome], None]
) -> None:
    """Let atheris lead the mutations by the lines that they reach; `tell` the outcome, and end the process.

    Nothing of Tocsin may have been imported before: coverage is seen only of what is imported from here on.
    """
    import atheris

    with atheris.instrument_imports(include=["streams"], enable_loader_override=False):
        chosen = target(name)
    judge = Judge(chosen, name, inputs, seconds, folder)
    mutator = Mutator(chosen.seeds, chosen.tokens)

    def try_one(data: bytes) -> None:
        # the same input must reach the same code: what joins it depends on nothing but itself
        random = Random(data)
        judge.judge([data, *(mutator.mutate(data, random) for _ in range(chosen.together - 1))])
        if judge.done:
            tell(judge.end())
            os._exit(0)  # libFuzzer does not return

    def mutate(data: bytes, longest: int, seed: int) -> bytes:
        random = Random(seed)
        if random.randrange(100) < OWN_MUTATIONS:
            return bytes(atheris.Mutate(data[:USUAL_BYTES], USUAL_BYTES))
        usual = longest if random.randrange(1000) == 0 else min(longest, USUAL_BYTES)
        return mutator.mutate(data, random, usual) or b"\0"

    folder.mkdir(parents=True, exist_ok=True)
    corpus = Path(tempfile.gettempdir(), "corpus")
    corpus.mkdir(exist_ok=True)
    for number, data in enumerate(chosen.seeds):
        (corpus / f"seed-{number}").write_bytes(data)
    options = {
        "seed": seed or 1,
        "max_len": MAX_BYTES,
        "len_control": 0,
        "timeout": TIMEOUT_S,
        "rss_limit_mb": RSS_LIMIT_MB,
        "print_final_stats": 0,
        "reload": 0,
        "artifact_prefix": f"{folder}/{name.replace(':', '.')}-",
    }
    arguments = [sys.argv[0], *(f"-{key}={value}" for key, value in options.items()), str(corpus)]
    atheris.Setup(arguments, try_one, custom_mutator=mutate)
    atheris.Fuzz()
