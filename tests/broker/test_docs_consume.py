"""The consumers of docs/how-to/consume.md tell each transition once, however often it was stated."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from kafka import KafkaProducer

from streams.broker import EmbeddedBroker
from streams.events import Incident, decode
from streams.topics import Cluster
from tests.broker.test_web import deployment
from tests.support.documents import ROOT, Document
from tests.support.waiting import until
from tests.support.webdata import outage_of_x

BLOCKS = [block for block in Document(ROOT / "docs" / "how-to" / "consume.md").blocks if block.language == "python"]


def test_there_is_a_program_for_each_python_client() -> None:
    assert [
        sum(f"from {client} import" in block.text for block in BLOCKS) for client in ("kafka", "confluent_kafka")
    ] == [
        1,
        1,
    ]


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_a_program_prints_each_transition_once(broker: EmbeddedBroker, tmp_path: Path, block: Any) -> None:
    settings = deployment(broker.bootstrap_servers, f"consume-{block.line}")
    topic = f"{settings.kafka.prefix}.incidents"
    with Cluster(settings) as cluster:
        cluster.create()
    values = [each.value for each in outage_of_x()[1] if each.topic == "tocsin.incidents"]
    transitions = [decode(value, Incident) for value in values]
    producer: Any = KafkaProducer(bootstrap_servers=broker.bootstrap_servers)
    for value in (*values, *values[-3:]):
        stated = decode(value, Incident)
        producer.send(topic, value, f"{stated.id}/{stated.sequence}".encode(), partition=0)
    last = msgspec.structs.replace(transitions[0], id="last.US.20250524T1201Z")
    producer.send(topic, msgspec.json.encode(last), b"last.US.20250524T1201Z/1", partition=0)
    producer.flush(30)
    producer.close()

    program, output = tmp_path / "consumer.py", tmp_path / "output"
    program.write_text(block.text)
    variables = {"KAFKA_BOOTSTRAP_SERVERS": broker.bootstrap_servers, "TOCSIN_TOPIC": topic}
    with output.open("wb") as written:
        process = subprocess.Popen(
            [sys.executable, str(program)], stdout=written, stderr=subprocess.STDOUT, env={**os.environ, **variables}
        )
    try:
        until(lambda: "last.US" in output.read_text() or process.poll() is not None, "it has read everything", 60)
        assert process.poll() is None, output.read_text()
    finally:
        process.kill()
        process.wait()
    told = [line for line in output.read_text().splitlines() if not line.startswith("last.")]
    assert told == [f"{each.id} {each.sequence} {each.state}" for each in transitions]
