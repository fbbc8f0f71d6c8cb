"""`tocsin replay` and `tocsin simulate --to`: no broker is needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner, Result

from streams.cli import app
from streams.events import Incident, Outage

ROOT = Path(__file__).parents[2]
X = "x-2025-05-24"
#: A smaller scenario: two incidents, one outage.
DIPS = "dips-30"
ADVICE = "the settings have no [[policy]]; taking the scenario's: x in US raises from 750, clears below 650\n"
POLICY = """
[[policy]]
service = "x"
region = "US"
raise_above = 750
clear_below = 650
"""


class Line(msgspec.Struct, forbid_unknown_fields=True):
    """A line of `replay --json`."""

    topic: str
    key: str
    value: msgspec.Raw


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """An empty directory, and an environment without settings."""
    set_nothing(monkeypatch, tmp_path)


def set_nothing(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    monkeypatch.chdir(folder)
    for variable in os.environ:
        if variable.startswith("TOCSIN_") or variable == "KAFKA_BOOTSTRAP_SERVERS":
            monkeypatch.delenv(variable)


def tocsin(*arguments: str) -> Result:
    return CliRunner().invoke(app, arguments)


def lines(result: Result) -> list[Line]:
    assert result.exit_code == 0, result.output
    return [msgspec.json.decode(line, type=Line) for line in result.stdout.splitlines()]


@pytest.fixture(scope="module")
def replayed_x(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The lines that `replay` prints of X."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        set_nothing(monkeypatch, tmp_path_factory.mktemp("x"))
        result = tocsin("replay", X)
    assert (result.exit_code, result.stderr) == (0, ADVICE)
    return [line.rstrip() for line in result.stdout.splitlines()]


def test_the_table_of_x_has_the_numbers_that_newsrooms_printed(replayed_x: list[str]) -> None:
    table = [line.strip() for line in replayed_x[replayed_x.index("Outage of x, 24 May 2025: over") :]]
    assert "Number of reports   25,800 in 15 min (United States)" in table
    assert "Most affected       United States, United Kingdom, Germany" in table
    assert "Time to restore     4 h 8 min (12:01 to 16:09 UTC)" in table
    assert "Peak to clear       3 h 18 min" in table
    assert "Kinds               app 69%, website 23%, server-connection 8%" in table
    regions = table[table.index(next(line for line in table if line.startswith("Region"))) + 2 :]
    assert regions[0].split("  ")[0] == "United States"
    assert regions[0].split() == ["United", "States", "25,800", "12:51", "172,891", "12:02", "16:09"]


def test_each_transition_is_a_line_with_its_reason(replayed_x: list[str]) -> None:
    first, *_ = [line for line in replayed_x if line.startswith("2025-05-24T")]
    assert first.startswith("2025-05-24T12:02Z OPENED   x in Germany: 107 reports in 15 minutes;")
    assert "2025-05-24T16:10Z CLEARED  x in United States: 642 reports in 15 minutes, below 650;" in "\n".join(
        replayed_x
    )


def test_a_scenario_brings_its_limits_where_there_is_no_policy_and_says_so() -> None:
    result = tocsin("replay", DIPS, "--json")
    assert result.stderr == ADVICE
    assert '"raise_above":750,"clear_below":650' in result.stdout


def test_a_policy_of_the_settings_counts_and_not_the_scenarios() -> None:
    Path("tocsin.toml").write_text("[[policy]]\nenabled = false\n")
    result = tocsin("replay", DIPS)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "no incidents\n")


def test_a_simulated_file_gives_the_same_incident_log_as_the_scenario(tmp_path: Path) -> None:
    Path("tocsin.toml").write_text(POLICY)
    file = tmp_path / "dips.jsonl.gz"
    written = tocsin("simulate", DIPS, "--seed", "7", "--to", str(file))
    assert written.exit_code == 0
    assert written.stdout.endswith(f" records to {file}, 46,110 of them reports\n")
    of_file = tocsin("replay", str(file), "--baseline", DIPS, "--json")
    of_scenario = tocsin("replay", DIPS, "--seed", "7", "--json")
    assert lines(of_file)
    assert of_file.stdout == of_scenario.stdout


def test_json_lines_hold_incidents_and_outages_in_order_each_once() -> None:
    facts = lines(tocsin("replay", DIPS, "--json"))
    assert len({(fact.topic, fact.key) for fact in facts}) == len(facts)
    incidents = [msgspec.json.decode(fact.value, type=Incident) for fact in facts if fact.topic == "incidents"]
    outages = [msgspec.json.decode(fact.value, type=Outage) for fact in facts if fact.topic == "outages"]
    assert len(incidents) + len(outages) == len(facts)
    assert [incident.transition for incident in incidents if incident.transition != "grew"] == [
        "opened",
        "cleared",
        "opened",
        "cleared",
    ]
    assert [incident.at_ms for incident in incidents] == sorted(incident.at_ms for incident in incidents)
    assert [outage.sequence for outage in outages] == list(range(1, len(outages) + 1))


def test_without_a_baseline_only_limits_raise() -> None:
    facts = lines(tocsin("replay", DIPS, "--no-baseline", "--json"))
    incidents = [msgspec.json.decode(fact.value, type=Incident) for fact in facts if fact.topic == "incidents"]
    assert {each.decision.detector for each in incidents} == {"limit"}
    assert {each.region for each in incidents} == {"US"}


def test_without_a_baseline_and_limits_nothing_is_raised() -> None:
    Path("tocsin.toml").write_text("[[policy]]\nmin_open_minutes = 5\n")
    result = tocsin("replay", DIPS, "--no-baseline")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "without --baseline only raise_above raises in the first days of a service and region" in result.stderr


def test_records_that_are_no_reports_are_counted_by_reason(tmp_path: Path) -> None:
    file = tmp_path / "bare.jsonl"
    file.write_text('{"service": "x", "region": "US", "time": "2025-05-24T12:00:00Z"}\n{"service": 1}\nnothing\n')
    result = tocsin("replay", str(file))
    assert result.exit_code == 0
    assert result.stderr.splitlines()[0].startswith("not a report: 1 records (")


def test_a_baseline_must_end_before_the_log_begins(tmp_path: Path) -> None:
    file = tmp_path / "bare.jsonl"
    file.write_text('{"service": "x", "region": "US", "time": "2025-05-20T12:00:00Z"}\n')
    result = tocsin("replay", str(file), "--baseline", X)
    assert result.exit_code == 2
    assert "goes up to 2025-05-24T10:59Z" in " ".join(result.stderr.split())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["replay", "nosuch"], "nosuch: neither a file nor a scenario; there are att-2024-02-22"),
        (["simulate", "nosuch", "--to", "x"], "no scenario 'nosuch'; there are att-2024-02-22"),
        (["simulate", "none.toml", "--to", "x"], "none.toml: cannot be read"),
        (["simulate", X], 'kafka.clock = "broker": the broker would stamp the reports with the present time'),
        (["simulate", X, "--to", "missing/x.jsonl"], "missing/x.jsonl: No such file or directory"),
        (["simulate", X, "--to", "x.jsonl", "--speed", "2"], "a file is written at once"),
        (["--set", "count.bin_s=30", "replay", X], "count.bin_s = 30: the usual days of a scenario are known by the"),
        (["replay", "broken.jsonl"], "broken.jsonl, line 1: not a record of a report log"),
        (["replay", "broken.jsonl", "--seed", "1"], "only a scenario has a seed"),
        (["replay", X, "--baseline", X, "--no-baseline"], "contradicts --baseline"),
        (["produce", "missing.jsonl"], "'missing.jsonl' does not exist"),
        (["incidents", "--since", "yesterday"], "'yesterday' is not a date or time such as 2025-05-24"),
        (["broker", "--jars", "."], "holds no Kafka"),
        (["demo", "--scenario", "nosuch"], "no scenario 'nosuch'"),
    ],
)
def test_what_cannot_be_done_is_a_message_on_stderr_and_exit_code_2(arguments: list[str], message: str) -> None:
    Path("broken.jsonl").write_text('{"timestamp_ms": 1}\n')
    result = tocsin(*arguments)
    assert (result.exit_code, result.stdout) == (2, "")
    shown = " ".join(result.stderr.replace("│", " ").split())
    assert message in shown


@pytest.mark.parametrize("command", ["produce", "backfill", "incidents"])
def test_no_broker_is_one_line_that_names_the_address(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("streams.topics.BOOTSTRAP_MS", 200)
    file = tmp_path / "bare.jsonl"
    file.write_text('{"service": "x", "region": "US", "time": "2025-05-24T12:00:00Z"}\n')
    arguments = [] if command == "incidents" else [str(file)]
    result = tocsin("--set", "kafka.bootstrap_servers=127.0.0.1:1", command, *arguments)
    assert result.exit_code == 2
    assert result.stderr == "cannot reach Kafka at 127.0.0.1:1 (kafka.bootstrap_servers): no broker answers\n"


def test_a_reader_that_leaves_early_is_no_error() -> None:
    command = f"{sys.executable} -m streams.cli replay {DIPS} --json 2>errors | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert done.stdout.startswith(b'{"topic":"incidents"')
    assert "Traceback" not in Path("errors").read_text()
