"""The dashboards have what Grafana and a reader need, and are provisioned. What they ask: test_deploy_rules.py."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
import yaml

from streams.events import LevelState
from tests.support.promql import DASHBOARDS, ROOT, dashboard, panels

GRAFANA = ROOT / "deploy" / "grafana"
SCHEMA = json.loads((GRAFANA / "dashboard.schema.json").read_text())
every_dashboard = pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)


def provisioned(kind: str, name: str) -> dict[str, Any]:
    (found,) = yaml.safe_load((GRAFANA / "provisioning" / kind / name).read_text())[
        "datasources" if kind == "datasources" else "providers"
    ]
    return dict(found)


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


@every_dashboard
def test_a_dashboard_has_what_it_must_have(file: Path) -> None:
    jsonschema.validate(dashboard(file), SCHEMA, jsonschema.Draft202012Validator)
    assert dashboard(file)["uid"] == f"tocsin-{file.stem}"


def test_a_dashboard_without_a_unit_is_refused() -> None:
    board = dashboard(DASHBOARDS[0])
    del panels(board)[0]["fieldConfig"]["defaults"]["unit"]
    with pytest.raises(jsonschema.ValidationError, match="'unit' is a required property"):
        jsonschema.validate(board, SCHEMA, jsonschema.Draft202012Validator)


@every_dashboard
def test_panels_lie_side_by_side_and_have_ids_and_queries_of_their_own(file: Path) -> None:
    board = dashboard(file)
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
        letters = [target["refId"] for target in panel.get("targets", [])]
        assert len(letters) == len(set(letters))
    ids = [panel["id"] for panel in board["panels"]]
    assert len(ids) == len(set(ids))


@every_dashboard
def test_every_variable_that_is_used_is_there_and_the_other_way_round(file: Path) -> None:
    board = dashboard(file)
    names = {variable["name"] for variable in board["templating"]["list"]}
    rest = json.dumps({**board, "templating": None})
    assert {name for name in ("service", "region") if f"${name}" in rest} == names - {"datasource"}


@every_dashboard
def test_open_incidents_are_annotations_while_they_are_held_too(file: Path) -> None:
    (annotation,) = dashboard(file)["annotations"]["list"]
    assert 'tocsin_state{state=~"open|held"' in annotation["expr"]
    assert annotation["titleFormat"] == "{{service}} {{region}}"


def test_every_state_of_a_region_has_a_name_in_the_timeline() -> None:
    board = dashboard(GRAFANA / "dashboards" / "service.json")
    (timeline,) = [panel for panel in panels(board) if panel["type"] == "state-timeline"]
    (mapping,) = timeline["fieldConfig"]["defaults"]["mappings"]
    named = {number: each["text"] for number, each in mapping["options"].items()}
    assert sorted(named.values()) == sorted(get_args(LevelState))
    expr = timeline["targets"][0]["expr"]
    assert all(f'{number} * tocsin_state{{state="{state}"' in expr for number, state in named.items())


def test_grafana_finds_the_dashboards_where_compose_mounts_them() -> None:
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    mounts = dict(mount.split(":")[:2] for mount in services["grafana"]["volumes"])
    assert provisioned("dashboards", "tocsin.yml")["options"]["path"] == mounts["./deploy/grafana/dashboards"]
    assert mounts["./deploy/grafana/provisioning"] == "/etc/grafana/provisioning"
    home = Path(services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert str(home.parent) == mounts["./deploy/grafana/dashboards"]
    assert GRAFANA / "dashboards" / home.name in DASHBOARDS


def test_the_data_source_is_the_prometheus_of_compose_and_the_default_of_every_dashboard() -> None:
    source = provisioned("datasources", "prometheus.yml")
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
    assert "127.0.0.1:9090:9090" in services["prometheus"]["ports"]
    for file in DASHBOARDS:
        assert dashboard(file)["templating"]["list"][0]["current"]["value"] == source["uid"]
