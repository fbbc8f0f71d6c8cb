"""`tocsin explain` of a scenario or a report log: no broker is needed."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner, Result

from streams.cli import app
from streams.explanation import Explanation

#: A small scenario: two incidents, one outage.
DIPS = "dips-30"


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty directory, and an environment without settings."""
    monkeypatch.chdir(tmp_path)
    for variable in os.environ:
        if variable.startswith("TOCSIN_") or variable == "KAFKA_BOOTSTRAP_SERVERS":
            monkeypatch.delenv(variable)


def tocsin(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


@pytest.fixture(scope="module")
def incident() -> str:
    """The id of the first incident of the scenario in the United States."""
    result = tocsin("replay", DIPS, "--json")
    keys: list[str] = [msgspec.json.decode(line)["key"] for line in result.stdout.splitlines()]
    return next(key.partition("/")[0] for key in keys if key.startswith("x.US."))


def test_an_incident_of_a_scenario_is_explained(incident: str) -> None:
    result = tocsin("explain", incident, DIPS)
    assert result.exit_code == 0, result.output
    first, *lines = [line.rstrip() for line in result.stdout.splitlines()]
    assert first.startswith(f"{incident}: x in United States: ")
    assert any("┤" in line for line in lines)
    assert any("OPENED  The bin from" in line for line in lines)
    assert any("rule=raise" in line and "expected=" in line and "score=" in line for line in lines)
    assert any("CLEARED  There were" in line for line in lines)


def test_as_json_there_are_all_numbers(incident: str) -> None:
    result = tocsin("explain", incident, DIPS, "--json")
    assert result.exit_code == 0, result.output
    explanation = msgspec.json.decode(result.stdout, type=Explanation)
    assert (explanation.incident, explanation.state) == (incident, "cleared")
    assert explanation.transitions[0].decision.rule == "raise"
    assert explanation.levels[0].bin_ms < explanation.opened_ms < explanation.levels[-1].bin_ms


def test_an_unknown_incident_is_an_error_that_names_those_that_there_are(incident: str) -> None:
    result = tocsin("explain", "x.FR.20250524T1202Z", DIPS)
    assert result.exit_code == 2
    assert f"{DIPS}: no incident 'x.FR.20250524T1202Z'; there are " in result.stderr
    assert incident in result.stderr


def test_where_there_is_no_incident_at_all_the_error_says_so() -> None:
    result = tocsin("explain", "x.US.20250524T1202Z", "ordinary-day")
    assert result.exit_code == 2
    assert "ordinary-day: no incident 'x.US.20250524T1202Z', and no other" in result.stderr


@pytest.mark.parametrize("option", [("--seed", "1"), ("--baseline", DIPS), ("--no-baseline",)])
def test_what_is_about_a_replay_needs_one(option: tuple[str, ...]) -> None:
    result = tocsin("explain", "x.US.20250524T1202Z", *option)
    assert result.exit_code == 2
    assert "goes with a report log or a scenario to replay" in " ".join(result.stderr.replace("│", " ").split())


def test_neither_a_log_nor_a_scenario_is_an_error() -> None:
    result = tocsin("explain", "x.US.20250524T1202Z", "nothing-there")
    assert result.exit_code == 2
    assert "nothing-there: neither a file nor a scenario" in result.stderr
