"""`tocsin check-config` and the options before every command."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from streams.cli import app
from streams.settings import load

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty directory, and an environment without settings."""
    monkeypatch.chdir(tmp_path)
    for variable in os.environ:
        if variable.startswith("TOCSIN_") or variable == "KAFKA_BOOTSTRAP_SERVERS":
            monkeypatch.delenv(variable)


def tocsin(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def test_what_it_prints_is_a_settings_file_that_says_the_same() -> None:
    Path("tocsin.toml").write_text(
        '[[policy]]\nservice = "caf\\u00e9 \\"x\\""\nenabled = false\n'
        '[regions.US]\nname = "United States"\n[detect.ratio]\nabove = 3.5\n'
    )
    result = tocsin("--set", "kafka.prefix=tocsin-demo", "check-config")
    assert (result.exit_code, result.stderr) == (0, "")
    Path("printed.toml").write_text(result.stdout)
    assert load(Path("printed.toml")) == load(**{"kafka.prefix": "tocsin-demo"})


def test_it_prints_the_fingerprints() -> None:
    lines = tocsin("check-config").stdout.splitlines()
    assert lines[0].startswith(f"# counting {load().counting}:")
    assert lines[1].startswith(f"# detecting {load().detecting}:")


def test_wrong_settings_are_lines_on_stderr_and_exit_code_2() -> None:
    result = tocsin("--set", "count.bin_s=7", "--set", "count.flush_s=no", "check-config")
    assert (result.exit_code, result.stdout) == (2, "")
    assert [line.split(" = ")[0] for line in result.stderr.splitlines()] == ["count.bin_s", "count.flush_s"]


def test_policies_that_contradict_each_other_are_wrong_settings() -> None:
    Path("tocsin.toml").write_text('[[policy]]\nclear_below = 650\n[[policy]]\nservice = "x"\nraise_above = 700\n')
    result = tocsin("check-config")
    assert result.exit_code == 2
    assert "raise_above = 700 is too close to clear_below = 650" in result.stderr


def test_of_two_values_for_one_key_the_last_counts() -> None:
    result = tocsin("--set", "count.window_bins=5", "--set", "count.window_bins=6", "check-config")
    assert "count.window_bins = 6\n" in result.stdout


@pytest.mark.parametrize("assignment", ["count.bin_s", "=60", ""])
def test_an_assignment_has_a_key_and_an_equals_sign(assignment: str) -> None:
    result = tocsin("--set", assignment, "check-config")
    assert result.exit_code == 2
    assert "is not of the form section.key=value" in result.stderr


def test_a_value_may_hold_equals_signs_itself() -> None:
    assert 'regions.US.name = "a=b"' in tocsin("--set", "regions.US.name=a=b", "check-config").stdout


def test_a_settings_file_is_named_before_the_command() -> None:
    Path("mine.toml").write_text("[count]\nmax_names = 7\n")
    assert "count.max_names = 7\n" in tocsin("--settings", "mine.toml", "check-config").stdout


def test_a_missing_settings_file_is_named() -> None:
    result = tocsin("--settings", "none.toml", "check-config")
    assert (result.exit_code, result.stderr) == (2, "none.toml: no such file (command line)\n")


def test_the_version_is_printed() -> None:
    result = tocsin("--version")
    assert result.exit_code == 0
    assert result.stdout.startswith("tocsin 0.")


def test_help_needs_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOCSIN_NONSENSE", "1")
    assert tocsin("check-config", "--help").exit_code == 0


@pytest.mark.parametrize(("no_color", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False)])
def test_nothing_is_coloured_where_colour_is_not_wanted(no_color: dict[str, str], coloured: bool) -> None:
    command = [sys.executable, "-c", "from streams.cli import main; main()", "--help"]
    environment = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    environment |= {"FORCE_COLOR": "1", "PYTHONPATH": str(ROOT)} | no_color
    shown = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    assert bool(re.search(r"\x1b\[[0-9;]*3[0-7]m", shown)) == coloured
