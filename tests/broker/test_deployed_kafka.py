"""The broker of docker-compose.yml: Kafka knows each of its settings, starts with them, and takes Tocsin's topics."""

from __future__ import annotations

from typing import Any

import yaml
from kafka import KafkaAdminClient
from kafka.admin import ConfigResource, ConfigResourceType
from typer.testing import CliRunner

from streams.broker import EmbeddedBroker
from streams.cli import app
from tests.support.promql import ROOT

#: What says where the broker is; the embedded one is on loopback, in a temporary folder.
PLACES = {
    "advertised.listeners",
    "controller.listener.names",
    "controller.quorum.voters",
    "inter.broker.listener.name",
    "listener.security.protocol.map",
    "listeners",
    "log.dirs",
}


def properties() -> dict[str, str]:
    """Return what the image makes of its environment: KAFKA_NODE_ID becomes node.id."""
    service = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]["kafka"]
    return {
        name.removeprefix("KAFKA_").lower().replace("_", "."): str(value)
        for name, value in service["environment"].items()
        if name.startswith("KAFKA_")
    }


def test_a_broker_starts_with_the_settings_of_compose_and_takes_the_topics() -> None:
    given = {name: value for name, value in properties().items() if name not in PLACES}
    with EmbeddedBroker(properties=given) as broker:
        admin = KafkaAdminClient(bootstrap_servers=broker.bootstrap_servers)
        answer: Any = admin.describe_configs([ConfigResource(ConfigResourceType.BROKER, "1")], config_filter="all")
        admin.close()
        known = {name: entry["value"] for name, entry in answer["broker"]["1"].items()}
        settings = {"kafka.bootstrap_servers": broker.bootstrap_servers, "kafka.replication_factor": "1"}
        options = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
        created = CliRunner().invoke(
            app, ["--settings", str(ROOT / "deploy" / "tocsin.toml"), *options, "topics", "create"]
        )
    # a setting that Kafka does not know has no value here
    assert {name: known.get(name) for name in given} == given
    assert created.exit_code == 0, created.output
    assert created.output.endswith("all topics of tocsin are as they should be\n")


def test_the_places_are_those_of_a_broker_that_is_its_own_controller() -> None:
    given = properties()
    assert given.keys() >= PLACES
    listeners = {each.split("://")[0] for each in given["listeners"].split(",")}
    protocols = {each.split(":")[0] for each in given["listener.security.protocol.map"].split(",")}
    advertised = {each.split("://")[0] for each in given["advertised.listeners"].split(",")}
    controllers = {given["controller.listener.names"]}
    assert listeners == protocols == advertised | controllers
    assert given["inter.broker.listener.name"] in advertised
    port = next(each.rsplit(":", 1)[1] for each in given["listeners"].split(",") if each.startswith("CONTROLLER"))
    assert given["controller.quorum.voters"] == f"{given['node.id']}@kafka:{port}"
