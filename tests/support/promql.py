"""What Prometheus and Grafana are told to ask: the queries in rules, dashboards and runbooks, and what they name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).parents[2]
RULES = sorted((ROOT / "deploy" / "prometheus" / "rules").glob("*.yml"))
DASHBOARDS = sorted((ROOT / "deploy" / "grafana" / "dashboards").glob("*.json"))
RUNBOOKS = ROOT / "docs" / "runbooks"

#: What Grafana puts in place of its variables: every service, every region, four times the scrape interval.
_VARIABLES = {"$service": ".*", "$region": ".*", "$__rate_interval": "1m"}
#: A metric is ours, the client library's, or Prometheus' own; a recorded one has colons.
_METRIC = r"(?:\w+:)?(?:tocsin|process|python)_\w+(?::\w+)?|\bup\b|\bALERTS\b"
_SELECTOR = re.compile(rf"(?P<metric>{_METRIC})(?:\{{(?P<matchers>[^}}]*)\}})?")
_MATCHER = re.compile(r"(\w+)\s*(?:=~|!~|!=|=)")
_GROUPING = re.compile(r"\b(?:by|on)\s*\(([^)]*)\)")
_QUERY_BLOCK = re.compile(r"^```promql\n(.*?)^```$", re.MULTILINE | re.DOTALL)


class Query(NamedTuple):
    """A query and where it stands."""

    place: str
    expr: str

    @property
    def selectors(self) -> Iterator[tuple[str, set[str]]]:
        """Each metric that is asked for, and the labels that are matched."""
        for match in _SELECTOR.finditer(self.expr):
            yield match["metric"], set(_MATCHER.findall(match["matchers"] or ""))

    @property
    def grouping(self) -> set[str]:
        """The labels that results are grouped or joined by."""
        return {label.strip() for found in _GROUPING.findall(self.expr) for label in found.split(",")}


def rules() -> list[dict[str, Any]]:
    """Return all rules, recording and alerting ones."""
    groups = [group for file in RULES for group in yaml.safe_load(file.read_text())["groups"]]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    """Return the alerting rules."""
    return [rule for rule in rules() if "alert" in rule]


def rule_queries() -> list[Query]:
    """Return the query of each rule."""
    return [Query(rule.get("alert") or rule["record"], rule["expr"]) for rule in rules()]


def dashboard(file: Path) -> dict[str, Any]:
    """Return a dashboard."""
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def panels(board: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the panels of a dashboard that show something."""
    return [panel for panel in board["panels"] if panel["type"] != "row"]


def dashboard_queries() -> list[Query]:
    """Return what the panels, annotations and variables of all dashboards ask, with variables put in."""
    queries = []
    for file in DASHBOARDS:
        board = dashboard(file)
        for panel in panels(board):
            queries += [Query(f"{file.name}: {panel['title']}", target["expr"]) for target in panel["targets"]]
        queries += [Query(f"{file.name}: {each['name']}", each["expr"]) for each in board["annotations"]["list"]]
        for variable in board["templating"]["list"][1:]:
            series, label = variable["query"]["query"].removeprefix("label_values(").removesuffix(")").rsplit(", ", 1)
            queries.append(Query(f"{file.name}: ${variable['name']}", f"count by ({label}) ({series})"))
    return [Query(query.place, _with_variables(query.expr)) for query in queries]


def runbook_queries() -> list[Query]:
    """Return the queries of all runbooks; each line of a block is one."""
    return [
        Query(file.name, line)
        for file in sorted(RUNBOOKS.glob("*.md"))
        for block in _QUERY_BLOCK.findall(file.read_text())
        for line in block.splitlines()
    ]


def _with_variables(expr: str) -> str:
    for name, value in _VARIABLES.items():
        expr = expr.replace(name, value)
    return expr
