"""The fuzzer itself: a short run over every target, and that it finds what is wrong."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from tests.fuzz import targets
from tests.fuzz.__main__ import SETTINGS
from tests.fuzz.engines import at_random, has_coverage
from tests.fuzz.mutation import USUAL_BYTES, Mutator
from tests.fuzz.target import SEPARATOR, SHARES, target
from tests.support.fuzztargets import Noting, Planted
from tests.support.programs import missing

ROOT = Path(__file__).parents[2]
PLANTED = "tests.support.fuzztargets"
#: The dear ones fewer than the others.
INPUTS = dict.fromkeys(SHARES, 3000) | {"settings": 300, "reportlogs": 600, "counts": 1000, "snapshots": 1000}


@pytest.fixture(params=["random", "coverage"])
def engine(request: pytest.FixtureRequest) -> str:
    if request.param == "coverage" and not has_coverage():
        missing("atheris is not installed (make fuzz installs it)")
    return str(request.param)


def fuzz(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.fuzz", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


def test_the_shares_of_the_targets_are_percentages() -> None:
    assert sum(SHARES.values()) == 100
    modules = {path.stem for folder in targets.__path__ for path in Path(folder).glob("*.py")}
    assert modules == set(SHARES)


@pytest.mark.parametrize("name", SHARES)
def test_a_short_run_over_every_target_finds_nothing(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in [variable for variable in os.environ if variable.startswith(SETTINGS)]:
        monkeypatch.delenv(variable)
    outcome = at_random(name, INPUTS[name], float("inf"), 1, tmp_path)
    assert outcome.trace == ""
    assert outcome.inputs == INPUTS[name]
    assert list(tmp_path.iterdir()) == []


def test_a_planted_bug_is_found_and_the_one_input_that_shows_it_is_saved(tmp_path: Path) -> None:
    outcome = at_random(f"{PLANTED}:Planted", 100_000, float("inf"), 1, tmp_path)
    assert outcome.inputs < 100_000
    assert "ValueError: planted" in outcome.trace
    data = Path(outcome.finding or "").read_bytes()
    assert SEPARATOR not in data
    with pytest.raises(ValueError, match="planted"):
        Planted().judge(data)


def test_a_finding_ends_the_command_with_1_and_names_the_command_that_shows_it_again(
    engine: str, tmp_path: Path
) -> None:
    planted = f"{PLANTED}:Planted"
    ended = fuzz("--target", planted, "--engine", engine, "--inputs", "100000", "--folder", str(tmp_path))
    assert ended.returncode == 1, ended.stderr
    (again,) = [line for line in ended.stdout.splitlines() if line.startswith("again: python -m tests.fuzz ")]
    shown = fuzz(*shlex.split(again)[4:])
    assert shown.returncode == 1
    assert "ValueError: planted" in shown.stderr


def test_without_a_finding_the_command_ends_with_0_after_exactly_as_many_inputs_as_asked_for(
    engine: str, tmp_path: Path
) -> None:
    ended = fuzz("--target", f"{PLANTED}:Quiet", "--engine", engine, "--inputs", "2345", "--folder", str(tmp_path))
    assert ended.returncode == 0, ended.stderr
    assert "all                2,345" in ended.stdout


def test_a_crash_of_the_whole_process_is_a_finding(tmp_path: Path) -> None:
    ended = fuzz("--target", f"{PLANTED}:Crashing", "--engine", "random", "--inputs", "9", "--folder", str(tmp_path))
    assert ended.returncode == 1
    assert "the process has ended with -6" in ended.stdout


def test_the_same_seed_tries_the_same_inputs_and_another_seed_others(tmp_path: Path) -> None:
    runs = []
    for seed in (1, 1, 2):
        Noting.given = []
        at_random(f"{PLANTED}:Noting", 100, float("inf"), seed, tmp_path)
        runs.append(Noting.given)
    assert runs[0] == runs[1] != runs[2]
    assert len(set(runs[0])) > 25, "34 chunks"


def test_mutation_mixes_seeds_and_tokens_and_keeps_to_the_length() -> None:
    mutator, random = Mutator([b'{"a":"one"}', b'{"b":"other"}'], [b"TOKEN"]), Random(1)
    made = [mutator.fresh(random) for _ in range(2000)]
    assert max(map(len, made)) <= USUAL_BYTES
    assert any(b"TOKEN" in data for data in made)
    assert any(b"one" in data and b"other" in data for data in made)
    assert len(set(made)) > 1500


def test_a_name_that_is_no_target_is_an_error_that_names_it() -> None:
    with pytest.raises(ModuleNotFoundError, match=r"tests\.fuzz\.targets\.nothing"):
        target("nothing")
