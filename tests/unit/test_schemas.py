"""The committed schemas are those of the types, and every record of a real outage obeys them."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from jsonschema import Draft7Validator, Draft202012Validator

from streams.asyncapi import text
from streams.events import TICK_KEY
from streams.replay import backfill
from streams.reportlog import LogRecord
from streams.scenarios import history, load, reports
from streams.schemas import DIALECT, documents
from streams.settings import Settings
from streams.topics import layout
from streams.web import openapi
from tests.support.scenarioruns import deployment
from tests.support.schemas import FOLDER, schema, validator
from tests.support.statedrecords import Stated, stated

DATA = Path(__file__).parents[1] / "data"
SCHEMAS = sorted(name for name in documents() if name.endswith(".json"))
TOPICS = ["counts", "baselines", "incidents", "outages", "levels", "levels.15m", "series", "alerts"]


@cache
def log() -> list[LogRecord]:
    return list(reports(load("x-2025-05-24")))


@cache
def records() -> dict[str, list[Stated]]:
    scenario = load("x-2025-05-24")
    settings = deployment(scenario)
    return stated(settings, log(), backfill(settings, history(scenario)))


def asyncapi() -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((FOLDER / "asyncapi.yaml").read_text())
    return document


# --- The files ------------------------------------------------------------------------------------------------------


def test_the_committed_files_are_those_of_the_code() -> None:
    # the API's document is about HTTP, and test_web_api.py is about it
    committed = {path.name: path.read_text() for path in FOLDER.iterdir() if path.name != openapi.FILE}
    assert committed == documents()


@pytest.mark.parametrize("name", SCHEMAS)
def test_each_schema_is_one_and_its_id_is_relative(name: str) -> None:
    own = schema(name)
    Draft202012Validator.check_schema(own)
    assert own["$schema"] == DIALECT
    assert own["$id"] == name


@pytest.mark.parametrize("name", [name for name in SCHEMAS if name != "baselines.json"])
def test_each_field_says_what_it_is(name: str) -> None:
    own = schema(name)
    silent = [
        f"{part.get('title')}.{field}"
        for part in [own, *own.get("$defs", {}).values()]
        for field, about in part.get("properties", {}).items()
        if not about.keys() & {"description", "const", "$ref"}
    ]
    assert silent == []


# --- Real records ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("topic", TOPICS)
def test_every_record_of_the_outage_of_x_obeys_the_schema_of_its_topic(topic: str) -> None:
    own = validator(f"{topic}.json")
    values = [msgspec.json.decode(each.value) for each in records()[topic]]
    assert len(values) > 5
    for value in values:
        own.validate(value)


def test_the_counts_of_the_outage_of_x_hold_each_kind_of_record() -> None:
    kinds = {msgspec.json.decode(each.value)["type"] for each in records()["counts"]}
    own = schema("counts.json")
    named = [kind["$ref"].rpartition("/")[2] for kind in own["oneOf"]]
    assert kinds == {own["$defs"][name]["properties"]["type"]["const"] for name in named}


@pytest.mark.parametrize("topic", ["incidents", "outages", "alerts"])
def test_every_event_of_the_outage_of_x_has_the_headers_of_the_schema(topic: str) -> None:
    own = validator("event.headers.json")
    for each in records()[topic]:
        own.validate({name: (value or b"").decode() for name, value in each.headers})


def test_the_reports_of_the_outage_of_x_obey_their_schema() -> None:
    own = validator("reports.json")
    for record in [record for record in log() if record.key != TICK_KEY][::200]:
        own.validate(json.loads(record.value or b""))


@pytest.mark.parametrize("topic", TOPICS)
def test_a_record_without_one_of_its_fields_or_of_another_version_does_not_obey(topic: str) -> None:
    own = validator(f"{topic}.json")
    value = msgspec.json.decode(records()[topic][-1].value)
    for field in value:
        assert not own.is_valid({name: each for name, each in value.items() if name != field}), field
    assert not own.is_valid(value | {"version": 2})


# --- AsyncAPI -------------------------------------------------------------------------------------------------------


def specification() -> Draft7Validator:
    return Draft7Validator(json.loads((DATA / "asyncapi-3.0.0.json").read_text()))


def test_the_asyncapi_document_obeys_the_specification() -> None:
    specification().validate(asyncapi())


@pytest.mark.parametrize(
    ("place", "wrong"),
    [
        (("channels", "counts", "bindings", "kafka", "partitions"), 0),
        (("channels", "counts", "bindings", "kafka", "topicConfiguration", "retention.ms"), "two days"),
        (("operations", "count-send-counts", "action"), "write"),
    ],
)
def test_a_mistake_in_the_asyncapi_document_would_be_found(place: tuple[str, ...], wrong: object) -> None:
    document = node = asyncapi()
    *path, last = place
    for key in path:
        node = node[key]
    node[last] = wrong
    assert not specification().is_valid(document)


def test_the_yaml_is_what_it_was_made_from() -> None:
    tree = {"a": {"b-c": [], "$ref": "x", "1": {}}, "list": [1, None, True, {"deep": ["é\n", {"x": {"y": -1}}]}, "on"]}
    assert yaml.safe_load(text(tree)) == tree


def test_every_reference_leads_somewhere() -> None:
    def references(node: Any) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if "$ref" in node else []
            return own + [each for value in node.values() for each in references(value)]
        return [each for value in node for each in references(value)] if isinstance(node, list) else []

    document = asyncapi()
    found = references(document)
    assert len(found) > 30
    for reference in found:
        file, _, path = reference.partition("#")
        node = schema(file.removeprefix("./")) if file else document
        for key in path.split("/")[1:]:
            node = node[key]


def test_every_topic_is_a_channel_with_its_partitions_and_its_configuration() -> None:
    bindings = [channel["bindings"]["kafka"] for channel in asyncapi()["channels"].values()]
    wanted = layout(Settings())
    shown = [(each["topic"], each["partitions"]) for each in bindings]
    assert shown == [(each.name, each.partitions) for each in wanted]
    for binding, topic in zip(bindings, wanted, strict=True):
        config = {
            name: ",".join(value) if isinstance(value, list) else str(value)
            for name, value in binding["topicConfiguration"].items()
        }
        assert config == topic.config


def test_each_message_is_written_by_a_stage_or_by_the_world_and_read_by_a_stage_or_by_the_world() -> None:
    document = asyncapi()
    messages = {
        f"#/channels/{channel}/messages/{name}"
        for channel, about in document["channels"].items()
        for name in about["messages"]
    }
    touched: dict[str, set[str]] = {"send": set(), "receive": set()}
    for operation in document["operations"].values():
        touched[operation["action"]] |= {message["$ref"] for message in operation["messages"]}
    assert messages - touched["send"] == {"#/channels/reports/messages/report"}
    assert {name.split("/")[2] for name in messages - touched["receive"]} == {"reports-dlq", "alerts"}
