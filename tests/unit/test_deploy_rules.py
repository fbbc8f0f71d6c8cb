"""The rules of Prometheus: what they ask for exists, they alert when they should, and each alert has a runbook."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml

from streams.metrics import catalogue
from tests.support.programs import program
from tests.support.promql import (
    ROOT,
    RULES,
    RUNBOOKS,
    Query,
    alerts,
    dashboard_queries,
    rule_queries,
    rules,
    runbook_queries,
)

FOLDER = ROOT / "deploy" / "prometheus"
CONFIGS = ["prometheus.yml", "prometheus.kubernetes.yml"]
RULE_TESTS = sorted((FOLDER / "tests").glob("*.yml"))
#: What Prometheus makes itself, and the labels that it gives.
OWN_METRICS = {"up": set[str](), "ALERTS": {"alertname", "alertstate", "severity"}}
OWN_LABELS = {"job", "instance"}
#: The labels of a recorded metric are its level.
LEVELS = {"job", "stage", "partition", "source", "reason"}


def known_metrics() -> dict[str, set[str]]:
    """Return the labels of every metric that can be asked for."""
    known = OWN_METRICS.copy()
    for family in catalogue():
        labels = set(family.labels)
        if family.type == "histogram":
            known |= {f"{family.name}_sum": labels, f"{family.name}_count": labels}
            known[f"{family.name}_bucket"] = labels | {"le"}
        else:
            known[family.name] = labels
    for rule in rules():
        if "record" in rule:
            known[rule["record"]] = set(rule["record"].split(":")[0].split("_"))
    return known


EVERY_QUERY = [*rule_queries(), *dashboard_queries(), *runbook_queries()]
every_query = pytest.mark.parametrize("query", EVERY_QUERY, ids=lambda query: query.place)


def run(*command: str | Path) -> str:
    """Run a program and return what it prints; it must end well."""
    done = subprocess.run(command, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


# --- queries --------------------------------------------------------------------------------------------------------


@every_query
def test_every_metric_that_is_asked_for_exists_with_the_labels_that_are_matched(query: Query) -> None:
    known = known_metrics()
    selectors = list(query.selectors)
    assert selectors or query.expr == "vector(1)"
    for metric, labels in selectors:
        assert metric in known
        assert labels <= known[metric] | OWN_LABELS, metric


@every_query
def test_results_are_grouped_by_labels_that_one_of_the_metrics_has(query: Query) -> None:
    known = known_metrics()
    assert query.grouping <= OWN_LABELS.union(*(known[metric] for metric, _ in query.selectors))


def test_every_query_of_dashboards_and_runbooks_can_be_parsed(tmp_path: Path) -> None:
    queries = [*dashboard_queries(), *runbook_queries()]
    records = [{"record": f"query:{number}", "expr": query.expr} for number, query in enumerate(queries)]
    file = tmp_path / "queries.yml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "queries", "rules": records}]}))
    assert f"{len(queries)} rules found" in run(program("promtool"), "check", "rules", file)


# --- rules ----------------------------------------------------------------------------------------------------------


def test_promtool_accepts_the_rules() -> None:
    printed = run(program("promtool"), "check", "rules", "--lint-fatal", *RULES)
    assert printed.count("SUCCESS") == len(RULES)


@pytest.mark.parametrize("file", RULE_TESTS, ids=lambda file: file.stem)
def test_the_rules_alert_as_their_tests_say(file: Path) -> None:
    run(program("promtool"), "test", "rules", file)


def test_each_alert_has_a_test_in_which_it_fires_and_one_in_which_it_does_not() -> None:
    fires: set[str] = set()
    quiet: set[str] = set()
    for file in RULE_TESTS:
        for test in yaml.safe_load(file.read_text())["tests"]:
            for case in test.get("alert_rule_test", []):
                (fires if case["exp_alerts"] else quiet).add(case["alertname"])
    names = {rule["alert"] for rule in alerts()}
    assert fires == names
    assert quiet == names - {"TocsinDeadMan"}


@pytest.mark.parametrize("rule", [rule for rule in rules() if "record" in rule], ids=lambda rule: rule["record"])
def test_recorded_metrics_are_named_by_level_metric_and_operations(rule: dict[str, str]) -> None:
    level, metric, operations = rule["record"].split(":")
    assert set(level.split("_")) <= LEVELS
    assert metric.startswith("tocsin_")
    assert re.fullmatch(r"[a-z0-9_]+", operations)


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_each_alert_says_how_bad_it_is_what_it_means_and_what_to_do(rule: dict[str, dict[str, str]]) -> None:
    assert rule["labels"]["severity"] in {"page", "ticket", "none"}
    assert rule["annotations"].keys() == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["runbook_url"] == f"docs/runbooks/{rule['alert']}.md"


# --- runbooks -------------------------------------------------------------------------------------------------------

SECTIONS = ["## What it means", "## First look", "## Causes", "## What to do", "## When it is safe to wait"]


def test_each_alert_has_a_runbook_and_each_runbook_an_alert() -> None:
    files = {file.stem for file in RUNBOOKS.glob("*.md")} - {"README"}
    assert files == {rule["alert"] for rule in alerts()}


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_each_runbook_says_the_same_things_in_the_same_order(rule: dict[str, str]) -> None:
    text = (RUNBOOKS / f"{rule['alert']}.md").read_text()
    assert text.startswith(f"# {rule['alert']}\n")
    assert re.findall(r"^## .*$", text, flags=re.MULTILINE) == SECTIONS


def test_the_list_of_runbooks_has_each_alert_with_its_severity() -> None:
    rows = re.findall(r"^\| \[(\w+)\]\((\w+)\.md\) \| (\w+) \|", (RUNBOOKS / "README.md").read_text(), re.MULTILINE)
    assert rows == [(rule["alert"], rule["alert"], rule["labels"]["severity"]) for rule in alerts()]


# --- configuration --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONFIGS)
def test_promtool_accepts_the_configuration(name: str, tmp_path: Path) -> None:
    config = yaml.safe_load((FOLDER / name).read_text())
    for job in config["scrape_configs"]:
        # Debian builds Prometheus without Kubernetes: all but the search itself is checked
        if job.pop("kubernetes_sd_configs", None):
            job["static_configs"] = [{"targets": ["10.0.0.1:6066"]}]
    file = tmp_path / name
    file.write_text(yaml.safe_dump(config))
    (tmp_path / "rules").symlink_to(FOLDER / "rules")
    assert f"{len(RULES)} rule files found" in run(program("promtool"), "check", "config", file)


@pytest.mark.parametrize("name", CONFIGS)
def test_the_jobs_are_called_as_the_rules_expect(name: str) -> None:
    config = yaml.safe_load((FOLDER / name).read_text())
    assert [job["job_name"] for job in config["scrape_configs"]] == ["tocsin", "tocsin-web"]
    matched = [each for query in EVERY_QUERY for each in re.findall(r'\bjob=~?"([^"]+)"', query.expr)]
    assert {job for each in matched for job in each.split("|")} == {"tocsin", "tocsin-web"}


@every_query
def test_what_only_one_of_the_jobs_has_is_asked_of_that_job(query: Query) -> None:
    """A worker must not be taken for the page, nor the page for a worker, by a metric that both have or by its name."""
    for match in re.finditer(r"\b(up|process_\w+|tocsin_web_\w+)(\{[^}]*\})?", query.expr):
        jobs = re.findall(r'\bjob=~?"([^"]+)"', match[2] or "")
        if match[1].startswith("tocsin_web_"):
            assert jobs == ["tocsin-web"], match[0]
        elif query.place in {rule["alert"] for rule in alerts()}:
            assert jobs, match[0]
